//! A process is killed at each crash point of a broadcast; the survivor sees every message that was sent, once and in order, and
//! the broadcast goes on.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::broadcast::{
    BroadcastHead, BroadcastRing, BroadcastShape, Cursor, CursorIndex, Keeping, Miss,
};
use gorun_shm::ring::mpmc::{Header, Message, Refused, Role};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::sync::Arc;

const BYTES: usize = 16384;
const MESSAGE: Message = Message { length: 16, marks: 0 };
/// The survivor's cursor: the first that was given out.
const OWN: CursorIndex = 0;

struct Memory {
    header: View<Header>,
    head: View<BroadcastHead>,
    cursors: ViewSlice<Cursor>,
    words: ViewSlice<AtomicU64>,
}

fn shape() -> BroadcastShape {
    BroadcastShape::new(4, 2).unwrap()
}

impl Memory {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            header: segment.view(0).unwrap(),
            head: segment.view(BroadcastShape::HEAD_AT as u64).unwrap(),
            cursors: segment.view_slice(BroadcastShape::CURSORS_AT as u64, BroadcastShape::CURSORS).unwrap(),
            words: segment.view_slice(BroadcastShape::SLOTS_AT as u64, shape().words()).unwrap(),
        }
    }

    fn ring(&self) -> BroadcastRing<'_> {
        BroadcastRing::new(&self.header, &self.head, &self.cursors, &self.words, shape())
    }

    fn send(&self, me: Holder, value: u64) -> Result<(), Refused> {
        let claim = self.ring().claim(me, Keeping::All)?;
        self.ring().publish(claim, me, MESSAGE, &[value, !value]);
        self.ring().notify_message();
        Ok(())
    }

    fn receive(&self, index: CursorIndex) -> Result<u64, Miss> {
        let seen = self.ring().look(index, Keeping::All)?;
        let mut words = [0; 2];
        self.ring().read(&seen, &mut words);
        self.ring().advance(index, seen);
        self.ring().notify_room();
        assert_eq!(words[1], !words[0], "a message was torn");
        Ok(words[0])
    }

    fn rest(&self) -> Vec<u64> {
        std::iter::from_fn(|| self.receive(OWN).ok()).collect()
    }

    fn recover(&self) -> u32 {
        let abandoned = self.ring().recover(victim(), Holder::HOST, |_, _| {});
        self.ring().bury(victim());
        abandoned
    }
}

fn victim() -> Holder {
    OwnerId::worker(0).and_then(Holder::of).unwrap()
}

fn survivor() -> Holder {
    OwnerId::worker(1).and_then(Holder::of).unwrap()
}

/// Both have both roles, the survivor subscribes, and two messages are there.
fn prepare(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    for role in [Role::Sender, Role::Receiver] {
        assert!(memory.header.join(role, survivor()) && memory.header.join(role, victim()));
    }
    assert_eq!(memory.ring().subscribe(survivor()), Some(OWN));
    (1..=2).for_each(|value| memory.send(survivor(), value).unwrap());
}

fn produces(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let _ = (3..).try_for_each(|value| memory.send(victim(), value));
}

fn listens(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let index = memory.ring().subscribe(victim()).unwrap();
    (11..13).for_each(|value| memory.send(victim(), value).unwrap());
    while memory.receive(index).is_ok() {}
}

fn run(
    test: &'static str,
    point: &'static str,
    nth: u64,
    does: fn(&Arc<Segment>),
    abandoned: u32,
    rest: &[u64],
) {
    CrashTest { test, point, nth, bytes: BYTES }.run(prepare, does, |segment| {
        let memory = Memory::new(segment);
        assert_eq!(memory.recover(), abandoned);
        assert_eq!(memory.recover(), 0, "recovering once more finds nothing");
        assert_eq!(memory.rest(), rest);
        for value in 100..120 {
            memory.send(survivor(), value).unwrap();
            assert_eq!(memory.receive(OWN), Ok(value));
        }
        let free = std::iter::from_fn(|| memory.ring().subscribe(survivor())).count();
        assert_eq!(free, BroadcastShape::CURSORS - 1, "the dead's cursors are free");
        memory.header.leave(Role::Sender, survivor());
        assert_eq!(memory.receive(OWN), Err(Miss::Over));
    });
}

