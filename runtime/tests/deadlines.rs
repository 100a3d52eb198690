//! Deadlines, timeouts and kills: a task is over in time, with its value or without, and costs nobody else anything.

use gorun_runtime::{Rejection, Runtime, Task, TaskError, TaskHandle};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Gate, Watchdog, gate};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(100);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn endless() {
    loop {
        std::hint::spin_loop();
    }
}

fn timed_out<R>(after: Duration) -> Result<R, TaskError> {
    Err(TaskError::TimedOut { after })
}

/// Waits for the task and asserts that it was not over early.
fn join_not_before(since_ns: u64, after: Duration, task: TaskHandle<()>) -> Result<(), TaskError> {
    let outcome = task.join();
    let passed = Duration::from_nanos(system_ns() - since_ns);
    assert!(passed >= after, "over after {passed:?}");
    outcome
}

#[test]
fn an_endless_task_is_killed_at_its_deadline_and_the_seat_goes_on() {
    let _watchdog = Watchdog::start("an_endless_task_is_killed_at_its_deadline_and_the_seat_goes_on");
    let runtime = runtime(1);
    for _ in 0..10 {
        let since_ns = system_ns();
        let task = Task::new(endless).deadline(SHORT).go_on(&runtime);
        let behind: Vec<_> = (0..20_u32).map(|n| runtime.task(n, |n| n * 2)).collect();
        assert_eq!(join_not_before(since_ns, SHORT, task), timed_out(SHORT));
        for (n, task) in (0..).zip(behind) {
            assert_eq!(task.join(), Ok(n * 2));
        }
    }
    let stats = runtime.stats();
    assert_eq!((stats.timed_out, stats.lost, stats.finished), (10, 0, 200));
}

#[test]
fn a_task_that_never_got_its_turn_times_out_without_a_death() {
    let _watchdog = Watchdog::start("a_task_that_never_got_its_turn_times_out_without_a_death");
    let runtime = runtime(1);
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let task = Task::new(|| 1_u8).deadline(SHORT).go_on(&runtime);
    assert_eq!(task.join(), timed_out(SHORT));
    drop(standing);
    assert_eq!(running.join(), Ok(()));
    assert_eq!(runtime.stats().seats[0].deaths, 0);
}

#[test]
fn a_timeout_counts_from_the_start_of_the_run() {
    let _watchdog = Watchdog::start("a_timeout_counts_from_the_start_of_the_run");
    let runtime = runtime(1);
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let quick = Task::new(|| 1_u8).timeout(SHORT).go_on(&runtime);
    let slow = Task::new(endless).timeout(SHORT).go_on(&runtime);
    // Longer than the timeout in line.
    let waited = quick.join_timeout(SHORT * 3);
    let Err(quick) = waited else { panic!("ran while the gate was closed") };
    drop(standing);
    assert_eq!(running.join(), Ok(()));
    assert_eq!(quick.join(), Ok(1));
    assert_eq!(slow.join(), timed_out(SHORT));
}

#[test]
fn tasks_that_are_in_time_have_their_values_and_nobody_dies() {
    let _watchdog = Watchdog::start("tasks_that_are_in_time_have_their_values_and_nobody_dies");
    let runtime = runtime(2);
    let tasks: Vec<_> = (0..5_000_u64)
        .map(|n| Task::with(n, |n| n + 1).deadline(LONG).timeout(LONG).go_on(&runtime))
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.join(), Ok(n + 1));
    }
    assert_eq!(runtime.stats().seats.iter().map(|seat| seat.deaths).sum::<u64>(), 0);
}

#[test]
fn at_the_very_deadline_a_task_has_its_value_or_has_timed_out() {
    let _watchdog = Watchdog::start("at_the_very_deadline_a_task_has_its_value_or_has_timed_out");
    let runtime = runtime(2);
    let after = Duration::from_micros(400);
    let (mut values, mut late) = (0_u64, 0_u64);
    for n in 0..400_u64 {
        // Run times around the deadline.
        let task = Task::with(n, |n| {
            let until = system_ns() + (200 + n) * 1000;
            while system_ns() < until {
                std::hint::spin_loop();
            }
            n
        });
        match task.deadline(after).go_on(&runtime).join() {
            Ok(value) => values += u64::from(value == n),
            Err(TaskError::TimedOut { after: told }) if told == after => late += 1,
            other => panic!("task {n}: {other:?}"),
        }
    }
    let stats = runtime.stats();
    assert_eq!((values + late, stats.finished, stats.timed_out, stats.lost), (400, values, late, 0));
}

