//! A process is killed at each crash point of a stream's lane; the other end gets what was sent, once, and whoever has the
//! end next goes on.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::lane::{LaneHead, LaneMemory, LaneReceiver, LaneSender, LaneShape};
use gorun_shm::ring::mpmc::{Header, Nothing, Role, Terms};
use gorun_shm::ring::spsc::{RingHeader, RingMemory};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::sync::Arc;

const BYTES: usize = 8192;
const ROUNDS: u64 = 8;

#[derive(Clone)]
struct Memory {
    common: View<Header>,
    head: View<LaneHead>,
    ring: View<RingHeader>,
    words: ViewSlice<AtomicU64>,
}

impl RingMemory for Memory {
    fn header(&self) -> &RingHeader {
        &self.ring
    }

    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl LaneMemory for Memory {
    fn common(&self) -> &Header {
        &self.common
    }

    fn head(&self) -> &LaneHead {
        &self.head
    }
}

impl Memory {
    fn new(segment: &Arc<Segment>) -> Self {
        let shape = LaneShape::of::<[u64; 2]>(4).unwrap();
        Self {
            common: segment.view(0).unwrap(),
            head: segment.view(LaneShape::HEAD_AT as u64).unwrap(),
            ring: segment.view(LaneShape::RING_AT as u64).unwrap(),
            words: segment.view_slice(LaneShape::WORDS_AT as u64, shape.words().unwrap()).unwrap(),
        }
    }

    fn sender(&self, me: Holder) -> LaneSender<[u64; 2], Self> {
        assert!(self.lane().pick_up(Role::Sender, me));
        LaneSender::attach(self.clone()).unwrap()
    }

    fn receiver(&self, me: Holder) -> LaneReceiver<[u64; 2], Self> {
        assert!(self.lane().pick_up(Role::Receiver, me));
        LaneReceiver::attach(self.clone()).unwrap()
    }
}

fn victim() -> Holder {
    OwnerId::worker(0).and_then(Holder::of).unwrap()
}

fn survivor() -> Holder {
    OwnerId::worker(1).and_then(Holder::of).unwrap()
}

/// Both have both ends, and two values are there.
fn prepare(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    LaneShape::of::<[u64; 2]>(4).unwrap().format(&memory.common, Terms::default());
    for role in [Role::Sender, Role::Receiver] {
        assert!(memory.common.join(role, survivor()));
        assert!(memory.common.join(role, victim()));
    }
    let mut sender = memory.sender(survivor());
    [1, 2].iter().for_each(|n| sender.try_send(&[*n, !*n]).unwrap());
    memory.lane().put_down(Role::Sender);
}

fn sends(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let mut sender = memory.sender(victim());
    for n in 3..ROUNDS {
        let _ = sender.try_send(&[n, !n]);
    }
    memory.lane().close();
    let _ = sender.try_send(&[9, !9]);
}

fn receives(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let mut receiver = memory.receiver(victim());
    while receiver.try_receive().is_ok() {}
}

fn closes(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let mut receiver = memory.receiver(victim());
    memory.lane().close();
    while receiver.try_receive() != Err(Nothing::Over) {}
}

fn run(test: &'static str, point: &'static str, nth: u64, victim_does: fn(&Arc<Segment>), rest: &[u64]) {
    CrashTest { test, point, nth, bytes: BYTES }.run(prepare, victim_does, |segment| {
        let memory = Memory::new(segment);
        memory.lane().bury(victim());
        memory.lane().bury(victim());
        let mut receiver = memory.receiver(survivor());
        let values: Vec<_> = std::iter::from_fn(|| receiver.try_receive().ok()).collect();
        assert!(values.iter().all(|[value, check]| *check == !*value), "a value was torn: {values:?}");
        assert_eq!(values.iter().map(|[value, _]| *value).collect::<Vec<_>>(), rest);
        if !memory.lane().standing().is_closed() {
            let mut sender = memory.sender(survivor());
            for value in 100..112 {
                sender.try_send(&[value, !value]).unwrap();
                assert_eq!(receiver.try_receive(), Ok([value, !value]));
            }
            assert_eq!(receiver.try_receive(), Err(Nothing::Empty));
            memory.common.leave(Role::Sender, survivor());
        }
        assert_eq!(receiver.try_receive(), Err(Nothing::Over));
    });
}

#[test]
fn killed_with_an_end_picked_up_leaves_it_to_others() {
    let test = "killed_with_an_end_picked_up_leaves_it_to_others";
    run(test, "lane.pick_up.done", 1, sends, &[1, 2]);
}

#[test]
fn sender_killed_before_publication_has_not_sent() {
    run("sender_killed_before_publication_has_not_sent", "spsc.push.written", 2, sends, &[1, 2, 3]);
}

#[test]
fn sender_killed_after_publication_has_sent() {
    run("sender_killed_after_publication_has_sent", "spsc.publish.stored", 2, sends, &[1, 2, 3, 4]);
}

#[test]
fn receiver_killed_before_release_leaves_the_value_to_others() {
    let test = "receiver_killed_before_release_leaves_the_value_to_others";
    run(test, "spsc.pop.read", 2, receives, &[2]);
}

#[test]
fn receiver_killed_after_release_had_the_value() {
    run("receiver_killed_after_release_had_the_value", "spsc.pop.released", 1, receives, &[2]);
}

#[test]
fn receiver_killed_when_the_end_was_agreed_upon_leaves_it_agreed() {
    let test = "receiver_killed_when_the_end_was_agreed_upon_leaves_it_agreed";
    run(test, "lane.end_at.agreed", 1, closes, &[]);
}

/// Uses both ends again and again, and would never end.
fn lives(segment: &Arc<Segment>) {
    let memory = Memory::new(segment);
    let mut next = 3;
    loop {
        let mut sender = memory.sender(victim());
        while sender.try_send(&[next, !next]).is_ok() {
            next += 1;
        }
        memory.lane().put_down(Role::Sender);
        let mut receiver = memory.receiver(victim());
        for _ in 0..3 {
            let _ = receiver.try_receive();
        }
        memory.lane().put_down(Role::Receiver);
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
        "lane.pick_up.done",
        "spsc.push.written",
        "spsc.publish.stored",
        "spsc.pop.read",
        "spsc.pop.released",
    ];
    for (point, nth) in points.into_iter().flat_map(|point| (1..=rounds()).map(move |nth| (point, nth))) {
        CrashTest { test, point, nth, bytes: BYTES }.run(prepare, lives, |segment| {
            let memory = Memory::new(segment);
            memory.lane().bury(victim());
            let mut receiver = memory.receiver(survivor());
            let rest: Vec<_> = std::iter::from_fn(|| receiver.try_receive().ok()).collect();
            let first = rest.first().map_or(0, |[first, _]| *first);
            assert!(rest.iter().zip(first..).all(|(value, n)| *value == [n, !n]), "{point} {nth}: {rest:?}");
            let mut sender = memory.sender(survivor());
            for value in 100..112 {
                sender.try_send(&[value, !value]).unwrap();
                assert_eq!(receiver.try_receive(), Ok([value, !value]));
            }
        });
    }
}
