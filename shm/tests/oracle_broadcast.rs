//! Random operations on a broadcast against a log and a place in it for each subscriber; and over scribbled memory.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::broadcast::{
    BroadcastHead, BroadcastRing, BroadcastShape, Cursor, CursorIndex, Keeping, Miss,
};
use gorun_shm::ring::mpmc::{Header, Message, Refused, Role};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const BYTES: usize = 16384;
const MESSAGE: Message = Message { length: 8, marks: 0 };

struct Memory {
    header: View<Header>,
    head: View<BroadcastHead>,
    cursors: ViewSlice<Cursor>,
    words: ViewSlice<AtomicU64>,
    shape: BroadcastShape,
}

impl Memory {
    fn new(segment: &Arc<Segment>, capacity: u32) -> Self {
        let shape = BroadcastShape::new(capacity, 2).unwrap();
        Self {
            header: segment.view(0).unwrap(),
            head: segment.view(BroadcastShape::HEAD_AT as u64).unwrap(),
            cursors: segment.view_slice(BroadcastShape::CURSORS_AT as u64, BroadcastShape::CURSORS).unwrap(),
            words: segment.view_slice(BroadcastShape::SLOTS_AT as u64, shape.words()).unwrap(),
            shape,
        }
    }

    fn ring(&self) -> BroadcastRing<'_> {
        BroadcastRing::new(&self.header, &self.head, &self.cursors, &self.words, self.shape)
    }
}

fn me() -> Holder {
    OwnerId::worker(7).and_then(Holder::of).unwrap()
}

#[derive(Debug, Clone)]
enum Op {
    Send,
    /// Claims and gives up.
    Abandon,
    /// The n-th subscriber, modulo how many there are.
    Receive(usize),
    Subscribe,
    Clone(usize),
    Leave(usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Send),
        1 => Just(Op::Abandon),
        8 => (0..8_usize).prop_map(Op::Receive),
        1 => Just(Op::Subscribe),
        1 => (0..8_usize).prop_map(Op::Clone),
        1 => (0..8_usize).prop_map(Op::Leave),
        1 => Just(Op::Close).prop_filter("rarely", |_| true),
    ]
}

/// The broadcast and what it should do.
struct Trial {
    memory: Memory,
    keeping: Keeping,
    /// What was sent; none where a claim was given up.
    log: Vec<Option<u64>>,
    /// Where in the log each subscriber stands.
    places: BTreeMap<CursorIndex, usize>,
    is_closed: bool,
}

impl Trial {
    fn capacity(&self) -> usize {
        usize::try_from(self.memory.shape.capacity()).unwrap()
    }

    fn refusal(&self) -> Option<Refused> {
        let lowest = self.places.values().min().copied().unwrap_or(self.log.len());
        match self.keeping {
            _ if self.is_closed => Some(Refused::Over),
            Keeping::All if self.log.len() - lowest >= self.capacity() => Some(Refused::Full),
            _ => None,
        }
    }

    fn nth(&self, n: usize) -> Option<CursorIndex> {
        self.places.keys().nth(n % self.places.len().max(1)).copied()
    }

    fn expected(&mut self, index: CursorIndex) -> Result<u64, Miss> {
        let (capacity, length) = (self.capacity(), self.log.len());
        let place = self.places.get_mut(&index).unwrap();
        loop {
            if self.keeping == Keeping::Newest && length - *place > capacity {
                let missed = length - capacity - *place;
                *place += missed;
                return Err(Miss::Lagged(missed as u64));
            }
            match self.log.get(*place) {
                Some(entry) => {
                    *place += 1;
                    if let Some(value) = entry {
                        return Ok(*value);
                    }
                }
                None => return Err(if self.is_closed { Miss::Over } else { Miss::Empty }),
            }
        }
    }

