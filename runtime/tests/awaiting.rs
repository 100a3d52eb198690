//! Handles as futures, on an executor of twenty lines.

use gorun_runtime::{Runtime, TaskError, TaskHandle, go_parallel};
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls all that are pending at every wake-up, as a simple executor does.
struct All<R> {
    pending: Vec<(usize, TaskHandle<R>)>,
    ended: Vec<Option<Result<R, TaskError>>>,
}

impl<R> All<R> {
    fn of(handles: Vec<TaskHandle<R>>) -> Self {
        let ended = handles.iter().map(|_| None).collect();
        Self { pending: handles.into_iter().enumerate().collect(), ended }
    }
}

impl<R: gorun_worker::codec::Portable + Unpin> Future for All<R> {
    type Output = Vec<Result<R, TaskError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = &mut this.ended;
        this.pending.retain_mut(|(place, handle)| match Pin::new(handle).poll(context) {
            Poll::Ready(outcome) => {
                ended[*place] = Some(outcome);
                false
            }
            Poll::Pending => true,
        });
        if this.pending.is_empty() {
            Poll::Ready(this.ended.drain(..).flatten().collect())
        } else {
            Poll::Pending
        }
    }
}

fn count_right(outcomes: Vec<Result<u64, TaskError>>) -> usize {
    (0..).zip(outcomes).filter(|(n, outcome)| *outcome == Ok(n * 2)).count()
}

#[test]
fn awaiting_gives_the_value() {
    let _watchdog = Watchdog::start("awaiting_gives_the_value");
    assert_eq!(block_on(async { go_parallel(|| 6 * 7).await }), Ok(42));
}

#[test]
fn awaiting_a_panic_gives_the_error() {
    let _watchdog = Watchdog::start("awaiting_a_panic_gives_the_error");
    let outcome = block_on(go_parallel(|| -> u8 { panic!("not today") }));
    assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
}

#[test]
fn awaiting_a_task_whose_worker_dies_gives_worker_lost() {
    let _watchdog = Watchdog::start("awaiting_a_task_whose_worker_dies_gives_worker_lost");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    for death in Death::QUICK {
        let outcome = block_on(runtime.task(death, |death: Death| -> u8 { death.die() }));
        let Err(TaskError::WorkerLost { evidence }) = outcome else { panic!("{death:?}: {outcome:?}") };
        assert!(death.is_told_by(&evidence), "{death:?}: {evidence}");
    }
}

#[test]
fn a_thousand_tasks_awaited_at_once_all_end() {
    let _watchdog = Watchdog::start("a_thousand_tasks_awaited_at_once_all_end");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let handles: Vec<_> = (0..1000_u64).map(|n| runtime.task(n, |n| n * 2)).collect();
    assert_eq!(count_right(block_on(All::of(handles))), 1000);
}

#[test]
fn more_notices_than_their_ring_holds_lose_no_wake_up() {
    let _watchdog = Watchdog::start("more_notices_than_their_ring_holds_lose_no_wake_up");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    // Every one of these is awaited before the first runs; the ring holds 1024.
    let mut all = pin!(All::of((0..4000_u64).map(|n| runtime.task(n, |n| n * 2)).collect()));
    let nobody = Context::from_waker(Waker::noop());
    assert!(all.as_mut().poll(&mut { nobody }).is_pending());
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    assert!(all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(standing);
    assert_eq!(count_right(block_on(all)), 4000);
    busy.join().unwrap();
}

#[test]
fn tasks_lost_and_finished_are_awaited_together() {
    let _watchdog = Watchdog::start("tasks_lost_and_finished_are_awaited_together");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let start = |n: u64| {
        runtime.task(n, |n| {
            if n % 100 == 50 {
                Death::Kill.die();
            }
            n * 2
        })
    };
    let outcomes = block_on(All::of((0..1000).map(start).collect()));
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(TaskError::WorkerLost { .. }))).count();
    assert_eq!((lost, count_right(outcomes)), (10, 990));
}

#[test]
fn cancelling_an_awaited_task_wakes_its_future() {
    let _watchdog = Watchdog::start("cancelling_an_awaited_task_wakes_its_future");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued = std::cell::RefCell::new(runtime.go(|| 1_u8));
    let outcome = std::thread::scope(|scope| {
        let waiting = std::thread::current();
        let mut polled = false;
        block_on(std::future::poll_fn(|context| {
            let poll = Pin::new(&mut *queued.borrow_mut()).poll(context);
            if !std::mem::replace(&mut polled, true) {
                assert!(queued.borrow().cancel());
                // Whoever wakes us, a second look must find it ended.
                let waiting = waiting.clone();
                scope.spawn(move || waiting.unpark());
            }
            poll
        }))
    });
    assert_eq!(outcome, Err(TaskError::Cancelled));
    drop(standing);
    busy.join().unwrap();
}

#[test]
fn dropping_the_runtime_wakes_what_is_awaited() {
    let _watchdog = Watchdog::start("dropping_the_runtime_wakes_what_is_awaited");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let mut tasks = vec![runtime.task(gate.name(), gate::wait)];
    let _standing = gate.await_task();
    tasks.extend((0..10).map(|_| runtime.task(String::new(), gate::wait)));
    let mut all = pin!(All::of(tasks));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    assert!(all.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(runtime);
    assert!(block_on(all).iter().all(|outcome| *outcome == Err(TaskError::Closed)));
}
