//! Channels between host, workers and threads.

use gorun_runtime::channel::{Backpressure, Channel, ChannelError, Receiver, RecvError, SendError, Sender};
use gorun_runtime::{Runtime, SharedSlice, TaskError, channel, rendezvous};
use gorun_test_programs::Watchdog;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: gorun_worker::codec::Portable>(runtime: &Runtime, capacity: usize) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(capacity).open_on(runtime).expect("open a channel")
}

fn count_up((sender, from, to): (Sender<u64>, u64, u64)) -> bool {
    (from..to).all(|n| sender.send(n).is_ok())
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
fn a_task_sends_to_the_host_in_order() {
    let _watchdog = Watchdog::start("a_task_sends_to_the_host_in_order");
    let runtime = runtime(1);
    let (sender, receiver) = on(&runtime, 16);
    let task = runtime.task((sender, 0, 10_000), count_up);
    assert!(receiver.iter().eq(0..10_000));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(task.join(), Ok(true));
}

#[test]
fn the_host_sends_to_a_task_in_order() {
    let _watchdog = Watchdog::start("the_host_sends_to_a_task_in_order");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 16);
    let task = runtime.task(receiver, |receiver: Receiver<u64>| receiver.iter().collect::<Vec<_>>());
    (0..10_000).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert!(task.join().unwrap().into_iter().eq(0..10_000));
}

#[test]
fn a_task_sends_to_a_task() {
    let _watchdog = Watchdog::start("a_task_sends_to_a_task");
    let runtime = runtime(2);
    let (sender, receiver) = on(&runtime, 4);
    let sum = runtime.task(receiver, |receiver: Receiver<u64>| receiver.iter().sum::<u64>());
    let sent = runtime.task((sender, 0, 5000), count_up);
    assert_eq!(sum.join(), Ok((0..5000).sum()));
    assert_eq!(sent.join(), Ok(true));
}

#[test]
fn many_senders_and_receivers_lose_and_double_nothing() {
    let _watchdog = Watchdog::start("many_senders_and_receivers_lose_and_double_nothing");
    let runtime = runtime(4);
    let (sender, receiver) = on(&runtime, 8);
    let receive = |receiver: Receiver<u64>| receiver.iter().collect::<Vec<u64>>();
    let receivers: Vec<_> = (0..2).map(|_| runtime.task(receiver.clone(), receive)).collect();
    let senders: Vec<_> =
        (0..2).map(|n| runtime.task((sender.clone(), n * 10_000, n * 10_000 + 3000), count_up)).collect();
    drop((sender, receiver));
    assert!(senders.into_iter().all(|task| task.join() == Ok(true)));
    let received: Vec<Vec<u64>> = receivers.into_iter().map(|task| task.join().unwrap()).collect();
    for one in &received {
        for producer in 0..2 {
            let own = one.iter().filter(|value| **value / 10_000 == producer);
            assert!(own.is_sorted(), "the order of one sender was lost");
        }
    }
    let all: Vec<u64> = received.concat();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (6000, 6000));
}

#[test]
fn threads_of_the_host_use_one_channel() {
    let _watchdog = Watchdog::start("threads_of_the_host_use_one_channel");
    let runtime = runtime(1);
    let (sender, receiver) = on(&runtime, 3);
    thread::scope(|scope| {
        for from in [0, 1000, 2000] {
            let sender = sender.clone();
            scope.spawn(move || count_up((sender, from, from + 1000)));
        }
        drop(sender);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || receiver.iter().count())
            })
            .collect();
        let here = receiver.iter().count();
        let there: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(here + there, 3000);
    });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Named { name: String, sizes: Vec<u32> },
    Numbers([u64; 8]),
}

