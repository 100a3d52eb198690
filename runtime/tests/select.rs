//! Waiting for whichever of several channels, tasks and times comes first.

use gorun_runtime::channel::{Channel, Receiver, RecvError, SendError, Sender};
use gorun_runtime::{Context, Retry, Runtime, Select, Task, TaskHandle, Timer, select};
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use gorun_worker::codec::Portable;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: Portable>(runtime: &Runtime, capacity: usize) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(capacity).open_on(runtime).expect("open a channel")
}

#[test]
fn the_channel_with_a_message_is_received_from() {
    let _watchdog = Watchdog::start("the_channel_with_a_message_is_received_from");
    let runtime = runtime(2);
    let (numbers, received) = on::<u64>(&runtime, 4);
    let (texts, read) = on::<String>(&runtime, 4);
    let counts = runtime.task(numbers, |numbers: Sender<u64>| (0..500).all(|n| numbers.send(n).is_ok()));
    let writes =
        runtime.task(texts, |texts: Sender<String>| (0..500).all(|n| texts.send(n.to_string()).is_ok()));
    let (mut next_number, mut next_text) = (0, 0);
    loop {
        select! {
            recv(received) -> number => match number {
                Ok(number) => {
                    assert_eq!(number, next_number);
                    next_number += 1;
                }
                // Ended for good: from now on it would be chosen always.
                Err(_) => break,
            },
            recv(read) -> text => match text {
                Ok(text) => {
                    assert_eq!(text, next_text.to_string());
                    next_text += 1;
                }
                Err(_) => break,
            },
        }
    }
    next_number += received.iter().count() as u64;
    next_text += read.iter().count() as u64;
    assert_eq!((next_number, next_text), (500, 500));
    assert_eq!((counts.join(), writes.join()), (Ok(true), Ok(true)));
}

#[test]
fn nothing_ready_is_the_default_and_nothing_in_time_the_timeout() {
    let _watchdog = Watchdog::start("nothing_ready_is_the_default_and_nothing_in_time_the_timeout");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let now =
        |receiver: &Receiver<u64>| select! { recv(*receiver) -> value => value.ok(), default => Some(99) };
    assert_eq!(now(&receiver), Some(99));
    let soon =
        select! { recv(receiver) -> value => value.ok(), timeout(Duration::from_millis(2)) => Some(98) };
    assert_eq!(soon, Some(98));
    sender.send(1).unwrap();
    assert_eq!(now(&receiver), Some(1));
    drop(sender);
    let ended = select! { recv(receiver) -> value => value, timeout(LONG) => Ok(0) };
    assert_eq!(ended, Err(RecvError::Disconnected));
}

#[test]
fn a_full_channel_is_sent_into_when_there_is_room() {
    let _watchdog = Watchdog::start("a_full_channel_is_sent_into_when_there_is_room");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let (_other, quiet) = on::<u64>(&runtime, 1);
    sender.send(0).unwrap();
    let empties = runtime.task(receiver, |receiver: Receiver<u64>| receiver.iter().take(50).sum::<u64>());
    for n in 1..50_u64 {
        let sent = select! {
            send(sender, n) -> sent => sent,
            recv(quiet) -> value => Err(SendError::Closed(value.unwrap_or(0))),
            timeout(LONG) => Err(SendError::TimedOut(n)),
        };
        assert_eq!(sent, Ok(()));
    }
    assert_eq!(empties.join(), Ok((0..50).sum()));
}

#[test]
fn the_end_of_a_task_is_an_arm() {
    let _watchdog = Watchdog::start("the_end_of_a_task_is_an_arm");
    let runtime = runtime(2);
    let (_sender, receiver) = on::<u64>(&runtime, 1);
    let gate = Gate::new();
    let held = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let early = select! { join(held) => true, default => false };
    assert!(!early);
    let opens = thread::spawn(move || drop(standing));
    let ended = select! { join(held) => true, recv(receiver) -> _ => false, timeout(LONG) => false };
    assert!(ended);
    assert_eq!(held.join(), Ok(()));
    opens.join().unwrap();
    let dying: TaskHandle<u8> = runtime.go(|| Death::Kill.die());
    assert!(select! { recv(receiver) -> _ => false, join(dying) => dying.join().is_err(), });
    let tried = Task::new(|| -> u8 { panic!("each time") }).retry(Retry::attempts(3)).go_on(&runtime);
    assert!(select! { recv(receiver) -> _ => false, join(tried) => tried.join().is_err(), });
}

