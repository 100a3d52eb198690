//! Where the parts of a broadcast lie.
//!
//! ```text
//! byte   0  a channel's head: standing, census, gates, tail; see `mpmc::header`
//!      384  floor, joins, cursors in use, lagged
//!      448  cursors, one line each
//!     8640  slots: a word and `payload_words` words each
//! ```

use super::cursor::{CURSORS, Cursor};
use crate::counters::Counter;
use crate::ring::mpmc::{FormatError, Geometry, Header, Position, Terms};
use crate::sync::{AtomicU64, Ordering};

/// First word of a broadcast's block; changes with the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"gorunbc1");

/// The broadcast's own part of its head.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct BroadcastHead {
    /// No subscriber, present or future, reads a position before it. A hint that may be late, never early.
    pub(super) floor: AtomicU64,
    /// How many cursors were ever given out: who looks at all of them looks whether it has changed.
    pub(super) joins: AtomicU64,
    /// Cursors from here on were never given out.
    pub(super) used: AtomicU64,
    /// Messages that subscribers did not see because newer ones had taken their place.
    pub lagged: Counter,
    spare: [AtomicU64; 4],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BroadcastHead>() == 64);

impl BroadcastHead {
    /// See the field.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.floor.load(Ordering::Relaxed) // Relaxed: a number for a person.
    }
}

/// The numbers from which the layout follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastShape {
    pub(super) geometry: Geometry,
}

impl BroadcastShape {
    /// Offset of the [`BroadcastHead`].
    pub const HEAD_AT: usize = Geometry::HEADER_BYTES;
    /// Offset of the cursors.
    pub const CURSORS_AT: usize = Self::HEAD_AT + size_of::<BroadcastHead>();
    /// Number of cursors: most subscribers at a time.
    pub const CURSORS: usize = CURSORS;
    /// Offset of the slots.
    pub const SLOTS_AT: usize = Self::CURSORS_AT + CURSORS * size_of::<Cursor>();

    /// For `capacity` messages of up to `payload_words` words; see [`Geometry::new`].
    #[must_use]
    pub fn new(capacity: u32, payload_words: u32) -> Option<Self> {
        Some(Self { geometry: Geometry::new(capacity, payload_words)? })
    }

    /// Messages it holds.
    #[must_use]
    pub fn capacity(self) -> u64 {
        self.geometry.capacity()
    }

    /// Words of payload in a slot.
    #[must_use]
    #[inline]
    pub fn payload_words(self) -> usize {
        self.geometry.payload_words()
    }

    /// Words of all slots.
    #[must_use]
    pub fn words(self) -> usize {
        self.geometry.words()
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn bytes(self) -> usize {
        Self::SLOTS_AT + self.words() * size_of::<u64>()
    }

    /// Writes the head of a fresh broadcast over zeroes.
    pub fn format(self, header: &Header, terms: Terms) {
        header.format_as(MAGIC, self.capacity() << 32 | self.payload_words() as u64, terms);
    }

    /// The numbers, believed only as far as they fit a block of `bytes` bytes.
    ///
    /// # Errors
    /// [`FormatError`] if they do not, or there is no broadcast.
    pub fn read(header: &Header, bytes: usize) -> Result<(Self, Terms), FormatError> {
        let (shape, terms) = header.read_as(MAGIC)?;
        let low = u32::try_from(shape & u64::from(u32::MAX)).map_err(|_| FormatError)?;
        let high = u32::try_from(shape >> 32).map_err(|_| FormatError)?;
        let shape = Self::new(high, low).filter(|shape| shape.bytes() <= bytes).ok_or(FormatError)?;
        Ok((shape, terms))
    }
}
