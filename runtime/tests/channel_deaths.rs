//! Processes are killed while they use channels: nobody waits for ever, and nothing comes twice or out of order.

use gorun_runtime::channel::{Channel, Receiver, RecvError, SendError, Sender};
use gorun_runtime::{Runtime, SharedSlice, TaskError};
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use gorun_worker::codec::Portable;
use std::collections::BTreeSet;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: Portable>(runtime: &Runtime, capacity: usize) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(capacity).open_on(runtime).expect("open a channel")
}

#[test]
fn the_death_of_the_last_sender_is_seen_after_what_it_sent() {
    let _watchdog = Watchdog::start("the_death_of_the_last_sender_is_seen_after_what_it_sent");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 10);
    let dying = runtime.task(sender, |sender: Sender<u64>| -> bool {
        let _ = sender.send_batch(0..5);
        Death::Kill.die()
    });
    assert!(receiver.iter().eq(0..5));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
}

#[test]
fn the_death_of_the_last_receiver_ends_a_send() {
    let _watchdog = Watchdog::start("the_death_of_the_last_receiver_ends_a_send");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 2);
    let dying = runtime.task(receiver, |receiver: Receiver<u64>| -> u64 {
        let _ = receiver.recv();
        Death::Segfault.die()
    });
    let refused = (0..).find_map(|n| sender.send(n).err()).unwrap();
    assert!(matches!(refused, SendError::Disconnected(_)), "{refused:?}");
    assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
}

#[test]
fn what_the_dead_sent_in_blocks_is_received() {
    let _watchdog = Watchdog::start("what_the_dead_sent_in_blocks_is_received");
    let runtime = runtime(1);
    type Parcel = (String, SharedSlice<u64>, Sender<u64>);
    let (sender, receiver) = on::<Parcel>(&runtime, 10);
    let (answer, answers) = on::<u64>(&runtime, 10);
    let dying = runtime.task((sender, answer), |(sender, answer): (Sender<Parcel>, Sender<u64>)| -> bool {
        for n in 0..5 {
            let slice = SharedSlice::copy_from(&[n; 1000]).unwrap();
            sender.send(("long ".repeat(1000), slice, answer.clone())).unwrap();
        }
        Death::Abort.die()
    });
    assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
    for n in 0..5 {
        let (text, slice, answer) = receiver.recv().unwrap();
        assert_eq!((text.len(), slice.len(), slice[999]), (5000, 1000, n));
        answer.send(n).unwrap();
    }
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
    assert!(answers.iter().eq(0..5));
}

#[test]
fn what_a_dead_receiver_had_not_acknowledged_is_delivered_again() {
    let _watchdog = Watchdog::start("what_a_dead_receiver_had_not_acknowledged_is_delivered_again");
    let runtime = runtime(1);
    let channel = Channel::<(u64, String, SharedSlice<u8>)>::bounded(8).deliveries_max(2);
    let (sender, receiver) = channel.open_on(&runtime).unwrap();
    for n in 0..4 {
        let mut loan = SharedSlice::loan_on(&runtime, 100).unwrap();
        loan.as_mut_slice().fill(9);
        sender.send((n, "x".repeat(1000), loan.publish().unwrap())).unwrap();
    }
    type Item = (u64, String, SharedSlice<u8>);
    let die_with_two = |receiver: Receiver<Item>| -> bool {
        let first = receiver.take().unwrap();
        let second = receiver.take().unwrap();
        assert!(first.0 < second.0);
        Death::Kill.die()
    };
    let died = runtime.task(receiver.clone(), die_with_two).join();
    assert!(matches!(died, Err(TaskError::WorkerLost { .. })));
    let again = receiver.take().unwrap();
    assert_eq!((again.0, again.deliveries(), again.1.len(), again.2[99]), (0, 2, 1000, 9));
    assert!(again.ack().is_ok());
    // The second dies a second time, and is given up; the third comes back.
    let died = runtime.task(receiver.clone(), die_with_two).join();
    assert!(matches!(died, Err(TaskError::WorkerLost { .. })));
    let rest: Vec<(u64, u8)> = std::iter::from_fn(|| {
        let delivery = receiver.try_take().ok()?;
        let seen = (delivery.0, delivery.deliveries());
        delivery.ack().ok().map(|_| seen)
    })
    .collect();
    assert_eq!(rest, [(2, 2), (3, 1)]);
    assert_eq!(receiver.stats().dead_letters, 1);
}

/// Who sent it, its number there, and something to carry.
type Numbered = (u64, u64, String);