#[test]
fn a_task_selects_too() {
    let _watchdog = Watchdog::start("a_task_selects_too");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let (stop, stopped) = on::<()>(&runtime, 1);
    let sums = runtime.task((receiver, stopped), |(receiver, stopped): (Receiver<u64>, Receiver<()>)| {
        let mut sum = 0;
        loop {
            select! {
                recv(receiver) -> value => sum += value.unwrap_or(0),
                recv(stopped) -> _ => return sum,
            }
        }
    });
    (1..=100).for_each(|n| sender.send(n).unwrap());
    select! { send(sender, 0) -> sent => sent.unwrap(), }
    stop.send(()).unwrap();
    // The stop may overtake the last values, which are then there still.
    assert!(sums.join().unwrap() >= 100 * 101 / 2 - 100);
}

#[test]
fn selects_on_both_sides_of_a_rendezvous_meet() {
    let _watchdog = Watchdog::start("selects_on_both_sides_of_a_rendezvous_meet");
    let runtime = runtime(1);
    let (sender, receiver) = Channel::<u64>::rendezvous().open_on(&runtime).unwrap();
    let sends = thread::spawn(move || {
        (0..50)
            .filter(|n| select! { send(sender, *n) -> sent => sent.is_ok(), timeout(LONG) => false })
            .count()
    });
    for n in 0..50 {
        let got = select! { recv(receiver) -> value => value, timeout(LONG) => Err(RecvError::TimedOut) };
        assert_eq!(got, Ok(n));
    }
    assert_eq!(sends.join().unwrap(), 50);
}

#[test]
fn a_wake_up_that_a_select_does_not_use_is_passed_on() {
    let _watchdog = Watchdog::start("a_wake_up_that_a_select_does_not_use_is_passed_on");
    let runtime = runtime(1);
    let (left, from_left) = on::<u64>(&runtime, 64);
    let (right, from_right) = on::<u64>(&runtime, 64);
    thread::scope(|scope| {
        let waits: Vec<_> = [&from_left, &from_right, &from_left, &from_right]
            .map(|plain| scope.spawn(move || plain.iter().count()))
            .into();
        let selects = scope.spawn(|| {
            let mut count = 0;
            loop {
                let got = select! { recv(from_left) -> value => value, recv(from_right) -> value => value, };
                if got.is_err() {
                    return count;
                }
                count += 1;
            }
        });
        for n in 0..2000 {
            left.send(n).unwrap();
            right.send(n).unwrap();
        }
        drop((left, right));
        let plain: usize = waits.into_iter().map(|wait| wait.join().unwrap()).sum();
        assert_eq!(plain + selects.join().unwrap(), 4000);
    });
}

/// Receives from whichever is ready until all have ended; what was received from each.
fn drain(receivers: &[Receiver<u64>]) -> Vec<Vec<u64>> {
    let mut seen = vec![Vec::new(); receivers.len()];
    let mut open: Vec<usize> = (0..receivers.len()).collect();
    while !open.is_empty() {
        let mut select = Select::new();
        for index in open.iter() {
            select.recv(&receivers[*index]);
        }
        loop {
            let ready = select.ready();
            let index = open[ready];
            match receivers[index].try_recv() {
                Ok(value) => seen[index].push(value),
                Err(RecvError::Empty) => {}
                Err(_) => {
                    open.remove(ready);
                    break;
                }
            }
        }
    }
    seen
}

#[test]
fn three_hundred_channels_are_waited_for_at_once() {
    let _watchdog = Watchdog::start("three_hundred_channels_are_waited_for_at_once");
    const COUNT: usize = 300;
    let runtime = runtime(1);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..COUNT).map(|_| on::<u64>(&runtime, 2)).unzip();
    // One by one and in both directions, so that the select sleeps, and is woken for each of its arms.
    let (tell, told) = on::<()>(&runtime, 1);
    let sends = runtime.task((senders, told), |(senders, told): (Vec<Sender<u64>>, Receiver<()>)| {
        let both = (0..COUNT).chain((0..COUNT).rev());
        both.zip(0..).all(|(index, n)| senders[index].send(n).is_ok() && told.recv().is_ok())
    });
    let mut select = Select::new();
    for receiver in receivers.iter() {
        select.recv(receiver);
    }
    for (index, n) in (0..COUNT).chain((0..COUNT).rev()).zip(0..) {
        assert_eq!(select.ready(), index);
        assert_eq!(receivers[index].try_recv(), Ok(n));
        tell.send(()).unwrap();
    }
    assert_eq!(sends.join(), Ok(true));
    assert_eq!(drain(&receivers).concat(), [0; 0], "all have ended");
}

