//! Streams between host, workers and threads, with deaths, forks and the end of the runtime.
// UNSAFETY: a test of forks must fork.
#![expect(unsafe_code, reason = "fork, wait and _exit have no safe form")]

use gorun_runtime::channel::{ChannelError, RecvError, SendError};
use gorun_runtime::{Rejection, Retry, Runtime, StreamReceiver, StreamSender, TaskError, channel, stream_on};
use gorun_shm::Plain;
use gorun_test_programs::{Death, Watchdog};
use std::thread;
use std::time::Duration;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: Plain>(runtime: &Runtime, capacity: usize) -> (StreamSender<T>, StreamReceiver<T>) {
    stream_on(runtime, capacity).expect("open a stream")
}

fn count_up((mut sender, from, to): (StreamSender<u64>, u64, u64)) -> bool {
    (from..to).all(|n| sender.send(n).is_ok())
}

#[test]
fn a_task_sends_to_the_host_in_order() {
    let _watchdog = Watchdog::start("a_task_sends_to_the_host_in_order");
    let runtime = runtime(1);
    let (sender, mut receiver) = on(&runtime, 16);
    let task = runtime.task((sender, 0, 100_000), count_up);
    assert!(receiver.iter().eq(0..100_000));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(task.join(), Ok(true));
}

#[test]
fn the_host_sends_slices_to_a_task() {
    let _watchdog = Watchdog::start("the_host_sends_slices_to_a_task");
    let runtime = runtime(1);
    let (mut sender, receiver) = on::<u64>(&runtime, 16);
    let task = runtime.task(receiver, |mut receiver: StreamReceiver<u64>| {
        let (mut all, mut some) = (Vec::new(), [0; 10]);
        while let Ok(count) = receiver.recv_into(&mut some) {
            all.extend_from_slice(&some[..count]);
        }
        all
    });
    let values: Vec<u64> = (0..10_000).collect();
    sender.send_slice(&values[..5000]).unwrap();
    assert_eq!(sender.send_batch(5000..10_000), Ok(5000));
    drop(sender);
    assert_eq!(task.join(), Ok(values));
}

#[test]
fn values_go_there_and_back() {
    let _watchdog = Watchdog::start("values_go_there_and_back");
    let runtime = runtime(1);
    let (mut sender, received) = on::<u64>(&runtime, 4);
    let (back, mut receiver) = on::<u64>(&runtime, 4);
    type Ends = (StreamReceiver<u64>, StreamSender<u64>);
    let echo = runtime.task((received, back), |(received, mut back): Ends| {
        received.into_iter().all(|value| back.send(value).is_ok())
    });
    for n in 0..5000 {
        sender.send(n).unwrap();
        assert_eq!(receiver.recv(), Ok(n));
    }
    drop(sender);
    assert_eq!(echo.join(), Ok(true));
}

#[test]
fn ends_go_from_process_to_process_while_values_are_in_the_stream() {
    let _watchdog = Watchdog::start("ends_go_from_process_to_process_while_values_are_in_the_stream");
    let runtime = runtime(2);
    let (mut sender, mut receiver) = on::<u64>(&runtime, 4096);
    let mut expected = 0;
    for round in 0..20 {
        let from = round * 100;
        let sending = runtime.task((sender, from), |(mut sender, from): (StreamSender<u64>, u64)| {
            (from..from + 100).for_each(|n| sender.send(n).expect("there is a receiver"));
            sender
        });
        let receiving =
            runtime.task((receiver, expected), |(mut receiver, from): (StreamReceiver<u64>, u64)| {
                let seen = receiver.drain().zip(from..).inspect(|(value, n)| assert_eq!(value, n)).count();
                (receiver, seen as u64)
            });
        sender = sending.join().unwrap();
        let seen;
        (receiver, seen) = receiving.join().unwrap();
        expected += seen;
    }
    drop(sender);
    assert!(receiver.iter().eq(expected..2000));
}

