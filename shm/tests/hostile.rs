//! Another process writes nonsense over lanes, rings, locks and histograms: errors or emptiness, never a panic,
//! never an access outside, never an operation that does not end.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::doorbell::Doorbell;
use gorun_shm::histogram::Histogram;
use gorun_shm::ring::spmc::{Lane, LaneHeader};
use gorun_shm::ring::spsc::{Consumer, CorruptRing, Producer, PushError, RingHeader};
use gorun_shm::seqlock::SeqLock;
use gorun_shm::slots::{Completion, Descriptor, Slot, Word};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use gorun_shm::{OwnerId, Segment, ViewSlice};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const BYTES: usize = 8192;
const CAPACITY: usize = 4;

/// Words that look like something more often than uniformly chosen ones do.
fn nonsense() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        2 => 0..16u64,
        1 => (0..16u64).prop_map(|back| u64::MAX - back),
        // A slot's word: any lap, any owner and flags, a state that exists.
        3 => (prop_oneof![0..4u32, any::<u32>()], any::<u16>(), any::<u8>(), 0..5u8).prop_map(
            |(lap, owner, flags, state)| {
                u64::from(lap) << 32 | u64::from(owner) << 16 | u64::from(flags) << 8 | u64::from(state)
            }
        ),
    ]
}

/// Scribbles of (word index, value), one batch before each operation.
fn scribbles(words: usize) -> impl Strategy<Value = Vec<Vec<(usize, u64)>>> {
    prop::collection::vec(prop::collection::vec((0..words, nonsense()), 0..24), 1..8)
}

fn segment() -> (Arc<Segment>, ViewSlice<AtomicU64>) {
    let segment = Segment::private(BYTES).unwrap();
    let words = segment.view_slice(0, BYTES / 8).unwrap();
    (segment, words)
}

fn scribble(words: &[AtomicU64], batch: &[(usize, u64)]) {
    for (index, value) in batch {
        words[*index].store(*value, Ordering::Relaxed); // Relaxed: one thread.
    }
}

/// Header positions are at words 0 and 16, slots of eight words from word 32.
fn lane_word(index: usize) -> usize {
    match index {
        0 => 0,
        1 => 16,
        slot if slot < 2 + CAPACITY => 32 + (slot - 2) * 8,
        other => 32 + other - 2 - CAPACITY,
    }
}

proptest! {
    #[test]
    fn a_scribbled_lane_answers(batches in scribbles(2 + CAPACITY + CAPACITY * 8)) {
        let _watchdog = Watchdog::start("a_scribbled_lane_answers");
        let (segment, words) = segment();
        let (header, slots) = (segment.view::<LaneHeader>(0).unwrap(), segment.view_slice::<Slot>(256, CAPACITY).unwrap());
        let lane = Lane::new(&header, &slots);
        let owner = OwnerId::worker(0).unwrap();
        for (round, batch) in batches.iter().enumerate() {
            let batch: Vec<_> = batch.iter().map(|(index, value)| (lane_word(*index), *value)).collect();
            scribble(&words, &batch);
            let _ = lane.has_ready();
            if let Some((position, descriptor)) = lane.claim(owner, |_| ()) {
                let _ = (descriptor.input_bytes, lane.finish(position, owner, &Completion::default()));
            }
            lane.publish(round as u64, &Descriptor::default());
            let (slot, lap) = lane.slot(lane.published());
            let _ = slot.set_flag(lap, Word::SLEEPER);
            let _ = (slot.seize(lap, owner, OwnerId::HOST), slot.completion(), lane.claimed());
        }
    }

    #[test]
    fn a_scribbled_ring_is_corrupt_or_goes_on(batches in scribbles(2), publish_every in 1..9u64) {
        let (segment, words) = segment();
        let memory = || (segment.view::<RingHeader>(0).unwrap(), segment.view_slice::<AtomicU64>(256, 3 * CAPACITY).unwrap());
        let mut producer = Producer::<[u64; 3], _>::attach(memory()).unwrap().publish_every(publish_every);
        let mut consumer = Consumer::<[u64; 3], _>::attach(memory()).unwrap();
        for batch in &batches {
            let batch: Vec<_> = batch.iter().map(|(index, value)| (index * 16, *value)).collect();
            scribble(&words, &batch);
            let _ = producer.try_push([1; 3]);
            let slice = producer.push_slice(&[[2; 3]; CAPACITY + 1]).unwrap_or(0);
            prop_assert!(slice <= CAPACITY);
            let _ = producer.loan(CAPACITY).map(|loan| loan.publish(0));
            let _ = consumer.try_pop();
            let mut values = [[0; 3]; CAPACITY + 1];
            prop_assert!(consumer.pop_slice(&mut values).unwrap_or(0) <= CAPACITY);
            prop_assert!(producer.len().unwrap_or(0) <= CAPACITY as u64);
            prop_assert!(consumer.len().unwrap_or(0) <= CAPACITY as u64);
            let _ = Producer::<[u64; 3], _>::attach(memory()).map(|_| ());
            let _ = Consumer::<[u64; 3], _>::attach(memory()).map(|_| ());
        }
    }

    #[test]
    fn a_scribbled_lock_and_histogram_answer(batches in scribbles(BYTES / 8)) {
        let (segment, words) = segment();
        let lock = segment.view::<SeqLock<3>>(0).unwrap();
        let histogram = segment.view::<Histogram>(256).unwrap();
        let bell = segment.view::<Doorbell>(4096).unwrap();
        for batch in &batches {
            scribble(&words, batch);
            let _ = lock.read();
            lock.write(&[1, 2, 3]);
            prop_assert_eq!(lock.read(), Ok([1, 2, 3]));
            histogram.record(9);
            let mut snapshot = histogram.snapshot();
            snapshot.merge(&snapshot.clone());
            let _ = (snapshot.quantile(0.5), snapshot.mean());
            bell.notify();
            bell.wait_until(bell.arm(), Some(Duration::ZERO));
            bell.ring();
        }
    }
}

#[test]
fn a_head_that_goes_back_is_corrupt() {
    let (segment, words) = segment();
    let memory = (segment.view::<RingHeader>(0).unwrap(), segment.view_slice::<AtomicU64>(256, 2).unwrap());
    let mut producer = Producer::<u64, _>::attach(memory).unwrap();
    producer.try_push(1).unwrap();
    producer.try_push(2).unwrap();
    words[16].store(3, Ordering::Relaxed); // Relaxed: one thread. The head, past the tail.
    let ring = CorruptRing { found: 3, first: 0, last: 2 };
    assert_eq!(producer.try_push(7), Err(PushError::Corrupt { value: 7, ring }));
}

#[test]
fn a_tail_past_the_capacity_is_corrupt() {
    let (segment, words) = segment();
    let memory = (segment.view::<RingHeader>(0).unwrap(), segment.view_slice::<AtomicU64>(256, 2).unwrap());
    let mut consumer = Consumer::<u64, _>::attach(memory).unwrap();
    words[0].store(3, Ordering::Relaxed); // Relaxed: one thread. The tail.
    assert_eq!(consumer.try_pop(), Err(CorruptRing { found: 3, first: 0, last: 2 }));
}
