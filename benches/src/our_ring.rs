//! Our side of the ring benches: `gorun_shm::ring::spsc` between this process and a peer, over the memory of a pair.
//!
//! The echo role has two rings, one for each direction, and a doorbell beside each.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use gorun_shm::doorbell::Doorbell;
use gorun_shm::ring::spsc::{Consumer, Producer, PushError, RingHeader, words_count};
use gorun_shm::sync::AtomicU64;
use gorun_shm::{Segment, View, ViewSlice};

use crate::floor::{BATCH, RING_SLOTS, checksum, digest, message};
use crate::measure::{call_after_pause_ns, call_ns, time_ns};
use crate::pair::{Cores, Pair, Peer};
use crate::segment::{CONTROL_BYTES, Message};

/// Role of the consumer of [`Stream`].
const STREAM: &str = "gorun-stream";
/// Role of the peer of [`Echo`] that never sleeps.
const SPINNING: &str = "gorun-echo-spinning";
/// Role of the peer of [`Echo`] that sleeps between messages.
const PARKING: &str = "gorun-echo-parking";
/// The message after which an echo ends.
const LAST: u64 = u64::MAX;

/// Bytes of one ring.
const RING_BYTES: usize = size_of::<RingHeader>() + words_count::<Message>(RING_SLOTS) * 8;

/// Where a ring's bytes lie.
type Memory = (View<RingHeader>, ViewSlice<AtomicU64>);

/// A producer here and a consumer in another process.
#[derive(Debug)]
pub struct Stream {
    producer: Producer<Message, Memory>,
    pair: Pair,
}

impl Stream {
    /// Starts the consumer.
    #[must_use]
    pub fn start(cores: Cores) -> Self {
        let pair = Pair::start(STREAM, "", cores, ring_slots());
        let producer = Producer::attach(ring(&segment(pair.segment()), 0)).expect("the ring is fresh");
        Self { producer: producer.publish_every(BATCH), pair }
    }

    /// Messages per second, from the first push to the last pop.
    ///
    /// # Panics
    /// When a message got lost.
    pub fn rate(&mut self, messages: u64) -> f64 {
        let mut sum = 0;
        let ns = time_ns(|| {
            self.pair.begin(messages);
            for position in 0..messages {
                push(&mut self.producer, message(position));
            }
            self.producer.publish();
            sum = self.pair.wait();
        });
        assert_eq!(sum, checksum(messages), "every message arrives once");
        messages as f64 / ns * 1e9
    }
}

/// One end of two rings, and the bells on both.
#[derive(Debug)]
struct End {
    out: Producer<Message, Memory>,
    out_bell: View<Doorbell>,
    back: Consumer<Message, Memory>,
    back_bell: View<Doorbell>,
}

impl End {
    /// `own` is 0 at the host and 1 at the peer: the ring that this end writes.
    fn attach(segment: &Arc<Segment>, own: u64) -> Self {
        let bell = |ring: u64| segment.view::<Doorbell>(offset(2) + 128 * ring).expect("the bell fits");
        Self {
            out: Producer::attach(ring(segment, own)).expect("the ring is fresh"),
            out_bell: bell(own),
            back: Consumer::attach(ring(segment, 1 - own)).expect("the ring is fresh"),
            back_bell: bell(1 - own),
        }
    }

    fn send(&mut self, message: Message, ring_bell: bool) {
        push(&mut self.out, message);
        if ring_bell {
            self.out_bell.notify();
        }
    }

    fn receive_spinning(&mut self) -> Message {
        loop {
            match self.back.try_pop().expect("the ring is sound") {
                Some(message) => return message,
                None => std::hint::spin_loop(),
            }
        }
    }

    fn receive_parking(&mut self) -> Message {
        loop {
            let armed = self.back_bell.arm();
            if let Some(message) = self.back.try_pop().expect("the ring is sound") {
                self.back_bell.disarm();
                return message;
            }
            self.back_bell.wait_until(armed, None);
        }
    }
}