#[test]
fn an_end_goes_through_a_channel() {
    let _watchdog = Watchdog::start("an_end_goes_through_a_channel");
    let runtime = runtime(1);
    let (sender, receivers) = gorun_runtime::Channel::bounded(2).open_on(&runtime).unwrap();
    let (mut values, receiver) = on::<u32>(&runtime, 4);
    let sum = runtime.task(receivers, |receivers: gorun_runtime::Receiver<StreamReceiver<u32>>| {
        receivers.iter().flatten().sum::<u32>()
    });
    sender.send(receiver).unwrap();
    drop(sender);
    (1..=100).for_each(|n| values.send(n).unwrap());
    drop(values);
    assert_eq!(sum.join(), Ok(5050));
}

#[test]
fn what_does_not_fit_comes_back() {
    let _watchdog = Watchdog::start("what_does_not_fit_comes_back");
    let runtime = runtime(1);
    let (mut sender, mut receiver) = on::<u8>(&runtime, 3);
    assert_eq!((sender.capacity(), receiver.capacity()), (4, 4));
    assert_eq!(sender.try_send_slice(&[1, 2, 3, 4, 5, 6]), Ok(4));
    assert_eq!(sender.try_send(9), Err(SendError::Full(9)));
    assert_eq!(sender.send_timeout(9, Duration::from_millis(1)), Err(SendError::TimedOut(9)));
    assert_eq!((receiver.recv(), sender.try_send(5), sender.len()), (Ok(1), Ok(()), 4));
    assert!(receiver.drain().eq(2..=5));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::TimedOut));
    assert_eq!(receiver.recv_batch(0), Ok(vec![]));
    drop(receiver);
    let error = sender.send_slice(&[7, 8]).unwrap_err();
    assert_eq!((error.sent, error.error), (0, SendError::Disconnected(7)));
}

#[test]
fn a_closed_stream_gives_what_was_sent_before() {
    let _watchdog = Watchdog::start("a_closed_stream_gives_what_was_sent_before");
    let runtime = runtime(1);
    let (mut sender, mut receiver) = on::<u64>(&runtime, 8);
    sender.send_slice(&[1, 2, 3]).unwrap();
    assert!(receiver.close());
    assert!(!sender.close() && sender.is_closed() && receiver.is_closed());
    assert_eq!(sender.send(4), Err(SendError::Closed(4)));
    assert_eq!(receiver.recv_batch(10), Ok(vec![1, 2, 3]));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn what_was_sent_is_received_whoever_closes_when() {
    let _watchdog = Watchdog::start("what_was_sent_is_received_whoever_closes_when");
    let runtime = runtime(1);
    for round in 0..300_u64 {
        let (mut sender, mut receiver) = on::<u64>(&runtime, 4);
        let (sent, received) = thread::scope(|scope| {
            let sending = scope.spawn(|| (0..).take_while(|n| sender.send(*n).is_ok()).count());
            let first = receiver.iter().take(usize::try_from(round).unwrap()).count();
            receiver.close();
            (sending.join().unwrap(), first + receiver.iter().count())
        });
        assert_eq!(sent, received);
    }
}

#[test]
fn values_are_written_and_read_in_place() {
    let _watchdog = Watchdog::start("values_are_written_and_read_in_place");
    let runtime = runtime(1);
    let (mut sender, mut receiver) = on::<[u64; 1024]>(&runtime, 2);
    for n in 0..5 {
        let mut loan = sender.loan().unwrap();
        loan.fill(n);
        let written = loan.as_ptr();
        loan.publish().unwrap();
        assert_eq!(receiver.peek().map(|page| page[1023]), Ok(n));
        let read = receiver.recv_ref().unwrap();
        assert_eq!((read.as_ptr(), read[0]), (written, n), "nothing was copied");
    }
    drop(sender.try_loan().unwrap());
    assert!(matches!(receiver.try_recv_ref(), Err(RecvError::Empty)), "a loan that is dropped was not sent");
    sender.send([8; 1024]).unwrap();
    sender.send([9; 1024]).unwrap();
    assert!(matches!(sender.try_loan(), Err(SendError::Full(()))));
    drop(receiver.recv_ref().unwrap());
    let loan = sender.try_loan().unwrap();
    receiver.close();
    assert_eq!(receiver.drain().count(), 1);
    assert!(matches!(loan.publish(), Err(SendError::Closed(()))), "nobody looks for it any more");
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C, align(16))]
struct Wide([u8; 16]);

