//! A lane against a plain model of it, over every backing, over many laps.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::OwnerId;
use gorun_shm::ring::spmc::{Lane, LaneHeader, Position};
use gorun_shm::slots::{Claim, Completion, Descriptor, Slot, State, Word};
use gorun_shm::testing::Backing;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

const CAPACITY: usize = 4;
const WORKERS: u16 = 3;

#[derive(Debug, Clone)]
enum Op {
    Publish,
    Claim(u16),
    Finish(u16),
    Cancel(u64),
    Flag(u64, u8),
    Die(u16),
    Collect,
}

fn op() -> impl Strategy<Value = Op> {
    let flag = prop_oneof![Just(Word::SLEEPER), Just(Word::NOTICE)];
    prop_oneof![
        4 => Just(Op::Publish),
        4 => (0..WORKERS).prop_map(Op::Claim),
        3 => (0..WORKERS).prop_map(Op::Finish),
        1 => (0..CAPACITY as u64).prop_map(Op::Cancel),
        1 => (0..CAPACITY as u64, flag).prop_map(|(back, flag)| Op::Flag(back, flag)),
        1 => (0..WORKERS).prop_map(Op::Die),
        4 => Just(Op::Collect),
    ]
}

struct Trial<'a> {
    /// The producer's lane and the workers', at different addresses.
    near: Lane<'a>,
    far: Lane<'a>,
    published: Position,
    collected: Position,
    /// Positions nobody has, oldest first.
    ready: VecDeque<Position>,
    /// Who runs which, in the order of claims.
    running: Vec<(OwnerId, Position)>,
    done: BTreeMap<Position, Completion>,
    flags: BTreeMap<Position, u8>,
}

fn task(position: Position) -> Descriptor {
    Descriptor {
        shim: position,
        function: !position,
        attempt: 1,
        payload: [position; 4],
        ..Descriptor::default()
    }
}

fn outcome(position: Position) -> Completion {
    Completion { status: 1, attempt: 1, ticks: position, payload: [!position; 4], ..Completion::default() }
}

fn worker(index: u16) -> OwnerId {
    OwnerId::worker(index).unwrap()
}

impl Trial<'_> {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish if self.published - self.collected < CAPACITY as u64 => {
                self.near.publish(self.published, &task(self.published));
                self.ready.push_back(self.published);
                self.published += 1;
            }
            Op::Publish => {}
            Op::Claim(index) => self.claim(worker(index)),
            Op::Finish(index) => self.finish(worker(index), worker(index)),
            Op::Cancel(back) => self.cancel(self.published.saturating_sub(1 + back)),
            Op::Flag(back, flag) => self.flag(self.published.saturating_sub(1 + back), flag),
            Op::Die(index) => self.die(worker(index)),
            Op::Collect => self.collect(),
        }
        assert_eq!(self.far.published(), self.published);
        assert_eq!(self.far.has_ready(), !self.ready.is_empty());
        assert!(
            self.ready.front().is_none_or(|oldest| self.far.claimed() <= *oldest),
            "the hint passed a task"
        );
    }

    fn claim(&mut self, owner: OwnerId) {
        let intended = Cell::new(None);
        let claimed = self.far.claim(owner, |position| intended.set(Some(position)));
        let expected = self.ready.pop_front();
        assert_eq!(claimed, expected.map(|position| (position, task(position))));
        if let Some(position) = expected {
            assert_eq!(intended.get(), Some(position));
            self.running.push((owner, position));
        }
    }

    fn finish(&mut self, runs: OwnerId, finishes: OwnerId) {
        if let Some(index) = self.running.iter().position(|(owner, _)| *owner == runs) {
            let (_, position) = self.running.remove(index);
            let flags = self.far.finish(position, finishes, &outcome(position));
            assert_eq!(flags, Ok(self.flags.remove(&position).unwrap_or(0)));
            self.done.insert(position, outcome(position));
        }
    }

    fn cancel(&mut self, position: Position) {
        if self.published == 0 {
            return;
        }
        let (slot, lap) = self.near.slot(position);
        let claim = slot.claim(lap, OwnerId::HOST);
        match self.ready.iter().position(|ready| *ready == position) {
            Some(index) => {
                self.ready.remove(index);
                assert_eq!(claim, Claim::Claimed(task(position)));
                self.running.push((OwnerId::HOST, position));
                self.finish(OwnerId::HOST, OwnerId::HOST);
            }
            None => assert_eq!(claim, Claim::Taken),
        }
    }

    fn flag(&mut self, position: Position, flag: u8) {
        let open =
            self.ready.contains(&position) || self.running.iter().any(|(_, running)| *running == position);
        let (slot, lap) = self.near.slot(position);
        assert_eq!(slot.set_flag(lap, flag).is_ok(), open);
        if open {
            *self.flags.entry(position).or_default() |= flag;
        }
    }

    /// The worker dies; the host takes over and finishes what it held, and nothing else.
    fn die(&mut self, dead: OwnerId) {
        for position in self.collected..self.published {
            let (slot, lap) = self.near.slot(position);
            let held = self.running.contains(&(dead, position));
            assert_eq!(slot.seize(lap, dead, OwnerId::HOST), held);
            // One that still lives, and was condemned, is refused.
            assert!(!held || slot.finish(lap, dead, &outcome(position)).is_err());
        }
        while self.running.iter().any(|(owner, _)| *owner == dead) {
            self.finish(dead, OwnerId::HOST);
        }
    }

    fn collect(&mut self) {
        if self.collected == self.published {
            return;
        }
        let (slot, _) = self.near.slot(self.collected);
        let expected = self.done.remove(&self.collected);
        assert_eq!(slot.word().state() == State::Done, expected.is_some());
        if let Some(expected) = expected {
            assert_eq!(slot.completion(), expected);
            self.collected += 1;
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_its_model(ops in prop::collection::vec(op(), 1..300)) {
        for backing in Backing::ALL {
            let sides = backing.sides::<LaneHeader, Slot>(CAPACITY);
            let lanes = [sides.near(), sides.far()].map(|(header, slots)| Lane::new(header, slots));
            let mut trial = Trial {
                near: lanes[0],
                far: lanes[1],
                published: 0,
                collected: 0,
                ready: VecDeque::new(),
                running: Vec::new(),
                done: BTreeMap::new(),
                flags: BTreeMap::new(),
            };
            for op in &ops {
                trial.apply(op);
            }
        }
    }
}
