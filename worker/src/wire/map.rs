//! The map of a runtime's segment: a header that says what it is, and where everything lies.
//!
//! ```text
//! offset 0      header   magic, layout version, build identity, shape          one page
//!        4096   host     HostRecord                                             one page
//!        ...    seats    SeatRecord x seats
//!               workers  WorkerRecord x records
//!               lanes    LaneHeader x (seats + records)
//!               slots    Slot x lane_slots x seats, then Slot x nested_slots x records
//!               notices  one u64 ring per record: header, then notice_slots words
//!               breakers BreakerWords x 64
//!               blocks   tables and bytes of every size class
//! ```
//! All offsets follow from the shape, so both sides compute them; nothing else is trusted.

use super::control::{HostRecord, SeatRecord, WorkerRecord};
use super::profile::{FUNCTIONS, FunctionRecord, STAMP_EVERY};
use gorun_macros::Shared;
use gorun_shm::blocks::{Budget, Limits as BlockLimits, Shape as BlockShape};
use gorun_shm::breaker::BreakerWords;
use gorun_shm::ring::spmc::LaneHeader;
use gorun_shm::ring::spsc::RingHeader;
use gorun_shm::segment::{Segment, View};
use gorun_shm::slots::Slot;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::sync::Arc;
use thiserror::Error;

/// First word of every segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"gorunseg");
/// Changes whenever a record, a slot or the map changes.
pub const LAYOUT_VERSION: u64 = 6;
/// Breakers that processes can share, by name: as many as services a program calls, and 9 KB each once used.
pub const BREAKERS: usize = 64;

const PAGE: u64 = 4096;
/// A segment with one record is that of one jailed worker, which may touch all of it: it has so many times fewer blocks,
/// which take 33 MiB and twice the largest block at most.
const CELL_DIVISOR: u32 = 64;

/// The segment's first page.
#[repr(C, align(128))]
#[derive(Debug, Default, Shared)]
pub struct Header {
    magic: AtomicU64,
    version: AtomicU64,
    build: AtomicU64,
    bytes: AtomicU64,
    shape: [AtomicU64; 8],
}

/// The numbers from which the whole map follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Seats, 1..=[`Shape::SEATS_MAX`].
    pub seats: u16,
    /// Worker records: seats, spares, and the dead that are not yet confirmed.
    pub records: u16,
    /// Slots in a seat's lane, a power of two.
    pub lane_slots: u32,
    /// Slots in a worker's nested lane, a power of two.
    pub nested_slots: u32,
    /// Words in a notice ring, a power of two.
    pub notice_slots: u32,
    /// Largest block in bytes, a power of two.
    pub block_bytes_max: u64,
    /// Most bytes in blocks at once; 0 for what there are.
    pub pool_bytes: u64,
    /// Most bytes of all blocks together; 0 for plenty.
    pub reserve_bytes: u64,
}

impl Shape {
    /// Most seats a runtime can have: every seat may need two records, and records are limited to 255.
    pub const SEATS_MAX: u16 = 120;

    fn words(&self) -> [u64; 8] {
        [
            self.seats.into(),
            self.records.into(),
            self.lane_slots.into(),
            self.nested_slots.into(),
            self.notice_slots.into(),
            self.block_bytes_max,
            self.pool_bytes,
            self.reserve_bytes,
        ]
    }

    fn from_words(words: [u64; 8]) -> Option<Self> {
        let shape = Self {
            seats: u16::try_from(words[0]).ok()?,
            records: u16::try_from(words[1]).ok()?,
            lane_slots: u32::try_from(words[2]).ok()?,
            nested_slots: u32::try_from(words[3]).ok()?,
            notice_slots: u32::try_from(words[4]).ok()?,
            block_bytes_max: words[5],
            pool_bytes: words[6],
            reserve_bytes: words[7],
        };
        shape.is_sound().then_some(shape)
    }

    fn is_sound(&self) -> bool {
        (1..=Self::SEATS_MAX).contains(&self.seats)
            && (self.seats..=255).contains(&self.records)
            && [self.lane_slots, self.nested_slots, self.notice_slots]
                .iter()
                .all(|slots| slots.is_power_of_two() && (2..=1 << 20).contains(slots))
            && self.block_bytes_max.is_power_of_two()
            && (64..=1 << 31).contains(&self.block_bytes_max)
    }

    /// Stamps of a seat's lane.
    #[must_use]
    pub fn stamps(&self) -> usize {
        (u64::from(self.lane_slots) / STAMP_EVERY).max(1) as usize
    }

    /// Lanes in all: one per seat, one nested per record.
    #[must_use]
    pub fn lanes(&self) -> u16 {
        self.seats + self.records
    }
}

/// Where everything lies, in bytes from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The shape it follows from.
    pub shape: Shape,
    /// [`HostRecord`].
    pub host: u64,
    /// First [`SeatRecord`].
    pub seats: u64,
    /// First [`WorkerRecord`].
    pub workers: u64,
    /// First [`LaneHeader`].
    pub lanes: u64,
    /// First [`Slot`] of the seats' lanes.
    pub slots: u64,
    /// First [`Slot`] of the nested lanes.
    pub nested: u64,
    /// First notice ring header.
    pub notice_headers: u64,
    /// First notice word.
    pub notice_words: u64,
    /// First [`BreakerWords`].
    pub breakers: u64,
    /// First [`FunctionRecord`]: a table for each seat.
    pub profiles: u64,
    /// First stamp of the seats' lanes.
    pub stamps: u64,
    /// The blocks.
    pub blocks: BlockShape,
    /// Size of the whole segment.
    pub bytes: u64,
}

