//! What does a message cost that every one of several processes receives?
//!
//! Measured: 64-byte messages a second from the first send to the last receive, by one sender to 2 and to 10 worker processes. Peers
//! in the same run: tokio's broadcast between threads, and as many streams as there are receivers, into which the sender puts
//! every message once: what the same costs without a broadcast.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::report::{Better, Row};
use tokio::sync::broadcast;

type Message = [u64; 8];

const CAPACITY: usize = 1024;
const AT_ONCE: usize = 32;

fn main() {
    let effort = Effort::from_args();
    for (receivers, messages) in [(2, effort.pick(500_000, 50_000)), (10, effort.pick(100_000, 10_000))] {
        to_all(effort, receivers, messages);
    }
}

fn numbered(number: u64) -> Message {
    [number; 8]
}

fn checksum(messages: u64) -> u64 {
    (0..messages).fold(0, u64::wrapping_add)
}

fn count(receiver: BroadcastReceiver<Message>) -> u64 {
    receiver.into_iter().fold(0, |sum, message| sum.wrapping_add(message[7]))
}

fn count_stream(receiver: StreamReceiver<Message>) -> u64 {
    receiver.into_iter().fold(0, |sum, message| sum.wrapping_add(message[7]))
}

fn to_all(effort: Effort, receivers: usize, messages: u64) {
    let runtime = Runtime::builder().workers(receivers).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    let [ours, streams, threads] = interleave(
        effort.runs(),
        [
            &mut || rate(messages, || broadcast_to(&runtime, receivers, messages)),
            &mut || rate(messages, || stream_to(&runtime, receivers, messages)),
            &mut || rate(messages, || tokio_to(receivers, messages)),
        ],
    );
    let metric = if receivers == 2 { "64 B, broadcast 1 to 2" } else { "64 B, broadcast 1 to 10" };
    let print = |peer, reference: Sample, reach| {
        Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach }.print();
    };
    print("tokio's broadcast, threads", threads, Some(1.0));
    print("a stream for each", streams, None);
}

fn broadcast_to(runtime: &Runtime, receivers: usize, messages: u64) {
    let (sender, receiver) = Broadcast::bounded(CAPACITY).open_on(runtime).expect("there is memory");
    let counts: Vec<_> = (0..receivers).map(|_| runtime.task(receiver.clone(), count)).collect();
    drop(receiver);
    for first in (0..messages).step_by(AT_ONCE) {
        let batch = (first..messages.min(first + AT_ONCE as u64)).map(numbered);
        sender.send_batch(batch).expect("somebody receives");
    }
    drop(sender);
    counts.into_iter().for_each(|count| assert_eq!(count.join(), Ok(checksum(messages))));
}

fn stream_to(runtime: &Runtime, receivers: usize, messages: u64) {
    let open = |_| gorun::stream_on::<Message>(runtime, CAPACITY).expect("there is memory");
    let (mut senders, ends): (Vec<_>, Vec<_>) = (0..receivers).map(open).unzip();
    let counts: Vec<_> = ends.into_iter().map(|receiver| runtime.task(receiver, count_stream)).collect();
    for first in (0..messages).step_by(AT_ONCE) {
        let batch: Vec<_> = (first..messages.min(first + AT_ONCE as u64)).map(numbered).collect();
        senders.iter_mut().for_each(|sender| sender.send_slice(&batch).expect("somebody receives"));
    }
    drop(senders);
    counts.into_iter().for_each(|count| assert_eq!(count.join(), Ok(checksum(messages))));
}

fn tokio_to(receivers: usize, messages: u64) {
    let (sender, receiver) = broadcast::channel::<Message>(CAPACITY);
    std::thread::scope(|scope| {
        let counts: Vec<_> = (0..receivers)
            .map(|_| {
                let mut receiver = receiver.resubscribe();
                scope.spawn(move || {
                    let mut sum = 0_u64;
                    while let Ok(message) = receiver.blocking_recv() {
                        sum = sum.wrapping_add(message[7]);
                    }
                    sum
                })
            })
            .collect();
        drop(receiver);
        for number in 0..messages {
            // It has no sender that waits: nothing may be lost.
            while sender.len() >= CAPACITY {
                std::thread::yield_now();
            }
            sender.send(numbered(number)).expect("somebody receives");
        }
        drop(sender);
        counts.into_iter().for_each(|count| assert_eq!(count.join().expect("it ends"), checksum(messages)));
    });
}

fn rate(messages: u64, work: impl FnOnce()) -> f64 {
    messages as f64 / time_ns(work) * 1e3
}
