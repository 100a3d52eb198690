//! Bulkheads: so many tasks of a name run, so many wait on the host's side, and a permit comes back with each end.

use gorun_runtime::{
    BulkheadHandle, BulkheadSettings, Rejection, Retry, Runtime, Task, TaskError, TaskHandle, go_race,
};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(1000);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn limit(runtime: &Runtime, concurrency: u32, queue: u32) -> BulkheadHandle {
    runtime.bulkhead("few", BulkheadSettings::concurrency(concurrency).queue(queue))
}

/// A task that stands at the gate.
fn at_gate(runtime: &Runtime, gate: &Gate) -> TaskHandle<()> {
    Task::with(gate.name(), gate::wait).bulkhead("few").go_on(runtime)
}

fn double(runtime: &Runtime, n: u32) -> TaskHandle<u32> {
    Task::with(n, |n: u32| n * 2).bulkhead("few").go_on(runtime)
}

fn counts(bulkhead: &BulkheadHandle) -> (usize, usize) {
    (bulkhead.running(), bulkhead.waiting())
}

fn is_full<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::Rejected { reason: Rejection::BulkheadFull { .. } }))
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
fn so_many_run_so_many_wait_and_others_are_refused_with_numbers() {
    let _watchdog = Watchdog::start("so_many_run_so_many_wait_and_others_are_refused_with_numbers");
    let runtime = runtime(3);
    let bulkhead = limit(&runtime, 2, 1);
    let gate = Gate::new();
    let tasks = [at_gate(&runtime, &gate), at_gate(&runtime, &gate), at_gate(&runtime, &gate)];
    let standing = [gate.await_task(), gate.await_task()];
    assert_eq!(counts(&bulkhead), (2, 1));
    let refused = double(&runtime, 1).join();
    let reason = Rejection::BulkheadFull { concurrency: 2, queue: 1 };
    assert_eq!(refused, Err(TaskError::Rejected { reason }));
    assert_eq!(runtime.stats().policies.map(|policies| policies.refused_by_bulkhead), Some(1));
    // A third worker is free all the while, and gets nothing of that name; others pass.
    assert_eq!(runtime.task(4, |n: u32| n + 1).join(), Ok(5));
    assert!(!tasks[2].is_finished());
    let [first, second] = standing;
    drop(first);
    let third = gate.await_task();
    assert_eq!(counts(&bulkhead), (2, 0));
    drop((second, third));
    assert!(tasks.into_iter().all(|task| task.join() == Ok(())));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn the_next_is_started_though_nobody_waits_and_handles_are_dropped() {
    let _watchdog = Watchdog::start("the_next_is_started_though_nobody_waits_and_handles_are_dropped");
    let runtime = runtime(2);
    let bulkhead = limit(&runtime, 1, 10);
    let gate = Gate::new();
    for _ in 0..4 {
        drop(at_gate(&runtime, &gate));
    }
    let kept = at_gate(&runtime, &gate);
    for _ in 0..4 {
        drop(gate.await_task());
    }
    let last = gate.await_task();
    assert_eq!(counts(&bulkhead), (1, 0));
    assert!(!kept.is_finished());
    drop(last);
    eventually(|| counts(&bulkhead) == (0, 0));
    assert_eq!(kept.join(), Ok(()));
}

#[test]
fn a_permit_comes_back_however_its_task_ends() {
    let _watchdog = Watchdog::start("a_permit_comes_back_however_its_task_ends");
    let runtime = runtime(1);
    let bulkhead = limit(&runtime, 1, 10);
    let run = |function: fn(u32) -> u32| Task::with(1, function).bulkhead("few");
    let endless = |_| loop {
        std::hint::spin_loop();
    };
    let killed = run(endless).go_on(&runtime);
    let outcomes = [
        run(|_| panic!("tilt")).go_on(&runtime),
        run(|_| Death::Segfault.die()).go_on(&runtime),
        run(|_| Death::Abort.die()).go_on(&runtime),
        run(endless).timeout(SHORT).go_on(&runtime),
        run(|n| n).go_on(&runtime),
    ];
    eventually(|| runtime.stats().submitted == 1);
    assert!(killed.kill());
    // Nobody has joined any of them.
    eventually(|| counts(&bulkhead) == (0, 0));
    assert_eq!(killed.join(), Err(TaskError::Cancelled));
    let outcomes = outcomes.map(TaskHandle::join);
    assert!(matches!(outcomes[0], Err(TaskError::Panicked { .. })));
    assert!(outcomes[1..3].iter().all(|outcome| matches!(outcome, Err(TaskError::WorkerLost { .. }))));
    assert_eq!(outcomes[3..], [Err(TaskError::TimedOut { after: SHORT }), Ok(1)]);
}

#[test]
fn who_waits_ends_at_its_deadline_and_by_cancel_and_kill() {
    let _watchdog = Watchdog::start("who_waits_ends_at_its_deadline_and_by_cancel_and_kill");
    let runtime = runtime(2);
    let bulkhead = limit(&runtime, 1, 3);
    let gate = Gate::new();
    let running = at_gate(&runtime, &gate);
    let standing = gate.await_task();
    let late = Task::with(1, |n: u32| n).bulkhead("few").deadline(SHORT).go_on(&runtime);
    let (cancelled, killed) = (double(&runtime, 1), double(&runtime, 2));
    assert!(is_full(&double(&runtime, 3).join()));
    assert!(cancelled.cancel() && killed.kill() && !cancelled.cancel());
    // The deadline passes with nobody looking.
    eventually(|| counts(&bulkhead) == (1, 0));
    assert_eq!(late.join(), Err(TaskError::TimedOut { after: SHORT }));
    assert_eq!((cancelled.join(), killed.join()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
    drop(standing);
    assert_eq!(running.join(), Ok(()));
}

#[test]
fn every_way_of_waiting_works_for_one_that_waits() {
    let _watchdog = Watchdog::start("every_way_of_waiting_works_for_one_that_waits");
    let runtime = runtime(2);
    limit(&runtime, 1, 10);
    let gate = Gate::new();
    let running = at_gate(&runtime, &gate);
    let standing = gate.await_task();
    let waiting = double(&runtime, 4);
    let Err(waiting) = waiting.join_timeout(SHORT) else { panic!("it ran") };
    let joined = std::thread::spawn(move || waiting.join());
    let awaited = double(&runtime, 5);
    let awaited = std::thread::spawn(move || block_on(awaited));
    let looked_at = double(&runtime, 6);
    assert!(!looked_at.is_finished());
    drop(standing);
    eventually(|| looked_at.is_finished());
    assert_eq!((joined.join().unwrap(), awaited.join().unwrap()), (Ok(8), Ok(10)));
    assert_eq!((looked_at.join(), running.join()), (Ok(12), Ok(())));
    let default = Runtime::current().expect("the default runtime");
    default.bulkhead("race", BulkheadSettings::concurrency(1).queue(1));
    let race = [3, 4].map(|n| Task::with(n, |n: u32| n).bulkhead("race"));
    assert!(matches!(go_race(race), Ok(3 | 4)));
}

#[test]
fn other_limits_start_those_that_wait() {
    let _watchdog = Watchdog::start("other_limits_start_those_that_wait");
    let runtime = runtime(3);
    let bulkhead = limit(&runtime, 1, 10);
    let gate = Gate::new();
    let tasks = [at_gate(&runtime, &gate), at_gate(&runtime, &gate), at_gate(&runtime, &gate)];
    let first = gate.await_task();
    assert_eq!(counts(&bulkhead), (1, 2));
    bulkhead.configure(BulkheadSettings::concurrency(3));
    let others = (gate.await_task(), gate.await_task());
    assert_eq!(counts(&bulkhead), (3, 0));
    drop((first, others));
    assert!(tasks.into_iter().all(|task| task.join() == Ok(())));
}

#[test]
fn each_attempt_of_a_retry_takes_a_permit_of_its_own() {
    let _watchdog = Watchdog::start("each_attempt_of_a_retry_takes_a_permit_of_its_own");
    let runtime = runtime(1);
    let bulkhead = limit(&runtime, 1, 0);
    let task = Task::with(1, |_: u32| -> u32 { panic!("never") }).bulkhead("few");
    let outcome = task.retry(Retry::attempts(5)).go_on(&runtime).join();
    assert!(matches!(outcome, Err(TaskError::Panicked { .. })));
    assert_eq!((runtime.stats().panicked, counts(&bulkhead)), (5, (0, 0)));
}

#[test]
fn large_inputs_wait_sealed_and_are_given_back() {
    let _watchdog = Watchdog::start("large_inputs_wait_sealed_and_are_given_back");
    let runtime = runtime(1);
    limit(&runtime, 1, 200);
    let length = |bytes: Vec<u8>| bytes.len();
    for round in 0..20 {
        let gate = Gate::new();
        let running = at_gate(&runtime, &gate);
        let standing = gate.await_task();
        let tasks: Vec<_> = (0..100)
            .map(|_| Task::with(vec![7_u8; 1 << 20], length).bulkhead("few").go_on(&runtime))
            .collect();
        let cancelled = tasks.iter().skip(1).filter(|task| task.cancel()).count();
        assert_eq!(cancelled, 99, "round {round}");
        drop(standing);
        assert_eq!(running.join(), Ok(()));
        let good = tasks.into_iter().filter_map(|task| task.join().ok()).sum::<usize>();
        assert_eq!(good, 1 << 20);
    }
}

#[test]
fn an_end_of_the_runtime_ends_those_that_wait() {
    let _watchdog = Watchdog::start("an_end_of_the_runtime_ends_those_that_wait");
    let runtime = runtime(1);
    limit(&runtime, 1, 10_000);
    let gate = Gate::new();
    let running = at_gate(&runtime, &gate);
    let _standing = gate.await_task();
    let waiting: Vec<_> = (0..10_000).map(|n| double(&runtime, n)).collect();
    drop(runtime);
    assert_eq!(running.join(), Err(TaskError::Closed));
    assert!(waiting.into_iter().all(|task| task.join() == Err(TaskError::Closed)));
}

#[test]
fn full_lanes_only_delay_those_that_have_a_permit() {
    let _watchdog = Watchdog::start("full_lanes_only_delay_those_that_have_a_permit");
    let runtime = Runtime::builder().workers(1).queue_slots(64).build().expect("build a runtime");
    let bulkhead = limit(&runtime, 200, 0);
    let gate = Gate::new();
    let running = Task::with(gate.name(), gate::wait).go_on(&runtime);
    let standing = gate.await_task();
    let tasks: Vec<_> = (0..200).map(|n| double(&runtime, n)).collect();
    assert_eq!(counts(&bulkhead), (200, 0));
    drop(standing);
    eventually(|| counts(&bulkhead) == (0, 0));
    assert_eq!(running.join(), Ok(()));
    assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<u32>(), 199 * 200);
}

#[test]
fn an_unknown_name_and_a_place_inside_a_task_are_refused_in_words() {
    let _watchdog = Watchdog::start("an_unknown_name_and_a_place_inside_a_task_are_refused_in_words");
    let runtime = runtime(1);
    let reason = Rejection::UnknownPolicy { what: "bulkhead".into(), name: "few".into() };
    assert_eq!(double(&runtime, 1).join(), Err(TaskError::Rejected { reason }));
    limit(&runtime, 1, 1);
    let outer = |n: u32| {
        let outcome = Task::with(n, |n: u32| n).bulkhead("few").go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } }))
    };
    assert_eq!(runtime.task(2, outer).join(), Ok(true));
}

