//! Mutex: a value that one thread of all processes has to itself.

use super::head::{Head, Marks};
use super::owner::Owner;
use super::word::{OwnedWord, Taken};
use crate::blocks::Holder;
use crate::gate::Gate;

/// A mutex in shared memory; its value lies behind it, at [`Mutex::BYTES`].
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Mutex {
    head: Head,
    word: OwnedWord,
}

/// Proof that the caller has the mutex. Dropped without [`MutexHold::unlock`], the mutex stays locked.
#[derive(Debug)]
#[must_use = "without `unlock` it stays locked"]
pub struct MutexHold<'a> {
    mutex: &'a Mutex,
}

impl Mutex {
    /// Where the value begins.
    pub const BYTES: usize = 64;

    /// What all locks have.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Takes the mutex if nobody has it.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    #[inline]
    pub fn try_lock(&self, me: Owner) -> Result<MutexHold<'_>, Taken> {
        self.word.take(me).map(|()| MutexHold { mutex: self })
    }

    /// Looks whether nobody has it now, without asking for its cache line as [`Mutex::try_lock`] does.
    ///
    /// # Errors
    /// [`Taken`] by whom.
    #[inline]
    pub fn look(&self) -> Result<(), Taken> {
        self.word.look()
    }

    /// Gives back what `dead` had, and marks it; false if it had nothing. Only once no thread of `dead` runs any more.
    pub fn recover(&self, dead: Holder) -> bool {
        self.word.recover(dead, || {
            self.head.mark(Marks::RECOVERED);
            self.head.count_death();
        })
    }

    /// Where to wait for it.
    #[must_use]
    pub fn freed(&self) -> &Gate {
        self.word.freed()
    }
}

impl MutexHold<'_> {
    /// Gives the mutex back, and wakes one who waits.
    #[inline]
    pub fn unlock(self) {
        self.mutex.word.give_back();
    }

    /// What all locks have.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.mutex.head
    }
}
