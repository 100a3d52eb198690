//! Processes of a runtime killed from outside: idle and busy workers, spares, the zygote, all at once.

use gorun_runtime::{Runtime, TaskError};
use gorun_test_programs::processes::{await_end, await_family, family, kill, open, read, stop};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate, program};
use std::fs;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).quarantine_after(0).build().expect("build a runtime")
}

#[test]
fn killing_an_idle_worker_costs_nothing() {
    let _watchdog = Watchdog::start("killing_an_idle_worker_costs_nothing");
    // Somebody who kills idle workers all the time must say that this is no reason for a pause.
    let often = (1000, std::time::Duration::from_secs(1));
    let runtime = Runtime::builder().workers(2).restart_intensity(often.0, often.1).build().unwrap();
    for round in 0..20_u64 {
        let family = await_family(&runtime, 1);
        family.seated.iter().for_each(|pid| kill(*pid));
        let tasks: Vec<_> = (0..50).map(|n| runtime.task(n + round, |n| n)).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.join(), Ok(n + round), "round {round}");
        }
    }
    assert_eq!(runtime.stats().lost, 0);
}

#[test]
fn killing_the_spare_costs_nothing_and_it_is_replaced() {
    let _watchdog = Watchdog::start("killing_the_spare_costs_nothing_and_it_is_replaced");
    let runtime = runtime(1);
    for _ in 0..10 {
        let before = await_family(&runtime, 1);
        kill(before.spares[0]);
        eventually(|| {
            family(&runtime).is_some_and(|now| now.spares.len() == 1 && now.spares != before.spares)
        });
        assert_eq!(await_family(&runtime, 1).seated, before.seated);
    }
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
}

#[test]
fn a_worker_stopped_at_its_birth_does_not_hide_the_death_of_its_zygote() {
    let _watchdog = Watchdog::start("a_worker_stopped_at_its_birth_does_not_hide_the_death_of_its_zygote");
    for _ in 0..20 {
        let runtime = runtime(1);
        let before = await_family(&runtime, 1);
        let known = [before.seated.clone(), before.spares].concat();
        // The spare takes the seat, and the zygote forks another, which is stopped as early as can be: most often
        // before it has let go of what it has from the zygote.
        kill(before.seated[0]);
        let mut newborn = None;
        while newborn.is_none() {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", before.zygote));
            let children = children.unwrap_or_default();
            let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            newborn = pids.find(|pid| !known.contains(pid));
        }
        let newborn = newborn.unwrap();
        stop(newborn);
        kill(before.zygote);
        eventually(|| runtime.stats().zygote_restarts == 1);
        // It may have been meant for the seat.
        kill(newborn);
        assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
    }
}

/// The zygote of this process's only runtime, found by the descriptor that the host has of it, and the last that it has
/// forked by now.
fn newborn() -> Option<(i32, i32)> {
    let infos = fs::read_dir("/proc/self/fdinfo").ok()?.flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let pids: Vec<i32> = texts
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
        .collect();
    let zygote = pids.into_iter().filter_map(read).find(|process| process.name == "gorun-zygote")?.pid;
    let children = fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).ok()?;
    let newborn = children.split_whitespace().next_back()?.parse().ok()?;
    Some((zygote, newborn))
}

#[test]
fn a_zygote_that_dies_before_it_is_ready_is_heard_of_though_its_newborn_is_stopped() {
    let name = "a_zygote_that_dies_before_it_is_ready_is_heard_of_though_its_newborn_is_stopped";
    let _watchdog = Watchdog::start(name);
    if program::role().is_none() {
        // In a process of its own: the zygotes of other tests are not ours to kill.
        return drop(program::succeed(&mut program::again(name, "host")));
    }
    for _ in 0..5 {
        // So many that the zygote is still forking when the first of them is seen.
        let runtime = runtime(60);
        let mut found = None;
        eventually(|| {
            found = newborn();
            found.is_some()
        });
        let (zygote, newborn) = found.unwrap();
        stop(newborn);
        kill(zygote);
        eventually(|| runtime.stats().zygote_restarts >= 1);
        kill(newborn);
        assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
    }
}

#[test]
fn killing_the_zygote_leaves_running_and_queued_tasks_alone() {
    let _watchdog = Watchdog::start("killing_the_zygote_leaves_running_and_queued_tasks_alone");
    let runtime = runtime(1);
    let gate = Gate::new();
    let running = runtime.task(gate.name(), |name: String| {
        gate::stand_at(&name);
        std::process::id()
    });
    let standing = gate.await_task();
    let queued: Vec<_> = (0..100_u64).map(|n| runtime.task(n, |n| n * n)).collect();
    let before = await_family(&runtime, 1);
    let zygote = open(before.zygote).unwrap();
    kill(before.zygote);
    await_end(&zygote);
    drop(standing);
    assert_eq!(running.join().map(u32::cast_signed), Ok(before.seated[0]));
    for (n, task) in (0..).zip(queued) {
        assert_eq!(task.join(), Ok(n * n));
    }
    eventually(|| runtime.stats().zygote_restarts == 1);
}

