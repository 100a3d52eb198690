//! Quarantine: inputs that keep killing workers are refused, and nothing else is.

use gorun_runtime::{Backoff, ReplayError, Retry, Runtime, TaskError};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::abort;
use std::time::Duration;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

/// Kills its worker for one input and doubles every other.
fn moody(n: u32) -> u32 {
    if n == 13 { abort() } else { n * 2 }
}

fn deaths(runtime: &Runtime) -> u64 {
    runtime.stats().seats.iter().map(|seat| seat.deaths).sum()
}

fn is_lost<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::WorkerLost { .. }))
}

fn is_quarantined<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::Quarantined { .. }))
}

#[test]
fn the_fourth_task_like_three_that_crashed_is_refused_with_evidence_and_others_are_not() {
    let _watchdog = Watchdog::start("the_fourth_task_like_three_that_crashed_is_refused");
    let runtime = runtime(1);
    for _ in 0..3 {
        assert!(is_lost(&runtime.task(13, moody).join()));
    }
    match runtime.task(13, moody).join() {
        Err(TaskError::Quarantined { crashes: 3, evidence }) => {
            assert_eq!(evidence.signal(), Some(6));
            assert!(evidence.function().is_some_and(|name| name.contains("moody")), "{evidence}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(runtime.task(14, moody).join(), Ok(28));
    eventually(|| deaths(&runtime) == 3);
}

#[test]
fn a_released_task_runs_again_and_is_counted_from_nought() {
    let _watchdog = Watchdog::start("a_released_task_runs_again_and_is_counted_from_nought");
    let runtime = Runtime::builder().workers(1).quarantine_after(2).build().unwrap();
    let crash = || runtime.task(13, moody).join();
    for _ in 0..3 {
        assert!(is_lost(&crash()) && is_lost(&crash()) && is_quarantined(&crash()));
        let list = runtime.quarantine().list();
        assert_eq!((list.len(), list[0].crashes, list[0].refused), (1, 2, 1));
        assert!(
            list[0].function.contains("moody") && list[0].input.as_deref() == Some(&13_u32.to_ne_bytes())
        );
        let shown = list[0].to_string();
        assert!(shown.contains("moody") && shown.contains("killed:    2 workers"), "{shown}");
        assert!(runtime.quarantine().release(list[0].fingerprint));
        assert!(runtime.quarantine().list().is_empty());
    }
}

#[test]
fn long_inputs_are_told_apart_as_well() {
    let _watchdog = Watchdog::start("long_inputs_are_told_apart_as_well");
    for bytes in [100, 1000, 5000, 2_000_000] {
        let runtime = runtime(1);
        let poison = |text: String| if text.ends_with('!') { abort() } else { text.len() };
        let bad = "x".repeat(bytes) + "!";
        for round in 0..3 {
            assert!(is_lost(&runtime.task(bad.clone(), poison).join()), "{bytes} bytes, round {round}");
        }
        assert!(is_quarantined(&runtime.task(bad.clone(), poison).join()), "{bytes} bytes");
        assert_eq!(runtime.task(bad.replace('!', "?"), poison).join(), Ok(bytes + 1));
    }
}

#[test]
fn an_item_of_a_map_is_refused_and_the_others_are_run() {
    let _watchdog = Watchdog::start("an_item_of_a_map_is_refused_and_the_others_are_run");
    for grain in [1, 7, 1000] {
        let runtime = runtime(2);
        let mut poisoned = 0;
        for round in 0..4 {
            let outcomes = runtime.map(0..100, moody).grain(grain).outcomes();
            for (n, outcome) in (0..).zip(&outcomes) {
                match n {
                    13 if round < 3 => assert!(is_lost(outcome), "grain {grain}, round {round}: {outcome:?}"),
                    13 => poisoned += u32::from(is_quarantined(outcome)),
                    _ => assert_eq!(*outcome, Ok(n * 2), "grain {grain}, round {round}"),
                }
            }
        }
        assert_eq!(poisoned, 1, "grain {grain}");
        eventually(|| deaths(&runtime) == 3);
    }
}

#[test]
fn a_range_full_of_the_same_poison_costs_three_workers() {
    let _watchdog = Watchdog::start("a_range_full_of_the_same_poison_costs_three_workers");
    let runtime = runtime(1);
    let items = (0..400_u32).map(|n| if n % 4 == 0 { 13 } else { 1000 + n });
    let outcomes = runtime.map(items, moody).grain(400).outcomes();
    let lost = outcomes.iter().filter(|outcome| is_lost(outcome)).count();
    let refused = outcomes.iter().filter(|outcome| is_quarantined(outcome)).count();
    let right = (0..).zip(&outcomes).filter(|(n, outcome)| **outcome == Ok((1000 + n) * 2)).count();
    assert_eq!((lost, refused, right), (3, 97, 300));
    eventually(|| deaths(&runtime) == 3);
}

#[test]
fn what_stands_in_line_when_the_third_crashes_is_ended_there() {
    let _watchdog = Watchdog::start("what_stands_in_line_when_the_third_crashes_is_ended_there");
    let runtime = runtime(1);
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let text = "a text that does not fit a slot of thirty-two bytes".to_owned();
    let poison = |_: String| -> u32 { abort() };
    let long: Vec<_> = (0..50).map(|_| runtime.task(text.clone(), poison)).collect();
    let short: Vec<_> = (0..50).map(|_| runtime.task(13, moody)).collect();
    let good: Vec<_> = (0..10).map(|n| runtime.task(n, moody)).collect();
    drop(standing);
    assert_eq!(busy.join(), Ok(()));
    // The next one may run before the death of the one before it is certain.
    let mut lost = 0;
    for tasks in [long, short] {
        let outcomes: Vec<_> = tasks.into_iter().map(gorun_runtime::TaskHandle::join).collect();
        let here = outcomes.iter().take_while(|outcome| is_lost(outcome)).count();
        assert!((3..10).contains(&here) && outcomes[here..].iter().all(is_quarantined), "{here}");
        lost += here as u64;
    }
    for (n, task) in (0..).zip(good) {
        assert_eq!(task.join(), Ok(n * 2));
    }
    eventually(|| deaths(&runtime) == lost);
}

#[test]
fn planned_stops_do_not_count() {
    let _watchdog = Watchdog::start("planned_stops_do_not_count");
    let runtime = runtime(1);
    let endless = |_: u32| -> u32 {
        loop {
            std::hint::spin_loop();
        }
    };
    for _ in 0..5 {
        let late = gorun_runtime::Task::with(1, endless).deadline(Duration::from_millis(5)).go_on(&runtime);
        assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
        let gate = Gate::new();
        let killed = runtime.task(gate.name(), gate::wait);
        let standing = gate.await_task();
        assert!(killed.kill());
        assert_eq!(killed.join(), Err(TaskError::Cancelled));
        drop(standing);
    }
    assert!(runtime.quarantine().list().is_empty());
}

#[test]
fn tasks_that_tasks_start_are_refused_too() {
    let _watchdog = Watchdog::start("tasks_that_tasks_start_are_refused_too");
    let runtime = runtime(2);
    for _ in 0..3 {
        assert!(is_lost(&runtime.task(13, moody).join()));
    }
    let nested = |(): ()| match gorun_runtime::Task::with(13, moody).go().join() {
        Err(TaskError::Quarantined { crashes, evidence }) => (crashes, evidence.signal()),
        other => panic!("{other:?}"),
    };
    assert_eq!(runtime.task((), nested).join(), Ok((3, Some(6))));
}

#[test]
fn a_death_inside_of_a_task_inside_of_a_task_is_counted_against_the_innermost() {
    let _watchdog = Watchdog::start("a_death_inside_of_a_task_is_counted_against_the_innermost");
    let runtime = runtime(1);
    let outer = |n: u32| gorun_runtime::Task::with(n, moody).go().join();
    for _ in 0..3 {
        assert!(is_lost(&runtime.task(13, outer).join()));
    }
    // The outer task runs, and is told.
    let outcome = runtime.task(13, outer).join();
    assert!(matches!(&outcome, Ok(Err(TaskError::Quarantined { .. }))), "{outcome:?}");
    let names: BTreeSet<_> = runtime.quarantine().list().into_iter().map(|task| task.function).collect();
    assert!(names.len() == 1 && names.iter().all(|name| name.contains("moody")), "{names:?}");
}

#[test]
fn a_replay_tells_how_it_ends_now() {
    let _watchdog = Watchdog::start("a_replay_tells_how_it_ends_now");
    let runtime = Runtime::builder().workers(1).quarantine_after(1).build().unwrap();
    let gate = Gate::new();
    for length in [0, 100] {
        let flag =
            std::env::temp_dir().join(format!("{}{}", gate.name().replace('/', "-"), "x".repeat(length)));
        File::create(&flag).unwrap();
        let broken = |path: String| if fs::exists(path).is_ok_and(|there| there) { abort() } else { 5_u8 };
        let path = flag.to_str().unwrap().to_owned();
        assert!(is_lost(&runtime.task(path.clone(), broken).join()));
        assert!(is_quarantined(&runtime.task(path.clone(), broken).join()));
        let fingerprint = runtime.quarantine().list()[0].fingerprint;
        assert!(is_lost(&runtime.quarantine().replay(fingerprint).unwrap()));
        assert_eq!(runtime.quarantine().inspect(fingerprint).unwrap().crashes, 2);
        fs::remove_file(&flag).unwrap();
        assert_eq!(runtime.quarantine().replay(fingerprint), Ok(Ok(())));
        assert_eq!(runtime.quarantine().release_all(), 1);
        assert_eq!(runtime.task(path, broken).join(), Ok(5));
        assert_eq!(runtime.quarantine().replay(fingerprint), Err(ReplayError::Unknown { fingerprint }));
    }
}

#[test]
fn retries_end_where_the_quarantine_begins() {
    let _watchdog = Watchdog::start("retries_end_where_the_quarantine_begins");
    let runtime = runtime(1);
    let retry = Retry::attempts(1).crash_attempts(10).backoff(Backoff::none());
    let outcome = gorun_runtime::Task::with(13, moody).retry(retry).go_on(&runtime).join();
    assert!(is_quarantined(&outcome), "{outcome:?}");
    eventually(|| deaths(&runtime) == 3);
}

#[test]
fn with_nought_nothing_is_ever_quarantined() {
    let _watchdog = Watchdog::start("with_nought_nothing_is_ever_quarantined");
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().unwrap();
    for _ in 0..6 {
        assert!(is_lost(&runtime.task(13, moody).join()));
    }
    assert!(Runtime::builder().quarantine_after(1001).build().is_err_and(|error| {
        error.to_string().contains("quarantine_after = 1001 is out of range; allowed: 0..=1000")
    }));
}
