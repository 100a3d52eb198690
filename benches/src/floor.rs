//! What the machine gives at best: a cache line there and back, a futex there and back, a bare ring, a copy.
//!
//! Every floor between processes has a host half, called by the bench, and a peer half, run by [`serve`] in the role
//! that the floor names.
// UNSAFETY: the bare ring moves its messages with plain loads and stores, as a floor must; its indices order them.
#![expect(unsafe_code, reason = "the bare ring is written without any safety net, see UNSAFETY")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::measure::{call_after_pause_ns, call_ns, time_ns};
use crate::pair::{Cores, Pair, Peer};
use crate::segment::{Line, Message, Segment};

/// Role of the peer of [`Floor::line_ns`].
const LINE: &str = "line";
/// Role of the peer of [`Floor::futex_ns`].
const FUTEX: &str = "futex";
/// Role of the peer of [`Floor::ring_rate`].
const RING: &str = "ring";

/// Slots of the bare ring: 256 KiB, inside a usual L2.
pub const RING_SLOTS: usize = 4096;
/// Messages between two publications of an index, where the floor is at its best.
pub const BATCH: u64 = 32;

/// The floors between two processes, one sleeping peer each.
#[derive(Debug)]
pub struct Floor {
    line: Pair,
    futex: Pair,
    ring: Pair,
}

impl Floor {
    /// Starts the peers.
    #[must_use]
    pub fn start(cores: Cores) -> Self {
        Self {
            line: Pair::start(LINE, "", cores, 0),
            futex: Pair::start(FUTEX, "", cores, 0),
            ring: Pair::start(RING, "", cores, RING_SLOTS),
        }
    }

    /// Median round trip of a cache line with both ends spinning, in ns.
    pub fn line_ns(&mut self, rounds: usize) -> f64 {
        self.line.begin(u64::MAX - 1);
        let segment = self.line.segment();
        let (ping, pong) = (segment.word(Line::Ping), segment.word(Line::Pong));
        let mut round = 0;
        let median = call_ns(rounds, || {
            round += 1;
            // Release and Acquire: a real hand-over, as a message needs it.
            ping.store(round, Ordering::Release);
            while pong.load(Ordering::Acquire) != round {
                std::hint::spin_loop();
            }
        });
        ping.store(u64::MAX, Ordering::Release);
        self.line.wait();
        median
    }

    /// Median round trip with both ends asleep in futex_wait, in ns; `pause` passes before each.
    pub fn futex_ns(&mut self, rounds: usize, pause: Duration) -> f64 {
        self.futex.begin(rounds as u64);
        let segment = self.futex.segment();
        let mut round = 0;
        let median = call_after_pause_ns(rounds, pause, || {
            segment.wake(Line::BellPing, round + 1);
            round = segment.sleep_while(Line::BellPong, round);
        });
        self.futex.wait();
        reset_bells(self.futex.segment());
        median
    }

    /// Messages per second through the bare ring, from the first push to the last pop, with the tail published every
    /// `batch` messages.
    ///
    /// # Panics
    /// When a message got lost.
    pub fn ring_rate(&mut self, messages: u64, batch: u64) -> f64 {
        let mut sum = 0;
        let ns = time_ns(|| {
            self.ring.begin(messages);
            produce(self.ring.segment(), messages, batch);
            sum = self.ring.wait();
        });
        assert_eq!(sum, checksum(messages), "every message arrives once");
        messages as f64 / ns * 1e9
    }
}

/// Runs the peer's half if `peer` was started for one of the floors; gives it back otherwise.
#[must_use]
pub fn serve(peer: Peer) -> Option<Peer> {
    match peer.role.as_str() {
        LINE => peer.serve(line_peer),
        FUTEX => peer.serve(futex_peer),
        RING => peer.serve(consume),
        _ => return Some(peer),
    }
    None
}

/// Message number `position` of a stream.
#[must_use]
pub fn message(position: u64) -> Message {
    [position, 1, 2, 3, 4, 5, 6, 7]
}

/// What a consumer makes of one message: it reads all of it.
#[must_use]
pub fn digest(message: Message) -> u64 {
    message.into_iter().fold(0, u64::wrapping_add)
}

/// Sum of the digests of the first `messages` messages.
#[must_use]
pub fn checksum(messages: u64) -> u64 {
    (0..messages).fold(0, |sum, position| sum.wrapping_add(digest(message(position))))
}