#[test]
fn after_the_zygotes_death_the_next_crash_is_still_replaced() {
    let _watchdog = Watchdog::start("after_the_zygotes_death_the_next_crash_is_still_replaced");
    let runtime = runtime(1);
    for round in 0..5 {
        // A worker of the new zygote has it as parent, which is how it is found again.
        let family = await_family(&runtime, 1);
        kill(family.zygote);
        eventually(|| runtime.stats().zygote_restarts > round);
        for death in Death::QUICK {
            let outcome = runtime.task(death, |death: Death| -> u8 { death.die() }).join();
            assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
            assert_eq!(runtime.go(|| 9_u8).join(), Ok(9));
        }
    }
    assert!(!runtime.is_degraded());
}

#[test]
fn killing_all_workers_at_once_leaves_a_thousand_queued_tasks_right() {
    let _watchdog = Watchdog::start("killing_all_workers_at_once_leaves_a_thousand_queued_tasks_right");
    let runtime = runtime(2);
    let gate = Gate::new();
    let running: Vec<_> = (0..2).map(|_| runtime.task(gate.name(), gate::wait)).collect();
    let _standing = [gate.await_task(), gate.await_task()];
    let queued: Vec<_> = (0..1000_u64).map(|n| runtime.task(n, |n| n * 3)).collect();
    let family = await_family(&runtime, 1);
    // The spares first: one that took a seat meanwhile would have started a task.
    family.spares.iter().chain(&family.seated).for_each(|pid| kill(*pid));
    for task in running {
        let outcome = task.join();
        assert!(
            matches!(&outcome, Err(TaskError::WorkerLost { evidence }) if evidence.signal() == Some(9)),
            "{outcome:?}"
        );
    }
    for (n, task) in (0..).zip(queued) {
        assert_eq!(task.join(), Ok(n * 3));
    }
}

#[test]
fn a_worker_killed_at_any_instant_wakes_whoever_joins() {
    let _watchdog = Watchdog::start("a_worker_killed_at_any_instant_wakes_whoever_joins");
    let runtime =
        Runtime::builder().workers(1).quarantine_after(0).spin(std::time::Duration::ZERO).build().unwrap();
    for round in 0..400_u32 {
        let pid = runtime.go(std::process::id).join().map(u32::cast_signed);
        let killer = std::thread::spawn(move || {
            // A different stretch of work each round, so that the kill comes at a different instant.
            (0..round * 20).for_each(|step| {
                std::hint::black_box(step);
            });
            pid.ok().map(kill)
        });
        for n in 0..40_u32 {
            match runtime.task(n, |n: u32| n).join() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => assert!(matches!(error, TaskError::WorkerLost { .. }), "{error}"),
            }
        }
        killer.join().unwrap();
    }
    assert!(!runtime.is_degraded());
}

#[test]
fn killing_zygote_and_workers_together_loses_started_tasks_only() {
    let _watchdog = Watchdog::start("killing_zygote_and_workers_together_loses_started_tasks_only");
    for round in 0..12 {
        let runtime = runtime(2);
        let gate = Gate::new();
        let running: Vec<_> = (0..2).map(|_| runtime.task(gate.name(), gate::wait)).collect();
        let _standing = [gate.await_task(), gate.await_task()];
        let queued: Vec<_> = (0..200_u64).map(|n| runtime.task(n, |n| n * 3)).collect();
        let family = await_family(&runtime, 1);
        let workers = family.spares.iter().chain(&family.seated);
        match round % 3 {
            0 => std::iter::once(&family.zygote).chain(workers).for_each(|pid| kill(*pid)),
            1 => workers.chain(std::iter::once(&family.zygote)).for_each(|pid| kill(*pid)),
            _ => {
                family.spares.iter().for_each(|pid| kill(*pid));
                kill(family.zygote);
                family.seated.iter().for_each(|pid| kill(*pid));
            }
        }
        for task in running {
            let outcome = task.join();
            assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
        }
        for (n, task) in (0..).zip(queued) {
            assert_eq!(task.join(), Ok(n * 3), "round {round}");
        }
        assert_eq!((runtime.stats().lost, runtime.is_degraded()), (2, false), "round {round}");
    }
}
