//! A channel's ring against a plain queue, over every backing, over many laps and with deaths.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::ring::mpmc::{
    Claim, Fate, Geometry, Header, Message, Nothing, Position, Refused, Ring, Role, Taken,
};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::Backing;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PROCESSES: u16 = 3;

#[derive(Debug, Clone)]
enum Op {
    Claim(u16),
    Publish(u16),
    Abandon(u16),
    Withdraw(u16),
    Take(u16),
    Release(u16),
    PutBack(u16),
    Die(u16, bool),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..PROCESSES;
    prop_oneof![
        6 => who.clone().prop_map(Op::Claim),
        6 => who.clone().prop_map(Op::Publish),
        1 => who.clone().prop_map(Op::Abandon),
        1 => who.clone().prop_map(Op::Withdraw),
        6 => who.clone().prop_map(Op::Take),
        6 => who.clone().prop_map(Op::Release),
        1 => who.clone().prop_map(Op::PutBack),
        1 => (who, any::<bool>()).prop_map(|(who, keep)| Op::Die(who, keep)),
        1 => Just(Op::Close),
    ]
}

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

/// What a position is in the plain queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Written(u16),
    Full { by: Option<u16>, deliveries: u8 },
    Read(u16, u8),
    Dead,
}

struct Trial<'a> {
    /// Producers' and consumers' rings, at different addresses.
    near: Ring<'a>,
    far: Ring<'a>,
    capacity: u64,
    next: Position,
    /// Every position that is not released, oldest first.
    places: BTreeMap<Position, Place>,
    claims: Vec<(u16, Position, Claim)>,
    taken: Vec<(u16, Taken)>,
    closed: bool,
}

