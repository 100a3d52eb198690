//! Blocks of all classes in a segment: what a process allocates from.
//!
//! One `Blocks` per process and segment: it counts what this process's threads hold together.

use super::budget::COUNTED_BYTES_MIN;
use super::class::Class;
use super::handle::{BlockHandle, BlockRef, HandleError};
use super::holder::{Holder, HolderSet};
use super::record::{PoolRecord, PoolTerms};
use super::shape::{Limits, Shape};
use super::shared::LocalHolds;
use super::strangers::Strangers;
use super::table::{BlockId, Region, Table};
use super::word::BlockState;
use crate::owner::OwnerId;
use crate::segment::{OutOfSegment, Segment, View, ViewSlice};
use crate::sync::{AtomicU32, AtomicU64};
use std::io;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// How many next larger classes are tried when the right one is full.
const LARGER_CLASSES_TRIED: usize = 2;

/// Why there is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AllocateError {
    /// No class is that large.
    #[error(
        "{asked} bytes asked for, but the largest block has {largest} (send it in parts, or raise the limit)"
    )]
    TooLarge {
        /// Bytes asked for.
        asked: u64,
        /// Bytes of the largest block.
        largest: u64,
    },
    /// All blocks of the class and of the next larger ones are in use.
    #[error("{asked} bytes asked for, but all blocks of {class_bytes} bytes and the next larger are in use")]
    Full {
        /// Bytes asked for.
        asked: u64,
        /// Bytes of a block of the class asked.
        class_bytes: u64,
    },
    /// The machine, or its control group, has no memory for a block that was never used before.
    #[error("{asked} bytes asked for, but the kernel has no memory for them")]
    NotBacked {
        /// Bytes asked for.
        asked: u64,
    },
    /// The owner is neither a worker nor the host.
    #[error("{owner:?} cannot have blocks")]
    NotAnOwner {
        /// The owner given.
        owner: OwnerId,
    },
}

/// What a dead process had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Blocks that are free again.
    pub blocks: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// How much of a class is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassUsage {
    /// Bytes of one block.
    pub bytes: u64,
    /// Blocks.
    pub total: u32,
    /// Free blocks, those never used among them. Stale as soon as it is read.
    pub free: u32,
}

/// What happened in a pool since its start, all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCounts {
    /// Blocks asked for and not had.
    pub refused: u64,
    /// Times somebody slept until a block was free.
    pub waited: u64,
    /// Bytes of blocks given back to the kernel.
    pub given_back_bytes: u64,
    /// Bytes of blocks backed with memory ahead of their use.
    pub backed_bytes: u64,
    /// Bytes of values copied into blocks and out of them.
    pub copied_bytes: u64,
    /// Bytes that messages did not take because they were compressed.
    pub spared_bytes: u64,
}

/// The block allocator of a segment, as one process sees it.
#[derive(Debug)]
pub struct Blocks {
    segment: Arc<Segment>,
    shape: Shape,
    record: View<PoolRecord>,
    regions: ViewSlice<Region>,
    words: ViewSlice<AtomicU32>,
    holders: ViewSlice<HolderSet>,
    local_holds: LocalHolds,
    /// Set if other programs have blocks here too, who keep to no rule.
    pub(super) strangers: Option<Strangers>,
    /// What the record said when this process first looked, or what it has set itself: a process that goes wild later
    /// cannot change it.
    terms: OnceLock<PoolTerms>,
    /// First region 7..0 and count of regions 15..8 in which this process looks first; 0 for any.
    pub(super) home: AtomicU32,
}

impl Blocks {
    /// The blocks planned by `shape` in `segment`, whose bytes there are zero or were written by other `Blocks`.
    ///
    /// # Errors
    /// [`OutOfSegment`] if the segment is too small for the shape.
    pub fn new(segment: Arc<Segment>, shape: Shape) -> Result<Arc<Self>, OutOfSegment> {
        Self::with(segment, shape, None)
    }

