//! Retries: what fails is tried again as often as said, by whoever waits, and within its deadline.

use gorun_runtime::{
    Backoff, Retry, RetryBudget, Runtime, Task, TaskError, TaskHandle, go_all, go_any, go_race,
};
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(1000);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).quarantine_after(0).build().expect("build a runtime")
}

fn retries(runtime: &Runtime) -> u64 {
    runtime.stats().policies.expect("read by the host").retries
}

/// Panics twice in each process, then gives its input.
fn third_time<T>(value: T) -> T {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let calls = CALLS.fetch_add(1, Ordering::SeqCst);
    assert!(calls % 3 == 2, "call {calls}");
    value
}

fn never(_: u8) -> u8 {
    panic!("never")
}

fn endless(_: u8) {
    loop {
        std::hint::spin_loop();
    }
}

fn is_panic<R>(outcome: &Result<R, TaskError>) -> bool {
    matches!(outcome, Err(TaskError::Panicked { .. }))
}

/// Runs one future to its end on this thread, and counts how often it was polled.
fn block_on<F: Future + Unpin>(mut future: F) -> (F::Output, usize) {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    for polls in 1.. {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return (output, polls);
        }
        std::thread::park();
    }
    unreachable!("the count has no end")
}

/// A task whose first attempt has failed, and whose next is far away.
fn in_its_pause(runtime: &Runtime) -> TaskHandle<u8> {
    let before = runtime.stats().panicked;
    let task = Task::with(1, never).retry(Retry::attempts(2).backoff(Backoff::fixed(LONG))).go_on(runtime);
    eventually(|| !task.is_finished() && runtime.stats().panicked > before);
    task
}

#[test]
fn a_task_that_fails_twice_has_its_value_at_the_third_attempt() {
    let _watchdog = Watchdog::start("a_task_that_fails_twice_has_its_value_at_the_third_attempt");
    let runtime = runtime(1);
    assert_eq!(Task::with(7_u64, third_time).retry(Retry::attempts(3)).go_on(&runtime).join(), Ok(7));
    // An input that takes a block is encoded for each attempt too.
    let bytes = vec![3_u8; 100_000];
    let task = Task::with(bytes.clone(), third_time).retry(Retry::attempts(3)).go_on(&runtime);
    assert_eq!(task.join(), Ok(bytes));
    let stats = runtime.stats();
    assert_eq!((stats.panicked, stats.finished, retries(&runtime)), (4, 2, 4));
}

#[test]
fn after_the_last_attempt_its_error_stands() {
    let _watchdog = Watchdog::start("after_the_last_attempt_its_error_stands");
    let runtime = runtime(1);
    let outcome = Task::with(1, never).retry(Retry::attempts(4)).go_on(&runtime).join();
    assert!(is_panic(&outcome), "{outcome:?}");
    assert_eq!((runtime.stats().panicked, retries(&runtime)), (4, 3));
    let refuses = Retry::attempts(4).when(|error| !matches!(error, TaskError::Panicked { .. }));
    assert!(is_panic(&Task::with(1, never).retry(refuses).go_on(&runtime).join()));
    assert_eq!((runtime.stats().panicked, retries(&runtime)), (5, 3));
}

#[test]
fn a_crash_is_tried_again_only_if_asked_and_evidence_names_the_attempt() {
    let _watchdog = Watchdog::start("a_crash_is_tried_again_only_if_asked_and_evidence_names_the_attempt");
    let runtime = runtime(1);
    let crash = |retry: Retry| {
        let outcome = Task::with(Death::Segfault, |death| -> u8 { death.die() }).retry(retry).go_on(&runtime);
        let Err(TaskError::WorkerLost { evidence }) = outcome.join() else { panic!("it did not crash") };
        evidence.attempt
    };
    assert_eq!(crash(Retry::attempts(9)), 1);
    assert_eq!(crash(Retry::attempts(1).crash_attempts(3)), 3);
    assert_eq!(runtime.stats().lost, 4);
}

