//! A process is killed at each crash point of a channel's ring; the survivor receives every message that was sent,
//! once, and the channel goes on.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::mpmc::{Fate, Geometry, Header, Message, Nothing, Recovered, Ring, Role, Terms};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::sync::Arc;

const BYTES: usize = 8192;
const MESSAGE: Message = Message { length: 16, marks: 0 };

struct Memory {
    header: View<Header>,
    words: ViewSlice<AtomicU64>,
}

fn geometry() -> Geometry {
    Geometry::new(4, 2).unwrap()
}

impl Memory {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            header: segment.view(0).unwrap(),
            words: segment.view_slice(4096, geometry().words()).unwrap(),
        }
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.header, &self.words, geometry())
    }

    fn send(&self, me: Holder, value: u64) -> bool {
        let Ok(claim) = self.ring().claim(me) else { return false };
        self.ring().publish(claim, me, MESSAGE, &[value, !value]);
        self.ring().notify_message();
        true
    }

    fn receive(&self, me: Holder) -> Result<u64, Nothing> {
        let taken = self.ring().take(me)?;
        let mut words = [0; 2];
        self.ring().read(&taken, &mut words);
        self.ring().release(taken, me);
        self.ring().notify_room();
        assert_eq!(words[1], !words[0], "a message was torn");
        Ok(words[0])
    }

    fn recover(&self) -> Recovered {
        let recovered = self.ring().recover(victim(), Holder::HOST, |_| {}, |_| Fate::Return);
        self.ring().bury(victim());
        recovered
    }

    fn rest(&self) -> Vec<u64> {
        std::iter::from_fn(|| self.receive(survivor()).ok()).collect()
    }

    /// The channel works for three more laps, and ends when the survivor leaves.
    fn assert_goes_on_and_ends(&self) {
        for value in 100..112 {
            assert!(self.send(survivor(), value));
            assert_eq!(self.receive(survivor()), Ok(value));
        }
        assert_eq!(self.receive(survivor()), Err(Nothing::Empty));
        self.ring().leave(Role::Sender, survivor());
        assert_eq!(self.receive(survivor()), Err(Nothing::Over));
    }
}

fn victim() -> Holder {
    OwnerId::worker(0).and_then(Holder::of).unwrap()
}

fn survivor() -> Holder {
    OwnerId::worker(1).and_then(Holder::of).unwrap()
}

/// Both have both ends, and three messages are there.
fn three_messages(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    for role in [Role::Sender, Role::Receiver] {
        assert!(memory.ring().join(role, survivor()));
        assert!(memory.ring().join(role, victim()));
    }
    (1..=3).for_each(|value| assert!(memory.send(survivor(), value)));
}

fn consume(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    while memory.receive(victim()).is_ok() {}
}

/// Empties the channel and fills it again, until the crash point.
fn produce(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    while memory.receive(victim()).is_ok() {}
    (11..).take_while(|value| memory.send(victim(), *value)).for_each(drop);
}

fn run(
    test: &'static str,
    point: &'static str,
    victim: fn(&Arc<Segment>),
    recovers: (u32, u32),
    rest: &[u64],
) {
    let crash = CrashTest { test, point, nth: 2, bytes: BYTES };
    crash.run(three_messages, victim, |segment| {
        let memory = Memory::new(segment);
        let recovered = memory.recover();
        assert_eq!((recovered.abandoned, recovered.returned), recovers);
        assert_eq!(memory.recover(), Recovered::default(), "recovering once more finds nothing");
        assert_eq!(memory.rest(), rest);
        memory.assert_goes_on_and_ends();
    });
}

#[test]
fn consumer_killed_with_a_message_in_hand_leaves_it_to_others() {
    let test = "consumer_killed_with_a_message_in_hand_leaves_it_to_others";
    run(test, "mpmc.take.taken", consume, (0, 1), &[2, 3]);
}

#[test]
fn consumer_killed_after_release_had_the_message() {
    let test = "consumer_killed_after_release_had_the_message";
    run(test, "mpmc.release.empty", consume, (0, 0), &[3]);
}

