//! Circuit breakers: what fails is not called for a while, and then carefully.

use gorun_runtime::{
    BreakerHandle, BreakerSettings, BreakerState, Fallback, PolicyStats, Rejection, Retry, Runtime, Task,
    TaskError, TaskHandle, go_race,
};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(1000);

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().expect("build a runtime")
}

fn policies(runtime: &Runtime) -> PolicyStats {
    runtime.stats().policies.expect("read by the host")
}

fn even(n: u32) -> u32 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n
}

fn start(runtime: &Runtime, n: u32) -> TaskHandle<u32> {
    Task::with(n, even).breaker("even").go_on(runtime)
}

/// A breaker that opens at this many failures.
fn opens_at(runtime: &Runtime, failures: u32, recovery: Duration) -> BreakerHandle {
    let breaker = runtime.breaker("even");
    breaker.configure(BreakerSettings::default().failures(failures, LONG).recovery(recovery));
    breaker
}

fn is_refused<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::CircuitOpen { .. }))
}

fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn failures_open_it_and_it_says_when_to_come_back() {
    let _watchdog = Watchdog::start("failures_open_it_and_it_says_when_to_come_back");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 3, LONG);
    for n in [1, 2, 3, 4, 5] {
        assert!(!is_refused(&start(&runtime, n).join()), "{n}");
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    let panicked = runtime.stats().panicked;
    let Err(TaskError::CircuitOpen { retry_after }) = start(&runtime, 2).join() else { panic!("it ran") };
    assert!(retry_after <= LONG && retry_after > LONG / 2);
    assert!(is_refused(&block_on(start(&runtime, 2))));
    assert_eq!((runtime.stats().panicked, policies(&runtime).refused_by_breaker), (panicked, 2));
    // Others by another name.
    assert_eq!(Task::with(2, even).breaker("other").go_on(&runtime).join(), Ok(2));
}

#[test]
fn each_kind_of_failure_counts_and_what_the_user_ended_does_not() {
    let _watchdog = Watchdog::start("each_kind_of_failure_counts_and_what_the_user_ended_does_not");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, LONG);
    let fails = |outcome: Result<(), TaskError>| {
        let opened = breaker.state() == BreakerState::Open;
        breaker.reset();
        outcome.is_err() && opened
    };
    let run = |function: fn(String)| Task::with(String::new(), function).breaker("even");
    assert!(fails(run(|_| panic!("tilt")).go_on(&runtime).join()));
    assert!(fails(run(|_| Death::Segfault.die()).go_on(&runtime).join()));
    let endless = |_| loop {
        std::hint::spin_loop();
    };
    assert!(fails(run(endless).timeout(SHORT).go_on(&runtime).join()));
    let gate = Gate::new();
    let guarded = |name| Task::with(name, gate::wait).breaker("even").go_on(&runtime);
    let running = guarded(gate.name());
    let _standing = gate.await_task();
    let queued = guarded(gate.name());
    drop(guarded(String::new()));
    assert!(queued.cancel() && running.kill());
    assert!(!fails(queued.join()) && !fails(running.join()));
}

#[test]
fn after_the_recovery_time_probes_close_it_or_open_it_again() {
    let _watchdog = Watchdog::start("after_the_recovery_time_probes_close_it_or_open_it_again");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, SHORT);
    for _ in 0..3 {
        assert!(start(&runtime, 1).join().is_err());
        assert_eq!(breaker.state(), BreakerState::Open);
        let since_ns = system_ns();
        eventually(|| Duration::from_nanos(system_ns() - since_ns) > SHORT);
    }
    assert_eq!(start(&runtime, 2).join(), Ok(2));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn only_so_many_probes_run_at_once() {
    let _watchdog = Watchdog::start("only_so_many_probes_run_at_once");
    let runtime = runtime();
    let breaker = runtime.breaker("even");
    let recovery = SHORT * 20;
    breaker.configure(BreakerSettings::default().failures(1, LONG).recovery(recovery).probes(2));
    assert!(start(&runtime, 1).join().is_err());
    let since_ns = system_ns();
    eventually(|| Duration::from_nanos(system_ns() - since_ns) > recovery);
    let gate = Gate::new();
    let guarded = || Task::with(gate.name(), gate::wait).breaker("even").go_on(&runtime);
    let probes = [guarded(), guarded()];
    let standing = gate.await_task();
    assert!(probes.iter().all(|probe| !probe.is_finished()));
    // On a machine that stood still meanwhile, because the probes are overdue.
    assert!(is_refused(&guarded().join()));
    drop(standing);
    drop(gate);
    assert!(probes.into_iter().all(|probe| probe.join() == Ok(())));
}