#[test]
fn values_of_all_sizes_travel() {
    let _watchdog = Watchdog::start("values_of_all_sizes_travel");
    let runtime = runtime(1);
    let (sender, receiver) = on::<Shape>(&runtime, 4);
    let (back, returned) = on::<Shape>(&runtime, 4);
    let echo = runtime.task((receiver, back), |(receiver, back): (Receiver<Shape>, Sender<Shape>)| {
        receiver.iter().all(|shape| back.send(shape).is_ok())
    });
    let large = Shape::Named { name: "x".repeat(100_000), sizes: (0..10_000).collect() };
    for shape in [Shape::Nothing, large, Shape::Numbers([7; 8]), Shape::Nothing] {
        sender.send(shape.clone()).unwrap();
        assert_eq!(returned.recv(), Ok(shape));
    }
    drop(sender);
    assert_eq!(echo.join(), Ok(true));
}

#[test]
fn slices_go_through_channels_without_a_copy() {
    let _watchdog = Watchdog::start("slices_go_through_channels_without_a_copy");
    let runtime = runtime(1);
    let (sender, receiver) = on::<(u32, SharedSlice<u64>)>(&runtime, 2);
    let sum = runtime.task(receiver, |receiver: Receiver<(u32, SharedSlice<u64>)>| {
        receiver.iter().map(|(times, slice)| u64::from(times) * slice.iter().sum::<u64>()).sum::<u64>()
    });
    for times in 0..100 {
        let mut loan = SharedSlice::loan_on(&runtime, 1000).unwrap();
        loan.as_mut_slice().fill(1);
        sender.send((times, loan.publish().unwrap())).unwrap();
    }
    drop(sender);
    assert_eq!(sum.join(), Ok(1000 * (0..100).sum::<u64>()));
}

#[test]
fn ends_go_through_ends() {
    let _watchdog = Watchdog::start("ends_go_through_ends");
    let runtime = runtime(1);
    let (requests, answered) = on::<(u64, Sender<u64>)>(&runtime, 4);
    let server = runtime.task(answered, |requests: Receiver<(u64, Sender<u64>)>| {
        requests.iter().map(|(number, answer)| u64::from(answer.send(number * 2).is_ok())).sum::<u64>()
    });
    for number in 0..100 {
        let (answer, answers) = on(&runtime, 1);
        requests.send((number, answer)).unwrap();
        assert_eq!(answers.recv(), Ok(number * 2));
        assert_eq!(
            answers.recv(),
            Err(RecvError::Disconnected),
            "the answering end is gone in both processes"
        );
    }
    drop(requests);
    assert_eq!(server.join(), Ok(100));
}

#[test]
fn an_end_in_an_unread_message_is_alive() {
    let _watchdog = Watchdog::start("an_end_in_an_unread_message_is_alive");
    let runtime = runtime(1);
    let (outer, outer_received) = on::<Sender<u64>>(&runtime, 1);
    let (inner, received) = on::<u64>(&runtime, 1);
    outer.send(inner).unwrap();
    assert_eq!(received.try_recv(), Err(RecvError::Empty));
    let inner = outer_received.recv().unwrap();
    inner.send(5).unwrap();
    drop(inner);
    assert_eq!((received.recv(), received.recv()), (Ok(5), Err(RecvError::Disconnected)));
    // Unread for good: the receiver of the outer channel is gone.
    let (inner, received) = on::<u64>(&runtime, 1);
    outer.send(inner).unwrap();
    drop(outer_received);
    assert_eq!(received.recv(), Err(RecvError::Disconnected));
}

#[test]
fn ends_are_results_of_tasks() {
    let _watchdog = Watchdog::start("ends_are_results_of_tasks");
    let runtime = runtime(1);
    let made = runtime.go(|| {
        let (sender, receiver) = channel::<u64>(10);
        sender.send_batch(0..5).map(|_| receiver).map_err(|error| error.to_string())
    });
    let receiver = made.join().unwrap().unwrap();
    assert!(receiver.iter().eq(0..5));
}