    pub(super) fn with(
        segment: Arc<Segment>,
        shape: Shape,
        strangers: Option<Strangers>,
    ) -> Result<Arc<Self>, OutOfSegment> {
        if shape.end > segment.bytes() as u64 {
            return Err(OutOfSegment { offset: shape.end, count: 0, each: 1, bytes: segment.bytes() });
        }
        let blocks = shape.blocks as usize;
        Ok(Arc::new(Self {
            record: segment.view(shape.start)?,
            regions: segment.view_slice(shape.regions_offset, Class::COUNT * Region::COUNT)?,
            words: segment.view_slice(shape.words_offset, blocks)?,
            holders: segment.view_slice(shape.holders_offset, blocks)?,
            local_holds: LocalHolds::default(),
            strangers,
            terms: OnceLock::new(),
            home: AtomicU32::new(0),
            segment,
            shape,
        }))
    }

    /// Blocks in memory of this process only: for thread mode and tests.
    ///
    /// # Errors
    /// What the kernel said of a mapping of that size.
    pub fn private(limits: &Limits) -> Result<Arc<Self>, crate::segment::SegmentError> {
        let (shape, end) = Shape::plan(0, limits);
        let bytes = usize::try_from(end).unwrap_or(usize::MAX);
        let segment = Segment::private(bytes)?;
        // The segment was made to measure, so the views fit; a refusal is the kernel's way to say the same.
        Self::new(segment, shape).map_err(|cause| crate::segment::SegmentError::Refused {
            bytes: end,
            cause: io::Error::other(cause),
        })
    }

    /// The shape given at construction.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// A block for `bytes` bytes, detached: owned by `owner`, whom [`OwnedBlock::from_handle`] lets write it.
    ///
    /// Its bytes may hold what an earlier task of the same runtime wrote.
    ///
    /// [`OwnedBlock::from_handle`]: super::OwnedBlock::from_handle
    ///
    /// # Errors
    /// [`AllocateError::TooLarge`] if no class is large enough, [`AllocateError::Full`] if no block is free.
    pub fn allocate(&self, bytes: usize, owner: OwnerId) -> Result<BlockHandle, AllocateError> {
        let (class, id, bytes) = self.claim(bytes, owner)?;
        let handle = self.shape.handle(class, id, bytes);
        let holder = Holder::of(owner).ok_or(AllocateError::NotAnOwner { owner })?;
        // Cannot fail: only its holder moves a claimed block, and that is this call.
        let detached = self.table(class).pass(id, BlockState::Claimed(holder), BlockState::Detached(holder));
        debug_assert!(detached.is_ok());
        Ok(handle)
    }

    /// A claimed block and the bytes in use.
    #[inline]
    pub(super) fn claim(&self, bytes: usize, owner: OwnerId) -> Result<(Class, BlockId, u32), AllocateError> {
        let holder = Holder::of(owner).ok_or(AllocateError::NotAnOwner { owner })?;
        let asked = bytes as u64;
        let class = Class::holding(asked).filter(|class| class.bytes() <= self.shape.largest);
        let (Some(class), Ok(in_use)) = (class, u32::try_from(bytes)) else {
            return Err(AllocateError::TooLarge { asked, largest: self.shape.largest });
        };
        let limit =
            Some(self.terms().limit_bytes).filter(|limit| *limit != 0 && class.bytes() >= COUNTED_BYTES_MIN);
        let (class, id) = match limit {
            Some(limit) => self.claim_within(limit, class, holder, asked)?,
            None => self
                .claim_any(class, holder)
                .ok_or(AllocateError::Full { asked, class_bytes: class.bytes() })?,
        };
        if id.generation == 0 {
            self.grow(class, id, holder, asked)?;
        }
        Ok((class, id, in_use))
    }

    /// A free block of the class, or of one of the next larger.
    #[inline]
    pub(super) fn claim_any(&self, class: Class, holder: Holder) -> Option<(Class, BlockId)> {
        match self.claim_of(class, holder) {
            Some(id) => Some((class, id)),
            None => self.claim_larger(class, holder),
        }
    }

    #[inline]
    fn claim_of(&self, class: Class, holder: Holder) -> Option<BlockId> {
        let home = self.home(holder.index());
        if class.bytes() >= COUNTED_BYTES_MIN {
            return self.table(class).claim_lowest(home, holder);
        }
        self.table(class).claim_near(home, holder)
    }

