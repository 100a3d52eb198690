//! Each way of dying costs exactly the task that died so, and says how.

use gorun_runtime::{Evidence, Runtime, TaskError};
use gorun_test_programs::{Death, Gate, Watchdog, gate};

/// Runs the death in the middle of two hundred queued tasks, on one worker; gives its evidence.
fn die_among_others(death: Death) -> Evidence {
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let start = |n| runtime.task(n, |n: u64| format!("value {n}"));
    let before: Vec<_> = (0..100).map(start).collect();
    let dying = runtime.task(death, |death: Death| -> u8 { death.die() });
    let behind: Vec<_> = (100..200).map(start).collect();
    drop(standing);
    assert_eq!(busy.join(), Ok(()));
    for (n, task) in (0..).zip(before.into_iter().chain(behind)) {
        assert_eq!(task.join(), Ok(format!("value {n}")), "{death:?}");
    }
    match dying.join() {
        Err(TaskError::WorkerLost { evidence }) => *evidence,
        other => panic!("{death:?}: {other:?}"),
    }
}

fn assert_told(death: Death) {
    let _watchdog = Watchdog::start(&format!("death by {death:?}"));
    let evidence = die_among_others(death);
    assert!(death.is_told_by(&evidence), "{death:?} was told as: {evidence}");
    assert_eq!((evidence.worker.seat.0, evidence.worker.generation, evidence.attempt), (0, 1, 1));
}

#[test]
fn a_segfault_is_told_as_signal_11_and_costs_one_task() {
    assert_told(Death::Segfault);
}

#[test]
fn an_abort_is_told_as_signal_6_and_costs_one_task() {
    assert_told(Death::Abort);
}

#[test]
fn an_exit_is_told_with_its_code_and_costs_one_task() {
    assert_told(Death::Exit(7));
}

#[test]
fn an_exit_with_zero_is_a_death_too() {
    assert_told(Death::Exit(0));
}

#[test]
fn a_kill_is_told_as_signal_9_and_costs_one_task() {
    assert_told(Death::Kill);
}

#[test]
fn a_stack_overflow_is_told_as_signal_11_and_costs_one_task() {
    assert_told(Death::StackOverflow);
}

#[test]
fn a_crash_in_a_thread_of_the_task_costs_that_task() {
    let _watchdog = Watchdog::start("a_crash_in_a_thread_of_the_task_costs_that_task");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let dying = runtime.go(|| {
        let crashed = std::thread::spawn(|| -> u8 { Death::Segfault.die() });
        crashed.join().unwrap_or(1)
    });
    let next = runtime.go(|| 5_u8);
    let outcome = dying.join();
    assert!(
        matches!(&outcome, Err(TaskError::WorkerLost { evidence }) if evidence.signal() == Some(11)),
        "{outcome:?}"
    );
    assert_eq!(next.join(), Ok(5));
}

#[test]
fn the_message_names_the_worker_and_the_signal() {
    let _watchdog = Watchdog::start("the_message_names_the_worker_and_the_signal");
    let message = die_among_others(Death::Segfault).to_string();
    assert!(message.contains("worker 0.1") && message.contains("SIGSEGV"), "{message}");
}

#[test]
fn finished_results_of_a_worker_that_dies_later_are_kept() {
    let _watchdog = Watchdog::start("finished_results_of_a_worker_that_dies_later_are_kept");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let large: Vec<_> = (0..50_u8).map(|n| runtime.task(n, |n: u8| vec![n; 50_000])).collect();
    let dying = runtime.go(|| -> u8 { Death::Kill.die() });
    assert!(dying.join().is_err());
    for (n, task) in (0..).zip(large) {
        assert_eq!(task.join(), Ok(vec![n; 50_000]));
    }
}

#[test]
fn every_task_may_kill_its_worker() {
    let _watchdog = Watchdog::start("every_task_may_kill_its_worker");
    let runtime = Runtime::builder().workers(2).quarantine_after(0).build().unwrap();
    let deaths: Vec<_> = (0..100).map(|n| Death::QUICK[n % 4]).collect();
    let tasks: Vec<_> =
        deaths.iter().map(|death| runtime.task(*death, |death: Death| -> u8 { death.die() })).collect();
    for (death, task) in deaths.into_iter().zip(tasks) {
        let outcome = task.join();
        let Err(TaskError::WorkerLost { evidence }) = outcome else { panic!("{death:?}: {outcome:?}") };
        assert!(death.is_told_by(&evidence), "{death:?} was told as: {evidence}");
    }
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    assert!(!runtime.is_degraded());
}

#[test]
fn a_runtime_without_spares_recovers_as_well() {
    let _watchdog = Watchdog::start("a_runtime_without_spares_recovers_as_well");
    let runtime = Runtime::builder().workers(1).spares(0).build().unwrap();
    for _ in 0..20 {
        assert!(runtime.go(|| -> u8 { Death::Abort.die() }).join().is_err());
        assert_eq!(runtime.go(|| 3_u8).join(), Ok(3));
    }
}
