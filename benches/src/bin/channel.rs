//! What does a message through a channel cost, from one process to another?
//!
//! Measured: the steps alone, without another side; 64-byte messages a second from the first send to the last receive, one by one and in batches, from one to one
//! and from several to several; the median round trip through two channels, both sides awake, and the other side asleep.
//! Peers in the same run: a bare single-producer ring and crossbeam-channel between threads; a cache line and a futex there
//! and back.

use std::time::Duration;

use crossbeam_channel::bounded;
use gorun::prelude::*;
use gorun_benches::floor::{self, BATCH, Floor};
use gorun_benches::measure::{Effort, Sample, call_after_pause_ns, call_ns, interleave, time_ns};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};
use serde::{Deserialize, Serialize};

type Message = [u64; 8];

/// Long enough for a receiver to give up spinning and sleep.
const PAUSE: Duration = Duration::from_millis(1);
const CAPACITY: usize = 1024;
const AT_ONCE: usize = 64;

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = floor::serve(peer);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let is_asked = |question: &str| asked.as_ref().is_none_or(|asked| question.contains(asked.as_str()));
    if is_asked("alone") {
        alone(effort);
    }
    if is_asked("written") {
        written(effort);
    }
    if is_asked("stream") {
        unpinned(|| stream(effort));
    }
    for sides in [1, 2, 4] {
        if is_asked("many") {
            many(effort, sides);
        }
    }
    if is_asked("ping_pong") {
        unpinned(|| ping_pong(effort));
    }
}

/// On a thread of its own: a thread that was pinned stays pinned, and so does what it starts.
fn unpinned(question: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(question).join()).expect("the question is answered");
}

fn open<T: gorun::Portable>(runtime: &Runtime, capacity: usize) -> (Sender<T>, Receiver<T>) {
    Channel::bounded(capacity).open_on(runtime).expect("there is memory for a channel")
}

fn workers(count: usize) -> Runtime {
    let runtime = Runtime::builder().workers(count).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    runtime
}

fn numbered(number: u64) -> Message {
    [number; 8]
}

fn count_one_by_one(receiver: Receiver<Message>) -> u64 {
    receiver.iter().fold(0, |sum, message| sum.wrapping_add(message[7]))
}

fn count_in_batches(receiver: Receiver<Message>) -> u64 {
    let mut sum = 0_u64;
    while let Ok(messages) = receiver.recv_batch(AT_ONCE) {
        sum = messages.iter().fold(sum, |sum, message| sum.wrapping_add(message[7]));
    }
    sum
}

fn send_one_by_one((sender, count): (Sender<Message>, u64)) {
    (0..count).for_each(|number| sender.send(numbered(number)).expect("somebody receives"));
}

fn checksum(messages: u64) -> u64 {
    (0..messages).fold(0, u64::wrapping_add)
}

/// What the steps cost by themselves: one thread sends and receives.
fn alone(effort: Effort) {
    let runtime = workers(1);
    let (sender, receiver) = open::<Message>(&runtime, CAPACITY);
    let (others, received) = bounded::<Message>(CAPACITY);
    let calls = effort.pick(1_000_000, 200_000);
    let [ours, threads] = interleave(
        effort.runs(),
        [
            &mut || {
                call_ns(calls, || {
                    sender.send(numbered(7)).expect("there is a receiver");
                    assert_eq!(receiver.recv(), Ok(numbered(7)));
                })
            },
            &mut || {
                call_ns(calls, || {
                    others.send(numbered(7)).expect("there is a receiver");
                    assert_eq!(received.recv(), Ok(numbered(7)));
                })
            },
        ],
    );
    let (metric, peer) = ("64 B, sent and received by one thread", "crossbeam-channel");
    Row { metric, unit: "ns", ours, peer, reference: threads, better: Better::Lower, reach: None }.print();
}

/// A value that must be encoded, as most are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u64,
    price: f64,
    item: String,
    is_paid: Option<bool>,
}

/// What encoding and decoding add: a small struct against a number, both sent and received by one thread.
fn written(effort: Effort) {
    let runtime = workers(1);
    let (orders, ordered) = open::<Order>(&runtime, CAPACITY);
    let (numbers, numbered) = open::<u64>(&runtime, CAPACITY);
    let order = Order { number: 7, price: 9.5, item: "a small thing".into(), is_paid: Some(true) };
    let calls = effort.pick(1_000_000, 200_000);
    let [structs, plain] = interleave(
        effort.runs(),
        [
            &mut || {
                call_ns(calls, || {
                    orders.send(order.clone()).expect("there is a receiver");
                    assert_eq!(ordered.recv().map(|order| order.number), Ok(7));
                })
            },
            &mut || {
                call_ns(calls, || {
                    numbers.send(7).expect("there is a receiver");
                    assert_eq!(numbered.recv(), Ok(7));
                })
            },
        ],
    );
    let ours = Sample { median: structs.median - plain.median, spread: structs.spread };
    let (metric, peer) = ("a small struct over a number, by one thread", "the 150 ns it may cost");
    let reference = Sample::constant(150.0);
    Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach: Some(1.0) }.print();
}