    #[cold]
    fn claim_larger(&self, class: Class, holder: Holder) -> Option<(Class, BlockId)> {
        std::iter::successors(class.next(), |class| class.next())
            .take(LARGER_CLASSES_TRIED)
            .find_map(|class| self.claim_of(class, holder).map(|id| (class, id)))
    }

    /// Gives back a detached block that `owner` owns.
    ///
    /// # Errors
    /// [`HandleError`], and nothing changes, if the handle is not that of such a block.
    pub fn free(&self, handle: BlockHandle, owner: OwnerId) -> Result<(), HandleError> {
        let holder = holder_of(owner)?;
        let found = self.check(handle)?;
        let freed = self.table(found.class).free(found.id, BlockState::Detached(holder));
        freed.map_err(|stale| HandleError::stale(found.id, stale))?;
        self.freed();
        Ok(())
    }

    /// Hands a detached block from one owner to another: the new one calls it, or its heir.
    ///
    /// # Errors
    /// [`HandleError`], and nothing changes, if the handle is not that of a detached block of `from`.
    pub fn adopt(&self, handle: BlockHandle, from: OwnerId, to: OwnerId) -> Result<(), HandleError> {
        self.pass(handle, BlockState::Detached(holder_of(from)?), BlockState::Detached(holder_of(to)?))
            .map(drop)
    }

    pub(super) fn pass(
        &self,
        handle: BlockHandle,
        from: BlockState,
        to: BlockState,
    ) -> Result<BlockRef, HandleError> {
        let found = self.check(handle)?;
        let passed = self.table(found.class).pass(found.id, from, to);
        passed.map_err(|stale| HandleError::stale(found.id, stale))?;
        Ok(found)
    }

    /// Believes a handle only as far as the tables agree: class, place, length, generation, in use.
    ///
    /// # Errors
    /// [`HandleError`] with what does not fit. Nothing but the block's own word was read.
    #[inline]
    pub fn check(&self, handle: BlockHandle) -> Result<BlockRef, HandleError> {
        let no_such_class = HandleError::NoSuchClass { class: handle.class_bits() };
        let class = handle.class().ok_or(no_such_class)?;
        let class_bytes = class.bytes();
        let offset = handle.offset();
        let index = self.shape.index(class, offset).ok_or(HandleError::OutOfPlace { offset, class_bytes })?;
        let bytes = handle.bytes();
        if u64::from(bytes) > class_bytes {
            return Err(HandleError::TooLong { bytes: u64::from(bytes), class_bytes });
        }
        let generation = handle.generation();
        let found = self.table(class).word(index);
        let state = found.state();
        if found.generation() != generation || matches!(state, BlockState::Free | BlockState::Corrupt) {
            return Err(HandleError::Stale { generation, found });
        }
        Ok(BlockRef { class, id: BlockId { index, generation }, bytes, state })
    }

    /// Gives back everything that `dead` owned or held.
    ///
    /// Call it once the death is certain, after the handles it passed on were adopted, and before its number
    /// names another process. Several may recover the same process at once.
    pub fn recover(&self, dead: OwnerId) -> Recovered {
        let Some(dead) = Holder::of(dead) else { return Recovered::default() };
        let mut recovered = Recovered::default();
        for class in self.classes() {
            let blocks = self.table(class).recover(dead);
            recovered.blocks += blocks;
            recovered.bytes += u64::from(blocks) * class.bytes();
        }
        // Whatever it has freed itself: it may have died before it woke who waits.
        self.freed();
        recovered
    }

    /// How much of each class is in use, smallest first; classes without blocks are left out.
    #[must_use]
    pub fn usage(&self) -> Vec<ClassUsage> {
        self.classes().map(|class| self.class_usage(class)).collect()
    }

    fn class_usage(&self, class: Class) -> ClassUsage {
        let total = self.shape.count(class);
        let table = self.table(class);
        let used: u32 = table.used().map(|index| u32::from(!table.word(index).is_free())).sum();
        ClassUsage { bytes: class.bytes(), total, free: total - used }
    }

