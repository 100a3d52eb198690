//! The block protocol of one size class, over borrowed words: wherever they lie, segment or heap.
//!
//! Any process may call anything at any time. `README.md` has the crash points and the proof; the comments
//! here name the partner of each ordering.
//!
//! Progress: lock-free. `claim` may miss a block that is freed behind its search.

use super::holder::{Holder, HolderSet};
use super::word::{BlockState, Word};
use crate::sync::{AtomicU32, Ordering, fence};
use std::ops::Range;
use thiserror::Error;

/// One life of one block of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId {
    /// Which block of the class.
    pub index: u32,
    /// Which life of it.
    pub generation: u16,
}

impl BlockId {
    fn word(self, state: BlockState) -> Word {
        Word::new(self.generation, state)
    }

    #[inline]
    fn place(self) -> usize {
        self.index as usize
    }
}

/// The block is not, or no longer, what the caller took it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("block is {found:?} now")]
pub struct Stale {
    /// What its word says.
    pub found: Word,
}

/// What a region remembers, on a cache line of its own: processes that allocate at once do so in different
/// regions, without waiting for each other's lines.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Region {
    /// Index from which free blocks are likely, or `EXHAUSTED`: none was found and none freed since. Written by
    /// everybody; any value is valid, any may be stale.
    hint: AtomicU32,
    /// No block of the region from this index on was ever used. Raised before the first claim of a block.
    unused_from: AtomicU32,
}

/// A hint above every index.
const EXHAUSTED: u32 = u32::MAX;

impl Region {
    /// Regions of a class; a class of few blocks uses only the first.
    pub const COUNT: usize = 8;
    /// A region is no smaller: sixteen words are a cache line.
    const BLOCKS_MIN: usize = 16;
}

/// The blocks of one class. Methods that take a [`BlockId`] panic if its index is outside the table.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// One per block. Written by whoever moves the block to its next state.
    words: &'a [AtomicU32],
    /// One per block, meaningful while Shared.
    holders: &'a [HolderSet],
    /// Region `i` has the blocks from `i << region_shift` on.
    regions: &'a [Region],
    region_shift: u32,
}

impl<'a> Table<'a> {
    /// # Panics
    /// If there is not one holder set per word, or there are not [`Region::COUNT`] regions.
    #[must_use]
    #[inline]
    pub fn new(words: &'a [AtomicU32], holders: &'a [HolderSet], regions: &'a [Region]) -> Self {
        assert_eq!(words.len(), holders.len(), "one holder set per block");
        assert_eq!(regions.len(), Region::COUNT, "all regions of a class");
        let each = words.len().div_ceil(Region::COUNT).max(Region::BLOCKS_MIN).next_power_of_two();
        Self { words, holders, regions, region_shift: each.trailing_zeros() }
    }

    /// Number of blocks.
    #[must_use]
    pub fn count(self) -> usize {
        self.words.len()
    }

    /// The word of block `index` now. May be stale unless the caller has the block.
    #[must_use]
    #[inline]
    pub fn word(self, index: u32) -> Word {
        // Acquire: pairs with the Release exchanges of `change` and `share`, for a caller that looks at the
        // bytes of a block it was just given.
        Word(self.words[index as usize].load(Ordering::Acquire))
    }

    /// The indices of each region, those that have any.
    pub fn regions(self) -> impl Iterator<Item = Range<usize>> {
        let each = 1 << self.region_shift;
        (0..self.words.len()).step_by(each).map(move |start| start..self.words.len().min(start + each))
    }

    /// The indices of blocks that were ever used, and some that were not.
    pub fn used(self) -> impl Iterator<Item = u32> {
        self.regions().zip(self.regions).flat_map(|(blocks, region)| {
            // Relaxed: who asks for a certain process's blocks knows of its claims, and so of the marks they set
            // before, by other means: it was handed the block, or it observed the death.
            let end = region.unused_from.load(Ordering::Relaxed) as usize;
            (0u32..).take(end.min(blocks.end)).skip(blocks.start)
        })
    }