#[test]
fn producer_killed_with_a_claim_holds_up_nobody() {
    let test = "producer_killed_with_a_claim_holds_up_nobody";
    run(test, "broadcast.claim.claimed", 2, produces, 1, &[1, 2, 3]);
}

#[test]
fn producer_killed_before_publication_has_sent_nothing() {
    let test = "producer_killed_before_publication_has_sent_nothing";
    run(test, "broadcast.publish.written", 2, produces, 1, &[1, 2, 3]);
}

#[test]
fn producer_killed_after_publication_has_sent() {
    let test = "producer_killed_after_publication_has_sent";
    run(test, "broadcast.publish.full", 2, produces, 0, &[1, 2, 3, 4]);
}

#[test]
fn subscriber_killed_before_its_place_counts_holds_up_nobody() {
    let test = "subscriber_killed_before_its_place_counts_holds_up_nobody";
    run(test, "broadcast.subscribe.taken", 1, listens, 0, &[1, 2]);
}

#[test]
fn subscriber_killed_when_its_place_counts_holds_up_nobody() {
    let test = "subscriber_killed_when_its_place_counts_holds_up_nobody";
    run(test, "broadcast.subscribe.counted", 1, listens, 0, &[1, 2]);
}

#[test]
fn subscriber_killed_while_it_reads_holds_up_nobody() {
    let test = "subscriber_killed_while_it_reads_holds_up_nobody";
    run(test, "broadcast.advance.read", 2, listens, 0, &[1, 2, 11, 12]);
}

#[test]
fn subscriber_killed_behind_a_message_holds_up_nobody() {
    let test = "subscriber_killed_behind_a_message_holds_up_nobody";
    run(test, "broadcast.advance.moved", 1, listens, 0, &[1, 2, 11, 12]);
}

/// Subscribes, sends, reads and leaves again and again, and would never end.
fn lives(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let ring = memory.ring();
    let mut next = 3;
    loop {
        let index = ring.subscribe(victim()).unwrap();
        for _ in 0..3 {
            let claim = ring.claim(victim(), Keeping::Newest).unwrap();
            ring.publish(claim, victim(), MESSAGE, &[next, !next]);
            next += 1;
        }
        let other = ring.subscribe_like(index, victim()).unwrap();
        while memory.receive(other).is_ok() {}
        ring.unsubscribe(index);
        ring.unsubscribe(other);
    }
}

/// How often to die at each point: `GORUN_CRASH_ROUNDS`, or a few times.
fn rounds() -> u64 {
    std::env::var("GORUN_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

#[test]
fn killed_at_any_passage_of_any_point_wedges_and_loses_nothing() {
    let test = "killed_at_any_passage_of_any_point_wedges_and_loses_nothing";
    let points = [
        "broadcast.claim.claimed",
        "broadcast.publish.written",
        "broadcast.publish.full",
        "broadcast.subscribe.taken",
        "broadcast.subscribe.counted",
        "broadcast.advance.read",
        "broadcast.advance.moved",
    ];
    for (point, nth) in points.into_iter().flat_map(|point| (1..=rounds()).map(move |nth| (point, nth))) {
        CrashTest { test, point, nth, bytes: BYTES }.run(prepare, lives, |segment| {
            let memory = Memory::new(segment);
            memory.recover();
            let ring = memory.ring();
            // What is left of what the dead has sent: the newest, without a gap.
            let mut rest = Vec::new();
            loop {
                match ring.look(OWN, Keeping::Newest) {
                    Ok(_) => rest.push(memory.receive(OWN).unwrap()),
                    Err(Miss::Lagged(_)) => assert!(rest.is_empty(), "{point} {nth}: a gap behind {rest:?}"),
                    Err(Miss::Empty) => break,
                    Err(other) => panic!("{point} {nth}: {other:?}"),
                }
            }
            let first = rest.first().copied().unwrap_or(0);
            assert!(rest.iter().copied().eq((first..).take(rest.len())), "{point} {nth}: {rest:?}");
            for value in 100..112 {
                memory.send(survivor(), value).unwrap();
                assert_eq!(memory.receive(OWN), Ok(value));
            }
            let free = std::iter::from_fn(|| ring.subscribe(survivor())).count();
            assert_eq!(free, BroadcastShape::CURSORS - 1, "the dead's cursors are free");
        });
    }
}