#[test]
fn tasks_that_hang_open_it_while_they_hang() {
    let _watchdog = Watchdog::start("tasks_that_hang_open_it_while_they_hang");
    let runtime = runtime();
    let breaker = runtime.breaker("slow");
    let settings = BreakerSettings::default().slow_calls(SHORT, 1.0).window(10, 2).recovery(LONG);
    breaker.configure(settings);
    let gate = Gate::new();
    let guarded = || Task::with(gate.name(), gate::wait).breaker("slow").go_on(&runtime);
    let hanging = [guarded(), guarded()];
    let standing = gate.await_task();
    let since_ns = system_ns();
    eventually(|| Duration::from_nanos(system_ns() - since_ns) > SHORT);
    assert!(is_refused(&guarded().join()));
    drop(standing);
    drop(gate);
    assert!(hanging.into_iter().all(|task| task.join() == Ok(())));
}

#[test]
fn a_quick_task_that_is_looked_at_late_is_not_slow() {
    let _watchdog = Watchdog::start("a_quick_task_that_is_looked_at_late_is_not_slow");
    let runtime = runtime();
    let breaker = runtime.breaker("even");
    breaker.configure(BreakerSettings::default().slow_calls(SHORT * 10, 1.0).window(10, 1));
    let task = start(&runtime, 2);
    let since_ns = system_ns();
    eventually(|| Duration::from_nanos(system_ns() - since_ns) > SHORT * 12);
    assert_eq!(task.join(), Ok(2));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn it_is_forced_open_and_closed_and_reset() {
    let _watchdog = Watchdog::start("it_is_forced_open_and_closed_and_reset");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, LONG);
    breaker.force_open();
    assert_eq!(start(&runtime, 2).join(), Err(TaskError::CircuitOpen { retry_after: Duration::MAX }));
    breaker.force_close();
    for _ in 0..3 {
        assert!(!is_refused(&start(&runtime, 1).join()));
    }
    assert_eq!(breaker.state(), BreakerState::ForcedClosed);
    breaker.reset();
    assert!(start(&runtime, 1).join().is_err() && breaker.state() == BreakerState::Open);
}

#[test]
fn listeners_hear_of_each_change_and_may_ask_back() {
    let _watchdog = Watchdog::start("listeners_hear_of_each_change_and_may_ask_back");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, LONG);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (notes, asked) = (Arc::clone(&heard), breaker.clone());
    breaker.on_change(move |name, before, after| {
        assert_eq!((name, asked.state()), ("even", after));
        notes.lock().unwrap().push((before, after));
    });
    assert!(start(&runtime, 1).join().is_err());
    assert!(is_refused(&start(&runtime, 1).join()));
    breaker.reset();
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    assert_eq!(*heard.lock().unwrap(), [(closed, open), (open, closed)]);
}

#[test]
fn a_refused_task_falls_back_and_is_not_tried_again() {
    let _watchdog = Watchdog::start("a_refused_task_falls_back_and_is_not_tried_again");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 2, LONG);
    // Its own attempts open the breaker, which refuses the third.
    let task = Task::with(1, even).breaker("even").retry(Retry::attempts(9));
    let fallback = Fallback::function(|error| u32::from(matches!(error, TaskError::CircuitOpen { .. })));
    assert_eq!(task.fallback(fallback).go_on(&runtime).join(), Ok(1));
    assert_eq!((breaker.state(), runtime.stats().panicked), (BreakerState::Open, 2));
}

