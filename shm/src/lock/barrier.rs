//! Barrier: a place where so many threads of all processes meet.
//!
//! ```text
//! word  bits 63..32  rounds   how often everybody has met
//!            31..8   arrived  in this round
//!             0      broken   somebody who may have been to come is dead, for good
//! ```

use super::head::Head;
use crate::blocks::Holder;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Processes that can have handles. The models have two.
const HOLDERS: usize = if cfg!(loom) { 2 } else { Holder::COUNT as usize };

const BROKEN: u64 = 1;
const ARRIVED: u64 = 1 << 8;
const ROUND: u64 = 1 << 32;

/// A barrier in shared memory.
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Barrier {
    head: Head,
    /// See the bit table.
    word: AtomicU64,
    /// Rung when a round ends.
    opened: Gate,
    spare: AtomicU32,
    /// Handles of each process, in its own hand.
    handles: [AtomicU32; HOLDERS],
}

impl Default for Barrier {
    fn default() -> Self {
        let handles = std::array::from_fn(|_| AtomicU32::new(0));
        Self {
            head: Head::default(),
            word: AtomicU64::default(),
            opened: Gate::default(),
            spare: AtomicU32::default(),
            handles,
        }
    }
}

/// What came of arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The last to come: everybody may go.
    Last,
    /// Others are still to come in this round.
    Waits {
        /// Its number.
        round: u32,
    },
}

/// The barrier is broken, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Barrier {
    /// Most that can meet.
    pub const PARTICIPANTS_MAX: u32 = (1 << 24) - 1;

    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Arrives at a barrier of `participants`.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn arrive(&self, participants: u32) -> Result<Arrival, Broken> {
        let mut seen = self.word.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        loop {
            if seen & BROKEN != 0 {
                return Err(Broken);
            }
            let is_last = arrived(seen) + 1 >= u64::from(participants);
            let next = if is_last { next_round(seen) } else { seen.wrapping_add(ARRIVED) };
            // AcqRel: what each did before it came is seen by all who go on: by the last through the Acquire of these
            // exchanges, by the others through the one in `has_opened`. Relaxed on failure: only retried.
            match self.word.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if is_last => {
                    crate::crash_point!("barrier.arrive.opened");
                    self.opened.wake_all();
                    return Ok(Arrival::Last);
                }
                Ok(_) => {
                    crate::crash_point!("barrier.arrive.counted");
                    return Ok(Arrival::Waits { round: round(seen) });
                }
                Err(found) => seen = found,
            }
        }
    }

    /// What has become of a round in which the caller has arrived; none while others are still to come.
    #[must_use]
    pub fn has_opened(&self, of: u32) -> Option<Result<(), Broken>> {
        let seen = self.word.load(Ordering::Acquire); // Acquire: pairs with the last's exchange in `arrive`.
        if round(seen) != of {
            return Some(Ok(()));
        }
        (seen & BROKEN != 0).then_some(Err(Broken))
    }

    /// Goes away from a round again: as if it had never come. False if the round has ended meanwhile.
    pub fn leave(&self, of: u32) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        while round(seen) == of && arrived(seen) > 0 {
            let next = seen - ARRIVED;
            // Relaxed, both: nothing is published, nothing is read.
            match self.word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(found) => seen = found,
            }
        }
        false
    }

    /// Nobody will ever meet here again.
    pub fn break_up(&self) {
        self.word.fetch_or(BROKEN, Ordering::Release); // Release: pairs with the load in `has_opened`.
        self.opened.wake_all();
    }

    /// True if it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.word.load(Ordering::Acquire) & BROKEN != 0 // Acquire: pairs with the exchange in `break_up`.
    }

    /// `holder` has one handle more.
    pub fn enter(&self, holder: Holder) {
        self.handles_of(holder).fetch_add(1, Ordering::Relaxed); // Relaxed: read by the recoverer, when it is dead.
        crate::crash_point!("barrier.enter.entered");
    }

    /// `holder` has one handle less.
    pub fn exit(&self, holder: Holder) {
        self.handles_of(holder).fetch_sub(1, Ordering::Relaxed); // Relaxed: as in `enter`.
    }

    /// Breaks the barrier if `dead` had handles of it; false if not. Only once no thread of `dead` runs any more.
    pub fn recover(&self, dead: Holder) -> bool {
        // Acquire: pairs with nothing but the certainty of the death.
        let was_its = self.handles_of(dead).swap(0, Ordering::Acquire) > 0;
        if was_its {
            self.head.count_death();
            self.break_up();
        }
        // Also where it had none: it may have ended a round, and died before it woke the others.
        self.opened.wake_all();
        was_its
    }

    /// Where to wait for the others.
    #[must_use]
    pub fn opened(&self) -> &Gate {
        &self.opened
    }

    fn handles_of(&self, holder: Holder) -> &AtomicU32 {
        &self.handles[usize::from(holder.index()) % HOLDERS]
    }
}

fn round(word: u64) -> u32 {
    (word >> 32) as u32
}

fn arrived(word: u64) -> u64 {
    (word / ARRIVED) & u64::from(Barrier::PARTICIPANTS_MAX)
}

fn next_round(word: u64) -> u64 {
    (word & !(ROUND - 1)).wrapping_add(ROUND)
}