#[test]
fn what_was_sent_before_the_close_is_received() {
    let _watchdog = Watchdog::start("what_was_sent_before_the_close_is_received");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 4);
    assert_eq!(sender.send_batch([1, 2, 3]), Ok(3));
    assert!(sender.close());
    assert!(!receiver.close(), "it was closed already");
    assert_eq!(sender.send(4), Err(SendError::Closed(4)));
    assert!(sender.is_closed() && receiver.is_closed());
    assert_eq!(receiver.len(), 3);
    assert!(receiver.iter().eq([1, 2, 3]));
    assert_eq!(receiver.try_recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_close_ends_all_waits() {
    let _watchdog = Watchdog::start("a_close_ends_all_waits");
    let runtime = runtime(2);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let (full, _kept) = on::<u64>(&runtime, 1);
    full.send(0).unwrap();
    let receiving: Vec<_> = (0..2)
        .map(|_| runtime.task(receiver.clone(), |receiver: Receiver<u64>| receiver.recv().is_err()))
        .collect();
    thread::scope(|scope| {
        let receives = scope.spawn(|| receiver.recv());
        let sends = scope.spawn(|| full.send(1));
        sender.close();
        full.close();
        assert_eq!(receives.join().unwrap(), Err(RecvError::Disconnected));
        assert_eq!(sends.join().unwrap(), Err(SendError::Closed(1)));
    });
    assert!(receiving.into_iter().all(|task| task.join() == Ok(true)));
}

#[test]
fn the_value_comes_back_if_no_receiver_is_left() {
    let _watchdog = Watchdog::start("the_value_comes_back_if_no_receiver_is_left");
    let runtime = runtime(1);
    let (sender, receiver) = on::<String>(&runtime, 1);
    let gone = runtime.task(receiver, |receiver: Receiver<String>| drop(receiver));
    assert_eq!(gone.join(), Ok(()));
    let refused = loop {
        match sender.send_timeout("mine".into(), Duration::from_secs(60)) {
            Ok(()) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, SendError::Disconnected("mine".into()));
}

#[test]
fn a_full_channel_says_so_in_time() {
    let _watchdog = Watchdog::start("a_full_channel_says_so_in_time");
    let runtime = runtime(1);
    // Not a power of two: there are more places than messages.
    let (sender, receiver) = on::<u64>(&runtime, 3);
    assert_eq!((sender.capacity(), receiver.capacity()), (3, 3));
    assert_eq!(sender.send_batch(0..3), Ok(3));
    assert_eq!(sender.try_send(3), Err(SendError::Full(3)));
    assert_eq!(sender.send_timeout(3, Duration::from_millis(2)), Err(SendError::TimedOut(3)));
    assert_eq!(receiver.recv(), Ok(0));
    assert_eq!(sender.try_send(3), Ok(()));
    assert_eq!(receiver.recv_batch(10), Ok(vec![1, 2, 3]));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(2)), Err(RecvError::TimedOut));
    sender.send_batch([7, 8]).unwrap();
    assert!(receiver.drain().eq([7, 8]));
}

#[test]
fn a_channel_that_rejects_counts_what_it_rejects() {
    let _watchdog = Watchdog::start("a_channel_that_rejects_counts_what_it_rejects");
    let runtime = runtime(1);
    let channel = Channel::<u64>::bounded(2).backpressure(Backpressure::Reject);
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    assert_eq!(sender.send_batch([1, 2]), Ok(2));
    assert_eq!(sender.send(3), Err(SendError::Full(3)));
    assert_eq!((sender.stats().rejected, receiver.len()), (1, 2));
}

#[test]
fn a_channel_that_overwrites_keeps_the_newest() {
    let _watchdog = Watchdog::start("a_channel_that_overwrites_keeps_the_newest");
    let runtime = runtime(1);
    let channel = Channel::<String>::bounded(2).backpressure(Backpressure::OverwriteOldest);
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    for n in 0..100 {
        sender.send(format!("number {n} {}", "long ".repeat(100))).unwrap();
    }
    assert_eq!(sender.stats().overwritten, 98);
    let kept: Vec<String> = receiver.drain().collect();
    assert!(
        kept.len() == 2 && kept[0].starts_with("number 98") && kept[1].starts_with("number 99"),
        "{kept:?}"
    );
}