impl Trial<'_> {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Claim(who) => self.claim(who),
            Op::Publish(who) => {
                if let Some((position, claim)) = self.claim_of(who) {
                    self.near.publish(claim, worker(who), message(position), &[position, !position]);
                    self.near.notify_message();
                    self.places.insert(position, Place::Full { by: Some(who), deliveries: 0 });
                }
            }
            Op::Abandon(who) => {
                if let Some((position, claim)) = self.claim_of(who) {
                    self.near.abandon(claim, worker(who));
                    self.places.insert(position, Place::Dead);
                }
            }
            Op::Withdraw(who) => self.withdraw(who),
            Op::Take(who) => self.take(who),
            Op::Release(who) => {
                if let Some(taken) = self.taken_by(who) {
                    self.places.remove(&taken.position());
                    self.far.release(taken, worker(who));
                    self.far.notify_room();
                }
            }
            Op::PutBack(who) => {
                if let Some(taken) = self.taken_by(who) {
                    let deliveries = taken.word().deliveries().saturating_add(1).min(7);
                    self.places.insert(taken.position(), Place::Full { by: None, deliveries });
                    self.far.put_back(taken, worker(who));
                }
            }
            Op::Die(who, keep) => self.die(who, keep),
            Op::Close => {
                assert_eq!(self.near.close(), !self.closed);
                self.closed = true;
            }
        }
        let full = |place: &Place| matches!(place, Place::Full { .. });
        assert_eq!(self.far.has_message(), self.reachable().any(|(_, place)| full(&place)));
        assert_eq!(self.near.has_room(), self.has_room());
        assert!(self.far.header().head() <= self.oldest(), "the hint passed a message");
    }

    fn oldest(&self) -> Position {
        self.places.keys().next().copied().unwrap_or(self.next)
    }

    fn has_room(&self) -> bool {
        self.next < self.oldest() + self.capacity
    }

    /// What consumers walk over: up to the first that is still written.
    fn reachable(&self) -> impl Iterator<Item = (Position, Place)> {
        let places = self.places.iter().map(|(position, place)| (*position, *place));
        places.take_while(|(_, place)| !matches!(place, Place::Written(_))).collect::<Vec<_>>().into_iter()
    }

    fn claim(&mut self, who: u16) {
        match self.near.claim(worker(who)) {
            Ok(claim) => {
                assert!(!self.closed && self.has_room());
                self.places.insert(self.next, Place::Written(who));
                self.claims.push((who, self.next, claim));
                self.next += 1;
            }
            Err(Refused::Over) => assert!(self.closed),
            Err(refused) => assert!(refused == Refused::Full && !self.closed && !self.has_room()),
        }
    }

    fn claim_of(&mut self, who: u16) -> Option<(Position, Claim)> {
        let index = self.claims.iter().position(|(owner, ..)| *owner == who)?;
        let (_, position, claim) = self.claims.remove(index);
        Some((position, claim))
    }

    fn taken_by(&mut self, who: u16) -> Option<Taken> {
        let index = self.taken.iter().position(|(owner, _)| *owner == who)?;
        Some(self.taken.remove(index).1)
    }

    fn withdraw(&mut self, who: u16) {
        let newest = self.places.iter().next_back().map(|(position, place)| (*position, *place));
        let Some((position, place)) = newest else { return };
        let fresh = place == Place::Full { by: Some(who), deliveries: 0 };
        if !matches!(place, Place::Written(_)) {
            assert_eq!(self.near.withdraw(position, worker(who), message(position)), fresh);
        }
        if fresh {
            self.places.insert(position, Place::Dead);
            assert!(self.near.was_taken(position));
        }
    }

    fn take(&mut self, who: u16) {
        let first = self.reachable().find_map(|(position, place)| match place {
            Place::Full { deliveries, .. } => Some((position, deliveries)),
            _ => None,
        });
        match (self.far.take(worker(who)), first) {
            (Ok(taken), Some((position, deliveries))) => {
                assert_eq!((taken.position(), taken.word().deliveries()), (position, deliveries));
                assert_eq!(taken.word().length(), message(position).length);
                let mut words = [0; 2];
                assert_eq!(self.far.read(&taken, &mut words), 2);
                assert_eq!(words, [position, !position]);
                self.pass_dead(position);
                self.places.insert(position, Place::Read(who, deliveries));
                self.taken.push((who, taken));
            }
            (Err(nothing), None) => {
                self.pass_dead(Position::MAX);
                let expected = match (self.places.is_empty(), self.closed) {
                    (true, true) => Nothing::Over,
                    (true, false) => Nothing::Empty,
                    (false, _) => Nothing::Busy,
                };
                assert_eq!(nothing, expected);
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    /// A walk up to `end` frees the dead slots on its way.
    fn pass_dead(&mut self, end: Position) {
        let passed: Vec<_> = self.reachable().take_while(|(position, _)| *position < end).collect();
        for (position, place) in passed {
            if place == Place::Dead {
                self.places.remove(&position);
            }
        }
    }

    fn die(&mut self, who: u16, keep: bool) {
        self.claims.retain(|(owner, ..)| *owner != who);
        self.taken.retain(|(owner, _)| *owner != who);
        let fate = if keep { Fate::Return } else { Fate::Drop };
        let recovered = self.near.recover(worker(who), Holder::HOST, |_| {}, |_| fate);
        self.near.bury(worker(who));
        let mut expected = (0, 0, 0);
        let places = std::mem::take(&mut self.places);
        for (position, place) in places {
            let place = match place {
                Place::Written(owner) if owner == who => {
                    expected.0 += 1;
                    Place::Dead
                }
                Place::Read(owner, deliveries) if owner == who && keep => {
                    expected.1 += 1;
                    Place::Full { by: None, deliveries: deliveries.saturating_add(1).min(7) }
                }
                Place::Read(owner, _) if owner == who => {
                    expected.2 += 1;
                    continue;
                }
                other => other,
            };
            self.places.insert(position, place);
        }
        assert_eq!((recovered.abandoned, recovered.returned, recovered.dropped), expected);
        // A later life of the number.
        for role in [Role::Sender, Role::Receiver] {
            assert!(!self.near.has_joined(role, worker(who)));
            assert!(self.near.join(role, worker(who)), "others have ends of that role");
        }
    }
}

fn message(position: Position) -> Message {
    Message { length: u8::try_from(position % 17).unwrap(), marks: (position % 4) as u8 }
}

fn try_all(ops: &[Op], backing: Backing, capacity: u32) {
    let geometry = Geometry::new(capacity, 2).unwrap();
    let sides = backing.sides::<Header, AtomicU64>(geometry.words());
    let ((near_header, near), (far_header, far)) = (sides.near(), sides.far());
    let mut trial = Trial {
        near: Ring::new(near_header, near, geometry),
        far: Ring::new(far_header, far, geometry),
        capacity: capacity.into(),
        next: 0,
        places: BTreeMap::new(),
        claims: Vec::new(),
        taken: Vec::new(),
        closed: false,
    };
    for who in 0..PROCESSES {
        assert!(trial.near.join(Role::Sender, worker(who)) && trial.near.join(Role::Receiver, worker(who)));
    }
    for op in ops {
        trial.apply(op);
    }
}

proptest! {
    #[test]
    fn behaves_like_a_queue(ops in prop::collection::vec(op(), 0..200), capacity in 1..6_u32) {
        for backing in Backing::ALL {
            try_all(&ops, backing, capacity);
        }
    }
}
