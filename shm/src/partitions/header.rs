//! The picture of a table, and what follows from its numbers.
//!
//! ```text
//! byte    0  magic, kind, shape, terms, function, spin   written once, before anybody else sees the block
//!        64  epoch, changed, closed, turn                written when members change, and at the end
//!       128  ready     a bit per lane                    by senders, and by who finds a lane empty
//!       192  over      a bit per lane                    by who finds that a lane has ended
//!       256  sleepers  a bit per place                   by members, and by who wakes them
//!       320  members   a line each
//!            lanes     32 bytes each: the partitions, then one inbox per place
//! ```

use super::lanes::{Lanes, WORDS};
use crate::counters::Counter;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use thiserror::Error;

/// First word of a table's block; changes with the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"gorundc1");
/// Longest spin that is believed, as of a channel.
const SPIN_TICKS_MAX: u64 = 10_000_000;
/// Words of a set of places. The model has one.
pub(super) const PLACE_WORDS: usize = if cfg!(loom) { 1 } else { 2 };

/// A set of lanes, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub(super) struct LaneSet {
    pub(super) words: [AtomicU64; WORDS],
}

/// A set of places, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub(super) struct PlaceSet {
    pub(super) words: [AtomicU64; PLACE_WORDS],
}

/// See the module's head. Zeroes are a header that was never written.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct TableHeader {
    magic: AtomicU64,
    /// What the values are, as the creator named it.
    kind: AtomicU64,
    /// Partitions 31..16, places 15..0.
    shape: AtomicU64,
    /// The caller's: see [`Standard`].
    terms: AtomicU64,
    function: AtomicU64,
    spin: AtomicU64,
    spare: [AtomicU64; 2],
    /// How often the members, or where their lanes are pinned, have changed. Written by whoever changes them.
    pub(super) epoch: AtomicU64,
    /// Rung at each change of the epoch.
    changed: Gate,
    spare_gate: Gate,
    /// Not 0 once somebody closed the channel.
    pub(super) closed: AtomicU64,
    /// Where the next look for a sleeper begins. A hint, written by everybody.
    pub(super) turn: AtomicU32,
    spare_half: AtomicU32,
    spare_too: [AtomicU64; 4],
    /// Lanes that may have a message. Set behind every message; see `ready`.
    pub(super) ready: LaneSet,
    /// Lanes whose rings will never have a message again. Only set.
    pub(super) over: LaneSet,
    /// Places whose members sleep, or are about to.
    pub(super) sleepers: PlaceSet,
}

/// A place for a member.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct MemberLine {
    /// See `word`. Written by the member, and by the recoverer.
    pub(super) word: AtomicU64,
    /// Generation of the last life here that ended by its process's death; 0 if none did.
    pub(super) died: AtomicU64,
    /// Where the member sleeps.
    gate: Gate,
    spare_gate: Gate,
    /// Messages that members of this place took from lanes of their own. Written by the member only.
    pub own: Counter,
    /// Messages that they took from lanes of others, to help.
    pub helped: Counter,
    spare: [AtomicU64; 3],
}

/// A lane.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct LaneWords {
    /// Who may take from it; 0 is nobody. Written by who claims it, by its owner, and by the recoverer.
    pub(super) owner: AtomicU64,
    /// Whom it was given to by somebody who balanced; 0 is nobody. Members that are not live do not count.
    pub(super) pin: AtomicU64,
    /// How often it was claimed.
    pub(super) claims: Counter,
    /// The caller's: what a balancer remembers of it.
    pub counted: AtomicU64,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<TableHeader>() == Shape::HEADER_BYTES && align_of::<TableHeader>() == 64);
    assert!(size_of::<MemberLine>() == 64 && size_of::<LaneWords>() == 32);
};

/// What users of a table agree upon; nothing here reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standard {
    /// Names the type of the values.
    pub kind: u64,
    /// Any number.
    pub terms: u64,
    /// Code id of the function that finds a value's key.
    pub function: u64,
    /// How long to look before going to sleep, in ticks.
    pub spin_ticks: u64,
}

/// Why a block's bytes are no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no distributed channel lies there: its head was overwritten, or never written")]
pub struct TableError;

/// The numbers from which the layout follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    partitions: u16,
    places: u16,
}

impl Shape {
    /// Bytes before the first place.
    pub const HEADER_BYTES: usize = 320;
    /// Most partitions.
    pub const PARTITIONS_MAX: usize = 256;
    /// Most places for members.
    pub const MEMBERS_MAX: usize = PLACE_WORDS * 64;

    /// A table of so many partitions, 1..=[`Shape::PARTITIONS_MAX`], and places, 1..=[`Shape::MEMBERS_MAX`].
    #[must_use]
    pub fn new(partitions: usize, places: usize) -> Option<Self> {
        let sound = (1..=Self::PARTITIONS_MAX).contains(&partitions)
            && (1..=Self::MEMBERS_MAX).contains(&places)
            && partitions + places <= Lanes::MAX;
        let shape = Self { partitions: u16::try_from(partitions).ok()?, places: u16::try_from(places).ok()? };
        sound.then_some(shape)
    }

    /// Partitions.
    #[must_use]
    pub fn partitions(self) -> usize {
        self.partitions.into()
    }

    /// Places for members.
    #[must_use]
    pub fn places(self) -> usize {
        self.places.into()
    }

    /// Partitions and inboxes.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.partitions() + self.places()
    }

    /// Where the lanes begin.
    #[must_use]
    pub fn lanes_at(self) -> usize {
        Self::HEADER_BYTES + self.places() * size_of::<MemberLine>()
    }

    /// Bytes of everything.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.lanes_at() + self.lanes() * size_of::<LaneWords>()
    }
}

impl MemberLine {
    /// Where the member sleeps.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl TableHeader {
    /// Writes the head of a fresh table over zeroes.
    pub fn format(&self, shape: Shape, standard: Standard) {
        let numbers = u64::from(shape.partitions) << 16 | u64::from(shape.places);
        // Relaxed, all of these: the magic is stored last and published by its Release.
        self.kind.store(standard.kind, Ordering::Relaxed);
        self.shape.store(numbers, Ordering::Relaxed);
        self.terms.store(standard.terms, Ordering::Relaxed);
        self.function.store(standard.function, Ordering::Relaxed);
        self.spin.store(standard.spin_ticks, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release); // Release: pairs with the Acquire in `read`.
    }

    /// The table's numbers, believed only as far as they fit a block of `bytes` bytes.
    ///
    /// # Errors
    /// [`TableError`] if they do not, or nothing was written.
    pub fn read(&self, bytes: usize) -> Result<(Shape, Standard), TableError> {
        // Acquire: pairs with the Release in `format`.
        if self.magic.load(Ordering::Acquire) != MAGIC {
            return Err(TableError);
        }
        // Relaxed, all of these: the Acquire load came before.
        let numbers = usize::try_from(self.shape.load(Ordering::Relaxed)).map_err(|_| TableError)?;
        let shape = Shape::new(numbers >> 16, numbers & 0xFFFF).ok_or(TableError)?;
        if shape.bytes() > bytes {
            return Err(TableError);
        }
        let standard = Standard {
            kind: self.kind.load(Ordering::Relaxed),
            terms: self.terms.load(Ordering::Relaxed),
            function: self.function.load(Ordering::Relaxed),
            spin_ticks: self.spin.load(Ordering::Relaxed).min(SPIN_TICKS_MAX),
        };
        Ok((shape, standard))
    }

    /// Rung when members come, go or die.
    #[must_use]
    pub fn changed(&self) -> &Gate {
        &self.changed
    }
}
