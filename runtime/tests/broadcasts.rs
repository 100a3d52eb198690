//! Broadcasts between host, workers and threads, with deaths, forks and the end of the runtime.
// UNSAFETY: a test of forks must fork.
#![expect(unsafe_code, reason = "fork, wait and _exit have no safe form")]

use gorun_runtime::channel::{ChannelError, RecvError, SendError};
use gorun_runtime::{
    Backpressure, Broadcast, BroadcastReceiver, BroadcastSender, Channel, Receiver, Rejection, Retry,
    Runtime, Sender, SharedSlice, Task, TaskError, broadcast_channel,
};
use gorun_test_programs::{Death, Watchdog};
use gorun_worker::codec::Portable;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: Portable>(runtime: &Runtime, capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    Broadcast::bounded(capacity).open_on(runtime).expect("open a broadcast")
}

fn listen(receiver: BroadcastReceiver<u64>) -> Vec<u64> {
    receiver.into_iter().collect()
}

#[test]
fn every_subscriber_gets_every_message() {
    let _watchdog = Watchdog::start("every_subscriber_gets_every_message");
    let runtime = runtime(3);
    let (sender, receiver) = on(&runtime, 16);
    let tasks: Vec<_> = (0..3).map(|_| runtime.task(receiver.clone(), listen)).collect();
    let here = thread::spawn(move || listen(receiver));
    assert_eq!(sender.send_batch(0..3000), Ok(3000));
    (3000..5000).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert!(here.join().unwrap().into_iter().eq(0..5000));
    for task in tasks {
        assert!(task.join().unwrap().into_iter().eq(0..5000));
    }
}

#[test]
fn all_see_the_messages_of_several_senders_in_one_order() {
    let _watchdog = Watchdog::start("all_see_the_messages_of_several_senders_in_one_order");
    let runtime = runtime(4);
    let (sender, receiver) = on(&runtime, 8);
    let listeners: Vec<_> = (0..2).map(|_| runtime.task(receiver.clone(), listen)).collect();
    drop(receiver);
    let count =
        |(sender, from): (BroadcastSender<u64>, u64)| (from..from + 1000).all(|n| sender.send(n).is_ok());
    let senders: Vec<_> = (0..2).map(|n| runtime.task((sender.clone(), n * 10_000), count)).collect();
    drop(sender);
    assert!(senders.into_iter().all(|task| task.join() == Ok(true)));
    let seen: Vec<Vec<u64>> = listeners.into_iter().map(|task| task.join().unwrap()).collect();
    assert_eq!(seen[0], seen[1]);
    for from in [0, 10_000] {
        let own = seen[0].iter().copied().filter(|n| n / 10_000 == from / 10_000);
        assert!(own.eq(from..from + 1000));
    }
}

#[test]
fn a_subscriber_begins_where_it_is_made() {
    let _watchdog = Watchdog::start("a_subscriber_begins_where_it_is_made");
    let runtime = runtime(1);
    let (sender, mut first) = on::<u64>(&runtime, 8);
    sender.send(1).unwrap();
    let mut second = sender.subscribe().unwrap();
    let mut copy = first.clone();
    sender.send(2).unwrap();
    let mut third = first.subscribe().unwrap();
    sender.send(3).unwrap();
    assert_eq!((first.len(), second.len(), third.len(), sender.len()), (3, 2, 1, 3));
    assert!(first.drain().eq([1, 2, 3]) && copy.drain().eq([1, 2, 3]));
    assert!(second.drain().eq([2, 3]) && third.drain().eq([3]));
    assert_eq!(first.try_recv(), Err(RecvError::Empty));
    assert_eq!(first.recv_timeout(Duration::from_millis(1)), Err(RecvError::TimedOut));
    drop((first, second, third));
    assert!(sender.send(4).is_ok(), "a clone is left");
    drop(copy);
    assert_eq!(sender.send(5), Err(SendError::Disconnected(5)));
    assert!(matches!(sender.subscribe(), Err(ChannelError::NoPlace { .. })));
}

#[test]
fn the_slowest_subscriber_holds_up_senders_and_a_dropped_one_does_not() {
    let _watchdog = Watchdog::start("the_slowest_subscriber_holds_up_senders_and_a_dropped_one_does_not");
    let runtime = runtime(1);
    let (sender, mut fast) = on::<u64>(&runtime, 3);
    let slow = fast.clone();
    (0..3).for_each(|n| sender.send(n).unwrap());
    assert!(fast.drain().eq(0..3));
    assert_eq!(sender.try_send(3), Err(SendError::Full(3)));
    assert_eq!(sender.send_timeout(3, Duration::from_millis(1)), Err(SendError::TimedOut(3)));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.send(3));
        drop(slow);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    assert_eq!((fast.recv(), sender.stats().sent), (Ok(3), 4));
}