/// Nanoseconds that copying `source` into `target` takes; both have been touched.
pub fn copy_ns(source: &[u8], target: &mut [u8]) -> f64 {
    time_ns(|| {
        target.copy_from_slice(std::hint::black_box(source));
        std::hint::black_box(target);
    })
}

fn line_peer(segment: &Segment, rounds: u64) -> u64 {
    if rounds == 0 {
        return 0;
    }
    let (ping, pong) = (segment.word(Line::Ping), segment.word(Line::Pong));
    let mut seen = 0;
    loop {
        let round = ping.load(Ordering::Acquire);
        if round == u64::MAX {
            ping.store(0, Ordering::Relaxed);
            pong.store(0, Ordering::Relaxed);
            return seen;
        }
        if round != seen {
            pong.store(round, Ordering::Release);
            seen = round;
        }
        std::hint::spin_loop();
    }
}

fn futex_peer(segment: &Segment, rounds: u64) -> u64 {
    let mut round = 0;
    for _ in 0..rounds {
        round = segment.sleep_while(Line::BellPing, round);
        segment.wake(Line::BellPong, round);
    }
    rounds
}

fn reset_bells(segment: &Segment) {
    // Relaxed: the peer sleeps on its command and sees these stores after it.
    segment.half(Line::BellPing).store(0, Ordering::Relaxed);
    segment.half(Line::BellPong).store(0, Ordering::Relaxed);
}

fn produce(segment: &Segment, messages: u64, batch: u64) {
    let (head_word, tail_word) = (segment.word(Line::Head), segment.word(Line::Tail));
    let slots = ring_slots(segment);
    // Relaxed: only this side writes tail.
    let first = tail_word.load(Ordering::Relaxed);
    let mut head = first;
    for position in 0..messages {
        let tail = first + position;
        if tail - head == RING_SLOTS as u64 {
            tail_word.store(tail, Ordering::Release);
            // Acquire: pairs with the Release of head in `consume`; the slots below it have been read.
            head = await_past(head_word, head);
        }
        // SAFETY: one of the RING_SLOTS slots, which are mapped and aligned (see `ring_slots`); the consumer has left it,
        // since tail − head < RING_SLOTS, and does not read it again before the Release of tail below.
        unsafe { slots.wrapping_add(slot_index(tail)).write(message(position)) };
        if (tail + 1).is_multiple_of(batch) {
            // Release: pairs with the Acquire in `consume`; publishes the slots.
            tail_word.store(tail + 1, Ordering::Release);
        }
    }
    tail_word.store(first + messages, Ordering::Release);
}

fn consume(segment: &Segment, messages: u64) -> u64 {
    let (head_word, tail_word) = (segment.word(Line::Head), segment.word(Line::Tail));
    let slots = ring_slots(segment);
    // Relaxed: only this side writes head.
    let first = head_word.load(Ordering::Relaxed);
    let (mut tail, mut sum) = (first, 0_u64);
    for head in first..first + messages {
        if head == tail {
            head_word.store(head, Ordering::Release);
            // Acquire: pairs with the Release of tail in `produce`; the slots below it are written.
            tail = await_past(tail_word, tail);
        }
        // SAFETY: one of the RING_SLOTS slots, which are mapped and aligned (see `ring_slots`); head < tail, so the
        // producer has written it, and does not write it again before the Release of head below.
        sum = sum.wrapping_add(digest(unsafe { slots.wrapping_add(slot_index(head)).read() }));
        if (head + 1).is_multiple_of(BATCH) {
            // Release: pairs with the Acquire in `produce`; gives the slots back.
            head_word.store(head + 1, Ordering::Release);
        }
    }
    head_word.store(first + messages, Ordering::Release);
    sum
}

/// Spins until `word` is no longer `seen`.
fn await_past(word: &AtomicU64, seen: u64) -> u64 {
    loop {
        let value = word.load(Ordering::Acquire);
        if value != seen {
            return value;
        }
        std::hint::spin_loop();
    }
}

/// The first of [`RING_SLOTS`] slots that are all inside the mapping.
fn ring_slots(segment: &Segment) -> *mut Message {
    assert!(segment.slots_count() >= RING_SLOTS, "the ring fits into the segment");
    segment.slot(0)
}

fn slot_index(position: u64) -> usize {
    usize::try_from(position).expect("64-bit only") % RING_SLOTS
}
