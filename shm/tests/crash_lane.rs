//! A process is killed at each crash point of a lane; the survivor finds every task, once, and goes on.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::ring::spmc::{Lane, LaneHeader, Position};
use gorun_shm::slots::{Completion, Descriptor, Slot, State};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::sync::Arc;

const CAPACITY: usize = 4;
const BYTES: usize = 8192;
const NO_INTENT: u64 = u64::MAX;

/// The lane in its segment: header, the victim's intent, slots.
struct Memory {
    header: View<LaneHeader>,
    intent: View<AtomicU64>,
    slots: ViewSlice<Slot>,
}

impl Memory {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            header: segment.view(0).unwrap(),
            intent: segment.view(1024).unwrap(),
            slots: segment.view_slice(4096, CAPACITY).unwrap(),
        }
    }

    fn lane(&self) -> Lane<'_> {
        Lane::new(&self.header, &self.slots)
    }
}

fn victim() -> OwnerId {
    OwnerId::worker(0).unwrap()
}

fn survivor() -> OwnerId {
    OwnerId::worker(1).unwrap()
}

fn task(position: Position) -> Descriptor {
    Descriptor { function: 100 + position, ..Descriptor::default() }
}

fn outcome(position: Position) -> Completion {
    Completion { ticks: position, payload: [position; 4], ..Completion::default() }
}

/// Where a new producer goes on: the dead one may have filled one slot more than its tail says.
fn next_to_publish(lane: Lane<'_>) -> Position {
    let tail = lane.published();
    let (slot, lap) = lane.slot(tail);
    if slot.word().lap() == lap { tail + 1 } else { tail }
}

/// Claims and finishes everything that is to be had, and asserts that it is `expected`.
fn assert_claims(lane: Lane<'_>, expected: &[Position]) {
    for expected in expected {
        assert_eq!(lane.claim(survivor(), |_| ()), Some((*expected, task(*expected))));
        lane.finish(*expected, survivor(), &outcome(*expected)).unwrap();
    }
    assert_eq!(lane.claim(survivor(), |_| ()), None);
    assert!(!lane.has_ready());
}

/// Takes over what the victim held and asserts that it is `expected`.
fn assert_seizes(lane: Lane<'_>, expected: &[Position]) {
    let held: Vec<_> = (0..next_to_publish(lane))
        .filter(|position| {
            let (slot, lap) = lane.slot(*position);
            slot.seize(lap, victim(), OwnerId::HOST)
        })
        .collect();
    assert_eq!(held, expected);
    for position in held {
        lane.finish(position, OwnerId::HOST, &outcome(position)).unwrap();
    }
}

/// Every task so far is Done; the lane works for three more laps.
fn assert_goes_on(lane: Lane<'_>) {
    let first = next_to_publish(lane);
    for position in first.saturating_sub(CAPACITY as u64)..first {
        let (slot, _) = lane.slot(position);
        assert_eq!((slot.word().state(), slot.completion()), (State::Done, outcome(position)));
    }
    for position in first..first + 3 * CAPACITY as u64 {
        lane.publish(position, &task(position));
        assert!(lane.has_ready());
        assert_claims(lane, &[position]);
    }
}

/// Publishes until the crash point, from where the lane stands.
fn produce(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    for position in 0..CAPACITY as u64 {
        memory.lane().publish(position, &task(position));
    }
}

/// Works until the crash point.
fn consume(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    // Relaxed: read after this process is dead.
    let intent = |position| memory.intent.store(position, Ordering::Relaxed);
    while let Some((position, descriptor)) = memory.lane().claim(victim(), intent) {
        assert_eq!(descriptor, task(position));
        memory.lane().finish(position, victim(), &outcome(position)).unwrap();
    }
}

/// A lane in its second lap, positions 4..8 published, nothing of them claimed.
fn second_lap(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    memory.intent.store(NO_INTENT, Ordering::Relaxed); // Relaxed: before the victim exists.
    for position in 0..4 {
        memory.lane().publish(position, &task(position));
    }
    assert_claims(memory.lane(), &[0, 1, 2, 3]);
    for position in 4..8 {
        memory.lane().publish(position, &task(position));
    }
}

fn intent(memory: &Memory) -> u64 {
    memory.intent.load(Ordering::Relaxed) // Relaxed: the writer is dead.
}

#[test]
fn producer_killed_before_the_slot_is_ready_leaves_the_slot_free() {
    let test = "producer_killed_before_the_slot_is_ready_leaves_the_slot_free";
    let crash = CrashTest { test, point: "slot.publish.written", nth: 3, bytes: BYTES };
    crash.run(
        |_| (),
        produce,
        |segment| {
            let memory = Memory::new(segment);
            assert_eq!(next_to_publish(memory.lane()), 2);
            assert_claims(memory.lane(), &[0, 1]);
            assert_goes_on(memory.lane());
        },
    );
}

#[test]
fn producer_killed_before_the_tail_moves_leaves_a_claimable_task() {
    let test = "producer_killed_before_the_tail_moves_leaves_a_claimable_task";
    let crash = CrashTest { test, point: "lane.publish.ready", nth: 3, bytes: BYTES };
    crash.run(
        |_| (),
        produce,
        |segment| {
            let memory = Memory::new(segment);
            assert_eq!((memory.lane().published(), next_to_publish(memory.lane())), (2, 3));
            assert_claims(memory.lane(), &[0, 1, 2]);
            assert_goes_on(memory.lane());
        },
    );
}

#[test]
fn consumer_killed_before_its_claim_holds_nothing() {
    let test = "consumer_killed_before_its_claim_holds_nothing";
    let crash = CrashTest { test, point: "lane.claim.intended", nth: 2, bytes: BYTES };
    crash.run(second_lap, consume, |segment| {
        let memory = Memory::new(segment);
        // The second passage: one task was run before.
        assert_eq!(intent(&memory), 5);
        assert_seizes(memory.lane(), &[]);
        assert_claims(memory.lane(), &[5, 6, 7]);
        assert_goes_on(memory.lane());
    });
}

#[test]
fn consumer_killed_after_its_claim_holds_what_it_intended() {
    let test = "consumer_killed_after_its_claim_holds_what_it_intended";
    let crash = CrashTest { test, point: "lane.claim.claimed", nth: 2, bytes: BYTES };
    crash.run(second_lap, consume, |segment| {
        let memory = Memory::new(segment);
        assert_claims(memory.lane(), &[6, 7]);
        assert_seizes(memory.lane(), &[intent(&memory)]);
        assert_eq!(intent(&memory), 5);
        assert_goes_on(memory.lane());
    });
}

#[test]
fn consumer_killed_before_done_is_visible_still_holds_the_task() {
    let test = "consumer_killed_before_done_is_visible_still_holds_the_task";
    let crash = CrashTest { test, point: "slot.finish.written", nth: 3, bytes: BYTES };
    crash.run(second_lap, consume, |segment| {
        let memory = Memory::new(segment);
        assert_seizes(memory.lane(), &[6]);
        assert_claims(memory.lane(), &[7]);
        assert_goes_on(memory.lane());
    });
}