#[test]
fn producer_killed_with_a_claim_holds_up_nobody() {
    run("producer_killed_with_a_claim_holds_up_nobody", "mpmc.claim.claimed", produce, (1, 0), &[11]);
}

#[test]
fn producer_killed_before_publication_has_sent_nothing() {
    let test = "producer_killed_before_publication_has_sent_nothing";
    run(test, "mpmc.publish.written", produce, (1, 0), &[11]);
}

#[test]
fn producer_killed_after_publication_has_sent() {
    run("producer_killed_after_publication_has_sent", "mpmc.publish.full", produce, (0, 0), &[11, 12]);
}

#[test]
fn a_process_killed_while_it_joins_is_no_member() {
    let test = "a_process_killed_while_it_joins_is_no_member";
    let crash = CrashTest { test, point: "mpmc.join.bit_set", nth: 1, bytes: BYTES };
    let prepare = |segment: &Arc<Segment>| {
        let memory = Memory::new(segment);
        for role in [Role::Sender, Role::Receiver] {
            assert!(memory.ring().join(role, survivor()));
        }
    };
    let join = |segment: &Arc<Segment>| {
        let _ = Memory::new(segment).ring().join(Role::Sender, victim());
    };
    crash.run(prepare, join, |segment| {
        let memory = Memory::new(segment);
        assert!(memory.ring().has_joined(Role::Sender, victim()));
        memory.recover();
        assert!(!memory.ring().has_joined(Role::Sender, victim()));
        memory.assert_goes_on_and_ends();
    });
}

#[test]
fn a_process_killed_while_it_leaves_has_left() {
    let test = "a_process_killed_while_it_leaves_has_left";
    let crash = CrashTest { test, point: "mpmc.leave.cleared", nth: 1, bytes: BYTES };
    let prepare = |segment: &Arc<Segment>| {
        assert!(Memory::new(segment).ring().join(Role::Sender, victim()));
    };
    let leave = |segment: &Arc<Segment>| Memory::new(segment).ring().leave(Role::Sender, victim());
    crash.run(prepare, leave, |segment| {
        let memory = Memory::new(segment);
        assert!(!memory.ring().standing().has_lost(Role::Sender), "nobody has looked yet");
        memory.recover();
        assert!(memory.ring().standing().has_lost(Role::Sender));
        assert_eq!(memory.receive(survivor()), Err(Nothing::Over));
    });
}

/// Three messages that are taken for a nanosecond at most; the survivor has taken two and is silent.
fn three_leased(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    memory.header.format(geometry(), Terms { lease_ns: 1, ..Terms::default() });
    for value in 1..=3 {
        let claim = memory.ring().claim(survivor()).unwrap();
        memory.ring().publish(claim, survivor(), MESSAGE, &[value, 0]);
    }
    (0..2).for_each(|_| memory.ring().hold_until(&memory.ring().take(survivor()).unwrap(), 5));
}

fn seize(segment: &Arc<Segment>) {
    while Memory::new(segment).ring().seize_overdue(victim(), 9, 1).is_some() {}
}

#[test]
fn what_the_dead_had_seized_is_received() {
    let test = "what_the_dead_had_seized_is_received";
    let crash = CrashTest { test, point: "mpmc.seize.seized", nth: 2, bytes: BYTES };
    crash.run(three_leased, seize, |segment| {
        let memory = Memory::new(segment);
        assert_eq!(memory.recover().returned, 2);
        let rest = std::iter::from_fn(|| {
            let taken = memory.ring().take(survivor()).ok()?;
            let (mut words, deliveries) = ([0; 2], taken.word().deliveries());
            memory.ring().read(&taken, &mut words);
            assert!(memory.ring().release(taken, survivor()));
            Some((words, deliveries))
        });
        // Seized once and given back once; the time of the last holder is forgotten.
        assert!(rest.eq([([1, 0], 2), ([2, 0], 2), ([3, 0], 0)]));
    });
}