#[test]
fn a_task_that_crashes_once_has_its_value_from_another_worker() {
    let _watchdog = Watchdog::start("a_task_that_crashes_once_has_its_value_from_another_worker");
    let runtime = runtime(2);
    let mark = format!("{}/crashed-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let work = |mark: String| {
        if std::fs::File::create_new(&mark).is_ok() {
            Death::Kill.die();
        }
        std::fs::remove_file(&mark).is_ok()
    };
    let retry = Retry::attempts(1).crash_attempts(2);
    assert_eq!(Task::with(mark, work).retry(retry).go_on(&runtime).join(), Ok(true));
}

#[test]
fn a_timeout_is_for_each_attempt() {
    let _watchdog = Watchdog::start("a_timeout_is_for_each_attempt");
    let runtime = runtime(1);
    let since_ns = system_ns();
    let task = Task::with(1, endless).timeout(SHORT).retry(Retry::attempts(3)).go_on(&runtime);
    assert_eq!(task.join(), Err(TaskError::TimedOut { after: SHORT }));
    assert!(Duration::from_nanos(system_ns() - since_ns) >= SHORT * 3);
    assert_eq!((runtime.stats().timed_out, retries(&runtime)), (3, 2));
}

#[test]
fn a_deadline_covers_all_attempts() {
    let _watchdog = Watchdog::start("a_deadline_covers_all_attempts");
    let runtime = runtime(1);
    let task = Task::with(1, endless).deadline(SHORT).retry(Retry::attempts(3)).go_on(&runtime);
    assert_eq!(task.join(), Err(TaskError::TimedOut { after: SHORT }));
    assert_eq!((runtime.stats().timed_out, retries(&runtime)), (1, 0));
    // Without end but for the deadline.
    let tireless = Retry::attempts(255).backoff(Backoff::fixed(SHORT / 3));
    let since_ns = system_ns();
    let outcome = Task::with(1, never).deadline(SHORT * 4).retry(tireless).go_on(&runtime).join();
    assert!(matches!(outcome, Err(TaskError::TimedOut { .. } | TaskError::Panicked { .. })), "{outcome:?}");
    assert!(Duration::from_nanos(system_ns() - since_ns) < LONG);
    assert!(retries(&runtime) < 20);
}

#[test]
fn a_pause_that_would_outlast_the_deadline_is_not_begun() {
    let _watchdog = Watchdog::start("a_pause_that_would_outlast_the_deadline_is_not_begun");
    let runtime = runtime(1);
    let retry = Retry::attempts(3).backoff(Backoff::fixed(LONG * 2));
    let outcome = Task::with(1, never).deadline(LONG).retry(retry).go_on(&runtime).join();
    assert!(is_panic(&outcome), "{outcome:?}");
    assert_eq!(retries(&runtime), 0);
}

#[test]
fn join_and_await_wait_out_the_pauses() {
    let _watchdog = Watchdog::start("join_and_await_wait_out_the_pauses");
    let runtime = runtime(1);
    let start = || {
        let retry = Retry::attempts(3).backoff(Backoff::fixed(SHORT));
        (system_ns(), Task::with(9_u8, third_time).retry(retry).go_on(&runtime))
    };
    let is_over = |since_ns| Duration::from_nanos(system_ns() - since_ns) >= SHORT * 2;
    let (since_ns, task) = start();
    assert_eq!(task.join(), Ok(9));
    assert!(is_over(since_ns));
    let (since_ns, task) = start();
    let (outcome, polls) = block_on(task);
    assert_eq!(outcome, Ok(9));
    assert!(is_over(since_ns));
    // One for each attempt and each pause, and a few in vain: it is woken, it does not look again and again.
    assert!(polls < 20, "polled {polls} times");
}

#[test]
fn join_timeout_gives_back_a_task_in_its_pause() {
    let _watchdog = Watchdog::start("join_timeout_gives_back_a_task_in_its_pause");
    let runtime = runtime(1);
    let task = in_its_pause(&runtime).join_timeout(SHORT).expect_err("it pauses");
    let task = task.join_timeout(Duration::ZERO).expect_err("it pauses");
    drop(task);
    let retry = Retry::attempts(3).backoff(Backoff::fixed(Duration::from_millis(1)));
    let task = Task::with(5_u8, third_time).retry(retry).go_on(&runtime);
    assert_eq!(task.join_timeout(LONG).expect("in time"), Ok(5));
}