    fn receive(&self, index: CursorIndex) -> Result<u64, Miss> {
        let ring = self.memory.ring();
        let seen = ring.look(index, self.keeping)?;
        let mut words = [0];
        ring.read(&seen, &mut words);
        assert!(ring.is_unchanged(&seen));
        ring.advance(index, seen);
        Ok(words[0])
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Send | Op::Abandon => {
                let refusal = self.refusal();
                let ring = self.memory.ring();
                match ring.claim(me(), self.keeping) {
                    Ok(claim) if matches!(op, Op::Send) => {
                        let value = self.log.len() as u64;
                        ring.publish(claim, me(), MESSAGE, &[value]);
                        assert_eq!(refusal, None);
                        self.log.push(Some(value));
                    }
                    Ok(claim) => {
                        ring.abandon(claim, me());
                        assert_eq!(refusal, None);
                        self.log.push(None);
                    }
                    Err(refused) => assert_eq!(Some(refused), refusal),
                }
            }
            Op::Receive(n) => {
                if let Some(index) = self.nth(n) {
                    let expected = self.expected(index);
                    assert_eq!(self.receive(index), expected);
                }
            }
            Op::Subscribe => {
                let index = self.memory.ring().subscribe(me()).unwrap();
                assert_eq!(self.places.insert(index, self.log.len()), None);
            }
            Op::Clone(n) => {
                if let Some(other) = self.nth(n) {
                    let index = self.memory.ring().subscribe_like(other, me()).unwrap();
                    assert_eq!(self.places.insert(index, self.places[&other]), None);
                }
            }
            Op::Leave(n) => {
                if let Some(index) = self.nth(n) {
                    self.memory.ring().unsubscribe(index);
                    self.places.remove(&index);
                }
            }
            Op::Close => {
                assert_eq!(self.memory.header.close(), !std::mem::replace(&mut self.is_closed, true))
            }
        }
    }
}

/// Words that look like something more often than uniformly chosen ones do.
fn nonsense() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        3 => 0..16_u64,
        1 => (0..16_u64).prop_map(|back| u64::MAX - back),
        4 => (prop_oneof![0..4_u64, any::<u64>()], 0..3_u64, any::<u8>(), 0..8_u64)
            .prop_map(|(lap, holder, middle, state)| lap << 24 | holder << 16 | u64::from(middle) << 8 | state),
    ]
}

proptest! {
    #[test]
    fn every_subscriber_sees_a_suffix_of_one_log(
        capacity in 1..6_u32, keeps in any::<bool>(), ops in prop::collection::vec(op(), 0..250),
        closes_at in prop::option::of(0..250_usize),
    ) {
        let segment = Segment::private(BYTES).unwrap();
        let keeping = if keeps { Keeping::All } else { Keeping::Newest };
        let memory = Memory::new(&segment, capacity);
        let mut trial = Trial { memory, keeping, log: Vec::new(), places: BTreeMap::new(), is_closed: false };
        for (number, op) in ops.iter().enumerate() {
            // Closed at most once in a trial: what comes behind is short.
            let is_late = closes_at.is_some_and(|at| number >= at);
            if !matches!(op, Op::Close) || is_late {
                trial.step(op);
            }
        }
    }

    #[test]
    fn a_scribbled_broadcast_answers(batches in prop::collection::vec(prop::collection::vec(
        (prop_oneof![0..96_usize, 1080..1100_usize], nonsense()), 0..24), 1..8))
    {
        let _watchdog = Watchdog::start("a_scribbled_broadcast_answers");
        let segment = Segment::private(BYTES).unwrap();
        let all = segment.view_slice::<AtomicU64>(0, BYTES / 8).unwrap();
        let memory = Memory::new(&segment, 3);
        memory.shape.format(&memory.header, Default::default());
        let ring = memory.ring();
        for batch in &batches {
            for (index, value) in batch {
                all[*index].store(*value, Ordering::Relaxed); // Relaxed: one thread.
            }
            if let Ok((shape, _)) = BroadcastShape::read(&memory.header, BYTES) {
                prop_assert!(shape.bytes() <= BYTES);
            }
            for keeping in [Keeping::All, Keeping::Newest] {
                let index = ring.subscribe(me()).unwrap_or(0);
                for value in 0..6 {
                    if let Ok(mut claim) = ring.claim(me(), keeping) {
                        let mut old = [0; 3];
                        ring.read_old(&claim, &mut old);
                        let _ = ring.is_overwriting(&claim);
                        ring.forget_old(&mut claim, me());
                        ring.publish(claim, me(), MESSAGE, &[value, value, value]);
                        ring.notify_message();
                    }
                }
                for index in [index, 0, 1, 200] {
                    if let Ok(seen) = ring.look(index, keeping) {
                        let _ = (ring.read(&seen, &mut [0; 4]), ring.is_unchanged(&seen));
                        ring.advance(index, seen);
                        ring.notify_room();
                    }
                    let _ = (ring.has_message(index), ring.ahead_of(index), ring.subscribe_like(index, me()));
                }
                ring.unsubscribe(index);
            }
            let _ = (ring.len(), memory.header.join(Role::Sender, me()));
            ring.recover(me(), Holder::HOST, |_, _| {});
            ring.sweep(|_, _| {});
            ring.bury(me());
        }
    }
}
