//! Acknowledged channels: what a silent consumer keeps too long is delivered again, once, and its own acknowledgement is late.

use gorun_runtime::channel::{AckError, Channel, Delivery, Receiver, RecvError, Sender};
use gorun_runtime::{Runtime, SharedSlice, TaskError};
use gorun_test_programs::{Death, Watchdog};
use gorun_worker::codec::Portable;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(20);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn acked<T: Portable>(runtime: &Runtime) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(8).ack_within(LIMIT).open_on(runtime).expect("open a channel")
}

type Item = (u64, String, SharedSlice<u8>);

/// Takes a message, says so, and keeps it until it is told to acknowledge; true if that was too late.
fn keep((receiver, taken, go): (Receiver<Item>, Sender<u64>, Receiver<()>)) -> bool {
    let delivery = receiver.take().expect("a message comes");
    taken.send(delivery.0).expect("the host waits");
    go.recv().expect("the host goes on");
    assert_eq!(delivery.2[99], 9);
    delivery.ack().map(|item| item.0) == Err(AckError::TooLate)
}

#[test]
fn a_silent_consumer_loses_its_message_and_is_told() {
    let _watchdog = Watchdog::start("a_silent_consumer_loses_its_message_and_is_told");
    let runtime = runtime(1);
    let (sender, receiver) = acked::<Item>(&runtime);
    let (taken, has_taken) = Channel::bounded(1).open_on(&runtime).unwrap();
    let (go, may_go) = Channel::bounded(1).open_on(&runtime).unwrap();
    let silent = runtime.task((receiver.clone(), taken, may_go), keep);
    let mut loan = SharedSlice::loan_on(&runtime, 100).unwrap();
    loan.as_mut_slice().fill(9);
    sender.send((7, "long ".repeat(1000), loan.publish().unwrap())).unwrap();
    assert_eq!(has_taken.recv(), Ok(7));
    // Everybody is asleep but this thread, which goes to sleep here.
    let again = receiver.take().unwrap();
    assert_eq!((again.0, again.1.len(), again.2[99], again.deliveries()), (7, 5000, 9, 2));
    go.send(()).unwrap();
    assert_eq!(silent.join(), Ok(true));
    assert_eq!(again.ack().map(|item| item.1.len()), Ok(5000));
    assert_eq!(receiver.try_recv().unwrap_err(), RecvError::Empty);
    let stats = receiver.stats();
    assert_eq!((stats.overdue, stats.returned, stats.received), (1, 1, 1));
}

#[test]
fn a_receiver_that_slept_before_watches_too() {
    let _watchdog = Watchdog::start("a_receiver_that_slept_before_watches_too");
    let runtime = runtime(2);
    let (sender, receiver) = acked::<u64>(&runtime);
    let (go, may_go) = Channel::<()>::bounded(1).open_on(&runtime).unwrap();
    // Both workers wait; one gets the message and keeps it, the other must wake up by itself.
    let take = |(receiver, may_go): (Receiver<u64>, Receiver<()>)| -> (u8, bool) {
        let delivery = receiver.take().expect("a message comes");
        if delivery.deliveries() == 1 {
            let _ = may_go.recv();
        }
        (delivery.deliveries(), delivery.ack().is_ok())
    };
    let tasks = [0, 1].map(|_| runtime.task((receiver.clone(), may_go.clone()), take));
    sender.send(7).unwrap();
    while receiver.stats().received == 0 {
        std::thread::yield_now();
    }
    drop(go);
    let mut seen = tasks.map(|task| task.join().unwrap());
    seen.sort_unstable();
    assert_eq!(seen[0], (1, false));
    assert!(seen[1].0 > 1 && seen[1].1, "{seen:?}");
}

#[test]
fn what_nobody_acknowledges_is_given_up() {
    let _watchdog = Watchdog::start("what_nobody_acknowledges_is_given_up");
    let runtime = runtime(1);
    let channel = Channel::<String>::bounded(4).ack_within(LIMIT).deliveries_max(3);
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    sender.send("poison ".repeat(100)).unwrap();
    drop(sender);
    let kept: Vec<_> = std::iter::from_fn(|| receiver.take().ok()).collect();
    assert_eq!(kept.iter().map(Delivery::deliveries).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(kept.into_iter().all(|delivery| delivery.ack() == Err(AckError::TooLate)));
    assert_eq!(receiver.stats().dead_letters, 1);
}

#[test]
fn an_acked_channel_gives_back_what_a_dead_receiver_had_and_recv_acknowledges() {
    let _watchdog =
        Watchdog::start("an_acked_channel_gives_back_what_a_dead_receiver_had_and_recv_acknowledges");
    let runtime = runtime(1);
    for channel in [Channel::<String>::bounded(4).acked(), Channel::bounded(4).ack_within(LIMIT)] {
        let (sender, receiver) = channel.open_on(&runtime).unwrap();
        sender.send("text ".repeat(100)).unwrap();
        let dying = runtime.task(receiver.clone(), |receiver: Receiver<String>| -> u64 {
            let _kept = receiver.take();
            Death::Kill.die()
        });
        assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
        assert_eq!(receiver.recv().map(|text| text.len()), Ok(500));
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
        assert_eq!(receiver.stats().received, 1);
    }
}

#[test]
fn under_a_short_limit_every_message_is_acknowledged_once() {
    let _watchdog = Watchdog::start("under_a_short_limit_every_message_is_acknowledged_once");
    let runtime = runtime(2);
    let channel = Channel::<u64>::bounded(16).ack_within(Duration::from_micros(50));
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    let take = |receiver: Receiver<u64>| -> Vec<u64> {
        let mut acknowledged = Vec::new();
        while let Ok(delivery) = receiver.take() {
            acknowledged.extend(delivery.ack());
        }
        acknowledged
    };
    let tasks = [0, 1].map(|_| runtime.task(receiver.clone(), take));
    (0..5000).for_each(|number| sender.send(number).unwrap());
    drop(sender);
    let mut all: Vec<u64> = tasks.into_iter().flat_map(|task| task.join().unwrap()).collect();
    all.sort_unstable();
    let given_up = receiver.stats().dead_letters;
    assert_eq!(all.len() as u64 + given_up, 5000);
    all.dedup();
    assert_eq!(all.len() as u64 + given_up, 5000);
}
