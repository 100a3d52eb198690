//! What does a key cost? A send into the partition of a key, against a send into a channel that has one ring.
//!
//! Measured: sends alone, into room, 64 bytes, by a number and by a text as key; sent and received by one thread; and from one
//! process to two members in two others, against a plain channel with two receivers.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::report::{Better, Row};

type Message = [u64; 8];

/// Messages that are sent before any is received. They fit every partition they may fall in.
const BURST: u64 = 512;
const PARTITION_CAPACITY: usize = 64;
const CAPACITY: usize = 1024;
/// A keyed send costs at most so many plain ones.
const REACH: f64 = 1.3;

fn main() {
    let effort = Effort::from_args();
    sends_alone(effort);
    one_thread(effort);
    to_two(effort);
}

fn runtime(workers: usize) -> Runtime {
    let runtime = Runtime::builder().workers(workers).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    runtime
}

fn message(number: u64) -> Message {
    [number; 8]
}

fn keyed(runtime: &Runtime, capacity: usize) -> (DistributedSender<Message>, DistributedReceiver<Message>) {
    let channel = Channel::bounded(capacity).distributed(|message: &Message| Key::of(&message[0]));
    channel.open_on(runtime).expect("there is memory for a channel")
}

fn plain(runtime: &Runtime) -> (Sender<Message>, Receiver<Message>) {
    Channel::bounded(CAPACITY).open_on(runtime).expect("there is memory for a channel")
}

/// Nanoseconds per send: the median burst of many, each received, outside of the time, before the next. A burst is so short
/// that most are not interrupted.
fn bursts(rounds: u64, mut send: impl FnMut(u64), mut drain: impl FnMut() -> u64) -> f64 {
    let burst = |_| {
        let nanos = time_ns(|| (0..BURST).for_each(&mut send));
        assert_eq!(drain(), BURST);
        nanos / BURST as f64
    };
    Sample::of((0..rounds).map(burst).collect()).median
}

fn sends_alone(effort: Effort) {
    let runtime = runtime(1);
    let rounds = effort.pick(1000, 100);
    let (to_keys, mut of_keys) = keyed(&runtime, PARTITION_CAPACITY);
    let (to_texts, mut of_texts) = keyed(&runtime, PARTITION_CAPACITY);
    let (sender, receiver) = plain(&runtime);
    let texts: Vec<String> = (0..BURST).map(|number| format!("customer {number}")).collect();
    let count = |receiver: &mut DistributedReceiver<Message>| {
        std::iter::from_fn(|| receiver.try_recv().ok()).count() as u64
    };
    let [numbers, names, reference] = interleave(
        effort.runs(),
        [
            &mut || {
                let send = |number| to_keys.send(message(number)).expect("there is room");
                bursts(rounds, send, || count(&mut of_keys))
            },
            &mut || {
                let mut keys = texts.iter().cycle();
                let send = |number| {
                    let key = keys.next().expect("the texts go round").as_str();
                    to_texts.send_to_key(key, message(number)).expect("there is room");
                };
                bursts(rounds, send, || count(&mut of_texts))
            },
            &mut || {
                let send = |number| sender.send(message(number)).expect("there is room");
                bursts(rounds, send, || receiver.drain().count() as u64)
            },
        ],
    );
    print("64 B keyed send, number as key", "ns", numbers, reference, Better::Lower, Some(REACH));
    print("64 B keyed send, text as key", "ns", names, reference, Better::Lower, Some(REACH));
}

fn one_thread(effort: Effort) {
    let runtime = runtime(1);
    let calls = effort.pick(500_000, 50_000);
    let (to_keys, mut of_keys) = keyed(&runtime, PARTITION_CAPACITY);
    let (sender, receiver) = plain(&runtime);
    let per_call = |nanos: f64| nanos / calls as f64;
    let [ours, reference] = interleave(
        effort.runs(),
        [
            &mut || {
                per_call(time_ns(|| {
                    for number in 0..calls {
                        to_keys.send(message(number)).expect("there is room");
                        assert_eq!(of_keys.recv(), Ok(message(number)));
                    }
                }))
            },
            &mut || {
                per_call(time_ns(|| {
                    for number in 0..calls {
                        sender.send(message(number)).expect("there is room");
                        assert_eq!(receiver.recv(), Ok(message(number)));
                    }
                }))
            },
        ],
    );
    print("64 B keyed, sent and received by one thread", "ns", ours, reference, Better::Lower, None);
}

fn to_two(effort: Effort) {
    let runtime = runtime(2);
    let messages = effort.pick(500_000, 50_000);
    let [ours, reference] = interleave(
        effort.runs(),
        [
            &mut || {
                let (sender, receiver) = keyed(&runtime, PARTITION_CAPACITY);
                let count = |mut receiver: DistributedReceiver<Message>| receiver.iter().count() as u64;
                let counts = [0, 1].map(|_| runtime.task(receiver.clone(), count));
                let send = move |number| sender.send(message(number)).expect("somebody receives");
                rate(messages, send, counts)
            },
            &mut || {
                let (sender, receiver) = plain(&runtime);
                let count = |receiver: Receiver<Message>| receiver.iter().count() as u64;
                let counts = [0, 1].map(|_| runtime.task(receiver.clone(), count));
                let send = move |number| sender.send(message(number)).expect("somebody receives");
                rate(messages, send, counts)
            },
        ],
    );
    print("64 B keyed, 1 process to 2 members", "M/s", ours, reference, Better::Higher, None);
}

/// Millions of messages a second, from the first send until the last was received. `send` has the sender.
fn rate(messages: u64, send: impl Fn(u64), counts: [TaskHandle<u64>; 2]) -> f64 {
    let nanos = time_ns(move || {
        (0..messages).for_each(&send);
        drop(send);
        let counts = counts.map(|count| count.join().expect("it ends"));
        assert_eq!(counts.iter().sum::<u64>(), messages);
    });
    messages as f64 / nanos * 1e3
}

fn print(metric: &str, unit: &str, ours: Sample, reference: Sample, better: Better, reach: Option<f64>) {
    Row { metric, unit, ours, peer: "plain channel", reference, better, reach }.print();
}
