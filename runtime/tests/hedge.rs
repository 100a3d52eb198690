//! Hedges: who takes long gets company, the first value wins, and the other is ended.

use gorun_runtime::{
    BreakerSettings, BreakerState, BulkheadSettings, Fallback, Hedge, PolicyStats, Rejection, Retry, Runtime,
    Task, TaskError, TaskHandle, go_race,
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

fn policies(runtime: &Runtime) -> PolicyStats {
    runtime.stats().policies.expect("read by the host")
}

/// The first attempt that takes the name away hangs; others have a value. Files are what two workers share.
fn hangs_once(path: String) -> u32 {
    match std::fs::remove_file(path) {
        Ok(()) => loop {
            std::hint::spin_loop();
        },
        Err(_) => 7,
    }
}

/// The first attempt takes the name away and hangs, others die.
fn hangs_once_then_panics(path: String) -> u32 {
    assert!(std::path::Path::new(&path).exists(), "too late");
    hangs_once(path)
}

fn mark(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("gorun-hedge-{name}-{}", std::process::id()));
    std::fs::write(&path, "").expect("write a mark");
    path.to_string_lossy().into_owned()
}

fn hedged(runtime: &Runtime, name: &str, hedge: Hedge) -> TaskHandle<u32> {
    Task::with(mark(name), hangs_once).hedge(hedge).go_on(runtime)
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
fn the_second_attempt_wins_and_the_first_is_killed() {
    let _watchdog = Watchdog::start("the_second_attempt_wins_and_the_first_is_killed");
    let runtime = runtime(2);
    assert_eq!(hedged(&runtime, "wins", Hedge::after(SHORT)).join(), Ok(7));
    assert_eq!((policies(&runtime).hedges, policies(&runtime).hedges_won), (1, 1));
    // Its worker died for it.
    eventually(|| runtime.stats().seats.iter().map(|seat| seat.deaths).sum::<u64>() == 1);
    eventually(|| runtime.stats().cancelled == 1);
}

#[test]
fn every_way_of_waiting_starts_the_second_attempt() {
    let _watchdog = Watchdog::start("every_way_of_waiting_starts_the_second_attempt");
    let runtime = runtime(2);
    let hedge = Hedge::after(SHORT);
    assert_eq!(block_on(hedged(&runtime, "await", hedge)), Ok(7));
    let looked_at = hedged(&runtime, "look", hedge);
    eventually(|| looked_at.is_finished());
    assert_eq!(looked_at.join(), Ok(7));
    let Err(handle) = hedged(&runtime, "timeout", hedge).join_timeout(SHORT / 3) else { panic!("too early") };
    assert_eq!(handle.join_timeout(LONG).ok(), Some(Ok(7)));
    assert_eq!(policies(&runtime).hedges_won, 3);
    assert_eq!(go_race([Task::with(mark("race"), hangs_once).hedge(hedge)]), Ok(7));
}

#[test]
fn a_quick_task_gets_no_second_attempt() {
    let _watchdog = Watchdog::start("a_quick_task_gets_no_second_attempt");
    let runtime = runtime(2);
    for n in 0..100 {
        assert_eq!(Task::with(n, |n: u32| n).hedge(Hedge::after(LONG)).go_on(&runtime).join(), Ok(n));
    }
    assert_eq!((policies(&runtime).hedges, runtime.stats().submitted), (0, 100));
}

#[test]
fn the_first_may_win_and_the_second_is_ended() {
    let _watchdog = Watchdog::start("the_first_may_win_and_the_second_is_ended");
    let runtime = runtime(1);
    let gate = Gate::new();
    let task = Task::with(gate.name(), gate::wait).hedge(Hedge::after(Duration::ZERO)).go_on(&runtime);
    let standing = gate.await_task();
    assert!(!task.is_finished());
    eventually(|| policies(&runtime).hedges == 1 || task.is_finished());
    // The second stands behind the first in the only worker's queue, and is cancelled there.
    drop(standing);
    assert_eq!(task.join(), Ok(()));
    assert_eq!((policies(&runtime).hedges, policies(&runtime).hedges_won), (1, 0));
    eventually(|| runtime.stats().cancelled == 1);
    assert_eq!(runtime.task(1, |n: u32| n).join(), Ok(1));
}

#[test]
fn usual_times_are_learnt_and_used() {
    let _watchdog = Watchdog::start("usual_times_are_learnt_and_used");
    let runtime = runtime(2);
    let quick = std::env::temp_dir().join("gorun-hedge-nothing").to_string_lossy().into_owned();
    for _ in 0..20 {
        let task = Task::with(quick.clone(), hangs_once).hedge(Hedge::p95());
        assert_eq!(task.go_on(&runtime).join(), Ok(7));
    }
    assert_eq!(policies(&runtime).hedges, 0, "nothing was known");
    // Would hang for ever without what was learnt.
    assert_eq!(hedged(&runtime, "learnt", Hedge::p95()).join(), Ok(7));
    assert_eq!(policies(&runtime).hedges_won, 1);
    // Another function is not known; what is said for that is used.
    let task = Task::with(mark("first"), |path| hangs_once(path) + 1).hedge(Hedge::p95().at_first(SHORT));
    assert_eq!(task.go_on(&runtime).join(), Ok(8));
}

#[test]
fn two_that_fail_are_one_try_of_a_retry() {
    let _watchdog = Watchdog::start("two_that_fail_are_one_try_of_a_retry");
    let runtime = runtime(2);
    let task = Task::with(mark("retry"), hangs_once_then_panics).timeout(SHORT * 4);
    let task = task.hedge(Hedge::after(SHORT)).retry(Retry::attempts(2));
    let outcome = task.go_on(&runtime).join();
    // First try: one hangs until its timeout, one panics. Second: panics before a hedge is due, or both do.
    assert!(matches!(outcome, Err(TaskError::Panicked { .. } | TaskError::TimedOut { .. })));
    assert_eq!(policies(&runtime).retries, 1);
    assert_eq!(runtime.stats().timed_out, 1);
    // A first attempt that fails early is not waited for by a second.
    let early = Task::with(1, |_: u32| -> u32 { Death::Segfault.die() }).hedge(Hedge::after(LONG));
    assert!(matches!(early.go_on(&runtime).join(), Err(TaskError::WorkerLost { .. })));
}

#[test]
fn deadline_and_fallback_hold_for_both() {
    let _watchdog = Watchdog::start("deadline_and_fallback_hold_for_both");
    let runtime = runtime(2);
    let endless = |_: u32| -> u32 {
        loop {
            std::hint::spin_loop();
        }
    };
    let task = || Task::with(1, endless).hedge(Hedge::after(SHORT)).deadline(SHORT * 4);
    assert_eq!(task().go_on(&runtime).join(), Err(TaskError::TimedOut { after: SHORT * 4 }));
    assert_eq!(task().fallback(Fallback::value(9)).go_on(&runtime).join(), Ok(9));
    assert_eq!(policies(&runtime).hedges, 2);
    // One that would be due after the deadline is not started.
    let late = Task::with(1, endless).hedge(Hedge::after(LONG)).deadline(SHORT);
    assert!(late.go_on(&runtime).join().is_err());
    assert_eq!(policies(&runtime).hedges, 2);
}

#[test]
fn both_pass_the_breaker_and_the_bulkhead() {
    let _watchdog = Watchdog::start("both_pass_the_breaker_and_the_bulkhead");
    let runtime = runtime(2);
    let bulkhead = runtime.bulkhead("two", BulkheadSettings::concurrency(2));
    let breaker = runtime.breaker("calm");
    breaker.configure(BreakerSettings::default().failures(1, LONG));
    let task =
        Task::with(mark("both"), hangs_once).hedge(Hedge::after(SHORT)).bulkhead("two").breaker("calm");
    assert_eq!(task.go_on(&runtime).join(), Ok(7));
    // The loser's permit comes back when it is dead, and its end is no failure.
    eventually(|| bulkhead.running() == 0);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // Where there is a permit for one only, the first goes on alone.
    runtime.bulkhead("two", BulkheadSettings::concurrency(1));
    let gate = Gate::new();
    let alone = Task::with(gate.name(), gate::wait).hedge(Hedge::after(Duration::ZERO)).bulkhead("two");
    let alone = alone.go_on(&runtime);
    let standing = gate.await_task();
    assert!(!alone.is_finished());
    eventually(|| policies(&runtime).refused_by_bulkhead == 1 || alone.is_finished());
    drop(standing);
    assert_eq!(alone.join(), Ok(()));
}

#[test]
fn kill_and_cancel_and_drop_are_for_both() {
    let _watchdog = Watchdog::start("kill_and_cancel_and_drop_are_for_both");
    let runtime = runtime(2);
    let gate = Gate::new();
    let start = || Task::with(gate.name(), gate::wait).hedge(Hedge::after(Duration::ZERO)).go_on(&runtime);
    let killed = start();
    let first = gate.await_task();
    eventually(|| !killed.is_finished() && policies(&runtime).hedges == 1);
    let second = gate.await_task();
    assert!(!killed.cancel() && killed.kill());
    assert_eq!(killed.join(), Err(TaskError::Cancelled));
    drop((first, second));
    let dropped = start();
    let standing = gate.await_task();
    drop(dropped);
    drop(standing);
    assert_eq!(runtime.task(1, |n: u32| n).join(), Ok(1));
}

#[test]
fn inside_a_task_a_hedge_is_refused_in_words() {
    let _watchdog = Watchdog::start("inside_a_task_a_hedge_is_refused_in_words");
    let runtime = runtime(1);
    let outer = |n: u32| {
        let outcome = Task::with(n, |n: u32| n).hedge(Hedge::after(LONG)).go().join();
        matches!(outcome, Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } }))
    };
    assert_eq!(runtime.task(2, outer).join(), Ok(true));
}