#[test]
fn values_of_any_size_and_alignment_travel() {
    let _watchdog = Watchdog::start("values_of_any_size_and_alignment_travel");
    fn there_and_back<T: Plain + PartialEq + std::fmt::Debug>(runtime: &Runtime, value: T) {
        let (mut sender, mut receiver) = on::<T>(runtime, 3);
        for _ in 0..10 {
            sender.send(value).unwrap();
            assert_eq!(receiver.peek(), Ok(&value));
            assert_eq!(receiver.recv(), Ok(value));
        }
    }
    let runtime = runtime(1);
    there_and_back(&runtime, ());
    there_and_back(&runtime, 7_u8);
    there_and_back(&runtime, [1_u8, 2, 3]);
    there_and_back(&runtime, 1.5_f32);
    there_and_back(&runtime, [u16::MAX; 9]);
    there_and_back(&runtime, Wide([3; 16]));
    there_and_back(&runtime, [5_u64; 4000]);
}

#[test]
fn one_value_at_a_time_uses_an_end() {
    let _watchdog = Watchdog::start("one_value_at_a_time_uses_an_end");
    let runtime = runtime(1);
    let (mut sender, receiver) = on::<u64>(&runtime, 8);
    // Through a channel of the same process: two values of one end.
    let (twice, ends) = gorun_runtime::Channel::bounded(4).open_on(&runtime).unwrap();
    let echo = |receiver: StreamReceiver<u64>| twice.send(receiver).map(|()| ends.recv().unwrap()).unwrap();
    let mut first = echo(receiver);
    sender.send(1).unwrap();
    assert_eq!(first.recv(), Ok(1));
    sender.send(2).unwrap();
    assert_eq!(first.recv(), Ok(2));
    let broadcast = gorun_runtime::go_parallel(|| 1).join();
    assert_eq!(broadcast, Ok(1));
    // A value that could not be sent is still good.
    drop(ends);
    let mut first = twice.send(first).unwrap_err().into_value();
    sender.send(3).unwrap();
    assert_eq!(first.recv(), Ok(3));
}

#[test]
fn the_death_of_the_sender_is_seen_after_what_it_sent() {
    let _watchdog = Watchdog::start("the_death_of_the_sender_is_seen_after_what_it_sent");
    let runtime = runtime(1);
    for death in [Death::Kill, Death::Segfault] {
        let (sender, mut receiver) = on::<u64>(&runtime, 16);
        let dying =
            runtime.task((sender, death), |(mut sender, death): (StreamSender<u64>, Death)| -> bool {
                sender.send_slice(&[0, 1, 2, 3, 4]).expect("there is a receiver");
                death.die()
            });
        assert!(receiver.iter().eq(0..5));
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
    }
}

#[test]
fn the_death_of_the_receiver_ends_a_send() {
    let _watchdog = Watchdog::start("the_death_of_the_receiver_ends_a_send");
    let runtime = runtime(1);
    let (mut sender, receiver) = on::<u64>(&runtime, 2);
    let dying = runtime.task(receiver, |mut receiver: StreamReceiver<u64>| -> u64 {
        let _ = receiver.recv();
        Death::Abort.die()
    });
    let refused = (0..).find_map(|n| sender.send(n).err()).unwrap();
    assert!(matches!(refused, SendError::Disconnected(_)), "{refused:?}");
    assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
}

