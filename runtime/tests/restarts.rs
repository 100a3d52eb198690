//! Who is followed by another worker, how often and when: restart policies, restart intensity, idle workers.

use gorun_runtime::{Restart, Runtime, TaskError};
use gorun_test_programs::processes::{await_end, kill, open};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn pid_in(runtime: &Runtime, seat: usize) -> Option<i32> {
    runtime.stats().seats[seat].pid.and_then(|pid| i32::try_from(pid).ok())
}

/// Kills whoever comes to sit in the seat, until it is left empty for a while.
fn kill_until_shut(runtime: &Runtime, seat: usize) {
    let before = runtime.stats().seats_shut;
    eventually(|| {
        if let Some(pid) = pid_in(runtime, seat)
            && let Some(pidfd) = open(pid)
        {
            kill(pid);
            await_end(&pidfd);
        }
        runtime.stats().seats_shut > before
    });
}

#[test]
fn a_seat_whose_workers_crash_between_tasks_is_left_to_the_others_and_comes_back() {
    let _watchdog =
        Watchdog::start("a_seat_whose_workers_crash_between_tasks_is_left_to_the_others_and_comes_back");
    let runtime = Runtime::builder().workers(2).restart_intensity(2, HOUR).build().unwrap();
    for _ in 0..3 {
        kill_until_shut(&runtime, 0);
        let tasks: Vec<_> = (0..500_u64).map(|n| runtime.task(n, |n| n + 1)).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.join(), Ok(n + 1));
        }
        eventually(|| pid_in(&runtime, 0).is_some());
    }
    assert!(!runtime.is_degraded());
    assert_eq!(runtime.stats().lost, 0);
}

#[test]
fn with_every_seat_shut_tasks_wait_for_the_next_probe_and_stay_isolated() {
    let _watchdog = Watchdog::start("with_every_seat_shut_tasks_wait_for_the_next_probe_and_stay_isolated");
    let runtime = Runtime::builder().workers(1).restart_intensity(0, HOUR).build().unwrap();
    for _ in 0..3 {
        eventually(|| pid_in(&runtime, 0).is_some());
        kill_until_shut(&runtime, 0);
        let pid = runtime.go(std::process::id).join().expect("a value, a little later");
        assert_ne!(pid, std::process::id());
    }
    assert!(!runtime.is_degraded());
}

#[test]
fn tasks_that_crash_their_worker_shut_no_seat_however_many() {
    let _watchdog = Watchdog::start("tasks_that_crash_their_worker_shut_no_seat_however_many");
    // Not one crash is borne, and these count as none.
    let runtime = Runtime::builder().workers(2).restart_intensity(0, HOUR).build().unwrap();
    let crash_in_a_hundred = |n: u32| if n % 100 == 7 { Death::Segfault.die() } else { n };
    let outcomes = runtime.map(0..20_000, crash_in_a_hundred).outcomes();
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(TaskError::WorkerLost { .. }))).count();
    let crashes: Vec<_> = (0..100).map(|_| runtime.go(|| -> u8 { Death::Abort.die() })).collect();
    assert_eq!(crashes.into_iter().filter_map(|crash| crash.join().err()).count(), 100);
    assert_eq!((lost, runtime.stats().seats_shut), (200, 0));
}

#[test]
fn planned_ends_shut_no_seat() {
    let _watchdog = Watchdog::start("planned_ends_shut_no_seat");
    let planned = Runtime::builder().workers(1).restart_intensity(0, HOUR).max_tasks_per_worker(3);
    let runtime = planned.build().unwrap();
    let gate = Gate::new();
    for n in 0..30_u32 {
        assert_eq!(runtime.task(n, |n| n).join(), Ok(n));
        let running = runtime.task(gate.name(), gate::wait);
        let _standing = gate.await_task();
        assert!(running.kill());
        assert_eq!(running.join(), Err(TaskError::Cancelled));
    }
    assert_eq!(runtime.stats().seats_shut, 0);
}

#[test]
fn transient_workers_are_replaced_after_a_death_and_not_after_their_tenure() {
    let _watchdog =
        Watchdog::start("transient_workers_are_replaced_after_a_death_and_not_after_their_tenure");
    let transient = Runtime::builder().workers(1).restart(Restart::Transient).max_tasks_per_worker(4);
    let runtime = transient.build().unwrap();
    assert!(runtime.go(|| -> u8 { Death::Segfault.die() }).join().is_err());
    let tasks: Vec<_> = (0..10_u32).map(|n| runtime.task(n, |n| n)).collect();
    let outcomes: Vec<_> = tasks.into_iter().map(gorun_runtime::TaskHandle::join).collect();
    assert_eq!(outcomes[..4], [Ok(0), Ok(1), Ok(2), Ok(3)]);
    assert_eq!(outcomes[4..], vec![Err(TaskError::NoWorkers); 6]);
    assert_eq!(runtime.go(|| 1_u8).join(), Err(TaskError::NoWorkers));
}