/// Sends numbers of its own until it is killed.
fn send_for_ever((sender, own): (Sender<Numbered>, u64)) -> bool {
    let text = if own % 2 == 0 { String::new() } else { "x".repeat(300) };
    (0..).all(|n| sender.send((own, n, text.clone())).is_ok())
}

fn receive_for_ever((receiver, out): (Receiver<Numbered>, Sender<(u64, u64)>)) -> bool {
    receiver.iter().all(|(own, n, _)| out.send((own, n)).is_ok())
}

#[test]
fn killed_senders_and_receivers_wedge_and_double_nothing() {
    let _watchdog = Watchdog::start("killed_senders_and_receivers_wedge_and_double_nothing");
    let runtime = runtime(4);
    let (sender, middle) = on(&runtime, 8);
    let (out, received) = on::<(u64, u64)>(&runtime, 8);
    let mut seen = BTreeSet::new();
    let mut last = std::collections::BTreeMap::new();
    for round in 0..25_u64 {
        let senders: Vec<_> =
            [0, 1].map(|n| runtime.task((sender.clone(), round * 2 + n), send_for_ever)).into();
        let receivers: Vec<_> =
            [0, 1].map(|_| runtime.task((middle.clone(), out.clone()), receive_for_ever)).into();
        // A part of what they send, a different one each round, comes through before they are killed.
        for _ in 0..20 + round * 7 {
            let (own, n) = received.recv().unwrap();
            assert!(seen.insert((own, n)), "{own} {n} came twice");
        }
        if round % 2 == 0 {
            assert!(senders.iter().chain(&receivers).all(gorun_runtime::TaskHandle::kill));
        } else {
            assert!(receivers.iter().chain(&senders).all(gorun_runtime::TaskHandle::kill));
        }
        for task in senders.into_iter().chain(receivers) {
            assert_eq!(task.join(), Err(TaskError::Cancelled));
        }
        // What is left over comes through a receiver that lives, in the order of each sender.
        while let Ok((own, n)) = received.try_recv() {
            assert!(seen.insert((own, n)), "{own} {n} came twice");
        }
        for (own, n, _) in middle.drain() {
            assert!(last.insert(own, n).is_none_or(|before| before < n), "the order of {own} was lost");
            assert!(seen.insert((own, n)), "{own} {n} came twice");
        }
    }
    drop((sender, out));
    for (own, n, _) in &middle {
        assert!(seen.insert((own, n)), "{own} {n} came twice");
    }
    for (own, n) in &received {
        assert!(seen.insert((own, n)), "{own} {n} came twice");
    }
    assert_eq!(received.recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_sleeping_receiver_is_woken_when_the_one_woken_instead_dies() {
    let _watchdog = Watchdog::start("a_sleeping_receiver_is_woken_when_the_one_woken_instead_dies");
    let runtime = runtime(3);
    for round in 0..10 {
        let (sender, receiver) = on::<u64>(&runtime, 4);
        let gate = Gate::new();
        let input = (receiver.clone(), gate.name());
        let wait = |(receiver, name): (Receiver<u64>, String)| {
            gate::pass(&name);
            receiver.recv().ok()
        };
        let waiting: Vec<_> = (0..3).map(|_| runtime.task(input.clone(), wait)).collect();
        (0..3).for_each(|_| drop(gate.await_task()));
        sender.send(round).unwrap();
        // One of them gets it; the others are killed, or all but the one.
        let killed = waiting[0].kill();
        sender.send(round + 100).unwrap();
        sender.send(round + 200).unwrap();
        let got: Vec<_> = waiting.into_iter().map(gorun_runtime::TaskHandle::join).collect();
        let values = got.iter().filter(|one| matches!(one, Ok(Some(_)))).count();
        assert!(values == 3 || killed && values == 2, "{got:?}");
    }
}

#[test]
fn a_channel_that_is_opened_while_a_worker_is_buried_has_its_ends() {
    let _watchdog = Watchdog::start("a_channel_that_is_opened_while_a_worker_is_buried_has_its_ends");
    let runtime = runtime(2);
    let (sender, receiver) = on::<u64>(&runtime, 4);
    std::thread::scope(|scope| {
        let opens = scope.spawn(|| {
            let mut opened = 0_u64;
            while !receiver.is_closed() {
                let (near, far) = on::<u64>(&runtime, 2);
                assert_eq!((near.send(opened), far.recv()), (Ok(()), Ok(opened)));
                opened += 1;
            }
            opened
        });
        for round in 0..30_u64 {
            let dying = runtime.task(round, |_| -> bool { Death::Kill.die() });
            assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
        }
        assert!(sender.close());
        assert!(opens.join().unwrap() > 0);
    });
}
