//! A word that one thread of one process has, or nobody: the heart of most locks, with the gate for those who want it.

use super::owner::Owner;
use crate::blocks::Holder;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const FREE: u64 = 0;
/// Nobody has it, and nobody ever will again. No owner's word is even.
const DONE: u64 = 4;

/// See the module's head. Zeroes are a free word.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct OwnedWord {
    /// 0, an [`Owner`], or done. From 0 to an owner by an exchange of anybody's; back by the owner, or by the recoverer.
    word: AtomicU64,
    /// Rung when it becomes free.
    freed: Gate,
    spare: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<OwnedWord>() == 16);

/// Why a word was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Somebody has it.
    By(Owner),
    /// What it was for is done.
    Done,
    /// It is nonsense: another process overwrote it.
    Corrupt,
}

impl Taken {
    #[cold]
    pub(super) fn of(word: u64) -> Self {
        match Owner::from_word(word) {
            Some(owner) => Self::By(owner),
            None if word == DONE => Self::Done,
            None => Self::Corrupt,
        }
    }
}

impl OwnedWord {
    /// Takes the word if nobody has it.
    ///
    /// # Errors
    /// [`Taken`] if somebody has.
    #[inline]
    pub(super) fn take(&self, owner: Owner) -> Result<(), Taken> {
        // Acquire: pairs with the Release in `give_back` and `recover`: what the last owner did is seen.
        // Relaxed on failure: nothing is read.
        let taken = self.word.compare_exchange(FREE, owner.word(), Ordering::Acquire, Ordering::Relaxed);
        match taken {
            Ok(_) => {
                crate::crash_point!("lock.take.taken");
                Ok(())
            }
            Err(found) => Err(Taken::of(found)),
        }
    }

    /// Looks whether nobody has it now.
    ///
    /// # Errors
    /// [`Taken`] if somebody has.
    #[inline]
    pub(super) fn look(&self) -> Result<(), Taken> {
        match self.word.load(Ordering::Relaxed) {
            FREE => Ok(()), // Relaxed: a look before a `take`.
            found => Err(Taken::of(found)),
        }
    }

    /// True if what it was for is done.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) == DONE // Acquire: pairs with the Release in `finish`.
    }

    /// Gives it back, and wakes one who waits. Only the owner.
    #[inline]
    pub(super) fn give_back(&self) {
        crate::crash_point!("lock.give_back.begun");
        // Release: pairs with the Acquire in `take`. A store would be enough but for `notify_after_exchange`.
        self.word.swap(FREE, Ordering::Release);
        crate::crash_point!("lock.give_back.free");
        self.freed.notify_after_exchange();
    }

    /// Ends it for good, and wakes all who wait. Only the owner.
    pub(super) fn finish(&self) {
        self.word.swap(DONE, Ordering::Release); // Release: pairs with the Acquire in `is_done`.
        crate::crash_point!("lock.finish.done");
        self.freed.wake_all();
    }

    /// Takes it from `dead`, after `before` was done; false if `dead` does not have it. Wakes everybody in any case: a
    /// wake-up may have died with the dead. Only the recoverer.
    pub(super) fn recover(&self, dead: Holder, before: impl FnOnce()) -> bool {
        let found = self.word.load(Ordering::Acquire); // Acquire: the dead's marks and counts are seen, and added to.
        let was_its = Owner::from_word(found).is_some_and(|owner| owner.holder() == dead);
        let recovered = was_its && {
            before();
            // Release: pairs with the Acquire in `take`: what the dead did, half done as it is, and the marks are seen.
            // Relaxed on failure: somebody scribbles.
            self.word.compare_exchange(found, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
        };
        self.freed.wake_all();
        recovered
    }

    /// Where to wait for it.
    #[must_use]
    pub fn freed(&self) -> &Gate {
        &self.freed
    }
}
