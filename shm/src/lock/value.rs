//! A value behind a lock, in place.
// UNSAFETY: a reference to the value is made from an address in the mapping.
#![expect(unsafe_code, reason = "a reference to mapped bytes is made from an address")]

use super::head::{FormatError, Head};
use super::mutex::MutexHold;
use super::once::Once;
use super::rwlock::{ReadHold, WriteHold};
use crate::blocks::SharedBlock;
use crate::plain::Plain;
use crate::segment::{View, ViewSlice};
use crate::sync::AtomicU64;
use std::fmt;
use std::marker::PhantomData;

/// Proof that a lock keeps writers of its value away while it lives.
pub trait Access: sealed::Sealed {
    /// The head of the lock.
    fn head(&self) -> &Head;
}

/// Proof that a lock keeps everybody else away from its value while it lives.
pub trait Exclusive: Access {}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for MutexHold<'_> {}
impl sealed::Sealed for ReadHold<'_> {}
impl sealed::Sealed for WriteHold<'_> {}

impl Access for MutexHold<'_> {
    #[inline]
    fn head(&self) -> &Head {
        MutexHold::head(self)
    }
}

impl Access for ReadHold<'_> {
    #[inline]
    fn head(&self) -> &Head {
        ReadHold::head(self)
    }
}

impl Access for WriteHold<'_> {
    #[inline]
    fn head(&self) -> &Head {
        WriteHold::head(self)
    }
}

impl Exclusive for MutexHold<'_> {}
impl Exclusive for WriteHold<'_> {}

/// A `T` in a live block, behind the lock whose head begins the block.
///
/// Invariant: `words` covers a `T` at its first byte, which is aligned for it, and lies in the block that `head` begins,
/// behind the lock. Only this type reaches those bytes, with a proof of access to that very lock.
pub struct Protected<T: Plain> {
    head: View<Head>,
    words: ViewSlice<AtomicU64>,
    value: PhantomData<T>,
}

impl<T: Plain> Protected<T> {
    /// Bytes of a block that has a lock of `lock_bytes` and a `T`.
    #[must_use]
    pub const fn block_bytes(lock_bytes: usize) -> usize {
        lock_bytes + Self::words() * size_of::<u64>()
    }

    const fn words() -> usize {
        size_of::<T>().div_ceil(size_of::<u64>())
    }

    /// The value behind the lock at the start of `block`, which must be held for as long as this is used.
    ///
    /// # Errors
    /// [`FormatError`] if there is no lock with a value of this size.
    pub fn of(block: &SharedBlock) -> Result<Self, FormatError> {
        const { assert!(align_of::<T>() <= 64, "blocks are aligned to 64 bytes") };
        let head = block.view::<Head>(0).map_err(|_| FormatError)?;
        let plan = head.plan()?;
        let start = plan.primitive.value_at().ok_or(FormatError)?;
        if plan.number as usize != size_of::<T>() {
            return Err(FormatError);
        }
        let words = block.view_slice::<AtomicU64>(start, Self::words()).map_err(|_| FormatError)?;
        assert!(words.as_ptr().cast::<T>().is_aligned(), "blocks are aligned");
        Ok(Self { head, words, value: PhantomData })
    }

    /// The value, for reading.
    ///
    /// # Panics
    /// If the proof is another lock's.
    #[inline]
    pub fn get<'a>(&'a self, access: &'a impl Access) -> &'a T {
        self.check(access);
        // SAFETY: valid and aligned for a `T`, alive while `self` is borrowed, and initialised, any bytes being a `T`: by
        // the invariant. Nobody writes it meanwhile: `access` is of this value's lock and is borrowed as long, and the lock
        // gives no exclusive access beside it; with exclusive access, `get_mut` would borrow it mutably.
        unsafe { &*self.first() }
    }

    /// The value, for reading and writing.
    ///
    /// # Panics
    /// If the proof is another lock's.
    #[inline]
    pub fn get_mut<'a>(&'a self, access: &'a mut impl Exclusive) -> &'a mut T {
        self.check(access);
        // SAFETY: valid, aligned, alive and initialised as in `get`; writable, being inside of atomics. Nobody else has a
        // reference: `access` is of this value's lock, is the only proof of access to it there is, in any process, and is
        // borrowed mutably as long.
        unsafe { &mut *self.first() }
    }

    /// The value of a once that is done, which nobody writes any more.
    ///
    /// # Panics
    /// If it is not done, or another once.
    #[inline]
    pub fn of_done<'a>(&'a self, once: &'a Once) -> &'a T {
        assert!(once.is_done() && std::ptr::eq(once.head(), &*self.head), "this value's once is done");
        // SAFETY: valid, aligned, alive and initialised as in `get`. Nobody writes it: it was written, through `fill`, in
        // the turn that ended with the once being done, and a once is done for good.
        unsafe { &*self.first() }
    }

    /// Writes the value in the caller's turn of its once.
    ///
    /// # Panics
    /// If the turn is another once's.
    pub fn fill(&self, turn: &super::OnceTurn<'_>, value: T) {
        assert!(std::ptr::eq(turn.head(), &*self.head), "a turn of this value's once");
        // SAFETY: valid and aligned for writes of a `T`, as in `get_mut`. Nobody has a reference: `of_done` gives none before
        // the once is done, and only who has the turn, of whom there is one, writes.
        unsafe { self.first().write(value) };
    }

    #[inline]
    fn first(&self) -> *mut T {
        self.words.as_ptr().cast_mut().cast()
    }

    #[inline]
    fn check(&self, access: &impl Access) {
        assert!(std::ptr::eq(access.head(), &*self.head), "a proof of access to this very lock");
    }
}

impl<T: Plain> fmt::Debug for Protected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected").field("words", &self.words).finish_non_exhaustive()
    }
}
