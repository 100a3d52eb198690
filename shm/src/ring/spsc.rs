//! Ring from one producer to one consumer, each possibly in another process: fixed-size plain values by copy.
//!
//! ```text
//! byte   0  tail    u64, next position to write; rest of the 128 bytes unused
//!      128  head    u64, next position to take; rest of the 128 bytes unused
//!      elsewhere: capacity x (size_of T / 8, rounded up) words, the element at position p in slot p mod capacity
//! ```
//!
//! The producer alone writes `tail` and the words in `head..head + capacity` beyond `tail`; the consumer alone
//! writes `head`. Each end keeps its own position in its own memory and never reads it back, and keeps a copy
//! of the other's that it refreshes only when the ring looks full (or empty). `README.md` has the proof.
//!
//! Invariant: `head <= tail <= head + capacity`, counted from the first element ever and never wrapping. The
//! other side is not trusted with it: a position outside the range that this end already knows to be possible
//! is [`CorruptRing`], and no position, however wrong, reaches an index unmasked.
//!
//! Progress: every operation is wait-free.

use crate::plain::Plain;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Deref;
use thiserror::Error;

pub use super::consumer::Consumer;
pub use super::producer::{Loan, Producer, PushError};

/// Where an element stands in its ring, counted from the first ever: 0.. and never wrapping.
pub type Position = u64;

/// Most elements of a ring, so that a capacity in bytes always fits in 64 bits.
pub const CAPACITY_MAX: u64 = 1 << 32;

/// The ring's two shared positions, each on cache lines of its own (128 bytes: processors fetch lines in pairs).
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct RingHeader {
    /// Next position to write. Written by the producer; the consumer may see it late.
    pub(super) tail: Line,
    /// Next position to take. Written by the consumer; the producer may see it late.
    pub(super) head: Line,
}

/// One position on cache lines of its own.
#[repr(C, align(128))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub(super) struct Line {
    position: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RingHeader>() == 256 && align_of::<RingHeader>() == 128);

/// The other end wrote a position that cannot be: a bug there, or an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("ring is corrupt: found position {found}, expected {first} to {last}")]
pub struct CorruptRing {
    /// The position in the header.
    pub found: Position,
    /// The smallest position that would have been possible.
    pub first: Position,
    /// The largest position that would have been possible.
    pub last: Position,
}

/// Why an end could not be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttachError {
    /// The words do not hold a power of two of elements, or are not aligned for them.
    #[error("{words} words of {each} per element are not a power of two of elements up to {CAPACITY_MAX}")]
    BadCapacity {
        /// Words given.
        words: usize,
        /// Words of one element.
        each: usize,
    },
    /// The header holds positions that cannot be.
    #[error(transparent)]
    Corrupt(#[from] CorruptRing),
}

/// Where a ring's bytes lie: the heap, a mapping, anything that leads to a header and its words.
pub trait RingMemory {
    /// The positions.
    fn header(&self) -> &RingHeader;
    /// The elements.
    fn words(&self) -> &[AtomicU64];
}

impl<H, W> RingMemory for (H, W)
where
    H: Deref<Target = RingHeader>,
    W: Deref<Target = [AtomicU64]>,
{
    #[inline]
    fn header(&self) -> &RingHeader {
        &self.0
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        &self.1
    }
}

/// Words that a ring of `capacity` elements of type `T` needs.
#[must_use]
pub const fn words_count<T: Plain>(capacity: usize) -> usize {
    capacity * super::elements::words_each::<T>()
}

impl Line {
    /// The position as the other end last published it.
    #[inline]
    pub(super) fn seen(&self) -> Position {
        // Acquire: pairs with the Release in `publish` of the other end. For the consumer it makes the
        // elements readable; for the producer it ends the consumer's reads of the slots it will overwrite.
        self.position.load(Ordering::Acquire)
    }

    /// Lets the other end see everything up to `position`. Only the end that owns this line.
    #[inline]
    pub(super) fn publish(&self, position: Position) {
        // Release: pairs with the Acquire in `seen` of the other end.
        self.position.store(position, Ordering::Release);
    }
}

impl RingHeader {
    /// Both positions, `(tail, head)`, for a new end of a ring of `capacity` elements.
    ///
    /// The new end's own position stands still; wherever the other end meanwhile moves its own, the two agree.
    ///
    /// # Errors
    /// [`CorruptRing`] with the tail found.
    pub(super) fn positions(&self, capacity: u64) -> Result<(Position, Position), CorruptRing> {
        let head = self.head.seen();
        let tail = check(self.tail.seen(), head, head.wrapping_add(capacity))?;
        Ok((tail, head))
    }
}

/// `found` if it lies in `first..=last`, where `last` is at most one capacity after `first`.
#[inline]
pub(super) fn check(found: Position, first: Position, last: Position) -> Result<Position, CorruptRing> {
    // Wrapping: with hostile positions near 2^64 the distance still decides, and nothing overflows.
    if found.wrapping_sub(first) <= last.wrapping_sub(first) {
        Ok(found)
    } else {
        Err(CorruptRing { found, first, last })
    }
}