#[test]
fn when_temporary_workers_are_gone_waiting_and_later_tasks_end_with_a_word() {
    let _watchdog =
        Watchdog::start("when_temporary_workers_are_gone_waiting_and_later_tasks_end_with_a_word");
    for builder in [Runtime::builder().restart(Restart::Temporary), Runtime::builder().auto_restart(false)] {
        let runtime = builder.workers(2).build().unwrap();
        let gate = Gate::new();
        let running: Vec<_> = (0..2).map(|_| runtime.task(gate.name(), gate::wait)).collect();
        let standing = [gate.await_task(), gate.await_task()];
        let waiting: Vec<_> = (0..100_u32).map(|n| runtime.task(n, |n| n)).collect();
        let mapped = runtime.map(0..100_u32, |n| n);
        // A worker may run a task before the host has heard that it was forked.
        eventually(|| (0..2).all(|seat| pid_in(&runtime, seat).is_some()));
        (0..2).filter_map(|seat| pid_in(&runtime, seat)).for_each(kill);
        for task in running {
            assert!(matches!(task.join(), Err(TaskError::WorkerLost { .. })));
        }
        for task in waiting {
            assert_eq!(task.join(), Err(TaskError::NoWorkers));
        }
        assert!(mapped.outcomes().into_iter().all(|outcome| outcome == Err(TaskError::NoWorkers)));
        assert_eq!(runtime.go(|| 1_u8).join(), Err(TaskError::NoWorkers));
        assert!(!runtime.is_degraded());
        drop(standing);
    }
}

#[test]
fn one_temporary_worker_left_does_the_work_of_all() {
    let _watchdog = Watchdog::start("one_temporary_worker_left_does_the_work_of_all");
    let runtime = Runtime::builder().workers(3).restart(Restart::Temporary).build().unwrap();
    for _ in 0..2 {
        assert!(runtime.go(|| -> u8 { Death::Exit(3).die() }).join().is_err());
    }
    let tasks: Vec<_> = (0..2000_u32).map(|n| runtime.task(n, |n| n)).collect();
    assert!((0..).zip(tasks).all(|(n, task)| task.join() == Ok(n)));
}

#[test]
fn idle_workers_leave_and_the_next_task_has_one_again() {
    let _watchdog = Watchdog::start("idle_workers_leave_and_the_next_task_has_one_again");
    let resting = Runtime::builder().workers(3).workers_min(0).worker_timeout(Duration::from_millis(5));
    let runtime = resting.build().unwrap();
    eventually(|| {
        eventually(|| (0..3).all(|seat| pid_in(&runtime, seat).is_none()));
        assert_eq!(runtime.go(|| 7_u8).join(), Ok(7));
        runtime.stats().rested >= 12
    });
    let stats = runtime.stats();
    assert_eq!((stats.recycled, stats.lost, stats.seats_shut), (0, 0, 0));
    assert!(stats.seats.iter().all(|seat| seat.deaths == 0));
}

#[test]
fn as_many_workers_stay_as_the_minimum_says() {
    let _watchdog = Watchdog::start("as_many_workers_stay_as_the_minimum_says");
    let resting = Runtime::builder().workers(4).workers_min(2).worker_timeout(Duration::from_millis(1));
    let runtime = resting.build().unwrap();
    eventually(|| runtime.stats().rested >= 2);
    eventually(|| (0..4).filter(|seat| pid_in(&runtime, *seat).is_some()).count() == 2);
    let pids = [pid_in(&runtime, 0), pid_in(&runtime, 1)];
    for n in 0..200_u32 {
        assert_eq!(runtime.task(n, |n| n).join(), Ok(n));
    }
    assert_eq!([pid_in(&runtime, 0), pid_in(&runtime, 1)], pids);
}

#[test]
fn a_task_that_comes_as_the_last_worker_leaves_is_run() {
    let _watchdog = Watchdog::start("a_task_that_comes_as_the_last_worker_leaves_is_run");
    // Each worker leaves as soon as it finds nothing to do.
    let hasty = Runtime::builder().workers(2).workers_min(0).worker_timeout(Duration::from_micros(1));
    let runtime = hasty.spin(Duration::ZERO).build().unwrap();
    // As many rounds as it takes to meet some that leave.
    for round in (0_u32..).take_while(|round| *round < 1000 || runtime.stats().rested <= 10) {
        let tasks: Vec<_> = (0..round % 4 + 1).map(|n| runtime.task(n, |n| n)).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.join(), Ok(n), "round {round}");
        }
        // A different stretch of time each round, so that the next task comes at a different instant.
        (0..round % 2000 * 50).for_each(|step| {
            std::hint::black_box(step);
        });
    }
}

#[test]
fn tasks_that_nobody_waits_for_find_a_worker_too() {
    let _watchdog = Watchdog::start("tasks_that_nobody_waits_for_find_a_worker_too");
    let resting = Runtime::builder().workers(2).workers_min(0).worker_timeout(Duration::from_millis(1));
    let runtime = resting.build().unwrap();
    for _ in 0..30 {
        eventually(|| (0..2).all(|seat| pid_in(&runtime, seat).is_none()));
        let gate = Gate::new();
        drop(runtime.task(gate.name(), gate::wait));
        drop(gate.await_task());
    }
}

#[test]
fn settings_of_supervision_out_of_range_are_refused_with_the_range() {
    for builder in [
        Runtime::builder().restart_intensity(1001, HOUR),
        Runtime::builder().restart_intensity(1, Duration::ZERO),
        Runtime::builder().worker_timeout(Duration::ZERO),
        Runtime::builder().workers_min(121),
    ] {
        let refusal = builder.workers(1).build().expect_err("out of range").to_string();
        assert!(refusal.contains("is out of range; allowed: "), "{refusal}");
    }
}
