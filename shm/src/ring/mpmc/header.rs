//! The head of a channel's memory, and what follows from its numbers.
//!
//! ```text
//! byte   0  magic, type, shape, terms         written once, before anybody else sees the block
//!       64  status, gates, returns            written at ends and by sleepers
//!      128  tail                              written by producers
//!      192  head                              written by consumers
//!      256  senders, receivers                a bit per process, written when one joins or leaves
//!      320  counters
//!      384  slots: a word and `payload_words` words each
//! ```

use super::Position;
use super::census::WORDS;
use crate::counters::Counter;
use crate::gate::Gate;
use crate::sync::{AtomicU64, Ordering};
use thiserror::Error;

/// First word of a channel's block; changes with the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"gorunch1");

/// Longest spin that is believed: a few milliseconds on any machine. Scribbled bytes must not keep a processor busy.
const SPIN_TICKS_MAX: u64 = 10_000_000;

/// A cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub(in crate::ring) struct Line {
    pub(in crate::ring) position: AtomicU64,
}

/// See the module's head. Zeroes are a header that was never written.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Header {
    magic: AtomicU64,
    /// What the values are, as the creator named it.
    kind: AtomicU64,
    /// Capacity 63..32, payload words 31..0.
    shape: AtomicU64,
    /// The caller's: see [`Terms`].
    terms: AtomicU64,
    spin: AtomicU64,
    compress: AtomicU64,
    lease: AtomicU64,
    /// Messages taken from consumers that kept them too long.
    pub seized: Counter,
    /// See `census`.
    pub(super) status: AtomicU64,
    /// Rung when there is something to take.
    pub(super) not_empty: Gate,
    /// Rung when there is room.
    pub(super) not_full: Gate,
    /// Rung when something that a message carried, or an end of this channel, has come to where it was sent.
    arrived: Gate,
    spare_gate: Gate,
    spare_too: [AtomicU64; 5],
    /// Every position before it was claimed by a producer. A hint that may be late, never early.
    pub(in crate::ring) tail: Line,
    /// Every position before it was released. A hint that may be late, never early.
    pub(super) head: Line,
    pub(super) senders: [AtomicU64; WORDS],
    pub(super) receivers: [AtomicU64; WORDS],
    /// Values refused because the channel was full.
    pub rejected: Counter,
    /// Messages thrown away for newer ones.
    pub overwritten: Counter,
    /// Claims of the dead that never became messages, and sends taken back.
    pub abandoned: Counter,
    /// Messages given back by consumers, dead ones among them.
    pub returned: Counter,
    /// Messages given up after too many deliveries.
    pub dead_letters: Counter,
    /// Messages that nobody could read.
    pub unreadable: Counter,
    /// Bytes of values that were compressed, before.
    pub compressed_from: Counter,
    /// The same, afterwards.
    pub compressed_to: Counter,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() == Geometry::HEADER_BYTES && align_of::<Header>() == 64);

/// What users of a channel agree upon beside its shape; nothing here reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// Names the type of its values.
    pub kind: u64,
    /// Any number.
    pub terms: u64,
    /// How long to look before going to sleep, in ticks.
    pub spin_ticks: u64,
    /// Values of so many bytes and more are compressed; 0 is none.
    pub compress: u64,
    /// How long a message may be taken without acknowledgement, in nanoseconds; 0 is for ever.
    pub lease_ns: u64,
}

/// Why a block's bytes are no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no channel lies there: its head was overwritten, or never written")]
pub struct FormatError;

/// The numbers from which the layout follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    capacity: u32,
    payload_words: u32,
}

impl Geometry {
    /// Bytes before the first slot.
    pub const HEADER_BYTES: usize = 384;
    /// Most messages a channel can hold.
    pub const CAPACITY_MAX: u32 = 1 << 24;
    /// Most words of payload: a slot's length has eight bits.
    pub const PAYLOAD_WORDS_MAX: u32 = 31;

    /// A ring for `capacity` messages (1..=[`Geometry::CAPACITY_MAX`]) of up to `payload_words` words
    /// (1..=[`Geometry::PAYLOAD_WORDS_MAX`]).
    #[must_use]
    pub fn new(capacity: u32, payload_words: u32) -> Option<Self> {
        let sound = (1..=Self::CAPACITY_MAX).contains(&capacity)
            && (1..=Self::PAYLOAD_WORDS_MAX).contains(&payload_words);
        sound.then_some(Self { capacity, payload_words })
    }

