//! What does a select over a hundred channels cost, against one over two?
//!
//! Measured, each over 2 and over 100 channels: sending and selecting by one thread, where one channel is busy and where
//! each message comes by another; and the time from a send in another process to the return of a select that sleeps.
//! Peer in the same run: crossbeam-channel's `Select`, between threads.

use crossbeam_channel::{Receiver as OtherReceiver, Select as OtherSelect, Sender as OtherSender, bounded};
use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, call_ns, interleave, spin_for};
use gorun_benches::report::{Better, Row};
use gorun_shm::os::ticks::system_ns;
use std::time::Duration;

const CAPACITY: usize = 4;
const FEW: usize = 2;
const MANY: usize = 100;
/// Long enough for whoever waits to be asleep.
const PAUSE: Duration = Duration::from_millis(1);

fn main() {
    let effort = Effort::from_args();
    let runtime = Runtime::builder().workers(1).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    ready(effort, &runtime, "one busy", |_, _| 0);
    ready(effort, &runtime, "each time another", |round, count| (round * 37) % count);
    asleep(effort, &runtime);
}

struct Ours {
    senders: Vec<Sender<u64>>,
    receivers: Vec<Receiver<u64>>,
}

impl Ours {
    fn open(runtime: &Runtime, count: usize) -> Self {
        let open = |_| Channel::bounded(CAPACITY).open_on(runtime).expect("there is memory for a channel");
        let (senders, receivers) = (0..count).map(open).unzip();
        Self { senders, receivers }
    }

    fn select(&self) -> Select<'_> {
        let mut select = Select::new();
        for receiver in &self.receivers {
            select.recv(receiver);
        }
        select
    }
}

fn row(metric: &str, unit: &str, (ours, reference): (Sample, Sample), peer: &str) {
    Row { metric, unit, ours, peer, reference, better: Better::Lower, reach: None }.print();
}

/// A message is there before the select looks.
fn ready(effort: Effort, runtime: &Runtime, which: &str, index: fn(usize, usize) -> usize) {
    let calls = effort.pick(200_000, 50_000);
    let ours = |count: usize| {
        let channels = Ours::open(runtime, count);
        let mut select = channels.select();
        let mut round = 0;
        call_ns(calls, || {
            round += 1;
            let index = index(round, count);
            channels.senders[index].send(7).expect("there is a receiver");
            let ready = select.ready();
            assert_eq!((ready, channels.receivers[ready].try_recv()), (index, Ok(7)));
        })
    };
    let theirs = |count: usize| {
        let (senders, receivers): (Vec<OtherSender<u64>>, Vec<OtherReceiver<u64>>) =
            (0..count).map(|_| bounded(CAPACITY)).unzip();
        let mut select = OtherSelect::new();
        for receiver in &receivers {
            select.recv(receiver);
        }
        let mut round = 0;
        call_ns(calls, || {
            round += 1;
            let index = index(round, count);
            senders[index].send(7).expect("there is a receiver");
            let ready = select.ready();
            assert_eq!((ready, receivers[ready].try_recv()), (index, Ok(7)));
        })
    };
    let [few, many, others] =
        interleave(effort.runs(), [&mut || ours(FEW), &mut || ours(MANY), &mut || theirs(MANY)]);
    let metric = format!("select over 100 channels, {which}");
    row(&metric, "ns", (many, few), "select over 2");
    row(&metric, "ns", (many, others), "crossbeam-channel, threads");
}

/// Waits a little, then sends the time.
fn tell_time((asked, senders): (Receiver<u64>, Vec<Sender<u64>>)) {
    for index in asked.iter() {
        spin_for(PAUSE);
        senders[usize::try_from(index).unwrap_or(0)].send(system_ns()).expect("somebody receives");
    }
}

fn asleep(effort: Effort, runtime: &Runtime) {
    let calls = effort.pick(500, 100);
    let ours = |count: usize| {
        let channels = Ours::open(runtime, count);
        let (ask, asked) =
            Channel::bounded(CAPACITY).open_on(runtime).expect("there is memory for a channel");
        let tells = runtime.task((asked, channels.senders.clone()), tell_time);
        let mut select = channels.select();
        let mut latency_ns = |round: usize| {
            ask.send((round % count) as u64).expect("the task lives");
            let ready = select.ready();
            let sent_ns = channels.receivers[ready].try_recv().expect("nobody else receives");
            (system_ns() - sent_ns) as f64
        };
        let median = Sample::of((0..calls).map(&mut latency_ns).collect()).median;
        drop(ask);
        tells.join().expect("the task ends");
        median / 1e3
    };
    let [few, many] = interleave(effort.runs(), [&mut || ours(FEW), &mut || ours(MANY)]);
    row("select over 100 channels, asleep, from send to return", "us", (many, few), "select over 2");
}
