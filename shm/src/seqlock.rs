//! Sequence lock: a few words that one writer changes together and any number of readers copy together.
//!
//! ```text
//! byte 0  sequence  even: the words are whole; odd: the writer is in the middle, or died there
//!      8  words     N x u64
//! ```
//!
//! The writer makes the sequence odd, writes the words, makes it even. A reader copies the words between two
//! looks at the sequence and keeps the copy only if both saw the same even number.
//!
//! Invariant: for each even number the words have one value. A writer that is killed in the middle leaves the
//! number odd, so that readers say [`Torn`] instead of waiting for it; the next writer's `write` repairs.
//!
//! Progress: `write` and `try_read` are wait-free, `read` is bounded.
// UNSAFETY: the derive for shared structs does not take const parameters.
#![cfg_attr(
    not(loom),
    expect(unsafe_code, reason = "`Shared` is implemented by hand for any number of words")
)]

use crate::sync::{AtomicU64, Ordering, fence, spin_hint};
use thiserror::Error;

/// Tries of [`SeqLock::read`]: some microseconds, far longer than a write that is not interrupted.
#[cfg(not(loom))]
pub const READ_TRIES_MAX: u32 = 1024;
/// Tries of [`SeqLock::read`] in a model.
#[cfg(loom)]
pub const READ_TRIES_MAX: u32 = 2;

/// `N` words that change together.
#[repr(C)]
#[derive(Debug)]
pub struct SeqLock<const N: usize> {
    /// See the table above. Written by the writer only; readers may see it late.
    sequence: AtomicU64,
    /// Written by the writer only, while the sequence is odd.
    words: [AtomicU64; N],
}

// SAFETY: `repr(C)` of nothing but atomics of 64 bits, so no padding and no pointer; any bits are numbers.
#[cfg(not(loom))]
unsafe impl<const N: usize> crate::segment::Shared for SeqLock<N> {}

#[cfg(not(loom))]
const _: () = assert!(size_of::<SeqLock<3>>() == 32 && align_of::<SeqLock<3>>() == 8);

/// No whole copy was to be had: the writer died in the middle, is not running, or writes without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no whole copy in {tries} tries, sequence {sequence}")]
pub struct Torn {
    /// Tries made.
    pub tries: u32,
    /// The sequence at the end: odd if the writer is, or died, in the middle of a write.
    pub sequence: u64,
}

impl<const N: usize> Default for SeqLock<N> {
    fn default() -> Self {
        Self { sequence: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl<const N: usize> SeqLock<N> {
    /// Replaces all words. Only the one writer; after its death, its one successor.
    #[inline]
    pub fn write(&self, words: &[u64; N]) {
        // Relaxed: only this side writes it. The bit is set, not added, so that the odd number of a writer
        // that died in the middle is kept: readers have accepted nothing under it.
        let odd = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence.store(odd, Ordering::Relaxed); // Relaxed: the fence below orders it.
        // Release: pairs with the Acquire fence in `try_read`. A reader that copied any word stored below
        // sees at its second look at least the odd number stored above.
        fence(Ordering::Release);
        crate::crash_point!("seqlock.write.odd");
        for (place, word) in self.words.iter().zip(words) {
            place.store(*word, Ordering::Relaxed); // Relaxed: between the fence above and the store below.
        }
        crate::crash_point!("seqlock.write.written");
        // Release: pairs with the Acquire at the reader's first look; the words are whole behind it.
        self.sequence.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// Copies all words, unless a write was under way.
    #[inline]
    #[must_use]
    pub fn try_read(&self) -> Option<[u64; N]> {
        // Acquire: pairs with the Release store at the end of `write`; the words below are at least as new.
        let before = self.sequence.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        // Relaxed: a word of a later write is found out by the second look.
        let words = std::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
        // Acquire: pairs with the Release fence in `write`; keeps the second look behind the copies.
        fence(Ordering::Acquire);
        // Relaxed: the fence above does the ordering.
        (self.sequence.load(Ordering::Relaxed) == before).then_some(words)
    }

    /// Copies all words, trying up to [`READ_TRIES_MAX`] times.
    ///
    /// # Errors
    /// [`Torn`] if no try succeeded.
    ///
    /// # Blocking
    /// Spins for some microseconds at the most.
    pub fn read(&self) -> Result<[u64; N], Torn> {
        for _ in 0..READ_TRIES_MAX {
            if let Some(words) = self.try_read() {
                return Ok(words);
            }
            spin_hint();
        }
        // Relaxed: for the message only.
        Err(Torn { tries: READ_TRIES_MAX, sequence: self.sequence.load(Ordering::Relaxed) })
    }
}