#[test]
fn awaited_and_racing_tasks_report_to_it() {
    let _watchdog = Watchdog::start("awaited_and_racing_tasks_report_to_it");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, LONG);
    assert_eq!(block_on(start(&runtime, 2)), Ok(2));
    assert!(block_on(start(&runtime, 1)).is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
    let default = Runtime::current().expect("the default runtime");
    default.breaker("race").configure(BreakerSettings::default().failures(1, LONG).recovery(LONG));
    assert!(go_race([Task::with(1, even).breaker("race")]).is_err());
    assert!(is_refused(&go_race([Task::with(1, even).breaker("race")])));
}

#[test]
fn keys_of_a_name_are_apart_and_share_settings_and_listeners() {
    let _watchdog = Watchdog::start("keys_of_a_name_are_apart_and_share_settings_and_listeners");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, LONG);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    breaker.on_change(move |name, _, after| notes.lock().unwrap().push((name.to_owned(), after)));
    let start = |n, key| Task::with(n, even).keyed_breaker("even", key).go_on(&runtime).join();
    assert!(start(1, 7).is_err() && is_refused(&start(2, 7)));
    assert_eq!((start(2, 8), breaker.state()), (Ok(2), BreakerState::Closed));
    assert_eq!(*heard.lock().unwrap(), [("even#7".to_owned(), BreakerState::Open)]);
    breaker.key(8).force_open();
    assert!(is_refused(&start(2, 8)) && breaker.key(8).key(9).state() == BreakerState::ForcedOpen);
    // Other settings begin anew.
    breaker.configure(BreakerSettings::default().failures(2, LONG));
    assert_eq!((start(2, 7), start(2, 8)), (Ok(2), Ok(2)));
    assert!(start(1, 7).is_err() && !is_refused(&start(1, 7)) && is_refused(&start(1, 7)));
    // The one not asked for longest goes when there are too many.
    (0..1024).for_each(|key| drop(breaker.key(100 + key)));
    assert_eq!(start(2, 7), Ok(2));
}

#[test]
fn each_function_has_a_breaker_of_its_own() {
    let _watchdog = Watchdog::start("each_function_has_a_breaker_of_its_own");
    let runtime = runtime();
    runtime.breaker("functions").configure(BreakerSettings::default().failures(1, LONG).recovery(LONG));
    let start =
        |n, function: fn(u32) -> u32| Task::with(n, function).function_breaker().go_on(&runtime).join();
    assert!(start(1, even).is_err() && is_refused(&start(2, even)));
    assert_eq!(start(1, |n| n + 1), Ok(2));
}

#[test]
fn inside_a_task_a_breaker_without_a_name_or_with_a_key_is_refused_in_words() {
    let _watchdog =
        Watchdog::start("inside_a_task_a_breaker_without_a_name_or_with_a_key_is_refused_in_words");
    let runtime = runtime();
    let outer = |n: u32| Task::with(n, even).breaker("even").go().join();
    let reason = Rejection::UnknownPolicy { what: "breaker".into(), name: "even".into() };
    assert_eq!(runtime.task(2, outer).join(), Ok(Err(TaskError::Rejected { reason })));
    let _named = runtime.breaker("even");
    assert_eq!(runtime.task(2, outer).join(), Ok(Ok(2)));
    let keyed = |n: u32| {
        let outcome = Task::with(n, even).keyed_breaker("even", 1).go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } }))
    };
    assert_eq!(runtime.task(2, keyed).join(), Ok(true));
}

fn nested(n: u32) -> Result<u32, TaskError> {
    Task::with(n, even).breaker("even").go().join()
}

#[test]
fn host_and_nested_tasks_see_one_breaker() {
    let _watchdog = Watchdog::start("host_and_nested_tasks_see_one_breaker");
    let runtime = Runtime::builder().workers(3).build().expect("build a runtime");
    let breaker = opens_at(&runtime, 4, LONG);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    breaker.on_change(move |_, before, after| notes.lock().unwrap().push((before, after)));
    // Two failures here, two there, whichever worker that is: the host sees what a worker has brought about.
    assert!(start(&runtime, 1).join().is_err() && start(&runtime, 1).join().is_err());
    let failed: Vec<_> = (0..2).map(|_| runtime.task(1, nested).join()).collect();
    assert!(failed.iter().all(|outcome| matches!(outcome, Ok(Err(TaskError::Panicked { .. })))));
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(is_refused(&start(&runtime, 2).join()));
    assert_eq!(*heard.lock().unwrap(), [(BreakerState::Closed, BreakerState::Open)]);
    // All workers see it, and see it closed again.
    let all: Vec<_> = (0..12).map(|_| runtime.task(2, nested)).collect();
    assert!(all.into_iter().all(|task| task.join().is_ok_and(|inner| is_refused(&inner))));
    breaker.reset();
    assert_eq!(runtime.task(2, nested).join(), Ok(Ok(2)));
    breaker.force_open();
    assert_eq!(
        runtime.task(2, nested).join(),
        Ok(Err(TaskError::CircuitOpen { retry_after: Duration::MAX }))
    );
}

