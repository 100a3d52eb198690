//! Fallbacks: a task whose attempts have all failed gives something else, and that is counted and told.

use gorun_runtime::{Fallback, PolicyStats, Rejection, Retry, Runtime, Task, TaskError};
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(1000);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn policies(runtime: &Runtime) -> PolicyStats {
    runtime.stats().policies.expect("read by the host")
}

/// Gives its input if it is even.
fn even(n: u32) -> u32 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n
}

#[test]
fn a_failed_task_gives_the_fallback_value_and_a_good_one_its_own() {
    let _watchdog = Watchdog::start("a_failed_task_gives_the_fallback_value_and_a_good_one_its_own");
    let runtime = runtime(1);
    let run = |n| Task::with(n, even).fallback(Fallback::value(100)).go_on(&runtime).join();
    assert_eq!((run(2), run(3), run(4), run(5)), (Ok(2), Ok(100), Ok(4), Ok(100)));
    assert_eq!(policies(&runtime).fallbacks, 2);
}

#[test]
fn the_fallback_function_sees_each_kind_of_error_in_the_callers_process() {
    let _watchdog = Watchdog::start("the_fallback_function_sees_each_kind_of_error_in_the_callers_process");
    let runtime = runtime(1);
    let tell = |error: &TaskError| (std::process::id(), format!("{error:?}"));
    let run = |function: fn(Death) -> (u32, String)| {
        let task = Task::with(Death::Abort, function).timeout(Duration::from_millis(30));
        let (pid, told) =
            task.fallback(Fallback::function(tell)).go_on(&runtime).join().expect("it falls back");
        assert_eq!(pid, std::process::id());
        told
    };
    assert!(run(|_| panic!("tilt")).contains("tilt"));
    assert!(run(|death| death.die()).contains("WorkerLost"));
    let endless = |_| loop {
        std::hint::spin_loop();
    };
    assert!(run(endless).contains("TimedOut"));
}

