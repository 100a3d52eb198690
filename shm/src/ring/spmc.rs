//! A lane of tasks: one producer publishes, any worker claims, and the outcome comes back in place.
//!
//! The slot's word is the truth; `head` is only a hint where claimable slots begin. A consumer may be killed
//! between any two instructions and nothing is stuck: what it had claimed names it as owner, everything else
//! can still be claimed by others. One slot may carry a range of tasks (see the layer above), so one exchange
//! claims the whole range.
//!
//! Invariant: every slot before `head` has been claimed. It holds because each consumer walks from a hint
//! that satisfies it over slots it saw claimed, and claims never come undone.
//!
//! Progress: lock-free. A claim fails only when another consumer's succeeded.

use crate::owner::OwnerId;
use crate::slots::{Claim, Completion, Descriptor, Slot, State, Word};
use crate::sync::{AtomicU64, Ordering};

/// Where a task stands in its lane, counted from the first ever: 0.. and never wrapping.
pub type Position = u64;

/// The lane's two shared positions, each on cache lines of its own.
#[repr(C, align(128))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct LaneHeader {
    head: Padded,
    tail: Padded,
}

#[repr(C, align(128))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
struct Padded {
    position: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<LaneHeader>() == 256);

/// A lane as seen by either side: borrowed from wherever the bytes lie.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    header: &'a LaneHeader,
    slots: &'a [Slot],
}

impl<'a> Lane<'a> {
    /// # Panics
    /// If the number of slots is not a power of two of at most 2^31: laps are counted in 32 bits.
    #[inline]
    #[must_use]
    pub fn new(header: &'a LaneHeader, slots: &'a [Slot]) -> Self {
        debug_assert!(slots.len().is_power_of_two() && slots.len() <= 1 << 31);
        Self { header, slots }
    }

    /// Number of slots.
    #[must_use]
    #[inline]
    pub fn capacity(self) -> u64 {
        self.slots.len() as u64
    }

    /// The slot at `position` and the lap the position is in.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the index is masked; laps are compared modulo 2^32")]
    pub fn slot(self, position: Position) -> (&'a Slot, u32) {
        let index = position & (self.capacity() - 1);
        let lap = (position >> self.slots.len().trailing_zeros()) as u32;
        // The first lap is 1: a zeroed slot is in lap 0, which no position has until laps wrap.
        (&self.slots[index as usize], lap.wrapping_add(1))
    }

    /// Puts a task at `position`. Only the producer, in order, and only into a free or collected slot.
    ///
    /// The caller then fences and looks at the doorbell, once for as many tasks as it publishes in a burst.
    #[inline]
    pub fn publish(self, position: Position, descriptor: &Descriptor) {
        let (slot, lap) = self.slot(position);
        slot.publish(lap, descriptor);
        crate::crash_point!("lane.publish.ready");
        // Release: pairs with the Acquire in `published`; a thief that sees the tail sees the slots.
        self.header.tail.position.store(position.wrapping_add(1), Ordering::Release);
    }

    /// How many tasks were ever published. May be stale.
    #[must_use]
    #[inline]
    pub fn published(self) -> Position {
        // Acquire: pairs with the Release in `publish`.
        self.header.tail.position.load(Ordering::Acquire)
    }

    /// Where claimable tasks begin at the earliest. May be stale, and then only too early.
    #[must_use]
    #[inline]
    pub fn claimed(self) -> Position {
        // Relaxed: a hint; the slot words decide.
        self.header.head.position.load(Ordering::Relaxed)
    }

    /// Claims the oldest task nobody has, for `owner`. Never blocks; none may also mean that others were faster
    /// for several laps, which [`Lane::has_ready`] then shows.
    ///
    /// `intent` is told the position before each attempt to claim it: the caller notes it where a recoverer
    /// will look, so that no claim of a dead worker has to be searched for.
    #[inline]
    pub fn claim(self, owner: OwnerId, intent: impl Fn(Position)) -> Option<(Position, Descriptor)> {
        let start = self.claimed();
        let mut position = start;
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            // Without an intent nothing is claimed, also if the task was published in this instant: a recoverer would
            // not find it.
            let refusal = slot.word().refusal(lap);
            if refusal.is_none() {
                intent(position);
            }
            crate::crash_point!("lane.claim.intended");
            match refusal.unwrap_or_else(|| slot.claim(lap, owner)) {
                Claim::Claimed(descriptor) => {
                    crate::crash_point!("lane.claim.claimed");
                    self.advance_head(position.wrapping_add(1));
                    return Some((position, descriptor));
                }
                Claim::Taken => position = position.wrapping_add(1),
                Claim::Gone => position = self.after_gone(position),
                Claim::Empty => break,
            }
        }
        if position != start {
            self.advance_head(position);
        }
        None
    }

    /// True if a claim would probably find something, or was not looked for to the end. What an idle worker
    /// looks at before it sleeps.
    #[inline]
    #[must_use]
    pub fn has_ready(self) -> bool {
        let mut position = self.claimed();
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = slot.word();
            match word.state() {
                State::Ready if word.lap() == lap => return true,
                State::Running | State::Done if word.lap() == lap => position = position.wrapping_add(1),
                _ if word.is_after(lap) => position = self.after_gone(position),
                _ => return false,
            }
        }
        true
    }

    /// Most slots that one walk looks at. A walk over an honest lane is shorter unless several laps of tasks
    /// come and go meanwhile; one over scribbled words might not end before the positions wrap.
    #[inline]
    fn steps_max(self) -> u64 {
        self.capacity() * 4
    }

    /// Where to go on from a slot that is in a later lap: nothing further back than one capacity behind the
    /// tail can be unclaimed, because its slot has been used again.
    #[cold]
    fn after_gone(self, position: Position) -> Position {
        self.published().saturating_sub(self.capacity()).max(position.wrapping_add(1))
    }

    /// Writes the outcome of the task at `position`; returns the flags somebody had set on it.
    ///
    /// # Errors
    /// The slot's word, if the task was seized meanwhile: see [`Slot::finish`].
    #[inline]
    pub fn finish(self, position: Position, owner: OwnerId, completion: &Completion) -> Result<u8, Word> {
        let (slot, lap) = self.slot(position);
        slot.finish(lap, owner, completion)
    }

    #[inline]
    fn advance_head(self, position: Position) {
        // Relaxed: a hint. A slower consumer may set it back; it is never ahead of the truth (see above).
        self.header.head.position.store(position, Ordering::Relaxed);
    }
}