#[test]
fn an_awaited_task_wakes_its_future_at_the_deadline() {
    let _watchdog = Watchdog::start("an_awaited_task_wakes_its_future_at_the_deadline");
    let runtime = runtime(1);
    let outcome = pollster(Task::new(endless).deadline(SHORT).go_on(&runtime));
    assert_eq!(outcome, timed_out(SHORT));
}

/// Runs one future to its end on this thread.
fn pollster<F: std::future::Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn a_stopped_worker_is_killed_at_the_deadline_too() {
    let _watchdog = Watchdog::start("a_stopped_worker_is_killed_at_the_deadline_too");
    let runtime = runtime(1);
    let task = Task::new(|| {
        let _ = std::process::Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
    });
    assert_eq!(task.deadline(SHORT * 4).go_on(&runtime).join(), timed_out(SHORT * 4));
    assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
}

#[test]
fn killing_a_handle_ends_what_runs_and_what_waits() {
    let _watchdog = Watchdog::start("killing_a_handle_ends_what_runs_and_what_waits");
    let runtime = runtime(1);
    for _ in 0..10 {
        let gate = Gate::new();
        let running = runtime.task(gate.name(), gate::wait);
        let _standing = gate.await_task();
        let waiting = runtime.go(|| 1_u8);
        let behind = runtime.go(|| 2_u8);
        assert!(waiting.kill() && running.kill());
        assert!(!waiting.kill());
        assert_eq!((running.join(), waiting.join()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
        assert_eq!(behind.join(), Ok(2));
    }
    assert_eq!((runtime.stats().cancelled, runtime.stats().lost), (20, 0));
}

#[test]
fn killing_an_ended_task_is_refused_and_its_value_stays() {
    let _watchdog = Watchdog::start("killing_an_ended_task_is_refused_and_its_value_stays");
    let runtime = runtime(1);
    for n in 0..200_u32 {
        let task = runtime.task(n, |n| n);
        let killed = task.kill();
        let outcome = task.join();
        assert_eq!(outcome.is_err(), killed, "{outcome:?}");
    }
    let ended = runtime.go(|| 7_u8);
    gorun_test_programs::eventually(|| ended.is_finished());
    assert!(!ended.kill());
    assert_eq!(ended.join(), Ok(7));
}

#[test]
fn the_runtimes_deadline_holds_for_tasks_that_name_none() {
    let _watchdog = Watchdog::start("the_runtimes_deadline_holds_for_tasks_that_name_none");
    let runtime = Runtime::builder().workers(1).deadline(SHORT).build().expect("build a runtime");
    assert_eq!(runtime.go(endless).join(), timed_out(SHORT));
    assert_eq!(Task::new(|| 1_u8).deadline(LONG).go_on(&runtime).join(), Ok(1));
    let runtime = Runtime::builder().workers(1).timeout(SHORT).build().expect("build a runtime");
    assert_eq!(runtime.go(endless).join(), timed_out(SHORT));
}

#[test]
fn a_map_is_over_at_its_deadline_with_what_it_has() {
    let _watchdog = Watchdog::start("a_map_is_over_at_its_deadline_with_what_it_has");
    let runtime = runtime(2);
    let work = |n: u32| {
        if n >= 500 {
            endless();
        }
        n
    };
    let outcomes = runtime.map(0..2_000_u32, work).grain(100).deadline(SHORT * 4).outcomes();
    assert_eq!(outcomes.len(), 2_000);
    for (n, outcome) in (0..).zip(outcomes) {
        let expected = if n < 500 { Ok(n) } else { timed_out(SHORT * 4) };
        assert_eq!(outcome, expected, "item {n}");
    }
    assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
}

#[test]
fn an_item_that_takes_too_long_costs_only_itself() {
    let _watchdog = Watchdog::start("an_item_that_takes_too_long_costs_only_itself");
    let runtime = runtime(2);
    let work = |n: u32| {
        if n % 50 == 49 {
            endless();
        }
        n
    };
    let outcomes = runtime.map(0..300_u32, work).timeout(SHORT).outcomes();
    for (n, outcome) in (0..300).zip(outcomes) {
        let expected = if n % 50 == 49 { timed_out(SHORT) } else { Ok(n) };
        assert_eq!(outcome, expected, "item {n}");
    }
}

#[test]
fn a_killed_task_takes_no_other_with_it_that_helped_to_wait() {
    let _watchdog = Watchdog::start("a_killed_task_takes_no_other_with_it_that_helped_to_wait");
    let runtime = runtime(1);
    let outer = |name: String| {
        // Waits for a task of its own that never ends; its worker must not take foreign ones meanwhile.
        let inner = Task::with(name, gate::wait).go();
        inner.join().is_ok()
    };
    let gate = Gate::new();
    let mortal = Task::with(gate.name(), outer).deadline(SHORT * 4).go_on(&runtime);
    let others: Vec<_> = (0..50_u32).map(|n| runtime.task(n, |n| n)).collect();
    assert_eq!(mortal.join(), timed_out(SHORT * 4));
    for (n, task) in (0..).zip(others) {
        assert_eq!(task.join(), Ok(n));
    }
    assert_eq!(runtime.stats().lost, 0);
}

#[test]
fn limits_are_refused_where_nobody_can_kill() {
    let _watchdog = Watchdog::start("limits_are_refused_where_nobody_can_kill");
    let refused = |outcome: &Result<u8, TaskError>| {
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::CannotKill { .. } }))
    };
    let threads = Runtime::builder().workers(1).processes(false).build().expect("build a runtime");
    assert_eq!(threads.go(|| 1_u8).join(), Ok(1));
    assert!(refused(&Task::new(|| 1_u8).deadline(SHORT).go_on(&threads).join()));
    assert!(threads.map(0..3_u8, |n| n).timeout(SHORT).outcomes().iter().all(refused));
    let processes = runtime(1);
    let nested = processes.go(|| {
        let outcome = Task::new(|| 1_u8).deadline(SHORT).go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::CannotKill { .. } }))
    });
    assert_eq!(nested.join(), Ok(true));
}