#[test]
fn a_rendezvous_hands_over_from_hand_to_hand() {
    let _watchdog = Watchdog::start("a_rendezvous_hands_over_from_hand_to_hand");
    let runtime = runtime(1);
    let (sender, receiver) = Channel::<u64>::rendezvous().open_on(&runtime).unwrap();
    assert_eq!(sender.capacity(), 0);
    assert_eq!(sender.try_send(1), Err(SendError::Full(1)));
    assert_eq!(sender.send_timeout(2, Duration::from_millis(2)), Err(SendError::TimedOut(2)));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty), "what was not handed over is not there");
    let sends = runtime.task((sender.clone(), 10, 200), count_up);
    let others = thread::spawn(move || count_up((sender, 1000, 1200)));
    let mut received: Vec<u64> = receiver.iter().collect();
    received.sort_unstable();
    assert!(received.into_iter().eq((10..200).chain(1000..1200)));
    assert_eq!((sends.join(), others.join().unwrap()), (Ok(true), true));
}

#[test]
fn a_message_that_is_not_acknowledged_comes_back() {
    let _watchdog = Watchdog::start("a_message_that_is_not_acknowledged_comes_back");
    let runtime = runtime(1);
    let channel = Channel::<String>::bounded(4).deliveries_max(3);
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    let long = "long ".repeat(100);
    sender.send_batch(["short".to_owned(), long.clone()]).unwrap();
    for delivery in 1..=3 {
        let taken = receiver.take().unwrap();
        assert_eq!((taken.as_str(), taken.deliveries()), ("short", delivery));
    }
    let taken = receiver.take().unwrap();
    assert_eq!((taken.as_str(), taken.deliveries()), (long.as_str(), 1));
    drop(taken);
    let taken = receiver.take().unwrap();
    assert_eq!(taken.deliveries(), 2);
    assert_eq!(taken.ack().as_deref(), Ok(long.as_str()));
    let stats = receiver.stats();
    assert_eq!((stats.dead_letters, stats.returned, receiver.len()), (1, 3, 0));
}

#[test]
fn a_task_that_waits_runs_its_own_tasks() {
    let _watchdog = Watchdog::start("a_task_that_waits_runs_its_own_tasks");
    // One worker: nobody else could run the inner task.
    let runtime = runtime(1);
    let outer = runtime.go(|| {
        let (sender, receiver) = channel::<u64>(1);
        let inner = gorun_runtime::Task::with((sender, 0, 1), count_up).go();
        let received = receiver.recv();
        (received.ok(), inner.join().ok())
    });
    assert_eq!(outer.join(), Ok((Some(0), Some(true))));
}

#[test]
fn receiving_and_sending_are_futures() {
    let _watchdog = Watchdog::start("receiving_and_sending_are_futures");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let (back, returned) = on::<u64>(&runtime, 1);
    let echo = runtime.task((receiver, back), |(receiver, back): (Receiver<u64>, Sender<u64>)| {
        block_on(async {
            let mut count = 0;
            while let Ok(value) = receiver.recv_async().await {
                back.send_async(value + 1).await.map_err(|error| error.to_string())?;
                count += 1;
            }
            Ok::<u64, String>(count)
        })
    });
    block_on(async {
        for n in 0..200 {
            sender.send_async(n).await.unwrap();
            assert_eq!(returned.recv_async().await, Ok(n + 1));
        }
    });
    drop(sender);
    assert_eq!(echo.join(), Ok(Ok(200)));
    assert_eq!(block_on(returned.recv_async()), Err(RecvError::Disconnected));
}