fn stream(effort: Effort) {
    let runtime = workers(1);
    let cores = runtime.stats().seats[0].cpu.map_or_else(Cores::first_and_last, Cores::apart_from);
    cores.pin_host();
    let mut floor = Floor::start(cores);
    let messages = effort.pick(2_000_000, 200_000);
    let [single, batched, bare, threads] = interleave(
        effort.runs(),
        [
            &mut || {
                let (sender, receiver) = open(&runtime, CAPACITY);
                rate(messages, || {
                    let counts = runtime.task(receiver, count_one_by_one);
                    send_one_by_one((sender, messages));
                    assert_eq!(counts.join(), Ok(checksum(messages)));
                })
            },
            &mut || {
                let (sender, receiver) = open(&runtime, CAPACITY);
                rate(messages, || {
                    let counts = runtime.task(receiver, count_in_batches);
                    let sent = sender.send_batch((0..messages).map(numbered)).expect("somebody receives");
                    assert_eq!(sent as u64, messages);
                    drop(sender);
                    assert_eq!(counts.join(), Ok(checksum(messages)));
                })
            },
            &mut || floor.ring_rate(messages, BATCH) / 1e6,
            &mut || rate(messages, || between_threads(cores, 1, messages)),
        ],
    );
    for (metric, ours) in [("64 B, 1 to 1, one by one", single), ("64 B, 1 to 1, in batches", batched)] {
        for (peer, reference) in [("bare ring, one producer", bare), ("crossbeam-channel, threads", threads)]
        {
            Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach: None }.print();
        }
    }
}

fn many(effort: Effort, sides: usize) {
    let runtime = workers(2 * sides);
    let messages = effort.pick(500_000, 50_000);
    let each = messages / sides as u64;
    let [ours, threads] = interleave(
        effort.runs(),
        [
            &mut || {
                let (sender, receiver) = open(&runtime, CAPACITY);
                rate(messages, || {
                    let counts: Vec<_> =
                        (0..sides).map(|_| runtime.task(receiver.clone(), count_one_by_one)).collect();
                    let sends: Vec<_> =
                        (0..sides).map(|_| runtime.task((sender.clone(), each), send_one_by_one)).collect();
                    drop((sender, receiver));
                    sends.into_iter().for_each(|task| task.join().expect("the sender ends"));
                    let sum: u64 =
                        counts.into_iter().map(|task| task.join().expect("the receiver ends")).sum();
                    assert_eq!(sum, checksum(each) * sides as u64);
                })
            },
            &mut || rate(messages, || between_threads(Cores::first_and_last(), sides, messages)),
        ],
    );
    let metric = match sides {
        1 => "64 B, 1 to 1, processes",
        2 => "64 B, 2 to 2, processes",
        _ => "64 B, 4 to 4, processes",
    };
    let peer = "crossbeam-channel, threads";
    Row { metric, unit: "M/s", ours, peer, reference: threads, better: Better::Higher, reach: Some(1.0) }
        .print();
}

/// The same between threads of this process.
fn between_threads(cores: Cores, sides: usize, messages: u64) {
    let (sender, receiver) = bounded::<Message>(CAPACITY);
    let each = messages / sides as u64;
    std::thread::scope(|scope| {
        let counts: Vec<_> = (0..sides)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || {
                    if sides == 1 {
                        core_affinity::set_for_current(cores.peer);
                    }
                    receiver.iter().fold(0_u64, |sum, message| sum.wrapping_add(message[7]))
                })
            })
            .collect();
        for _ in 0..sides {
            let sender = sender.clone();
            scope.spawn(move || {
                if sides == 1 {
                    core_affinity::set_for_current(cores.host);
                }
                (0..each).for_each(|number| sender.send(numbered(number)).expect("somebody receives"));
            });
        }
        drop((sender, receiver));
        let sum: u64 = counts.into_iter().map(|count| count.join().expect("the receiver ends")).sum();
        assert_eq!(sum, checksum(each) * sides as u64);
    });
}

fn rate(messages: u64, work: impl FnOnce()) -> f64 {
    messages as f64 / time_ns(work) * 1e3
}

fn echo((receiver, back): (Receiver<Message>, Sender<Message>)) {
    receiver.iter().for_each(|message| back.send(message).expect("somebody receives"));
}

fn ping_pong(effort: Effort) {
    let runtime = workers(1);
    let cores = runtime.stats().seats[0].cpu.map_or_else(Cores::first_and_last, Cores::apart_from);
    cores.pin_host();
    let mut floor = Floor::start(cores);
    let (sender, received) = open::<Message>(&runtime, 4);
    let (back, receiver) = open::<Message>(&runtime, 4);
    let echoes = runtime.task((received, back), echo);
    let round_trip = || {
        sender.send(numbered(7)).expect("somebody receives");
        assert_eq!(receiver.recv(), Ok(numbered(7)));
    };
    let calls = effort.pick(100_000, 10_000);
    let [ours, line] =
        interleave(effort.runs(), [&mut || call_ns(calls, round_trip), &mut || floor.line_ns(calls)]);
    let (metric, peer) = ("64 B there and back, awake", "cache line round trip");
    Row { metric, unit: "ns", ours, peer, reference: line, better: Better::Lower, reach: Some(1.5) }.print();
    let sleeps = effort.pick(1_000, 200);
    let [ours, futex] = interleave(
        effort.runs(),
        [&mut || call_after_pause_ns(sleeps, PAUSE, round_trip), &mut || floor.futex_ns(sleeps, PAUSE)],
    );
    let (metric, peer) = ("64 B there and back, asleep", "futex round trip");
    Row { metric, unit: "ns", ours, peer, reference: futex, better: Better::Lower, reach: Some(1.15) }
        .print();
    drop(sender);
    echoes.join().expect("the echo ends");
}