#[test]
fn arms_that_are_not_known_before_are_served_fairly() {
    let _watchdog = Watchdog::start("arms_that_are_not_known_before_are_served_fairly");
    let runtime = runtime(1);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| on::<u64>(&runtime, 100)).unzip();
    for sender in &senders {
        sender.send_batch(0..100).unwrap();
    }
    let mut select = Select::new();
    for receiver in receivers.iter() {
        select.recv(receiver);
    }
    let mut taken = [0; 4];
    for _ in 0..80 {
        let index = select.ready();
        receivers[index].try_recv().unwrap();
        taken[index] += 1;
    }
    assert!(taken.iter().all(|count| (10..=30).contains(count)), "{taken:?}");
    drop(senders);
    assert!(drain(&receivers).into_iter().zip(taken).all(|(rest, taken)| rest.into_iter().eq(taken..100)));
}

#[test]
fn an_end_is_found_although_others_are_busy() {
    let _watchdog = Watchdog::start("an_end_is_found_although_others_are_busy");
    let runtime = runtime(1);
    let (busy, receives) = on::<u64>(&runtime, 100);
    let (ended, ends) = on::<u64>(&runtime, 1);
    busy.send_batch(0..100).unwrap();
    drop(ended);
    let mut select = Select::new();
    assert_eq!((select.recv(&receives), select.recv(&ends)), (0, 1));
    let mut seen = [0; 2];
    for _ in 0..10 {
        let index = select.ready();
        seen[index] += 1;
        if index == 0 {
            receives.try_recv().unwrap();
        }
    }
    assert!(seen.iter().all(|count| *count >= 3), "{seen:?}");
    assert_eq!(ends.try_recv(), Err(RecvError::Disconnected));
}

#[test]
fn every_kind_of_arm_can_be_added() {
    let _watchdog = Watchdog::start("every_kind_of_arm_can_be_added");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let (rendezvous, meets) = Channel::<u64>::rendezvous().open_on(&runtime).unwrap();
    let (context, canceller) = Context::background().with_cancel_on(&runtime).unwrap();
    let gate = Gate::new();
    let held = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let timer = Timer::after(LONG);
    sender.send(0).unwrap();
    let mut select = Select::new();
    let sends = select.send(&sender);
    let meeting = select.send(&rendezvous);
    let joins = select.join(&held);
    let ticks = select.tick(&timer);
    let done = select.done(&context);
    assert_eq!((select.len(), select.try_ready()), (5, None));
    assert_eq!(select.ready_timeout(Duration::from_millis(2)), None);
    assert_eq!(receiver.recv(), Ok(0));
    assert_eq!(select.ready(), sends);
    sender.send(1).unwrap();
    let waits = thread::spawn(move || meets.recv());
    assert_eq!(select.ready(), meeting);
    // Whoever waits may take a while to wake up.
    while rendezvous.try_send(9).is_err() {
        assert_eq!(select.ready(), meeting);
    }
    assert_eq!(waits.join().unwrap(), Ok(9));
    // Nobody meets there any more.
    drop(select);
    let mut select = Select::new();
    assert_eq!((select.join(&held), select.tick(&timer), select.done(&context)), (0, 1, 2));
    drop(standing);
    assert_eq!(select.ready(), joins - 2);
    timer.reset(Duration::ZERO);
    drop(select);
    let mut select = Select::new();
    assert_eq!((select.tick(&timer), select.done(&context)), (0, 1));
    assert_eq!(select.ready(), ticks - 3);
    assert!(timer.try_wait().is_some());
    canceller.cancel();
    assert_eq!(select.ready(), done - 3);
    drop(select);
    assert_eq!(held.join(), Ok(()));
}

#[test]
fn tasks_and_channels_beyond_the_kernels_limit() {
    let _watchdog = Watchdog::start("tasks_and_channels_beyond_the_kernels_limit");
    let runtime = runtime(1);
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let handles: Vec<_> = (0..200).map(|n| runtime.task(n, |n: u64| n)).collect();
    let channels: Vec<_> = (0..100).map(|_| on::<u64>(&runtime, 1)).collect();
    let mut select = Select::new();
    for handle in handles.iter() {
        select.join(handle);
    }
    for (_, receiver) in channels.iter() {
        select.recv(receiver);
    }
    assert_eq!(select.try_ready(), None);
    thread::scope(|scope| {
        let waits = scope.spawn(|| select.ready());
        channels[99].0.send(1).unwrap();
        assert_eq!(waits.join().unwrap(), 299);
    });
    assert_eq!(channels[99].1.try_recv(), Ok(1));
    // Only the last of them is told by no word of its own.
    assert!(handles[..199].iter().all(TaskHandle::cancel));
    let mut select = Select::new();
    for handle in handles[199..].iter() {
        select.join(handle);
    }
    for (_, receiver) in channels.iter().chain(&channels) {
        select.recv(receiver);
    }
    drop(standing);
    assert_eq!(select.ready(), 0);
    assert_eq!(busy.join(), Ok(()));
}