#[test]
fn a_rendezvous_is_met_by_futures() {
    let _watchdog = Watchdog::start("a_rendezvous_is_met_by_futures");
    let (sender, receiver) = rendezvous::<String>();
    let sends = thread::spawn(move || {
        block_on(async {
            for n in 0..50 {
                sender.send_async(n.to_string()).await.unwrap();
            }
        });
    });
    for n in 0..50 {
        assert_eq!(receiver.recv(), Ok(n.to_string()));
    }
    sends.join().unwrap();
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn ten_thousand_channels_live_at_once() {
    let _watchdog = Watchdog::start("ten_thousand_channels_live_at_once");
    let runtime = runtime(1);
    let channels: Vec<_> = (0..10_000_u64).map(|_| on::<u64>(&runtime, 2)).collect();
    for (n, (sender, _)) in (0..).zip(&channels) {
        sender.send(n).unwrap();
    }
    let sum = runtime.task(channels[17].1.clone(), |receiver: Receiver<u64>| receiver.recv().ok());
    assert_eq!(sum.join(), Ok(Some(17)));
    let received = channels.iter().filter_map(|(_, receiver)| receiver.try_recv().ok()).sum::<u64>();
    assert_eq!(received, (0..10_000).sum::<u64>() - 17);
    drop(channels);
    assert!((0..10_000).all(|_| Channel::<u64>::bounded(2).open_on(&runtime).is_ok()));
}

#[test]
fn after_the_runtime_ends_everything_says_closed() {
    let _watchdog = Watchdog::start("after_the_runtime_ends_everything_says_closed");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 4);
    let (_kept, empty) = on::<u64>(&runtime, 4);
    sender.send(1).unwrap();
    let blocked = runtime.task(empty.clone(), |receiver: Receiver<u64>| receiver.recv().is_ok());
    let waits = thread::spawn(move || empty.recv());
    drop(runtime);
    assert_eq!(waits.join().unwrap(), Err(RecvError::Closed));
    assert!(matches!(blocked.join(), Err(TaskError::Closed) | Ok(false)));
    assert_eq!(sender.send(2), Err(SendError::Closed(2)));
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Err(RecvError::Closed)));
}

#[test]
fn channels_work_where_tasks_run_on_threads() {
    let _watchdog = Watchdog::start("channels_work_where_tasks_run_on_threads");
    let runtime = Runtime::builder().workers(2).processes(false).build().unwrap();
    let (sender, receiver) = on(&runtime, 4);
    let (unused, waited_for) = on::<u64>(&runtime, 4);
    let sum = runtime.task(receiver, |receiver: Receiver<u64>| receiver.iter().sum::<u64>());
    let sent = runtime.task((sender, 0, 2000), count_up);
    assert_eq!((sum.join(), sent.join()), (Ok((0..2000).sum()), Ok(true)));
    let stays = runtime.task(waited_for, |receiver: Receiver<u64>| receiver.recv().is_err());
    drop(runtime);
    assert!(matches!(stays.join(), Ok(true) | Err(TaskError::Closed)));
    drop(unused);
}

#[test]
fn what_cannot_be_is_an_error() {
    let _watchdog = Watchdog::start("what_cannot_be_is_an_error");
    let runtime = Runtime::builder().workers(1).message_bytes_max(4096).build().unwrap();
    let none = Channel::<u64>::bounded(0).open_on(&runtime);
    assert!(matches!(none, Err(ChannelError::BadCapacity { asked: 0, .. })), "{none:?}");
    let much = Channel::<u64>::bounded(100_000).open_on(&runtime);
    assert!(matches!(much, Err(ChannelError::NoMemory { .. })), "{much:?}");
    let (sender, _receiver) = on::<String>(&runtime, 1);
    let large = "x".repeat(5000);
    let refused = sender.send(large.clone()).unwrap_err();
    assert!(matches!(&refused, SendError::Unsendable { .. }), "{refused:?}");
    assert_eq!(refused.into_value(), large);
    let (sender, receiver) = channel::<u64>(0);
    assert!(matches!(sender.send(3), Err(SendError::NoChannel { value: 3, .. })));
    assert!(matches!(receiver.recv(), Err(RecvError::NoChannel(_))));
}

/// Written as a sender, read as a slice, by a slip of serde.
struct Slip(Sender<u64>);

impl Serialize for Slip {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Slip {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let slice = SharedSlice::<u8>::deserialize(deserializer)?;
        panic!("{} bytes that others write", slice.len());
    }
}

#[test]
fn a_channel_is_never_read_as_bytes_and_has_one_type() {
    let _watchdog = Watchdog::start("a_channel_is_never_read_as_bytes_and_has_one_type");
    let runtime = runtime(1);
    let (sender, _receiver) = on::<u64>(&runtime, 1);
    let slipped = runtime.task(Slip(sender), |_: Slip| ()).join();
    assert!(matches!(slipped, Err(TaskError::Decode { .. })), "{slipped:?}");
}