/// A ring there and a ring back.
#[derive(Debug)]
pub struct Echo {
    end: End,
    pair: Pair,
    parking: bool,
}

impl Echo {
    /// Starts the peer; `parking` says whether both ends sleep while they wait.
    #[must_use]
    pub fn start(cores: Cores, parking: bool) -> Self {
        let pair = Pair::start(if parking { PARKING } else { SPINNING }, "", cores, ring_slots());
        Self { end: End::attach(&segment(pair.segment()), 0), pair, parking }
    }

    /// Median round trip of one message, in ns; `pause` passes before each if the ends sleep.
    pub fn round_trip_ns(&mut self, rounds: usize, pause: Duration) -> f64 {
        let (end, parking) = (&mut self.end, self.parking);
        self.pair.begin(1);
        let mut round = 0;
        let trip = || {
            end.send(message(round), parking);
            let back = if parking { end.receive_parking() } else { end.receive_spinning() };
            assert_eq!(back, message(round), "the same message comes back");
            round += 1;
        };
        let ns = if parking { call_after_pause_ns(rounds, pause, trip) } else { call_ns(rounds, trip) };
        end.send(message(LAST), parking);
        self.pair.wait();
        ns
    }
}

/// Runs the peer's half if `peer` was started for one of these; gives it back otherwise.
#[must_use]
pub fn serve(peer: Peer) -> Option<Peer> {
    let segment = segment(peer.segment());
    match peer.role.as_str() {
        STREAM => serve_stream(peer, &segment),
        SPINNING => serve_echo(peer, &segment, false),
        PARKING => serve_echo(peer, &segment, true),
        _ => return Some(peer),
    }
    None
}

fn serve_stream(peer: Peer, segment: &Arc<Segment>) {
    let mut consumer = Consumer::<Message, Memory>::attach(ring(segment, 0)).expect("the ring is fresh");
    peer.serve(|_, messages| {
        let (mut sum, mut received) = (0_u64, 0);
        while received < messages {
            match consumer.try_pop().expect("the ring is sound") {
                Some(message) => {
                    sum = sum.wrapping_add(digest(message));
                    received += 1;
                }
                None => std::hint::spin_loop(),
            }
        }
        sum
    });
}

fn serve_echo(peer: Peer, segment: &Arc<Segment>, parking: bool) {
    let mut end = End::attach(segment, 1);
    peer.serve(|_, runs| {
        let mut going_on = runs > 0;
        while going_on {
            let message = if parking { end.receive_parking() } else { end.receive_spinning() };
            going_on = message[0] != LAST;
            if going_on {
                end.send(message, parking);
            }
        }
        runs
    });
}

fn push(producer: &mut Producer<Message, Memory>, mut message: Message) {
    while let Err(refusal) = producer.try_push(message) {
        let PushError::Full(value) = refusal else { panic!("the ring is sound: {refusal}") };
        message = value;
        std::hint::spin_loop();
    }
}

/// The memory of a pair as a segment of gorun.
fn segment(shared: &crate::segment::Segment) -> Arc<Segment> {
    let memory = shared.memory().as_fd().try_clone_to_owned().expect("a descriptor is free");
    Segment::attach(memory, shared.bytes()).expect("the memory is sealed")
}

/// Ring number `index` of `segment`.
fn ring(segment: &Arc<Segment>, index: u64) -> Memory {
    let header = segment.view(offset(index)).expect("the header fits");
    let words = offset(index) + size_of::<RingHeader>() as u64;
    (header, segment.view_slice(words, words_count::<Message>(RING_SLOTS)).expect("the words fit"))
}

/// Where ring number `index` begins; the bells lie behind the second ring.
fn offset(index: u64) -> u64 {
    CONTROL_BYTES as u64 + index * RING_BYTES as u64
}

/// Slots of pair memory that hold two rings and two bells.
fn ring_slots() -> usize {
    (2 * RING_BYTES + 256).div_ceil(size_of::<Message>())
}