/// Values, deaths and hangs under hedges, with permits that must all come back; the seed is printed.
#[test]
fn many_hedged_tasks_give_back_all_they_took() {
    let _watchdog = Watchdog::start("many_hedged_tasks_give_back_all_they_took");
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(system_ns);
    println!("SEED={seed}");
    let runtime = runtime(2);
    let bulkhead = runtime.bulkhead("some", BulkheadSettings::concurrency(3).queue(100));
    let mut state = seed | 1;
    let mut draw = || {
        // Xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20 {
        let start = |n: u64, micros: u64| {
            let function: fn(u64) -> u64 = match n % 5 {
                0 => |_| Death::Kill.die(),
                1 => |_| loop {
                    std::hint::spin_loop();
                },
                2 => |_| panic!("tilt"),
                _ => |n| n,
            };
            let task = Task::with(n, function).hedge(Hedge::after(Duration::from_micros(micros % 3000)));
            task.bulkhead("some").deadline(SHORT).go_on(&runtime)
        };
        let tasks: Vec<_> = (0..6).map(|_| start(draw(), draw())).collect();
        for task in tasks {
            match draw() % 3 {
                0 => drop(task),
                1 => {
                    task.kill();
                }
                _ => drop(block_on(task)),
            }
        }
    }
    eventually(|| (bulkhead.running(), bulkhead.waiting()) == (0, 0));
}