impl Map {
    /// Lays everything out.
    #[must_use]
    pub fn plan(shape: Shape) -> Self {
        let mut next = PAGE;
        let mut take = |bytes: usize, count: u64| {
            let offset = next;
            next = (offset + bytes as u64 * count).next_multiple_of(PAGE);
            offset
        };
        let (seats, records) = (u64::from(shape.seats), u64::from(shape.records));
        let host = take(size_of::<HostRecord>(), 1);
        let seat_records = take(size_of::<SeatRecord>(), seats);
        let workers = take(size_of::<WorkerRecord>(), records);
        let lanes = take(size_of::<LaneHeader>(), seats + records);
        let slots = take(size_of::<Slot>(), seats * u64::from(shape.lane_slots));
        let nested = take(size_of::<Slot>(), records * u64::from(shape.nested_slots));
        let notice_headers = take(size_of::<RingHeader>(), records);
        let notice_words = take(8, records * u64::from(shape.notice_slots));
        let breakers = take(size_of::<BreakerWords>(), BREAKERS as u64);
        let profiles = take(size_of::<FunctionRecord>(), seats * FUNCTIONS as u64);
        let stamps = take(8, seats * shape.stamps() as u64);
        let limits =
            if records == 1 { BlockLimits::FULL.divided_by(CELL_DIVISOR) } else { BlockLimits::FULL };
        let budget = Budget { pool_bytes: shape.pool_bytes, reserve_bytes: shape.reserve_bytes };
        let limits = limits.cut_at(shape.block_bytes_max);
        let (blocks, bytes) = BlockShape::plan_within(next, &limits, &budget);
        let bytes = bytes.next_multiple_of(PAGE);
        Self {
            shape,
            host,
            seats: seat_records,
            workers,
            lanes,
            slots,
            nested,
            notice_headers,
            notice_words,
            breakers,
            profiles,
            stamps,
            blocks,
            bytes,
        }
    }

    /// Writes the header of a fresh segment.
    ///
    /// # Errors
    /// [`AttachError::Short`] if the segment cannot hold the map.
    pub fn format(&self, segment: &Arc<Segment>, build: u64) -> Result<(), AttachError> {
        let header = header_of(segment)?;
        // Relaxed, all but the last: the magic is stored last and published by its Release.
        for (place, value) in header.shape.iter().zip(self.shape.words()) {
            place.store(value, Ordering::Relaxed);
        }
        header.bytes.store(self.bytes, Ordering::Relaxed);
        header.build.store(build, Ordering::Relaxed);
        header.version.store(LAYOUT_VERSION, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release); // Release: pairs with the Acquire in `read`.
        Ok(())
    }

    /// Reads and checks the header of a segment that another process made.
    ///
    /// `build` is the identity this process must share with it; an observer that runs no code passes `None`.
    ///
    /// # Errors
    /// What is wrong with it, each with what was found and what was expected.
    pub fn read(segment: &Arc<Segment>, build: Option<u64>) -> Result<Self, AttachError> {
        let header = header_of(segment)?;
        let magic = header.magic.load(Ordering::Acquire); // Acquire: pairs with the Release in `format`.
        if magic != MAGIC {
            return Err(AttachError::NotGorun { found: magic });
        }
        let version = header.version.load(Ordering::Relaxed); // Relaxed here and below: ordered by the magic.
        if version != LAYOUT_VERSION {
            return Err(AttachError::LayoutVersion { found: version, expected: LAYOUT_VERSION });
        }
        let found = header.build.load(Ordering::Relaxed);
        if let Some(expected) = build.filter(|expected| *expected != found) {
            return Err(AttachError::Build { found, expected });
        }
        let words = std::array::from_fn(|index| header.shape[index].load(Ordering::Relaxed));
        let shape = Shape::from_words(words).ok_or(AttachError::Shape)?;
        let map = Self::plan(shape);
        if map.bytes != header.bytes.load(Ordering::Relaxed) || map.bytes > segment.bytes() as u64 {
            return Err(AttachError::Short { found: segment.bytes() as u64, expected: map.bytes });
        }
        Ok(map)
    }
}

fn header_of(segment: &Arc<Segment>) -> Result<View<Header>, AttachError> {
    let short = AttachError::Short { found: segment.bytes() as u64, expected: PAGE };
    segment.view(0).map_err(|_| short)
}

/// Why a segment was refused at attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttachError {
    /// The first word is not gorun's.
    #[error("not a gorun segment (first word {found:#x}); pass the descriptor the host gave you")]
    NotGorun {
        /// What stands there.
        found: u64,
    },
    /// Made by a gorun whose records look different.
    #[error(
        "segment layout version {found}, this program speaks {expected}; use the same gorun on both sides"
    )]
    LayoutVersion {
        /// Version in the header.
        found: u64,
        /// Version of this program.
        expected: u64,
    },
    /// Made by another program, or another build of this one.
    #[error("segment belongs to build {found:#x}, this is build {expected:#x}; restart both from one binary")]
    Build {
        /// Identity in the header.
        found: u64,
        /// Identity of this program.
        expected: u64,
    },
    /// The shape in the header is out of its limits.
    #[error("segment header holds an impossible shape; it was overwritten")]
    Shape,
    /// The bytes end before the map does.
    #[error("segment has {found} bytes, its map needs {expected}")]
    Short {
        /// Bytes there are.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
}