    /// Messages the channel holds.
    #[must_use]
    #[inline]
    pub fn capacity(self) -> u64 {
        u64::from(self.capacity)
    }

    /// Slots: a power of two, at least the capacity.
    #[inline]
    pub(in crate::ring) fn slots(self) -> u64 {
        u64::from(self.capacity.next_power_of_two())
    }

    /// Words of payload in a slot.
    #[must_use]
    #[inline]
    pub fn payload_words(self) -> usize {
        self.payload_words as usize
    }

    /// Words from one slot to the next.
    #[inline]
    pub(in crate::ring) fn stride(self) -> usize {
        self.payload_words() + 1
    }

    /// Words of all slots.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "2^24 slots of 32 words")]
    pub fn words(self) -> usize {
        self.slots() as usize * self.stride()
    }

    /// Bytes of the header and all slots.
    #[must_use]
    pub fn bytes(self) -> usize {
        Self::HEADER_BYTES + self.words() * size_of::<u64>()
    }
}

impl Header {
    /// Writes the head of a fresh channel over zeroes.
    pub fn format(&self, geometry: Geometry, terms: Terms) {
        let shape = u64::from(geometry.capacity) << 32 | u64::from(geometry.payload_words);
        self.format_as(MAGIC, shape, terms);
    }

    /// The same for another body behind the same head, which says by `magic` what it is.
    pub(in crate::ring) fn format_as(&self, magic: u64, shape: u64, terms: Terms) {
        // Relaxed, all of these: the magic is stored last and published by its Release.
        self.kind.store(terms.kind, Ordering::Relaxed);
        self.shape.store(shape, Ordering::Relaxed);
        self.terms.store(terms.terms, Ordering::Relaxed);
        self.spin.store(terms.spin_ticks, Ordering::Relaxed);
        self.compress.store(terms.compress, Ordering::Relaxed);
        self.lease.store(terms.lease_ns, Ordering::Relaxed);
        self.magic.store(magic, Ordering::Release); // Release: pairs with the Acquire in `read_as`.
    }

    /// The channel's numbers, believed only as far as they fit a block of `bytes` bytes.
    ///
    /// # Errors
    /// [`FormatError`] if they do not, or nothing was written.
    pub fn read(&self, bytes: usize) -> Result<(Geometry, Terms), FormatError> {
        let (shape, terms) = self.read_as(MAGIC)?;
        let low = u32::try_from(shape & u64::from(u32::MAX)).map_err(|_| FormatError)?;
        let high = u32::try_from(shape >> 32).map_err(|_| FormatError)?;
        let geometry =
            Geometry::new(high, low).filter(|geometry| geometry.bytes() <= bytes).ok_or(FormatError)?;
        Ok((geometry, terms))
    }

    /// The shape, not checked yet, and the terms of the body that says by `magic` what it is.
    pub(in crate::ring) fn read_as(&self, magic: u64) -> Result<(u64, Terms), FormatError> {
        // Acquire: pairs with the Release in `format_as`.
        if self.magic.load(Ordering::Acquire) != magic {
            return Err(FormatError);
        }
        // Relaxed, all of these: the Acquire load came before.
        let terms = Terms {
            kind: self.kind.load(Ordering::Relaxed),
            terms: self.terms.load(Ordering::Relaxed),
            spin_ticks: self.spin.load(Ordering::Relaxed).min(SPIN_TICKS_MAX),
            compress: self.compress.load(Ordering::Relaxed),
            lease_ns: self.lease.load(Ordering::Relaxed),
        };
        Ok((self.shape.load(Ordering::Relaxed), terms))
    }

    /// True if messages are taken for a limited time.
    pub(super) fn has_leases(&self) -> bool {
        self.lease.load(Ordering::Relaxed) != 0 // Relaxed: written before anybody else saw the channel.
    }

    /// Rung by receivers of what is kept alive by its sender until it has arrived; the users' own affair.
    #[must_use]
    pub fn arrived(&self) -> &Gate {
        &self.arrived
    }

    /// How many positions were ever claimed by producers, or a little less.
    #[must_use]
    #[inline]
    pub fn tail(&self) -> Position {
        self.tail.position.load(Ordering::Relaxed) // Relaxed: a number for a person.
    }

    /// How many were released, or a little less.
    #[must_use]
    #[inline]
    pub fn head(&self) -> Position {
        self.head.position.load(Ordering::Relaxed) // Relaxed: as above.
    }
}
