//! Shape: where in a segment each class has its words and its bytes. Both sides compute the same.
//!
//! ```text
//! start   record    ten cache lines: terms and counters of the pool
//!         regions   8 cache lines per class
//!         words     4 bytes per block, all classes in order
//!         holders   32 bytes per block, all classes in order
//!         bytes     per class, page by page; end
//! ```
//!
//! Everything is a reservation: memory is used page by page, when it is first touched.

use super::budget::Budget;
use super::class::Class;
use super::handle::BlockHandle;
use super::holder::HolderSet;
use super::record::PoolRecord;
use super::table::{BlockId, Region};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const LINE_BYTES: u64 = 64;
const REGIONS: u64 = (Class::COUNT * Region::COUNT) as u64;
const WORD_BYTES: u64 = 4;
const HOLDERS_BYTES: u64 = 32;
const PAGE_BYTES: u64 = 4096;
const _: () = assert!(size_of::<Region>() as u64 == LINE_BYTES);
const _: () = assert!(size_of::<HolderSet>() as u64 == HOLDERS_BYTES);

/// How many blocks each class has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Limits {
    /// Blocks of each class of 64 B to 4 KiB.
    pub small: u32,
    /// Blocks of each class of 8 KiB to 1 MiB.
    pub medium: u32,
    /// Blocks of each class of 2 MiB to 64 MiB.
    pub large: u32,
    /// Blocks of each class of 128 MiB to 2 GiB.
    pub huge: u32,
    /// No class above this size has blocks, in bytes.
    pub largest_bytes: u64,
}

impl Limits {
    /// What a runtime reserves where address space is plenty: 25 GiB, and 17 if cut at 1 GiB, 1.3 MiB of it tables.
    pub const FULL: Self =
        Self { small: 4096, medium: 1024, large: 64, huge: 4, largest_bytes: Class::LARGEST_BYTES };

    /// Most blocks a class may have.
    pub const BLOCKS_MAX: u32 = 1 << 16;

    /// The same with every count divided, but at least one block where there was one.
    #[must_use]
    pub fn divided_by(self, divisor: u32) -> Self {
        let divided = |count: u32| count.div_ceil(divisor.max(1));
        Self {
            small: divided(self.small),
            medium: divided(self.medium),
            large: divided(self.large),
            huge: divided(self.huge),
            ..self
        }
    }

    /// The same without the classes above `largest_bytes`.
    #[must_use]
    pub fn cut_at(self, largest_bytes: u64) -> Self {
        Self { largest_bytes: self.largest_bytes.min(largest_bytes), ..self }
    }

    fn count(&self, class: Class) -> u32 {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        let bytes = class.bytes();
        let count = match bytes {
            bytes if bytes > self.largest_bytes => 0,
            bytes if bytes <= 4 * KIB => self.small,
            bytes if bytes <= MIB => self.medium,
            bytes if bytes <= 64 * MIB => self.large,
            _ => self.huge,
        };
        count.min(Self::BLOCKS_MAX)
    }
}

/// One class's part of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassShape {
    /// Blocks.
    pub(super) count: u32,
    /// Number of its first block among the blocks of all classes.
    pub(super) first: u32,
    /// Offset of its first block's bytes in the segment.
    pub(super) bytes_offset: u64,
}

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub(super) start: u64,
    pub(super) regions_offset: u64,
    pub(super) words_offset: u64,
    pub(super) holders_offset: u64,
    pub(super) blocks: u32,
    pub(super) end: u64,
    pub(super) largest: u64,
    classes: [ClassShape; Class::COUNT],
}

impl Shape {
    /// Plans the blocks from `start_offset` of a segment on; returns the shape and the offset behind its end.
    #[must_use]
    pub fn plan(start_offset: u64, limits: &Limits) -> (Self, u64) {
        Self::plan_within(start_offset, limits, &Budget::default())
    }

    /// [`Shape::plan`] for a pool that may have no more than `budget`.
    #[must_use]
    pub fn plan_within(start_offset: u64, limits: &Limits, budget: &Budget) -> (Self, u64) {
        // No sum below overflows for any start that a segment can have: 2^16 blocks of each class are 2^47 bytes.
        let start = aligned(start_offset.min(1 << 60), LINE_BYTES);
        let mut counts = [0; Class::COUNT];
        for (class, count) in Class::all().zip(&mut counts) {
            *count = limits.count(class);
        }
        let counts = budget.cut(counts);
        let blocks = counts.iter().sum::<u32>();
        let regions_offset = start + size_of::<PoolRecord>() as u64;
        let words_offset = regions_offset + REGIONS * LINE_BYTES;
        let holders_offset = aligned(words_offset + WORD_BYTES * u64::from(blocks), LINE_BYTES);
        let mut next_first = 0;
        let mut end = aligned(holders_offset + HOLDERS_BYTES * u64::from(blocks), PAGE_BYTES);
        let mut classes = [ClassShape { count: 0, first: 0, bytes_offset: 0 }; Class::COUNT];
        for ((class, planned), count) in Class::all().zip(&mut classes).zip(counts) {
            *planned = ClassShape { count, first: next_first, bytes_offset: end };
            next_first += count;
            end = aligned(end + u64::from(count) * class.bytes(), PAGE_BYTES);
        }
        let largest =
            Class::all().zip(counts).filter(|(_, count)| *count > 0).map(|(class, _)| class.bytes()).max();
        let largest = largest.unwrap_or(0);
        let shape =
            Self { start, regions_offset, words_offset, holders_offset, blocks, end, largest, classes };
        (shape, end)
    }

    /// Offset of the first block.
    #[must_use]
    pub fn first_byte_offset(&self) -> u64 {
        self.classes[0].bytes_offset
    }

    /// Blocks of `class`.
    #[must_use]
    pub fn count(&self, class: Class) -> u32 {
        self.class(class).count
    }

    /// Bytes of the largest class that has blocks; 0 if none has.
    #[must_use]
    pub fn largest_bytes(&self) -> u64 {
        self.largest
    }

    #[inline]
    pub(super) fn class(&self, class: Class) -> &ClassShape {
        &self.classes[usize::from(class.index())]
    }

    /// Offset of the first byte of a block, for `index` below the class's count.
    #[inline]
    pub(super) fn offset(&self, class: Class, index: u32) -> u64 {
        self.class(class).bytes_offset + u64::from(index) * class.bytes()
    }

    /// The index of the block of `class` that begins exactly at `offset`.
    #[inline]
    pub(super) fn index(&self, class: Class, offset: u64) -> Option<u32> {
        let shape = self.class(class);
        let distance = offset.checked_sub(shape.bytes_offset)?;
        let index = u32::try_from(distance / class.bytes()).ok()?;
        (distance % class.bytes() == 0 && index < shape.count).then_some(index)
    }

    #[inline]
    pub(super) fn handle(&self, class: Class, id: BlockId, bytes: u32) -> BlockHandle {
        BlockHandle::new(self.offset(class, id.index), bytes, id.generation, class)
    }
}

/// `offset` rounded up to a multiple of `to`, a power of two.
fn aligned(offset: u64, to: u64) -> u64 {
    (offset + to - 1) & !(to - 1)
}