#[test]
fn a_broadcast_that_rejects_gives_back_and_counts() {
    let _watchdog = Watchdog::start("a_broadcast_that_rejects_gives_back_and_counts");
    let runtime = runtime(1);
    let broadcast = Broadcast::bounded(2).backpressure(Backpressure::Reject);
    let (sender, mut receiver) = broadcast.open_on(&runtime).unwrap();
    assert_eq!((sender.send(1), sender.send(2), sender.send(3)), (Ok(()), Ok(()), Err(SendError::Full(3))));
    assert_eq!((receiver.recv(), sender.send(4), sender.stats().rejected), (Ok(1), Ok(()), 1));
    assert!(receiver.drain().eq([2, 4]));
}

#[test]
fn a_subscriber_that_lags_hears_how_much_it_missed() {
    let _watchdog = Watchdog::start("a_subscriber_that_lags_hears_how_much_it_missed");
    let runtime = runtime(1);
    let broadcast = Broadcast::bounded(5).backpressure(Backpressure::OverwriteOldest);
    let (sender, mut lagging) = broadcast.open_on(&runtime).unwrap();
    let mut keen = lagging.clone();
    for n in 0..100_u64 {
        // Every third in a block of its own.
        sender.send((n, "x".repeat(if n % 3 == 0 { 500 } else { 0 }))).unwrap();
        assert_eq!(keen.recv().map(|(number, _)| number), Ok(n));
    }
    assert_eq!(lagging.recv(), Err(RecvError::Lagged(95)));
    assert!(lagging.drain().map(|(number, _)| number).eq(95..100));
    let stats = sender.stats();
    assert_eq!((stats.sent, stats.lagged, stats.overwritten, stats.rejected), (100, 95, 95, 0));
}

#[test]
fn subscribers_that_race_with_overwriting_senders_see_whole_messages() {
    let _watchdog = Watchdog::start("subscribers_that_race_with_overwriting_senders_see_whole_messages");
    let runtime = runtime(2);
    let broadcast = Broadcast::bounded(2).backpressure(Backpressure::OverwriteOldest);
    let (sender, receiver) = broadcast.open_on(&runtime).unwrap();
    let listen = |mut receiver: BroadcastReceiver<(u64, String)>| {
        let (mut next, mut seen, mut missed) = (0, 0_u64, 0);
        loop {
            match receiver.recv() {
                Ok((number, text)) => {
                    assert!(number >= next && text == number.to_string().repeat(40), "{number} {text}");
                    (next, seen) = (number + 1, seen + 1);
                }
                Err(RecvError::Lagged(count)) => missed += count,
                Err(error) => return (seen, missed, error == RecvError::Disconnected),
            }
        }
    };
    let tasks = [(); 2].map(|()| runtime.task(receiver.clone(), listen));
    drop(receiver);
    (0..20_000_u64).for_each(|n| sender.send((n, n.to_string().repeat(40))).unwrap());
    drop(sender);
    for task in tasks {
        let (seen, missed, is_clean) = task.join().unwrap();
        assert_eq!((seen + missed, is_clean), (20_000, true));
    }
}

#[test]
fn large_messages_and_what_they_carry_reach_everybody_and_are_freed() {
    let _watchdog = Watchdog::start("large_messages_and_what_they_carry_reach_everybody_and_are_freed");
    type Parcel = (String, SharedSlice<u64>, Sender<u64>);
    let runtime = runtime(2);
    let (sender, receiver) = on::<Parcel>(&runtime, 4);
    let (answer, answers) = Channel::bounded(128).open_on(&runtime).unwrap();
    let tasks = [(); 2].map(|()| {
        runtime.task(receiver.clone(), |receiver: BroadcastReceiver<Parcel>| {
            receiver
                .into_iter()
                .all(|(text, slice, answer): Parcel| text.len() == 5000 && answer.send(slice[999]).is_ok())
        })
    });
    drop(receiver);
    for n in 0..50 {
        let mut loan = SharedSlice::loan_on(&runtime, 1000).unwrap();
        loan.as_mut_slice().fill(n);
        sender.send(("long ".repeat(1000), loan.publish().unwrap(), answer.clone())).unwrap();
    }
    drop((sender, answer));
    for task in tasks {
        assert_eq!(task.join(), Ok(true));
    }
    // The last copies of the answering end went with the broadcast.
    let mut all: Vec<u64> = answers.iter().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..50).flat_map(|n| [n, n])));
}

