//! Models of a lane: every published task is claimed exactly once, whoever claims and whenever.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::ring::spmc::{Lane, LaneHeader, Position};
use gorun_shm::slots::{Claim, Completion, Descriptor, Slot, State};
use loom::thread;
use std::cell::Cell;
use std::sync::Arc;

struct Memory {
    header: LaneHeader,
    slots: Vec<Slot>,
}

impl Memory {
    fn new(capacity: usize) -> Arc<Self> {
        let slots = (0..capacity).map(|_| Slot::default()).collect();
        Arc::new(Self { header: LaneHeader::default(), slots })
    }

    fn lane(&self) -> Lane<'_> {
        Lane::new(&self.header, &self.slots)
    }
}

fn worker(index: u16) -> OwnerId {
    OwnerId::worker(index).unwrap()
}

fn task(position: Position) -> Descriptor {
    Descriptor { function: 100 + position, ..Descriptor::default() }
}

/// Claims up to `tries` times and finishes what it got; returns the positions. Each was announced before it was claimed.
fn work(lane: Lane<'_>, owner: OwnerId, tries: usize) -> Vec<Position> {
    let mut claimed = Vec::new();
    for _ in 0..tries {
        let intended = Cell::new(None);
        if let Some((position, descriptor)) = lane.claim(owner, |position| intended.set(Some(position))) {
            assert_eq!((descriptor, intended.get()), (task(position), Some(position)));
            lane.finish(position, owner, &Completion::default()).unwrap();
            claimed.push(position);
        }
    }
    claimed
}

fn assert_each_once(mut claimed: Vec<Position>, published: Position) {
    claimed.sort_unstable();
    assert_eq!(claimed, (0..published).collect::<Vec<_>>());
}

// Fails if the word of a slot is stored instead of exchanged in `claim`, and with a Relaxed store in `publish`.
#[test]
fn two_consumers_and_a_publishing_producer_claim_each_task_once() {
    model::check(|| {
        let memory = Memory::new(2);
        memory.lane().publish(0, &task(0));
        let consumers = [0, 1].map(|index| {
            let memory = Arc::clone(&memory);
            thread::spawn(move || work(memory.lane(), worker(index), 1))
        });
        memory.lane().publish(1, &task(1));
        let mut claimed: Vec<_> = consumers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        claimed.extend(work(memory.lane(), worker(2), 2));
        assert_each_once(claimed, 2);
    });
}

// The producer goes round the ring while a consumer looks: fails if `advance_head` passes an unclaimed task.
#[test]
fn a_slow_consumer_neither_loses_nor_repeats_a_task_of_the_next_lap() {
    model::check(|| {
        let memory = Memory::new(2);
        memory.lane().publish(0, &task(0));
        memory.lane().publish(1, &task(1));
        let slow = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || work(memory.lane(), worker(0), 1))
        };
        let mut claimed = work(memory.lane(), worker(1), 1);
        let mut published = 2;
        if memory.lane().slot(0).0.word().state() == State::Done {
            memory.lane().publish(2, &task(2));
            published = 3;
        }
        claimed.extend(slow.join().unwrap());
        claimed.extend(work(memory.lane(), worker(2), 3));
        assert_each_once(claimed, published);
    });
}

// A consumer that found nothing sets the hint back late, by more than a lap: fails if `Gone` is treated as
// `Empty`, because the task is then never found again.
#[test]
fn a_hint_set_back_by_laps_still_leads_to_the_task() {
    model::check(|| {
        let memory = Memory::new(1);
        memory.lane().publish(0, &task(0));
        // Cancelled by the producer, which leaves the hint where it is.
        let (slot, lap) = memory.lane().slot(0);
        assert!(matches!(slot.claim(lap, OwnerId::HOST), Claim::Claimed(_)));
        slot.finish(lap, OwnerId::HOST, &Completion::default()).unwrap();
        let mut claimed = vec![0];
        let slow = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || work(memory.lane(), worker(0), 1))
        };
        let mut published = 1;
        while published < 3 && memory.lane().slot(0).0.word().state() == State::Done {
            memory.lane().publish(published, &task(published));
            published += 1;
            if published < 3 {
                claimed.extend(work(memory.lane(), worker(1), 1));
            }
        }
        claimed.extend(slow.join().unwrap());
        claimed.extend(work(memory.lane(), worker(2), 4));
        assert_each_once(claimed, published);
    });
}

// Fails if the recoverer's `seize` or the others' `claim` is a store.
#[test]
fn recovery_beside_a_living_consumer_runs_each_task_once() {
    model::check(|| {
        let memory = Memory::new(2);
        memory.lane().publish(0, &task(0));
        memory.lane().publish(1, &task(1));
        let (dead_position, _) = memory.lane().claim(worker(0), |_| ()).unwrap();
        let living = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || work(memory.lane(), worker(1), 2))
        };
        let (slot, lap) = memory.lane().slot(dead_position);
        assert!(slot.seize(lap, worker(0), OwnerId::HOST));
        memory.lane().finish(dead_position, OwnerId::HOST, &Completion::default()).unwrap();
        let mut claimed = living.join().unwrap();
        claimed.push(dead_position);
        assert_each_once(claimed, 2);
    });
}

// Fails if `publish` stores the tail before the slot, or with Relaxed.
#[test]
fn a_published_position_is_claimable() {
    model::check(|| {
        let memory = Memory::new(2);
        let producer = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.lane().publish(0, &task(0)))
        };
        if memory.lane().published() == 1 {
            assert!(memory.lane().has_ready());
            assert_eq!(work(memory.lane(), worker(0), 1), [0]);
        }
        producer.join().unwrap();
    });
}