#[test]
fn a_runtime_dropped_before_the_deadline_closes_the_task() {
    let _watchdog = Watchdog::start("a_runtime_dropped_before_the_deadline_closes_the_task");
    for _ in 0..10 {
        let runtime = runtime(1);
        let task = Task::new(endless).deadline(Duration::from_millis(1)).go_on(&runtime);
        drop(runtime);
        let outcome = task.join();
        let expected = [Err(TaskError::Closed), timed_out(Duration::from_millis(1))];
        assert!(expected.contains(&outcome), "{outcome:?}");
    }
}

#[test]
fn a_deadline_is_kept_while_thousands_of_others_are_forgotten() {
    let _watchdog = Watchdog::start("a_deadline_is_kept_while_thousands_of_others_are_forgotten");
    let runtime = runtime(2);
    for _ in 0..10 {
        let task = Task::new(endless).deadline(SHORT).go_on(&runtime);
        for n in 0..5_000_u32 {
            let quick = Task::with(n, |n| n).deadline(LONG).go_on(&runtime);
            if n % 3 == 0 {
                assert_eq!(quick.join(), Ok(n));
            }
        }
        assert_eq!(task.join(), timed_out(SHORT));
    }
}

#[test]
fn the_time_that_go_waits_for_a_slot_counts() {
    let _watchdog = Watchdog::start("the_time_that_go_waits_for_a_slot_counts");
    let runtime = Runtime::builder().workers(1).queue_slots(64).build().expect("build a runtime");
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let line: Vec<_> = (0..63_u32).map(|n| runtime.task(n, |n| n)).collect();
    let opener = std::thread::spawn(move || {
        std::thread::park_timeout(SHORT * 2);
        drop(standing);
    });
    // Waits until the gate opens, and is late by then; it may still have been run before anybody looked.
    let outcome = Task::new(endless).deadline(SHORT).go_on(&runtime).join();
    assert_eq!(outcome, timed_out(SHORT));
    opener.join().expect("the opener ends");
    assert_eq!(running.join(), Ok(()));
    assert!(line.into_iter().all(|task| task.join().is_ok()));
}

#[test]
fn a_deadline_of_nothing_is_told_as_such() {
    let _watchdog = Watchdog::start("a_deadline_of_nothing_is_told_as_such");
    let runtime = runtime(1);
    let outcome = Task::new(endless).deadline(Duration::ZERO).go_on(&runtime).join();
    assert_eq!(outcome, timed_out(Duration::ZERO));
}
