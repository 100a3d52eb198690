//! Semaphore: so many permits, each in the hand of one process or nobody's.
//!
//! ```text
//! slots  four permits to a word, 16 bits each: 0 is free, else the holder's number and one
//! ```
//!
//! A permit changes hands by one exchange, so there is no moment at which nobody can tell whose it is. Whoever wants several
//! takes them one by one, and takes its turn for that: two that did so at once could each keep what the other waits for.

use super::head::Head;
use super::owner::Owner;
use super::word::{OwnedWord, Taken};
use crate::blocks::Holder;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const PER_WORD: u32 = 4;
const BITS: u32 = 16;
const SLOT: u64 = 0xFFFF;

/// The head of a semaphore in shared memory; its slots lie behind it, at [`Semaphore::BYTES`].
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Semaphore {
    head: Head,
    /// Of those who want several.
    turn: OwnedWord,
    /// Where to look for a free slot first. Any value is good.
    hint: AtomicU32,
    /// Rung when a permit comes back.
    freed: Gate,
    spare: [AtomicU64; 7],
}

/// The slots behind a semaphore's head.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    head: &'a Semaphore,
    words: &'a [AtomicU64],
    permits: u32,
}

/// A permit in the hand of the caller. Dropped without [`Slots::release`], it stays there.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit stays taken until it is released"]
pub struct Permit(u32);

impl Semaphore {
    /// Where the slots begin.
    pub const BYTES: usize = 128;
    /// Most permits.
    pub const PERMITS_MAX: u32 = 1 << 16;

    /// Words of slots that `permits` need.
    #[must_use]
    pub fn words(permits: u32) -> usize {
        permits.div_ceil(PER_WORD) as usize
    }

    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where to wait for a permit.
    #[must_use]
    pub fn freed(&self) -> &Gate {
        &self.freed
    }

    /// Where to wait for the turn of those who want several.
    #[must_use]
    pub fn turns(&self) -> &Gate {
        self.turn.freed()
    }

    /// Takes the turn to collect several permits.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    pub fn take_turn(&self, me: Owner) -> Result<(), Taken> {
        self.turn.take(me)
    }

    /// Gives the turn to the next. Only who has it.
    pub fn pass_turn(&self) {
        self.turn.give_back();
    }
}

impl<'a> Slots<'a> {
    /// The slots of `permits` permits.
    ///
    /// # Panics
    /// If there are not as many words as they need.
    #[must_use]
    pub fn new(head: &'a Semaphore, words: &'a [AtomicU64], permits: u32) -> Self {
        assert!(words.len() >= Semaphore::words(permits), "a slot for every permit");
        Self { head, words, permits }
    }

    /// Takes a permit, if one is free.
    #[must_use]
    #[inline]
    pub fn try_acquire(&self, me: Holder) -> Option<Permit> {
        let words = Semaphore::words(self.permits);
        let hint = self.head.hint.load(Ordering::Relaxed) as usize; // Relaxed: any value is good.
        let start = if hint < words { hint } else { 0 };
        self.acquire_in(start, me).or_else(|| self.acquire_beside(start, words, me))
    }

    #[cold]
    fn acquire_beside(&self, start: usize, words: usize, me: Holder) -> Option<Permit> {
        let permit = (start + 1..words).chain(0..start).find_map(|index| self.acquire_in(index, me))?;
        self.head.hint.store(permit.0 / PER_WORD, Ordering::Relaxed); // Relaxed: any value is good.
        Some(permit)
    }

    #[inline]
    fn acquire_in(&self, index: usize, me: Holder) -> Option<Permit> {
        let word = &self.words[index];
        let mut seen = word.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        loop {
            let shift = self.first_free(index, seen)?;
            let next = seen | mark(me) << shift;
            // Acquire: pairs with the Release in `release`. Relaxed on failure: only retried.
            match word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    crate::crash_point!("semaphore.acquire.taken");
                    let first = u32::try_from(index).ok()? * PER_WORD;
                    return Some(Permit(first + shift / BITS));
                }
                Err(found) => seen = found,
            }
        }
    }

    /// Where in the word of this index the first free slot begins.
    #[inline]
    fn first_free(&self, index: usize, word: u64) -> Option<u32> {
        let before = u32::try_from(index).ok()? * PER_WORD;
        let slots = self.permits.saturating_sub(before).min(PER_WORD);
        (0..slots).map(|slot| slot * BITS).find(|shift| word >> shift & SLOT == 0)
    }

    /// Gives a permit back, and wakes one who waits.
    pub fn release(&self, permit: Permit) {
        let Permit(slot) = permit;
        let Some(word) = self.words.get((slot / PER_WORD) as usize) else { return };
        // Release: pairs with the Acquire in `try_acquire`: what was done under the permit comes before.
        word.fetch_and(!(SLOT << (slot % PER_WORD * BITS)), Ordering::Release);
        crate::crash_point!("semaphore.release.free");
        // Relaxed, both: any value is good.
        if self.head.hint.load(Ordering::Relaxed) != slot / PER_WORD {
            self.head.hint.store(slot / PER_WORD, Ordering::Relaxed);
        }
        self.head.freed.notify_after_exchange();
    }

    /// Wakes the next if there is a permit for it: by who was woken itself and took one of several.
    pub fn pass_on(&self) {
        if self.head.freed.has_waiter() && self.free() > 0 {
            self.head.freed.notify_after_fence();
        }
    }

    /// Permits that are free now. Stale as soon as it is read.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.count(|slot| slot == 0)
    }

    /// Permits that `holder` has.
    #[must_use]
    pub fn held_by(&self, holder: Holder) -> u32 {
        self.count(|slot| slot == mark(holder))
    }

    fn count(&self, is_meant: impl Fn(u64) -> bool) -> u32 {
        let slots = (0..self.permits).filter(|slot| {
            // Relaxed: a number that is stale at once.
            let word = self.words[(slot / PER_WORD) as usize].load(Ordering::Relaxed);
            is_meant(word >> (slot % PER_WORD * BITS) & SLOT)
        });
        u32::try_from(slots.count()).unwrap_or(u32::MAX)
    }

    /// Gives back what `dead` had; returns how many permits it was. Only once no thread of `dead` runs any more.
    pub fn recover(&self, dead: Holder) -> u32 {
        let mut recovered = 0;
        for word in &self.words[..Semaphore::words(self.permits)] {
            for shift in (0..PER_WORD).map(|slot| slot * BITS) {
                // Relaxed: only the dead has put its number there, and it is dead.
                if word.load(Ordering::Relaxed) >> shift & SLOT == mark(dead) {
                    word.fetch_and(!(SLOT << shift), Ordering::Release); // Release: as in `release`.
                    recovered += 1;
                }
            }
        }
        if recovered > 0 {
            self.head.head.count_death();
        }
        self.head.turn.recover(dead, || {});
        // In any case: a wake-up may have died with the dead.
        self.head.freed.wake_all();
        recovered
    }
}

/// What stands in a slot that `holder` has.
fn mark(holder: Holder) -> u64 {
    u64::from(holder.index()) + 1
}