#[test]
fn a_refused_task_falls_back_and_what_the_user_ended_does_not() {
    let _watchdog = Watchdog::start("a_refused_task_falls_back_and_what_the_user_ended_does_not");
    let small = Runtime::builder().workers(1).message_bytes_max(4096).build().expect("build a runtime");
    let task = Task::with(vec![1_u8; 5000], |bytes: Vec<u8>| bytes.len()).fallback(Fallback::value(0));
    assert_eq!(task.go_on(&small).join(), Ok(0));
    let gate = Gate::new();
    let guard = |name| Task::with(name, gate::wait).fallback(Fallback::value(())).go_on(&small);
    let running = guard(gate.name());
    let standing = gate.await_task();
    let queued = guard(gate.name());
    let left = guard(gate.name());
    assert!(queued.cancel() && running.kill());
    assert_eq!((running.join(), queued.join()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
    drop(standing);
    drop(small);
    assert_eq!(left.join(), Err(TaskError::Closed));
}

#[test]
fn the_last_good_result_is_given_until_it_is_too_old() {
    let _watchdog = Watchdog::start("the_last_good_result_is_given_until_it_is_too_old");
    let runtime = runtime(1);
    let run = |n, ttl| Task::with(n, even).fallback(Fallback::cached(ttl)).go_on(&runtime).join();
    assert!(run(1, LONG).is_err(), "nothing is kept yet");
    assert_eq!((run(2, LONG), run(3, LONG), run(8, LONG), run(5, LONG)), (Ok(2), Ok(2), Ok(8), Ok(8)));
    assert_eq!(policies(&runtime).fallbacks, 2);
    let ttl = Duration::from_millis(5);
    let since_ns = system_ns();
    assert_eq!(run(6, ttl), Ok(6));
    eventually(|| system_ns() - since_ns > 100_000_000);
    assert!(run(7, LONG).is_err(), "too old");
    // Another function's results are its own.
    assert_eq!(run(6, LONG), Ok(6));
    let other = Task::with(3_u32, |n: u32| -> u32 { panic!("other {n}") });
    assert!(other.fallback(Fallback::cached(LONG)).go_on(&runtime).join().is_err());
}

#[test]
fn results_are_kept_apart_by_key() {
    let _watchdog = Watchdog::start("results_are_kept_apart_by_key");
    let runtime = runtime(1);
    let run =
        |n, key| Task::with(n, even).fallback(Fallback::cached(LONG).per_key(key)).go_on(&runtime).join();
    assert_eq!((run(2, 1), run(4, 2)), (Ok(2), Ok(4)));
    assert_eq!((run(3, 1), run(3, 2)), (Ok(2), Ok(4)));
    assert!(run(3, 3).is_err());
}

#[test]
fn a_task_falls_back_after_its_last_attempt_only() {
    let _watchdog = Watchdog::start("a_task_falls_back_after_its_last_attempt_only");
    let runtime = runtime(1);
    let task = Task::with(3, even).retry(Retry::attempts(3)).fallback(Fallback::value(0));
    assert_eq!(task.go_on(&runtime).join(), Ok(0));
    assert_eq!(
        (runtime.stats().panicked, policies(&runtime).retries, policies(&runtime).fallbacks),
        (3, 2, 1)
    );
}

#[test]
fn nested_tasks_fall_back() {
    let _watchdog = Watchdog::start("nested_tasks_fall_back");
    let runtime = runtime(1);
    let outer = |n: u32| Task::with(n, even).fallback(Fallback::value(1)).go().join().ok();
    assert_eq!(runtime.task(3, outer).join(), Ok(Some(1)));
}

/// Counts warnings about fallbacks on one thread.
struct Warnings(Arc<AtomicU32>, ThreadId);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().contains("fallback") && std::thread::current().id() == self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn falling_back_is_told_once_for_each_function_and_counted_every_time() {
    let _watchdog = Watchdog::start("falling_back_is_told_once_for_each_function_and_counted_every_time");
    let runtime = runtime(1);
    let count = Arc::new(AtomicU32::new(0));
    let warnings = Warnings(Arc::clone(&count), std::thread::current().id());
    tracing::subscriber::set_global_default(warnings).expect("the only one");
    // Another test may have asked while there was none.
    tracing::callsite::rebuild_interest_cache();
    for _ in 0..5 {
        assert_eq!(Task::with(3, even).fallback(Fallback::value(1)).go_on(&runtime).join(), Ok(1));
    }
    let other = Task::with(3, |n: u32| -> u32 { panic!("other {n}") });
    assert_eq!(other.fallback(Fallback::value(2)).go_on(&runtime).join(), Ok(2));
    assert_eq!((count.load(Ordering::SeqCst), policies(&runtime).fallbacks), (2, 6));
}

/// A value in the host only.
fn dies_elsewhere(host: u32) -> u64 {
    if std::process::id() == host { 5 } else { Death::Segfault.die() }
}

#[test]
fn a_thread_of_the_host_is_the_last_resort() {
    let _watchdog = Watchdog::start("a_thread_of_the_host_is_the_last_resort");
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().expect("build a runtime");
    let host = std::process::id();
    let start = || Task::with(host, dies_elsewhere).fallback(Fallback::thread()).go_on(&runtime);
    assert_eq!(start().join(), Ok(5));
    let looked_at = start();
    eventually(|| looked_at.is_finished());
    assert_eq!(looked_at.join(), Ok(5));
    let Ok(outcome) = start().join_timeout(Duration::from_secs(1000)) else { panic!("it goes on") };
    assert_eq!(outcome, Ok(5));
    assert_eq!(policies(&runtime).fallbacks, 3);
    // After the last attempt only, and only for an error.
    let task = Task::with(host, dies_elsewhere).retry(Retry::attempts(1).crash_attempts(3));
    assert_eq!(task.fallback(Fallback::thread()).go_on(&runtime).join(), Ok(5));
    assert_eq!(policies(&runtime).retries, 2);
    let fine = Task::with(1_u32, |n| n + 1).fallback(Fallback::thread()).go_on(&runtime);
    assert_eq!((fine.join(), policies(&runtime).fallbacks), (Ok(2), 4));
}

#[test]
fn a_panic_on_the_thread_is_the_tasks() {
    let _watchdog = Watchdog::start("a_panic_on_the_thread_is_the_tasks");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let task = Task::with(std::process::id(), |host: u32| -> u8 {
        if std::process::id() == host { panic!("here too") } else { Death::Abort.die() }
    });
    let outcome = task.fallback(Fallback::thread()).go_on(&runtime).join();
    assert!(matches!(outcome, Err(TaskError::Panicked { message, .. }) if message == "here too"));
}

#[test]
fn what_the_user_ended_and_nested_tasks_get_no_thread() {
    let _watchdog = Watchdog::start("what_the_user_ended_and_nested_tasks_get_no_thread");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    let gate = Gate::new();
    let task = Task::with(gate.name(), gate::wait).fallback(Fallback::thread()).go_on(&runtime);
    let _standing = gate.await_task();
    assert!(task.kill());
    assert_eq!((task.join(), policies(&runtime).fallbacks), (Err(TaskError::Cancelled), 0));
    let outer = |n: u32| {
        let outcome = Task::with(n, |n: u32| n).fallback(Fallback::thread()).go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } }))
    };
    assert_eq!(runtime.task(2, outer).join(), Ok(true));
}