    /// Takes a free block: of the holder's region if it has one, the lowest that the hint knows of.
    #[inline]
    pub fn claim(self, holder: Holder) -> Option<BlockId> {
        self.claim_near(usize::from(holder.index()), holder)
    }

    /// [`Table::claim`] for a holder that looks in region `home` first.
    #[inline]
    pub fn claim_near(self, home: usize, holder: Holder) -> Option<BlockId> {
        let home = home % Region::COUNT;
        self.claim_in(home, holder).or_else(|| self.claim_elsewhere(home, holder))
    }

    /// [`Table::claim_near`] that takes the lowest free block of its region, whatever the hint says: it was most likely used
    /// before, and has its memory, which for a large block is dearer than the search.
    #[inline]
    pub fn claim_lowest(self, home: usize, holder: Holder) -> Option<BlockId> {
        let home = home % Region::COUNT;
        let start = home << self.region_shift;
        let end = ((home + 1) << self.region_shift).min(self.words.len());
        self.claim_among(start, end, holder).or_else(|| self.claim_elsewhere(home, holder))
    }

    #[cold]
    fn claim_elsewhere(self, home: usize, holder: Holder) -> Option<BlockId> {
        let others = (1..Region::COUNT).map(|step| (home + step) % Region::COUNT);
        let hinted = others.into_iter().find_map(|region| self.claim_in(region, holder));
        // The hints may have missed a block: before a class is called full, every word is looked at.
        hinted.or_else(|| self.claim_among(0, self.words.len(), holder))
    }

    #[inline]
    fn claim_in(self, region: usize, holder: Holder) -> Option<BlockId> {
        let start = region << self.region_shift;
        let end = ((region + 1) << self.region_shift).min(self.words.len());
        if start >= end {
            return None;
        }
        let hint = &self.regions[region].hint;
        // Relaxed: a hint; the words decide.
        let hinted = hint.load(Ordering::Relaxed);
        if hinted == EXHAUSTED {
            return None;
        }
        let middle = (hinted as usize).clamp(start, end);
        let found = self.claim_among(middle, end, holder).or_else(|| self.claim_among(start, middle, holder));
        if found.is_none() {
            // Relaxed: a hint. An exchange, so that a block freed meanwhile is not forgotten.
            let _ = hint.compare_exchange(hinted, EXHAUSTED, Ordering::Relaxed, Ordering::Relaxed);
        }
        found
    }

    #[inline]
    fn claim_among(self, start: usize, end: usize, holder: Holder) -> Option<BlockId> {
        let searched = self.words.get(start..end)?;
        for (index, word) in (start..).zip(searched) {
            // Relaxed: the exchange in `claim_at` decides.
            if Word(word.load(Ordering::Relaxed)).is_free() {
                let index = u32::try_from(index).ok()?;
                if let Some(id) = self.claim_at(index, holder) {
                    // Relaxed: a hint. A lower one that is overwritten here is found again after the next free
                    // below it, or when the search wraps.
                    self.region_of(index).hint.store(index + 1, Ordering::Relaxed);
                    crate::crash_point!("blocks.allocate.claimed");
                    return Some(id);
                }
            }
        }
        None
    }