    #[inline]
    pub(super) fn table(&self, class: Class) -> Table<'_> {
        let shape = self.shape.class(class);
        let blocks = shape.first as usize..(shape.first + shape.count) as usize;
        let first_region = usize::from(class.index()) * Region::COUNT;
        let regions = &self.regions[first_region..first_region + Region::COUNT];
        Table::new(&self.words[blocks.clone()], &self.holders[blocks], regions)
    }

    /// Address of a block's first byte; `index` is below the class's count.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the shape's end was checked against the mapping's length"
    )]
    pub(super) fn first_byte(&self, class: Class, index: u32) -> *mut u8 {
        self.segment.mapping().base().as_ptr().wrapping_add(self.shape.offset(class, index) as usize)
    }

    /// The live blocks there are, each with all of its class's bytes in use: hold one before it is looked into.
    #[must_use]
    pub fn live(&self) -> Vec<BlockHandle> {
        let mut found = Vec::new();
        for class in self.classes() {
            for index in self.table(class).used() {
                let word = self.table(class).word(index);
                let id = BlockId { index, generation: word.generation() };
                if let (true, Ok(bytes)) = (word.is_live(), u32::try_from(class.bytes())) {
                    found.push(self.shape.handle(class, id, bytes));
                }
            }
        }
        found
    }

    /// Those of the live blocks that `owner` holds.
    #[must_use]
    pub fn live_of(&self, owner: OwnerId) -> Vec<BlockHandle> {
        let Some(holder) = Holder::of(owner) else { return Vec::new() };
        let holds = |handle: &BlockHandle| {
            self.check(*handle).is_ok_and(|BlockRef { class, id, .. }| {
                let block = self.shape.class(class).first + id.index;
                self.holders.get(block as usize).is_some_and(|set| set.contains(holder))
            })
        };
        self.live().into_iter().filter(holds).collect()
    }

    /// The bytes of a block as words, for looking at one that is on its way: whoever takes it over may write them
    /// meanwhile.
    ///
    /// # Errors
    /// [`HandleError`] if the handle is not that of a block in use.
    pub fn words(&self, handle: BlockHandle) -> Result<ViewSlice<AtomicU64>, HandleError> {
        let found = self.check(handle)?;
        let words = (found.bytes as usize).div_ceil(size_of::<u64>());
        let offset = handle.offset();
        let out_of_place = HandleError::OutOfPlace { offset, class_bytes: found.class.bytes() };
        // Fits: blocks are whole words, and the bytes in use were checked.
        self.segment.view_slice(offset, words).map_err(|_| out_of_place)
    }

    /// Says what the pool's processes go by, before any other process sees the segment.
    pub fn set_terms(&self, terms: &PoolTerms) {
        self.record.set(terms);
        // This process asks itself from now on; should it have asked the record before, nothing was set there then.
        let _ = self.terms.set(*terms);
    }

    /// What the pool's processes go by.
    #[inline]
    pub fn terms(&self) -> &PoolTerms {
        self.terms.get_or_init(|| self.record.terms())
    }

    /// A block is free again: wakes who waits for one.
    #[inline]
    pub(super) fn freed(&self) {
        if !self.terms().patience.is_zero() {
            self.record.wake();
        }
    }

    /// What the pool's processes count together.
    #[must_use]
    #[inline]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// How often the pool could not give at once, and what it did about its memory.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        let rare = &self.record.rare;
        PoolCounts {
            refused: rare.refused.get(),
            waited: rare.waited.get(),
            given_back_bytes: rare.given_back.get(),
            backed_bytes: rare.backed.get(),
            copied_bytes: self.record.copied_bytes(),
            spared_bytes: rare.spared.get(),
        }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn local_holds(&self) -> &LocalHolds {
        &self.local_holds
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = Class> {
        Class::all().filter(|class| self.shape.count(*class) > 0)
    }
}

pub(super) fn holder_of(owner: OwnerId) -> Result<Holder, HandleError> {
    Holder::of(owner).ok_or(HandleError::NotAnOwner { owner })
}
