//! Settings, inputs and results that cannot be accepted: each refusal says what is wrong and what is allowed.

use gorun_runtime::{BuildError, Builder, Rejection, ResultRefusal, Runtime, TaskError};
use gorun_test_programs::Watchdog;
use std::time::Duration;

const LIMIT: u64 = 1 << 16;

fn refusal_of(builder: Builder) -> String {
    match builder.build() {
        Err(error @ BuildError::OutOfRange { .. }) => error.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn assert_names(refusal: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal:?} lacks one of {parts:?}");
}

#[test]
fn settings_out_of_range_are_refused_with_key_value_and_range() {
    let _watchdog = Watchdog::start("settings_out_of_range_are_refused_with_key_value_and_range");
    assert_names(&refusal_of(Runtime::builder().workers(0)), &["workers", "0", "1..=120"]);
    assert_names(&refusal_of(Runtime::builder().workers(10_000)), &["workers", "10000", "1..=120"]);
    assert_names(&refusal_of(Runtime::builder().workers(usize::MAX)), &["workers", "1..=120"]);
    assert_names(&refusal_of(Runtime::builder().spares(9)), &["spares", "9", "0..=8"]);
    assert_names(&refusal_of(Runtime::builder().queue_slots(63)), &["queue_slots", "63", "64..=65536"]);
    assert_names(&refusal_of(Runtime::builder().queue_slots(100)), &["queue_slots", "100", "powers of two"]);
    assert_names(
        &refusal_of(Runtime::builder().message_bytes_max(5000)),
        &["message_bytes_max", "5000", "powers of two"],
    );
    assert_names(
        &refusal_of(Runtime::builder().message_bytes_max(1 << 40)),
        &["message_bytes_max", "1099511627776"],
    );
    assert_names(&refusal_of(Runtime::builder().spin(Duration::from_secs(1))), &["spin", "1s", "1ms"]);
}

#[test]
fn settings_at_their_bounds_work() {
    let _watchdog = Watchdog::start("settings_at_their_bounds_work");
    for builder in [
        Runtime::builder().workers(1).spares(0).queue_slots(64).message_bytes_max(4096).spin(Duration::ZERO),
        Runtime::builder().workers(1).spares(8).queue_slots(65_536).message_bytes_max(1 << 30),
    ] {
        let runtime = builder.build().unwrap();
        let tasks: Vec<_> = (0..300_u64).map(|n| runtime.task(n, |n| n)).collect();
        assert!((0..).zip(tasks).all(|(n, task)| task.join() == Ok(n)));
    }
}

#[test]
fn the_most_workers_there_may_be_work() {
    let _watchdog = Watchdog::start("the_most_workers_there_may_be_work");
    let runtime = Runtime::builder().workers(120).queue_slots(64).build().unwrap();
    let values: Vec<u64> = runtime.map(0..50_000_u64, |n| n).collect().unwrap();
    assert!(values.into_iter().eq(0..50_000));
    let crash = runtime.go(|| -> u8 { std::process::abort() });
    assert!(matches!(crash.join(), Err(TaskError::WorkerLost { .. })));
    assert!(!runtime.is_degraded());
}

#[test]
fn an_input_over_the_limit_is_rejected_with_both_sizes() {
    let _watchdog = Watchdog::start("an_input_over_the_limit_is_rejected_with_both_sizes");
    let runtime = Runtime::builder().workers(1).message_bytes_max(LIMIT).build().unwrap();
    for bytes in [LIMIT + 1, LIMIT * 10] {
        let input = vec![0_u8; usize::try_from(bytes).unwrap()];
        let outcome = runtime.task(input, |input: Vec<u8>| input.len()).join();
        assert_eq!(
            outcome,
            Err(TaskError::Rejected { reason: Rejection::InputTooLarge { bytes, limit: LIMIT } })
        );
    }
    let largest = vec![0_u8; usize::try_from(LIMIT).unwrap()];
    assert_eq!(runtime.task(largest, |input: Vec<u8>| input.len() as u64).join(), Ok(LIMIT));
}

#[test]
fn a_result_over_the_limit_is_refused_with_both_sizes() {
    let _watchdog = Watchdog::start("a_result_over_the_limit_is_refused_with_both_sizes");
    let runtime = Runtime::builder().workers(1).message_bytes_max(LIMIT).build().unwrap();
    for bytes in [LIMIT + 1, LIMIT * 10] {
        let outcome =
            runtime.task(bytes, |bytes: u64| vec![0_u8; usize::try_from(bytes).unwrap_or(0)]).join();
        assert_eq!(
            outcome,
            Err(TaskError::ResultRefused { reason: ResultRefusal::TooLarge { bytes, limit: LIMIT } })
        );
    }
    assert_eq!(
        runtime
            .task(LIMIT, |bytes: u64| vec![0_u8; usize::try_from(bytes).unwrap_or(0)])
            .join()
            .map(|r| r.len() as u64),
        Ok(LIMIT)
    );
}

#[test]
fn a_panic_message_over_the_limit_still_ends_the_task() {
    let _watchdog = Watchdog::start("a_panic_message_over_the_limit_still_ends_the_task");
    let runtime = Runtime::builder().workers(1).message_bytes_max(4096).build().unwrap();
    let outcome = runtime.go(|| -> u8 { panic!("{}", "long ".repeat(10_000)) }).join();
    assert!(outcome.is_err());
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
}

#[test]
fn results_kept_until_memory_is_used_up_refuse_the_next_one_only() {
    let _watchdog = Watchdog::start("results_kept_until_memory_is_used_up_refuse_the_next_one_only");
    let runtime = Runtime::builder().workers(1).message_bytes_max(4096).queue_slots(64).build().unwrap();
    let handles: Vec<_> = (0..5000_u64).map(|n| runtime.task(n, |n| vec![n; 500])).collect();
    let (mut right, mut refused) = (0, 0);
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(values) => {
                assert_eq!(values, vec![n; 500]);
                right += 1;
            }
            Err(TaskError::ResultRefused { reason: ResultRefusal::NoMemory { .. } }) => refused += 1,
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert!(right >= 4000, "{right} right, {refused} refused");
    assert_eq!(runtime.go(|| vec![1_u8; 4000]).join().map(|bytes| bytes.len()), Ok(4000));
}

#[test]
fn a_full_queue_makes_go_wait_and_loses_nothing() {
    let _watchdog = Watchdog::start("a_full_queue_makes_go_wait_and_loses_nothing");
    let runtime = Runtime::builder().workers(2).queue_slots(64).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let runtime = &runtime;
            scope.spawn(move || {
                let tasks: Vec<_> = (0..5000).map(|n| runtime.task(n + thread, |n: u64| n)).collect();
                assert!((thread..).zip(tasks).all(|(n, task)| task.join() == Ok(n)));
            });
        }
    });
}