    /// Takes block `index` if it is free.
    #[inline]
    pub fn claim_at(self, index: u32, holder: Holder) -> Option<BlockId> {
        let word = &self.words[index as usize];
        // Relaxed: the exchange below decides.
        let seen = Word(word.load(Ordering::Relaxed));
        if !seen.is_free() {
            return None;
        }
        self.mark_used(index);
        let generation = seen.generation();
        let claimed = Word::new(generation, BlockState::Claimed(holder));
        // Acquire: pairs with the Release in `change` and `reap`; what earlier owners did to the bytes is over.
        // Relaxed on failure: nothing is read, the search goes on.
        word.compare_exchange(seen.0, claimed.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(BlockId { index, generation })
    }

    #[inline]
    fn mark_used(self, index: u32) {
        let mark = &self.region_of(index).unused_from;
        // Relaxed, both: it only grows, and is read as `used` says.
        if mark.load(Ordering::Relaxed) <= index {
            mark.fetch_max(index + 1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn region_of(self, index: u32) -> &'a Region {
        &self.regions[(index >> self.region_shift) as usize % Region::COUNT]
    }

    /// Ends this life of a block that was `Claimed` or `Detached`.
    ///
    /// # Errors
    /// [`Stale`] if its state is not `from`.
    #[inline]
    pub fn free(self, id: BlockId, from: BlockState) -> Result<(), Stale> {
        debug_assert!(matches!(from, BlockState::Claimed(_) | BlockState::Detached(_)));
        let word = id.word(from);
        self.change(id, word, word.freed())?;
        self.lower_hint(id.index);
        crate::crash_point!("blocks.free.done");
        Ok(())
    }

    /// Moves a block between `Claimed` and `Detached` states of the same or different holders.
    ///
    /// # Errors
    /// [`Stale`] if its state is not `from`; of several who try, one succeeds.
    #[inline]
    pub fn pass(self, id: BlockId, from: BlockState, to: BlockState) -> Result<(), Stale> {
        debug_assert!(matches!(from, BlockState::Claimed(_) | BlockState::Detached(_)));
        debug_assert!(matches!(to, BlockState::Claimed(_) | BlockState::Detached(_)));
        self.change(id, id.word(from), id.word(to))?;
        crate::crash_point!("blocks.adopt.done");
        Ok(())
    }

    /// Makes a claimed block immutable, held by its owner.
    ///
    /// # Errors
    /// [`Stale`] if it is not claimed by `holder`.
    pub fn share(self, id: BlockId, holder: Holder) -> Result<(), Stale> {
        self.share_as(id, holder, BlockState::Shared { holds: 0 })
    }

    /// Makes a claimed block one whose holders write it as atomics, held by its owner.
    ///
    /// # Errors
    /// [`Stale`] if it is not claimed by `holder`.
    pub fn enliven(self, id: BlockId, holder: Holder) -> Result<(), Stale> {
        self.share_as(id, holder, BlockState::Live { holds: 0 })
    }

    fn share_as(self, id: BlockId, holder: Holder, state: BlockState) -> Result<(), Stale> {
        let claimed = id.word(BlockState::Claimed(holder));
        let found = self.word(id.index);
        if found != claimed {
            return Err(Stale { found });
        }
        self.holders[id.place()].insert(holder);
        crate::crash_point!("blocks.share.bit_set");
        // The exchange in `change` is a Release: whoever sees Shared sees the bit, so a shared block without
        // a bit is one that everybody let go of.
        self.change(id, claimed, id.word(state))?;
        crate::crash_point!("blocks.share.shared");
        Ok(())
    }

    /// Adds the calling process to the holders of a shared block.
    ///
    /// Calls with the same `holder` and block must not overlap: a failing one takes the bit back.
    ///
    /// # Errors
    /// [`Stale`] if this life of the block is over, or it was never shared. Only that somebody else is known to
    /// hold it excludes this.
    pub fn hold(self, id: BlockId, holder: Holder) -> Result<(), Stale> {
        let mut seen = self.word(id.index);
        if !seen.is_shared(id.generation) {
            return Err(Stale { found: seen });
        }
        self.holders[id.place()].insert(holder);
        crate::crash_point!("blocks.hold.bit_set");
        while seen.is_shared(id.generation) {
            // AcqRel: the Release half pairs with the Acquire of the word in `reap`: who sees this hold counted
            // sees its bit. The Acquire half pairs with the Release in `share`: the bytes are readable.
            // Acquire on failure: `seen` is judged again.
            match self.exchange(id.index, seen, seen.held_once_more(), Ordering::AcqRel) {
                Ok(()) => {
                    crate::crash_point!("blocks.hold.counted");
                    return Ok(());
                }
                Err(found) => seen = found,
            }
        }
        // Everybody let go meanwhile. The bit may have kept a later life of the block from being freed, so
        // taking it back has the duties of a `let_go`.
        self.holders[id.place()].remove(holder);
        self.reap(id.index);
        Err(Stale { found: seen })
    }

    /// Removes the calling process from the holders; true if it was the last and the block is free now.
    ///
    /// # Errors
    /// [`Stale`] if `holder` does not hold this life of the block.
    pub fn let_go(self, id: BlockId, holder: Holder) -> Result<bool, Stale> {
        let found = self.word(id.index);
        let set = &self.holders[id.place()];
        if !found.is_shared(id.generation) || !set.contains(holder) {
            return Err(Stale { found });
        }
        set.remove(holder);
        crate::crash_point!("blocks.let_go.cleared");
        Ok(self.reap(id.index))
    }

    /// Gives back everything a dead process had; returns how many blocks are free now that were not.
    ///
    /// Only after the death is certain, and before `dead` names another process. Any number may recover at once.
    pub fn recover(self, dead: Holder) -> u32 {
        self.used().map(|index| u32::from(self.recover_one(index, dead))).sum()
    }

    fn recover_one(self, index: u32, dead: Holder) -> bool {
        let set = &self.holders[index as usize];
        // The bit goes first: whatever the state, it must not survive into a life of the block in which the
        // number names another process.
        let had_bit = set.contains(dead) && set.remove(dead);
        let word = self.word(index);
        match word.state() {
            BlockState::Claimed(holder) | BlockState::Detached(holder) if holder == dead => {
                let id = BlockId { index, generation: word.generation() };
                self.free(id, word.state()).is_ok()
            }
            // Also without a bit: the dead may have cleared its own and died before it looked at the others'.
            BlockState::Shared { .. } | BlockState::Live { .. } => self.reap(index),
            // The block may become Shared and be let go of just now, by somebody who still sees the bit.
            _ => had_bit && self.reap(index),
        }
    }

    /// Frees block `index` if it is shared and nobody holds it. Called after a bit was cleared.
    fn reap(self, index: u32) -> bool {
        // SeqCst: pairs with itself in other calls. Of two processes that each clear a bit and then look at all
        // bits, at least the one whose fence comes second sees both cleared.
        fence(Ordering::SeqCst);
        let mut seen = self.word(index);
        while seen.is_shared(seen.generation()) {
            if !self.holders[index as usize].is_empty() {
                return false;
            }
            // AcqRel: the Release half pairs with the Acquire in `claim_at`: all holders' reads, seen cleared in
            // `is_empty`, come before the next owner's writes. Acquire on failure: pairs with the Release in
            // `hold`; a hold since `seen` makes its bit visible to the next look.
            match self.exchange(index, seen, seen.freed(), Ordering::AcqRel) {
                Ok(()) => {
                    self.lower_hint(index);
                    crate::crash_point!("blocks.let_go.freed");
                    return true;
                }
                Err(found) => seen = found,
            }
        }
        false
    }

    /// Moves a block that only the caller may move.
    #[inline]
    fn change(self, id: BlockId, from: Word, to: Word) -> Result<(), Stale> {
        // AcqRel: the Release half pairs with the Acquire of whoever has the block next (`claim_at`, `change`,
        // `hold`, `word`): what was done to the bytes before comes before what they do. The Acquire half
        // pairs with the Release of whoever had it.
        self.exchange(id.index, from, to, Ordering::AcqRel).map_err(|found| Stale { found })
    }

    #[inline]
    fn exchange(self, index: u32, from: Word, to: Word, success: Ordering) -> Result<(), Word> {
        // Acquire on failure: callers judge what they find as if `word` had returned it.
        self.words[index as usize]
            .compare_exchange(from.0, to.0, success, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    /// Points the hint at a block that was just freed, if it lies lower: the blocks in use stay few and warm.
    #[inline]
    fn lower_hint(self, index: u32) {
        // Relaxed, both: a hint, and losing one to a race costs a longer search.
        let hint = &self.region_of(index).hint;
        if index < hint.load(Ordering::Relaxed) {
            hint.store(index, Ordering::Relaxed);
        }
    }
}
