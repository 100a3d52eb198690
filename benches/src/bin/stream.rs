//! What does a value through a stream cost, from one process to another, through the public face?
//!
//! Measured: 64-byte values a second from the first send to the last receive, one by one and in slices; the median round trip
//! through two streams, both sides awake, and the other side asleep. Peers in the same run: a bare ring, iceoryx2
//! publish-subscribe, and rtrb and crossbeam-channel between threads; a cache line and a futex there and back.

use std::time::Duration;

use gorun::prelude::*;
use gorun_benches::floor::{self, BATCH, Floor};
use gorun_benches::measure::{Effort, call_after_pause_ns, call_ns, interleave, time_ns};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::{iceoryx, thread_ring};

type Message = [u64; 8];

/// Long enough for a receiver to give up spinning and sleep.
const PAUSE: Duration = Duration::from_millis(1);
const CAPACITY: usize = 4096;
const AT_ONCE: usize = 64;

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = floor::serve(peer).and_then(iceoryx::serve);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    // One runtime for all: once this thread is pinned, another would see one core only.
    let (runtime, cores) = worker();
    rates(effort, &runtime, cores);
    ping_pong(effort, &runtime, cores);
}

/// A runtime with one worker, and the cores of host and worker.
fn worker() -> (Runtime, Cores) {
    let runtime = Runtime::builder().workers(1).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    let cores = runtime.stats().seats[0].cpu.map_or_else(Cores::first_and_last, Cores::apart_from);
    cores.pin_host();
    (runtime, cores)
}

fn open(runtime: &Runtime, capacity: usize) -> (StreamSender<Message>, StreamReceiver<Message>) {
    gorun::stream_on(runtime, capacity).expect("there is memory for a stream")
}

fn numbered(number: u64) -> Message {
    [number; 8]
}

fn checksum(messages: u64) -> u64 {
    (0..messages).fold(0, u64::wrapping_add)
}

fn count_one_by_one(receiver: StreamReceiver<Message>) -> u64 {
    receiver.into_iter().fold(0, |sum, message| sum.wrapping_add(message[7]))
}

fn count_in_slices(mut receiver: StreamReceiver<Message>) -> u64 {
    let (mut sum, mut messages) = (0_u64, [[0; 8]; AT_ONCE]);
    while let Ok(count) = receiver.recv_into(&mut messages) {
        sum = messages[..count].iter().fold(sum, |sum, message| sum.wrapping_add(message[7]));
    }
    sum
}

fn send_one_by_one(mut sender: StreamSender<Message>, messages: u64) {
    (0..messages).for_each(|number| sender.send(numbered(number)).expect("somebody receives"));
}

fn send_in_slices(mut sender: StreamSender<Message>, messages: u64) {
    let mut batch = [[0; 8]; AT_ONCE];
    for first in (0..messages).step_by(AT_ONCE) {
        let count = AT_ONCE.min(usize::try_from(messages - first).expect("a small number"));
        for (message, number) in batch[..count].iter_mut().zip(first..) {
            *message = numbered(number);
        }
        sender.send_slice(&batch[..count]).expect("somebody receives");
    }
}

fn rates(effort: Effort, runtime: &Runtime, cores: Cores) {
    let messages = effort.pick(8_000_000, 500_000);
    let (mut floor, mut iceoryx) = (Floor::start(cores), iceoryx::Stream::start(cores));
    let ours = |count: fn(StreamReceiver<Message>) -> u64, send: fn(StreamSender<Message>, u64)| {
        let (sender, receiver) = open(runtime, CAPACITY);
        rate(messages, || {
            let counts = runtime.task(receiver, count);
            send(sender, messages);
            assert_eq!(counts.join(), Ok(checksum(messages)));
        })
    };
    let [single, slices, bare, iceoryx, rtrb, crossbeam] = interleave(
        effort.runs(),
        [
            &mut || ours(count_one_by_one, send_one_by_one),
            &mut || ours(count_in_slices, send_in_slices),
            &mut || floor.ring_rate(messages, BATCH) / 1e6,
            &mut || iceoryx.rate(messages / 8) / 1e6,
            &mut || thread_ring::rate(cores, messages) / 1e6,
            &mut || rate(messages / 4, || between_threads(cores, messages / 4)),
        ],
    );
    let peers = [
        ("bare ring", bare, Some(0.9)),
        ("iceoryx2", iceoryx, Some(15.0)),
        ("rtrb between threads", rtrb, Some(1.0)),
        ("crossbeam-channel, threads", crossbeam, Some(1.0)),
    ];
    for (metric, ours, is_fast) in
        [("64 B stream, in slices", slices, true), ("64 B stream, one by one", single, false)]
    {
        for (peer, reference, reach) in peers {
            let reach = reach.filter(|_| is_fast || peer != "bare ring");
            Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach }.print();
        }
    }
}

/// The same between threads of this process.
fn between_threads(cores: Cores, messages: u64) {
    let (sender, receiver) = crossbeam_channel::bounded::<Message>(CAPACITY);
    std::thread::scope(|scope| {
        let count = scope.spawn(move || {
            core_affinity::set_for_current(cores.peer);
            receiver.iter().fold(0_u64, |sum, message| sum.wrapping_add(message[7]))
        });
        (0..messages).for_each(|number| sender.send(numbered(number)).expect("somebody receives"));
        drop(sender);
        assert_eq!(count.join().expect("the receiver ends"), checksum(messages));
    });
}

fn rate(messages: u64, work: impl FnOnce()) -> f64 {
    messages as f64 / time_ns(work) * 1e3
}

fn echo((receiver, mut back): (StreamReceiver<Message>, StreamSender<Message>)) {
    receiver.into_iter().for_each(|message| back.send(message).expect("somebody receives"));
}

fn ping_pong(effort: Effort, runtime: &Runtime, cores: Cores) {
    let mut floor = Floor::start(cores);
    let (mut sender, received) = open(runtime, 4);
    let (back, mut receiver) = open(runtime, 4);
    let echoes = runtime.task((received, back), echo);
    let mut round_trip = || {
        sender.send(numbered(7)).expect("somebody receives");
        assert_eq!(receiver.recv(), Ok(numbered(7)));
    };
    let calls = effort.pick(100_000, 10_000);
    let [ours, line] =
        interleave(effort.runs(), [&mut || call_ns(calls, &mut round_trip), &mut || floor.line_ns(calls)]);
    let (metric, peer, reach) = ("64 B there and back, awake", "cache line round trip", Some(1.5));
    Row { metric, unit: "ns", ours, peer, reference: line, better: Better::Lower, reach }.print();
    let sleeps = effort.pick(1_000, 200);
    let [ours, futex] = interleave(
        effort.runs(),
        [&mut || call_after_pause_ns(sleeps, PAUSE, &mut round_trip), &mut || floor.futex_ns(sleeps, PAUSE)],
    );
    let (metric, peer, reach) = ("64 B there and back, asleep", "futex round trip", Some(1.15));
    Row { metric, unit: "ns", ours, peer, reference: futex, better: Better::Lower, reach }.print();
    drop(sender);
    echoes.join().expect("the echo ends");
}
