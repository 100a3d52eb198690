//! Once: something that one thread of all processes does, and everybody else waits for.

use super::head::{Head, Marks};
use super::owner::Owner;
use super::word::{OwnedWord, Taken};
use crate::blocks::Holder;
use crate::gate::Gate;

/// A once in shared memory; a value may lie behind it, at [`Once::BYTES`].
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Once {
    head: Head,
    word: OwnedWord,
}

/// The caller's turn to do it. Dropped without an end, everybody waits on.
#[derive(Debug)]
#[must_use = "a turn is finished or given up"]
pub struct OnceTurn<'a> {
    once: &'a Once,
}

impl Once {
    /// Where a value begins.
    pub const BYTES: usize = 64;

    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// True if it is done.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        self.word.is_done()
    }

    /// Looks whether it can be begun.
    ///
    /// # Errors
    /// [`Taken`].
    pub fn look(&self) -> Result<(), Taken> {
        self.word.look()
    }

    /// Begins, if nobody is at it and it is not done.
    ///
    /// # Errors
    /// [`Taken`].
    pub fn begin(&self, me: Owner) -> Result<OnceTurn<'_>, Taken> {
        self.word.take(me).map(|()| OnceTurn { once: self })
    }

    /// Hands over from `dead` to the next, and leaves a mark; false if it was not at it. Only once no thread of `dead` runs
    /// any more.
    pub fn recover(&self, dead: Holder) -> bool {
        self.word.recover(dead, || {
            self.head.mark(Marks::RECOVERED);
            self.head.count_death();
        })
    }

    /// Where to wait for it.
    #[must_use]
    pub fn ended(&self) -> &Gate {
        self.word.freed()
    }
}

impl OnceTurn<'_> {
    /// It is done, for good.
    pub fn finish(self) {
        self.once.word.finish();
    }

    /// It was not done: the next one tries.
    pub fn give_up(self, marks: Marks) {
        self.once.head.mark(marks);
        self.once.word.give_back();
    }

    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.once.head
    }
}