#[test]
fn a_task_in_its_pause_is_cancelled_or_killed() {
    let _watchdog = Watchdog::start("a_task_in_its_pause_is_cancelled_or_killed");
    let runtime = runtime(1);
    let task = in_its_pause(&runtime);
    assert!(task.cancel() && !task.cancel() && task.is_finished());
    assert_eq!(task.join(), Err(TaskError::Cancelled));
    let task = in_its_pause(&runtime);
    assert!(task.kill() && !task.kill());
    assert_eq!(task.join(), Err(TaskError::Cancelled));
    assert_eq!(retries(&runtime), 0);
}

#[test]
fn a_killed_or_cancelled_attempt_is_not_tried_again() {
    let _watchdog = Watchdog::start("a_killed_or_cancelled_attempt_is_not_tried_again");
    let runtime = runtime(1);
    let gate = Gate::new();
    let retry = || Retry::attempts(9).crash_attempts(9).when(|_| true);
    let running = Task::with(gate.name(), gate::wait).retry(retry()).go_on(&runtime);
    let _standing = gate.await_task();
    let queued = Task::with(1, never).retry(retry()).go_on(&runtime);
    assert!(!running.cancel() && queued.cancel() && running.kill());
    assert_eq!((running.join(), queued.join()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
    assert_eq!(retries(&runtime), 0);
}

#[test]
fn cancelling_wakes_what_awaits_the_end_of_a_pause() {
    let _watchdog = Watchdog::start("cancelling_wakes_what_awaits_the_end_of_a_pause");
    struct Noted(AtomicU32);
    impl Wake for Noted {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = runtime(1);
    let noted = std::sync::Arc::new(Noted(AtomicU32::new(0)));
    let waker = Waker::from(std::sync::Arc::clone(&noted));
    let mut context = Context::from_waker(&waker);
    let mut task = in_its_pause(&runtime);
    assert!(Pin::new(&mut task).poll(&mut context).is_pending());
    assert!(task.cancel());
    assert_eq!(noted.0.load(Ordering::SeqCst), 1);
    assert_eq!(Pin::new(&mut task).poll(&mut context), Poll::Ready(Err(TaskError::Cancelled)));
}

#[test]
fn dropping_the_runtime_ends_the_pause_for_all_who_wait() {
    let _watchdog = Watchdog::start("dropping_the_runtime_ends_the_pause_for_all_who_wait");
    let runtime = runtime(1);
    let (joined, awaited) = (in_its_pause(&runtime), in_its_pause(&runtime));
    let waiters =
        [std::thread::spawn(move || joined.join()), std::thread::spawn(move || block_on(awaited).0)];
    drop(runtime);
    for waiter in waiters {
        assert_eq!(waiter.join().expect("no panic"), Err(TaskError::Closed));
    }
}

#[test]
fn all_race_and_any_drive_retries() {
    let _watchdog = Watchdog::start("all_race_and_any_drive_retries");
    let mark = |name: &str| format!("{}/{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    // Fails until its file is there, so in whatever worker an attempt runs.
    let second_time = |mark: String| {
        assert!(std::fs::File::create_new(&mark).is_err(), "the first time");
        std::fs::remove_file(&mark).expect("remove the mark");
        2_u8
    };
    let retry = || Retry::attempts(2).backoff(Backoff::fixed(Duration::from_millis(1)));
    let task = |name| Task::with(mark(name), second_time).retry(retry());
    assert_eq!(go_all([task("a"), task("b")]), [Ok(2), Ok(2)]);
    assert_eq!(go_any([task("c")]), Ok(2));
    assert_eq!(go_race([task("d")]), Ok(2));
    let far = Retry::attempts(2).backoff(Backoff::fixed(LONG));
    let quick = Task::with(String::new(), |_| 3_u8);
    assert_eq!(go_race([Task::with(mark("e"), second_time).retry(far), quick]), Ok(3));
    let _ = std::fs::remove_file(mark("e"));
}

#[test]
fn nested_tasks_are_tried_again_too() {
    let _watchdog = Watchdog::start("nested_tasks_are_tried_again_too");
    let runtime = runtime(1);
    let outer = |()| {
        let retry = || Retry::attempts(3).backoff(Backoff::fixed(Duration::from_millis(2)));
        let joined = Task::with(4_u8, third_time).retry(retry()).go().join();
        let raced = go_race([Task::with(5_u8, third_time).retry(retry())]);
        let awaited = block_on(Task::with(6_u8, third_time).retry(retry()).go()).0;
        (joined.ok(), raced.ok(), awaited.ok())
    };
    assert_eq!(runtime.task((), outer).join(), Ok((Some(4), Some(5), Some(6))));
}

#[test]
fn retries_work_where_tasks_run_on_threads() {
    let _watchdog = Watchdog::start("retries_work_where_tasks_run_on_threads");
    let threads = Runtime::builder().workers(1).processes(false).build().expect("build a runtime");
    let retry = || Retry::attempts(2).backoff(Backoff::fixed(SHORT));
    let second_time = |(): ()| {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        assert!(CALLS.fetch_add(1, Ordering::SeqCst) % 2 == 1, "every second time");
    };
    assert_eq!(Task::with((), second_time).retry(retry()).go_on(&threads).join(), Ok(()));
    assert_eq!(block_on(Task::with((), second_time).retry(retry()).go_on(&threads)).0, Ok(()));
}

#[test]
fn an_empty_budget_ends_the_retrying() {
    let _watchdog = Watchdog::start("an_empty_budget_ends_the_retrying");
    let runtime = runtime(1);
    let budget = RetryBudget::share(0.5);
    let retry = Retry::attempts(2).budget(&budget);
    for _ in 0..10 {
        assert!(is_panic(&Task::with(1, never).retry(retry.clone()).go_on(&runtime).join()));
    }
    assert_eq!((runtime.stats().panicked, retries(&runtime)), (15, 5));
}

#[test]
fn dropping_a_handle_ends_the_retrying() {
    let _watchdog = Watchdog::start("dropping_a_handle_ends_the_retrying");
    let runtime = runtime(1);
    drop(in_its_pause(&runtime));
    drop(Task::with(1, never).retry(Retry::attempts(9)).go_on(&runtime));
    eventually(|| runtime.stats().seats[0].panics == 2);
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    assert_eq!((runtime.stats().seats[0].panics, retries(&runtime)), (2, 0));
}

/// Polls all that are pending at every wake-up.
struct All(Vec<Option<TaskHandle<u64>>>, u64);

impl Future for All {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let All(handles, sum) = &mut *self;
        for place in handles.iter_mut() {
            if let Some(Poll::Ready(outcome)) = place.as_mut().map(|handle| Pin::new(handle).poll(context)) {
                *sum += outcome.expect("a value at last");
                *place = None;
            }
        }
        if handles.iter().all(Option::is_none) { Poll::Ready(*sum) } else { Poll::Pending }
    }
}

#[test]
fn hundreds_of_retried_tasks_are_awaited_together() {
    let _watchdog = Watchdog::start("hundreds_of_retried_tasks_are_awaited_together");
    let runtime = runtime(2);
    let backoff = Backoff::exponential(Duration::from_micros(100), Duration::from_millis(2)).full_jitter();
    let retry = Retry::attempts(255).backoff(backoff);
    let start = |n: u64| Some(Task::with(n, third_time).retry(retry.clone()).go_on(&runtime));
    let (sum, _) = block_on(All((0..300).map(start).collect(), 0));
    assert_eq!(sum, (0..300).sum::<u64>());
    assert!(retries(&runtime) >= 500);
}

#[test]
fn a_handle_is_as_small_as_without_retries() {
    // What a plain task needs: the runtime and where the task stands.
    assert_eq!(size_of::<TaskHandle<[u64; 100]>>(), 32);
}