#[test]
fn a_nested_probe_closes_it_for_all() {
    let _watchdog = Watchdog::start("a_nested_probe_closes_it_for_all");
    let runtime = runtime();
    let breaker = opens_at(&runtime, 1, SHORT);
    assert!(start(&runtime, 1).join().is_err());
    let since_ns = system_ns();
    eventually(|| Duration::from_nanos(system_ns() - since_ns) > SHORT * 2);
    assert_eq!(runtime.task(2, nested).join(), Ok(Ok(2)));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_worker_that_dies_with_a_probe_loses_only_that() {
    let _watchdog = Watchdog::start("a_worker_that_dies_with_a_probe_loses_only_that");
    let runtime = Runtime::builder().workers(2).build().expect("build a runtime");
    let breaker = opens_at(&runtime, 1, SHORT);
    // Dies while its nested task is a probe: only the asking process knows of that.
    let dies = |name: String| {
        let probe = Task::with(name, gate::wait).breaker("even").go();
        if !probe.is_finished() {
            Death::Kill.die();
        }
    };
    assert!(start(&runtime, 1).join().is_err());
    let wait = || {
        let since_ns = system_ns();
        eventually(|| Duration::from_nanos(system_ns() - since_ns) > SHORT * 2);
    };
    wait();
    let gate = Gate::new();
    assert!(matches!(runtime.task(gate.name(), dies).join(), Err(TaskError::WorkerLost { .. })));
    drop(gate);
    // Nobody will hear of that probe, and another is let through all the same.
    eventually(|| start(&runtime, 2).join() == Ok(2));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn names_beyond_the_shared_ones_are_the_hosts_alone() {
    let _watchdog = Watchdog::start("names_beyond_the_shared_ones_are_the_hosts_alone");
    let runtime = runtime();
    let names: Vec<String> = (0..70).map(|n| format!("name {n}")).collect();
    names.iter().for_each(|name| runtime.breaker(name).force_open());
    let long = "n".repeat(65);
    runtime.breaker(&long).force_open();
    for name in names.iter().chain([&long]) {
        assert_eq!(runtime.breaker(name).state(), BreakerState::ForcedOpen, "{name}");
        assert!(is_refused(&Task::with(2, even).breaker(name).go_on(&runtime).join()), "{name}");
    }
    let inside = |name: String| Task::with(2, even).breaker(&name).go().join();
    assert!(runtime.task(names[63].clone(), inside).join().is_ok_and(|outcome| is_refused(&outcome)));
    for name in [names[64].clone(), long] {
        let reason = Rejection::UnknownPolicy { what: "breaker".into(), name: name.clone() };
        assert_eq!(runtime.task(name, inside).join(), Ok(Err(TaskError::Rejected { reason })));
    }
}

#[test]
fn many_threads_share_one_breaker() {
    let _watchdog = Watchdog::start("many_threads_share_one_breaker");
    let runtime = Runtime::builder().workers(2).build().expect("build a runtime");
    let breaker = opens_at(&runtime, 40, LONG);
    breaker.configure(BreakerSettings::default().failures(40, LONG).failure_rate(0.0).recovery(LONG));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let runtime = &runtime;
            scope.spawn(move || {
                for n in 0..100 {
                    let outcome = start(runtime, thread + n).join();
                    assert!(outcome.is_err() || outcome == Ok(thread + n));
                }
            });
        }
    });
    assert_eq!(breaker.state(), BreakerState::Open);
    // At most those that were under way when it opened come on top.
    assert!((40..48).contains(&runtime.stats().panicked), "{}", runtime.stats().panicked);
}
