//! Ends of channels as streams and sinks, on an executor of twenty lines, with the combinators that everybody uses.

use futures_util::stream::{FusedStream, select_all};
use futures_util::{FutureExt, SinkExt, StreamExt, stream};
use gorun_runtime::channel::{Channel, SendError};
use gorun_runtime::{Receiver, Runtime, Sender, Ticker};
use gorun_test_programs::Watchdog;
use gorun_worker::codec::Portable;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

fn on<T: Portable>(runtime: &Runtime, capacity: usize) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(capacity).open_on(runtime).expect("open a channel")
}

#[test]
fn a_stream_gives_what_a_task_sends_and_ends_with_it() {
    let _watchdog = Watchdog::start("a_stream_gives_what_a_task_sends_and_ends_with_it");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 4);
    let sends = runtime.task(sender, |sender: Sender<u64>| (0..500).all(|n| sender.send(n).is_ok()));
    let mut stream = receiver.into_stream();
    let seen: Vec<u64> = block_on(stream.by_ref().collect());
    assert!(seen.into_iter().eq(0..500));
    assert!(stream.is_terminated());
    assert_eq!(block_on(stream.next()), None);
    assert_eq!(sends.join(), Ok(true));
}

#[test]
fn a_sink_sends_to_a_task_with_back_pressure() {
    let _watchdog = Watchdog::start("a_sink_sends_to_a_task_with_back_pressure");
    let runtime = runtime(1);
    let (sender, receiver) = on::<String>(&runtime, 2);
    let reads = runtime.task(receiver, |receiver: Receiver<String>| receiver.iter().collect::<Vec<_>>());
    let mut texts = stream::iter(0..300).map(|n| Ok(n.to_string()));
    let mut sink = sender.into_sink();
    block_on(async {
        sink.send_all(&mut texts).await.unwrap();
        sink.close().await.unwrap();
    });
    assert!(reads.join().unwrap().into_iter().eq((0..300).map(|n| n.to_string())));
    let closed = block_on(sink.send(String::from("late")));
    assert!(matches!(closed, Err(SendError::Closed(_))));
}

#[test]
fn a_sink_into_a_rendezvous_and_one_that_nobody_reads() {
    let _watchdog = Watchdog::start("a_sink_into_a_rendezvous_and_one_that_nobody_reads");
    let runtime = runtime(1);
    let (sender, receiver) = Channel::<u64>::rendezvous().open_on(&runtime).unwrap();
    let reads = runtime.task(receiver, |receiver: Receiver<u64>| receiver.iter().take(20).sum::<u64>());
    let mut sink = sender.sink();
    block_on(async {
        for n in 0..20 {
            sink.send(n).await.unwrap();
        }
    });
    assert_eq!(reads.join(), Ok(190));
    let refused = block_on(sink.send(1));
    assert!(matches!(refused, Err(SendError::Disconnected(1))), "{refused:?}");
}

#[test]
fn a_dropped_next_takes_no_message_with_it() {
    let _watchdog = Watchdog::start("a_dropped_next_takes_no_message_with_it");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let mut stream = receiver.stream();
    for n in 0..200 {
        assert_eq!(stream.next().now_or_never(), None);
        sender.send(n).unwrap();
        // Polled and dropped in between, whether or not the waker was called meanwhile.
        let seen = stream.next().now_or_never().unwrap_or_else(|| receiver.recv().ok());
        assert_eq!(seen, Some(n));
    }
}

#[test]
fn a_dropped_stream_passes_its_wake_up_on() {
    let _watchdog = Watchdog::start("a_dropped_stream_passes_its_wake_up_on");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1000);
    thread::scope(|scope| {
        let receiver = &receiver;
        let reads = scope.spawn(move || receiver.iter().count());
        for n in 0..1000 {
            let mut stream = receiver.stream();
            let taken = stream.next().now_or_never();
            sender.send(n).unwrap();
            drop(stream);
            if taken.is_some() {
                sender.send(n).unwrap();
            }
        }
        // Nothing may be left that the reader was not woken for.
        gorun_test_programs::eventually(|| receiver.is_empty());
        sender.close();
        assert_eq!(reads.join().unwrap(), 1000);
    });
}

#[test]
fn more_streams_than_the_kernel_waits_for_at_once() {
    let _watchdog = Watchdog::start("more_streams_than_the_kernel_waits_for_at_once");
    const COUNT: usize = 300;
    let runtime = runtime(2);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..COUNT).map(|_| on::<usize>(&runtime, 1)).unzip();
    let sends = runtime.task(senders, |senders: Vec<Sender<usize>>| {
        (0..3).all(|_| senders.iter().enumerate().rev().all(|(n, sender)| sender.send(n).is_ok()))
    });
    let all = select_all(receivers.into_iter().map(Receiver::into_stream));
    let mut seen: Vec<usize> = block_on(all.collect());
    seen.sort_unstable();
    assert!(seen.into_iter().eq((0..3 * COUNT).map(|n| n / 3)));
    assert_eq!(sends.join(), Ok(true));
}

#[test]
fn a_stream_is_joined_with_a_ticker() {
    let _watchdog = Watchdog::start("a_stream_is_joined_with_a_ticker");
    let runtime = runtime(1);
    let (sender, receiver) = on::<u64>(&runtime, 1);
    let sends = runtime.task(sender, |sender: Sender<u64>| {
        let ticker = Ticker::every(Duration::from_millis(1));
        ticker.iter().take(5).all(|_| sender.send(1).is_ok())
    });
    let ticks = Ticker::every(Duration::from_millis(1)).map(|_| 0);
    let both = stream::select(receiver.stream(), ticks);
    let ones = block_on(both.filter(|n| std::future::ready(*n == 1)).take(5).count());
    assert_eq!(ones, 5);
    assert_eq!(sends.join(), Ok(true));
}