#[test]
fn a_subscriber_goes_from_process_to_process_and_misses_nothing() {
    let _watchdog = Watchdog::start("a_subscriber_goes_from_process_to_process_and_misses_nothing");
    let runtime = runtime(2);
    let (sender, mut receiver) = on::<u64>(&runtime, 8);
    let sends =
        runtime.task(sender, |sender: BroadcastSender<u64>| (0..3000).all(|n| sender.send(n).is_ok()));
    let mut expected = 0;
    for _ in 0..30 {
        let (next, seen) = runtime
            .task((receiver, expected), |(mut receiver, from): (BroadcastReceiver<u64>, u64)| {
                let seen = receiver.iter().take(50).zip(from..).filter(|(value, n)| value == n).count();
                (receiver, seen as u64)
            })
            .join()
            .unwrap();
        receiver = next;
        assert_eq!(seen, 50);
        expected += seen;
    }
    assert!(receiver.into_iter().eq(expected..3000));
    assert_eq!(sends.join(), Ok(true));
}

#[test]
fn a_subscriber_goes_through_a_channel() {
    let _watchdog = Watchdog::start("a_subscriber_goes_through_a_channel");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 8);
    let (ends, taken) = Channel::bounded(2).open_on(&runtime).unwrap();
    let sum = runtime.task(taken, |taken: Receiver<BroadcastReceiver<u64>>| {
        taken.iter().map(|receiver| receiver.into_iter().sum::<u64>()).collect::<Vec<_>>()
    });
    ends.send(receiver.clone()).unwrap();
    ends.send(receiver).unwrap();
    drop(ends);
    (0..8).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert_eq!(sum.join(), Ok(vec![28, 28]));
}

#[test]
fn the_death_of_the_last_sender_is_seen_after_what_it_sent() {
    let _watchdog = Watchdog::start("the_death_of_the_last_sender_is_seen_after_what_it_sent");
    let runtime = runtime(1);
    let (sender, mut receiver) = on::<String>(&runtime, 16);
    let dying = runtime.task(sender, |sender: BroadcastSender<String>| -> bool {
        for n in 0..6_usize {
            sender.send(n.to_string().repeat(1 + n * 100)).expect("somebody listens");
        }
        Death::Kill.die()
    });
    let mut other = receiver.clone();
    let seen: Vec<String> = receiver.iter().collect();
    assert!(seen.iter().zip(0_usize..).all(|(text, n)| *text == n.to_string().repeat(1 + n * 100)));
    assert_eq!((seen.len(), receiver.recv()), (6, Err(RecvError::Disconnected)));
    assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
    assert!(other.iter().eq(seen));
}

#[test]
fn a_dead_subscriber_holds_up_nobody() {
    let _watchdog = Watchdog::start("a_dead_subscriber_holds_up_nobody");
    let runtime = runtime(1);
    let (sender, mut receiver) = on::<u64>(&runtime, 4);
    for death in [Death::Kill, Death::Abort] {
        let dying = runtime.task((receiver.clone(), death), |(mut receiver, death)| -> u64 {
            let _: Result<u64, _> = BroadcastReceiver::recv(&mut receiver);
            death.die()
        });
        for n in 0..40 {
            sender.send(n).unwrap();
            assert_eq!(receiver.recv(), Ok(n));
        }
        assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
        assert!(sender.is_empty(), "its place went before its end was told");
    }
}

#[test]
fn a_subscriber_that_is_needed_again_keeps_its_place() {
    let _watchdog = Watchdog::start("a_subscriber_that_is_needed_again_keeps_its_place");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 8);
    let (turn, turns) = Channel::<u64>::bounded(2).open_on(&runtime).unwrap();
    turn.send(1).unwrap();
    (0..5).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    let reads = |(mut receiver, turns): (BroadcastReceiver<u64>, Receiver<u64>)| -> Vec<u64> {
        let _ = receiver.recv();
        if turns.try_recv().is_ok() {
            Death::Kill.die()
        }
        receiver.into_iter().collect()
    };
    let retry = Retry::attempts(2).crash_attempts(2);
    let attempts = Task::with((receiver, turns), reads).retry(retry).go_on(&runtime);
    assert_eq!(attempts.join(), Ok(vec![1, 2, 3, 4]));
}