/// Deaths, timeouts, kills, cancels and dropped handles at once, from several threads; the seed is printed.
#[test]
fn permits_survive_every_end_at_once() {
    let _watchdog = Watchdog::start("permits_survive_every_end_at_once");
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(system_ns);
    println!("SEED={seed}");
    let runtime = runtime(2);
    let bulkhead = limit(&runtime, 2, 8);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let runtime = &runtime;
            scope.spawn(move || {
                let mut state = seed ^ thread.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                let mut draw = || {
                    // Xorshift64 (Marsaglia 2003).
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state
                };
                for _ in 0..60 {
                    let function: fn(u64) -> u64 = match draw() % 8 {
                        0 => |_| Death::Kill.die(),
                        1 => |_| loop {
                            std::hint::spin_loop();
                        },
                        2 => |_| panic!("tilt"),
                        _ => |n| n,
                    };
                    let task = Task::with(1, function).bulkhead("few");
                    let limit = Duration::from_micros(1 + draw() % 5000);
                    let task =
                        if draw().is_multiple_of(2) { task.deadline(limit) } else { task.timeout(limit) };
                    let handle = task.go_on(runtime);
                    match draw() % 4 {
                        0 => drop(handle),
                        1 => {
                            let killed = handle.kill();
                            let outcome = handle.join();
                            assert_eq!(killed, outcome == Err(TaskError::Cancelled), "SEED={seed}");
                        }
                        2 => {
                            handle.cancel();
                            let _ = handle.join();
                        }
                        _ => {
                            let _ = handle.join();
                        }
                    }
                }
            });
        }
    });
    eventually(|| counts(&bulkhead) == (0, 0));
    assert_eq!(Task::with(1, |n: u64| n).bulkhead("few").deadline(LONG).go_on(&runtime).join(), Ok(1));
}

#[test]
fn permits_come_back_where_tasks_run_on_threads() {
    let _watchdog = Watchdog::start("permits_come_back_where_tasks_run_on_threads");
    let runtime = Runtime::builder().workers(2).processes(false).build().expect("build a runtime");
    let bulkhead = limit(&runtime, 1, 100);
    let tasks: Vec<_> = (0..50).map(|n| double(&runtime, n)).collect();
    eventually(|| counts(&bulkhead) == (0, 0));
    assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<u32>(), 49 * 50);
}
