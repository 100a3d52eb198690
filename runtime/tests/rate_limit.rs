//! Rate limits: tasks start no faster than said; some wait for their turn, others hear when to come back.

use gorun_runtime::{RateLimit, Rejection, Runtime, Task, TaskError, TaskHandle};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(1000);

fn runtime() -> Runtime {
    Runtime::builder().workers(2).build().expect("build a runtime")
}

fn double(runtime: &Runtime, n: u32) -> TaskHandle<u32> {
    Task::with(n, |n: u32| n * 2).rate_limit("slow").go_on(runtime)
}

fn retry_after<R>(outcome: Result<R, TaskError>) -> Option<Duration> {
    match outcome {
        Err(TaskError::Rejected { reason: Rejection::RateLimited { retry_after } }) => Some(retry_after),
        _ => None,
    }
}

#[test]
fn a_burst_passes_and_the_next_hears_when_to_come_back() {
    let _watchdog = Watchdog::start("a_burst_passes_and_the_next_hears_when_to_come_back");
    let runtime = runtime();
    let limit = runtime.rate_limit("slow", RateLimit::every(LONG).burst(3));
    assert!((0..3).all(|n| double(&runtime, n).join() == Ok(n * 2)));
    let wait = retry_after(double(&runtime, 1).join()).expect("it is limited");
    assert!(wait <= LONG && wait > LONG / 2);
    assert_eq!(runtime.stats().policies.map(|policies| policies.refused_by_rate_limit), Some(1));
    assert_eq!(runtime.task(1, |n: u32| n).join(), Ok(1));
    limit.configure(RateLimit::every(LONG));
    assert_eq!(double(&runtime, 4).join(), Ok(8));
}

#[test]
fn who_waits_is_started_in_turn_though_nobody_looks() {
    let _watchdog = Watchdog::start("who_waits_is_started_in_turn_though_nobody_looks");
    let runtime = runtime();
    runtime.rate_limit("slow", RateLimit::every(SHORT).queue(5));
    let gate = Gate::new();
    let since_ns = system_ns();
    for _ in 0..5 {
        drop(Task::with(gate.name(), gate::wait).rate_limit("slow").go_on(&runtime));
    }
    for _ in 0..5 {
        drop(gate.await_task());
    }
    // The first at once, and four after an interval each.
    assert!(Duration::from_nanos(system_ns() - since_ns) >= SHORT * 4);
}

#[test]
fn a_turn_after_the_deadline_is_refused_at_once() {
    let _watchdog = Watchdog::start("a_turn_after_the_deadline_is_refused_at_once");
    let runtime = runtime();
    runtime.rate_limit("slow", RateLimit::every(LONG).queue(9));
    assert_eq!(double(&runtime, 1).join(), Ok(2));
    let late = Task::with(1, |n: u32| n).rate_limit("slow").deadline(SHORT).go_on(&runtime);
    assert!(late.is_finished() && retry_after(late.join()).is_some_and(|wait| wait > SHORT));
}

#[test]
fn who_waits_can_be_cancelled_and_killed_and_ends_with_the_runtime() {
    let _watchdog = Watchdog::start("who_waits_can_be_cancelled_and_killed_and_ends_with_the_runtime");
    let runtime = runtime();
    runtime.rate_limit("slow", RateLimit::every(LONG).queue(9));
    assert_eq!(double(&runtime, 1).join(), Ok(2));
    let [cancelled, killed, closed] = [1, 2, 3].map(|n| double(&runtime, n));
    assert!(cancelled.cancel() && killed.kill());
    assert_eq!((cancelled.join(), killed.join()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
    let Err(closed) = closed.join_timeout(SHORT) else { panic!("it ran") };
    let joined = std::thread::spawn(move || closed.join());
    drop(runtime);
    assert_eq!(joined.join().unwrap(), Err(TaskError::Closed));
}

#[test]
fn a_turn_comes_before_a_permit() {
    let _watchdog = Watchdog::start("a_turn_comes_before_a_permit");
    let runtime = runtime();
    runtime.rate_limit("slow", RateLimit::every(SHORT).queue(9));
    let bulkhead = runtime.bulkhead("one", gorun_runtime::BulkheadSettings::concurrency(1).queue(9));
    let gate = Gate::new();
    let start = || Task::with(gate.name(), gate::wait).rate_limit("slow").bulkhead("one").go_on(&runtime);
    let tasks = [start(), start(), start()];
    let standing = gate.await_task();
    eventually(|| (bulkhead.running(), bulkhead.waiting()) == (1, 2));
    drop(standing);
    drop(gate);
    assert!(tasks.into_iter().all(|task| task.join() == Ok(())));
}

#[test]
fn an_unknown_name_and_a_place_inside_a_task_are_refused_in_words() {
    let _watchdog = Watchdog::start("an_unknown_name_and_a_place_inside_a_task_are_refused_in_words");
    let runtime = runtime();
    let reason = Rejection::UnknownPolicy { what: "rate limit".into(), name: "slow".into() };
    assert_eq!(double(&runtime, 1).join(), Err(TaskError::Rejected { reason }));
    let outer = |n: u32| {
        let outcome = Task::with(n, |n: u32| n).rate_limit("slow").go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } }))
    };
    assert_eq!(runtime.task(2, outer).join(), Ok(true));
}