#[test]
fn killed_tasks_wedge_and_lose_nothing() {
    let _watchdog = Watchdog::start("killed_tasks_wedge_and_lose_nothing");
    let runtime = runtime(3);
    let (sender, mut receiver) = on::<(u64, u64, String)>(&runtime, 8);
    let mut last = std::collections::BTreeMap::new();
    for round in 0..25_u64 {
        let send = |(sender, own): (BroadcastSender<(u64, u64, String)>, u64)| {
            let text = if own % 2 == 0 { String::new() } else { "x".repeat(300) };
            (0..).all(|n| sender.send((own, n, text.clone())).is_ok())
        };
        let senders = [0, 1].map(|n| runtime.task((sender.clone(), round * 2 + n), send));
        let listener =
            runtime.task(receiver.clone(), |receiver| BroadcastReceiver::into_iter(receiver).count());
        let mut check = |(own, n, _): (u64, u64, String)| {
            let expected = last.get(&own).map_or(0, |last| last + 1);
            assert_eq!(n, expected, "of sender {own}");
            last.insert(own, n);
        };
        for _ in 0..20 + round * 7 {
            check(receiver.recv().unwrap());
        }
        if round % 2 == 0 {
            assert!(listener.kill());
        }
        assert!(senders.iter().all(gorun_runtime::TaskHandle::kill));
        // Senders that wait die too while nobody reads.
        for task in senders {
            assert_eq!(task.join(), Err(TaskError::Cancelled));
        }
        listener.kill();
        assert_eq!(listener.join(), Err(TaskError::Cancelled));
        receiver.drain().for_each(&mut check);
    }
    // A place that was on its way to a task that was never begun is given up by another thread.
    while !sender.is_empty() {
        thread::yield_now();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn futures_receive() {
    let _watchdog = Watchdog::start("futures_receive");
    let runtime = runtime(1);
    let (sender, mut receiver) = on::<u64>(&runtime, 4);
    let sends = runtime.task(sender, |sender: BroadcastSender<u64>| (0..500).all(|n| sender.send(n).is_ok()));
    block_on(async {
        for n in 0..500 {
            assert_eq!(receiver.recv_async().await, Ok(n));
        }
        assert_eq!(receiver.recv_async().await, Err(RecvError::Disconnected));
    });
    assert_eq!(sends.join(), Ok(true));
}

#[test]
fn ends_in_a_fork_are_refused_and_dropped_without_harm() {
    let _watchdog = Watchdog::start("ends_in_a_fork_are_refused_and_dropped_without_harm");
    let runtime = runtime(1);
    let (sender, mut receiver) = on::<u64>(&runtime, 4);
    sender.send(1).unwrap();
    // SAFETY: the child uses only memory of its own and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let reason = ChannelError::NoRuntime(Rejection::ForkedHost);
        let sent = sender.send(9) == Err(SendError::NoChannel { value: 9, reason: reason.clone() });
        let received = receiver.recv() == Err(RecvError::NoChannel(reason));
        drop((sender, receiver));
        // SAFETY: ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(!(sent && received))) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    sender.send(2).unwrap();
    drop(sender);
    assert!(receiver.into_iter().eq([1, 2]));
}

#[test]
fn the_end_of_the_runtime_ends_broadcasts() {
    let _watchdog = Watchdog::start("the_end_of_the_runtime_ends_broadcasts");
    let runtime = runtime(1);
    let (sender, mut receiver) = on::<u64>(&runtime, 4);
    sender.send(1).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || (receiver.recv(), receiver.recv()));
        drop(runtime);
        assert_eq!(waiting.join().unwrap(), (Ok(1), Err(RecvError::Closed)));
    });
    assert!(sender.send(2).is_err());
}

#[test]
fn what_cannot_be_is_refused() {
    let _watchdog = Watchdog::start("what_cannot_be_is_refused");
    let runtime = runtime(1);
    let asked = Broadcast::<u64>::bounded(0).open_on(&runtime);
    assert!(matches!(asked, Err(ChannelError::BadCapacity { asked: 0, .. })));
    let (sender, mut receiver) = broadcast_channel::<u64>(0);
    assert!(matches!(sender.send(1), Err(SendError::NoChannel { value: 1, .. })));
    assert!(matches!(receiver.recv(), Err(RecvError::NoChannel(_))));
    let (sender, receiver) = on::<u64>(&runtime, 2);
    let others: Vec<_> = std::iter::from_fn(|| sender.subscribe().ok()).collect();
    assert_eq!(others.len(), 127);
    assert!(matches!(
        receiver.clone().recv(),
        Err(RecvError::NoChannel(ChannelError::NoPlace { most: 128 }))
    ));
    drop(others);
    assert!(sender.subscribe().is_ok());
}