#[test]
fn threads_do_the_work_where_processes_are_switched_off() {
    let _watchdog = Watchdog::start("threads_do_the_work_where_processes_are_switched_off");
    let runtime = Runtime::builder().workers(2).processes(false).build().unwrap();
    assert_eq!(runtime.go(std::process::id).join(), Ok(std::process::id()));
    let values: Vec<u64> = runtime.map(0..10_000_u64, |n| n + 1).collect().unwrap();
    assert!(values.into_iter().eq(1..=10_000));
    assert!(matches!(runtime.go(|| -> u8 { panic!("in a thread") }).join(), Err(TaskError::Panicked { .. })));
    assert!(runtime.is_degraded());
}

#[test]
fn a_runtime_on_threads_that_is_dropped_with_work_in_flight_closes_it() {
    let _watchdog = Watchdog::start("a_runtime_on_threads_that_is_dropped_with_work_in_flight_closes_it");
    let runtime = Runtime::builder().workers(1).processes(false).build().unwrap();
    let gate = gorun_test_programs::Gate::new();
    let running = runtime.task(gate.name(), gorun_test_programs::gate::wait);
    let standing = gate.await_task();
    let queued = runtime.go(|| 1_u8);
    let dropping = std::thread::spawn(move || drop(runtime));
    assert_eq!(queued.join(), Err(TaskError::Closed));
    drop(standing);
    dropping.join().unwrap();
    assert!(matches!(running.join(), Ok(()) | Err(TaskError::Closed)));
}