#[test]
fn the_next_attempt_goes_on_where_the_dead_stopped() {
    let _watchdog = Watchdog::start("the_next_attempt_goes_on_where_the_dead_stopped");
    let runtime = runtime(1);
    let (mut sender, receiver) = on::<u64>(&runtime, 16);
    sender.send_slice(&[1, 2, 3, 4]).unwrap();
    drop(sender);
    let reads = |mut receiver: StreamReceiver<u64>| -> Vec<u64> {
        match receiver.recv() {
            Ok(1) => Death::Kill.die(),
            first => first.into_iter().chain(receiver).collect(),
        }
    };
    let attempts = gorun_runtime::Task::with(receiver, reads)
        .retry(Retry::attempts(2).crash_attempts(2))
        .go_on(&runtime);
    assert_eq!(attempts.join(), Ok(vec![2, 3, 4]));
}

#[test]
fn killed_tasks_wedge_and_double_nothing() {
    let _watchdog = Watchdog::start("killed_tasks_wedge_and_double_nothing");
    let runtime = runtime(2);
    for round in 0..40_u64 {
        let (sender, mut receiver) = on::<[u64; 8]>(&runtime, 8);
        let sending = runtime
            .task(sender, |mut sender: StreamSender<[u64; 8]>| (0..).all(|n| sender.send([n; 8]).is_ok()));
        for n in 0..round * 3 {
            assert_eq!(receiver.recv(), Ok([n; 8]));
        }
        assert!(sending.kill());
        assert_eq!(sending.join(), Err(TaskError::Cancelled));
        let rest: Vec<_> = receiver.iter().collect();
        assert!(rest.iter().zip(round * 3..).all(|(value, n)| *value == [n; 8]));

        let (mut sender, receiver) = on::<u64>(&runtime, 8);
        let receiving =
            runtime.task(receiver, |mut receiver: StreamReceiver<u64>| receiver.iter().sum::<u64>());
        for n in 0..round * 3 {
            sender.send(n).unwrap();
        }
        assert!(receiving.kill());
        assert_eq!(receiving.join(), Err(TaskError::Cancelled));
        assert!((0..).find_map(|n| sender.send(n).err()).is_some());
    }
}

#[test]
fn ends_in_a_fork_are_refused_and_dropped_without_harm() {
    let _watchdog = Watchdog::start("ends_in_a_fork_are_refused_and_dropped_without_harm");
    let runtime = runtime(1);
    let (mut sender, mut receiver) = on::<u64>(&runtime, 4);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
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
    sender.send(3).unwrap();
    drop(sender);
    assert!(receiver.into_iter().eq([2, 3]));
}

#[test]
fn the_end_of_the_runtime_ends_streams() {
    let _watchdog = Watchdog::start("the_end_of_the_runtime_ends_streams");
    let runtime = runtime(1);
    let (mut sender, mut receiver) = on::<u64>(&runtime, 4);
    sender.send(1).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || (receiver.recv(), receiver.recv()));
        drop(runtime);
        assert_eq!(waiting.join().unwrap(), (Ok(1), Err(RecvError::Closed)));
    });
    assert_eq!(sender.send(2), Err(SendError::Closed(2)));
}

#[test]
fn capacities_that_cannot_be_are_refused() {
    let _watchdog = Watchdog::start("capacities_that_cannot_be_are_refused");
    let runtime = runtime(1);
    assert!(matches!(stream_on::<u64>(&runtime, 0), Err(ChannelError::BadCapacity { asked: 0, .. })));
    assert!(matches!(stream_on::<u64>(&runtime, 1 << 40), Err(ChannelError::BadCapacity { .. })));
    assert!(matches!(stream_on::<[u64; 64]>(&runtime, 1 << 31), Err(ChannelError::NoMemory { .. })));
    let (mut sender, mut receiver) = gorun_runtime::stream::<u64>(0);
    assert!(matches!(sender.send(1), Err(SendError::NoChannel { value: 1, .. })));
    assert!(matches!(receiver.recv(), Err(RecvError::NoChannel(_))));
    assert_eq!((sender.len(), receiver.capacity(), sender.is_closed()), (0, 0, true));
    let (end, _) = channel::<StreamSender<u64>>(1);
    assert!(end.send(sender).is_err());
}
