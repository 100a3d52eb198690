//! A block that one process has to itself, to fill or to read.
// UNSAFETY: the bytes of a block are a slice of the mapping.
#![expect(unsafe_code, reason = "a slice of mapped bytes is made from an address")]

use super::class::Class;
use super::handle::{BlockHandle, BlockRef, HandleError};
use super::holder::Holder;
use super::pool::{AllocateError, Blocks, holder_of};
use super::shared::SharedBlock;
use super::table::BlockId;
use super::word::BlockState;
use crate::owner::OwnerId;
use std::fmt;
use std::sync::Arc;

/// Exclusive ownership of a block; freed when dropped.
///
/// Invariant: the block's word is Claimed by `holder` in generation `id.generation` for as long as this lives. Only
/// the exchange that leads from Free, Detached or a dead process's Claimed to Claimed makes one, so there is never
/// a second for the same life of a block, whoever tries.
///
/// The bytes are those an earlier task of the same runtime left there, until they are written.
pub struct OwnedBlock {
    blocks: Arc<Blocks>,
    class: Class,
    id: BlockId,
    /// Bytes in use, at most the class's.
    bytes: u32,
    holder: Holder,
}

impl OwnedBlock {
    /// A fresh block for `bytes` bytes.
    ///
    /// # Errors
    /// As [`Blocks::allocate`].
    #[inline]
    pub fn allocate(blocks: &Arc<Blocks>, bytes: usize, owner: OwnerId) -> Result<Self, AllocateError> {
        let (class, id, bytes) = blocks.claim(bytes, owner)?;
        let holder = Holder::of(owner).ok_or(AllocateError::NotAnOwner { owner })?;
        Ok(Self { blocks: Arc::clone(blocks), class, id, bytes, holder })
    }

    /// [`OwnedBlock::allocate`], which waits for a free block where the pool's terms say so.
    ///
    /// # Errors
    /// As [`OwnedBlock::allocate`].
    ///
    /// # Blocking
    /// While all blocks are in use, as long as the pool's patience.
    #[inline]
    pub fn allocate_in_time(
        blocks: &Arc<Blocks>,
        bytes: usize,
        owner: OwnerId,
    ) -> Result<Self, AllocateError> {
        match Self::allocate(blocks, bytes, owner) {
            Ok(block) => Ok(block),
            Err(_) => blocks.take_in_time(|| Self::allocate(blocks, bytes, owner)),
        }
    }

    /// Takes over a detached block of `owner`'s. Of several who try with the same handle, one succeeds.
    ///
    /// # Errors
    /// [`HandleError`] if the handle is not that of such a block.
    pub fn from_handle(
        blocks: &Arc<Blocks>,
        handle: BlockHandle,
        owner: OwnerId,
    ) -> Result<Self, HandleError> {
        Self::adopt(blocks, handle, owner, owner)
    }

    /// Takes over a detached block of `from`'s for `to`, in one step: how a result gets from its worker to the
    /// host.
    ///
    /// # Errors
    /// [`HandleError`] if the handle is not that of such a block.
    pub fn adopt(
        blocks: &Arc<Blocks>,
        handle: BlockHandle,
        from: OwnerId,
        to: OwnerId,
    ) -> Result<Self, HandleError> {
        let holder = holder_of(to)?;
        let from = BlockState::Detached(holder_of(from)?);
        let BlockRef { class, id, bytes, .. } = blocks.pass(handle, from, BlockState::Claimed(holder))?;
        Ok(Self { blocks: Arc::clone(blocks), class, id, bytes, holder })
    }

    /// Takes over a block that a dead process was using, for `to`, before [`Blocks::recover`] frees it.
    ///
    /// Only after the death of every thread of `dead` is certain: its own value must not be used any more.
    ///
    /// # Errors
    /// [`HandleError`] if the handle is not that of a block `dead` was using, or if `dead` is `to`.
    pub fn seize(
        blocks: &Arc<Blocks>,
        handle: BlockHandle,
        dead: OwnerId,
        to: OwnerId,
    ) -> Result<Self, HandleError> {
        let holder = holder_of(to)?;
        if dead == to {
            return Err(HandleError::NotAnOwner { owner: dead });
        }
        let from = BlockState::Claimed(holder_of(dead)?);
        let BlockRef { class, id, bytes, .. } = blocks.pass(handle, from, BlockState::Claimed(holder))?;
        Ok(Self { blocks: Arc::clone(blocks), class, id, bytes, holder })
    }

    /// Detaches the block, to be passed on: it stays `owner`'s until somebody takes it over, and its bytes are
    /// out of reach meanwhile.
    #[must_use = "a detached block is freed by nobody but `Blocks::free` and `Blocks::recover`"]
    pub fn into_handle(self) -> BlockHandle {
        let handle = self.handle();
        let claimed = BlockState::Claimed(self.holder);
        let detached = BlockState::Detached(self.holder);
        // A failure means that another process broke the word; the block is given up either way.
        let _ = self.blocks.table(self.class).pass(self.id, claimed, detached);
        self.without_free();
        handle
    }

    /// Detaches the block in `to`'s name: how a borrowed block goes back to a lender who still knows its handle.
    ///
    /// A lender that has died meanwhile gets it all the same; its recovery frees it.
    pub fn give_back(self, to: OwnerId) {
        if let Some(lender) = Holder::of(to) {
            let claimed = BlockState::Claimed(self.holder);
            // A failure means that another process broke the word; the block is given up either way.
            let _ = self.blocks.table(self.class).pass(self.id, claimed, BlockState::Detached(lender));
            self.without_free();
        }
    }

    /// Makes the block immutable, to be held by several processes.
    ///
    /// # Errors
    /// [`HandleError::Stale`] if another process broke the block's word: the block is given up.
    pub fn share(self) -> Result<SharedBlock, HandleError> {
        let publish = |id| self.blocks.table(self.class).share(id, self.holder);
        let shared =
            SharedBlock::publish(&self.blocks, self.class, self.id, self.bytes, self.holder, publish);
        self.without_free();
        shared
    }

    /// Makes the block one that several processes hold and write as atomics: see [`SharedBlock::view`].
    ///
    /// # Errors
    /// As [`OwnedBlock::share`].
    pub fn enliven(self) -> Result<SharedBlock, HandleError> {
        let publish = |id| self.blocks.table(self.class).enliven(id, self.holder);
        let shared =
            SharedBlock::publish(&self.blocks, self.class, self.id, self.bytes, self.holder, publish);
        self.without_free();
        shared
    }

    /// The bytes in use.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let first = self.blocks.first_byte(self.class, self.id.index);
        // SAFETY: valid for `bytes` reads: index and length were checked against the shape, whose end lies in the
        // mapping, which `blocks` keeps alive. Initialised: mapped bytes always are. Not written meanwhile: by
        // the invariant this value is the only one with access, and writing borrows it mutably.
        unsafe { std::slice::from_raw_parts(first, self.bytes as usize) }
    }

    /// A copy of the first `bytes` bytes in use, or of all if there are fewer, read once and in any state: for a block
    /// that its maker may still write to, because it keeps to no rule.
    #[must_use]
    pub fn copy_out(&self, bytes: usize) -> Vec<u8> {
        let first = self.blocks.first_byte(self.class, self.id.index).cast_const();
        let count = bytes.min(self.bytes as usize);
        let mut copy = Vec::with_capacity(count);
        let mut at = 0;
        while at + size_of::<u64>() <= count {
            // SAFETY: valid for this read as in `as_slice`, and aligned: blocks begin at multiples of 64. Volatile,
            // because another process may write meanwhile: every word is read once, and what it holds is a number.
            let word = unsafe { first.wrapping_add(at).cast::<u64>().read_volatile() };
            copy.extend_from_slice(&word.to_ne_bytes());
            at += size_of::<u64>();
        }
        while at < count {
            // SAFETY: as above; a byte has no alignment.
            copy.push(unsafe { first.wrapping_add(at).read_volatile() });
            at += 1;
        }
        copy
    }

    /// The bytes in use, to write.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let first = self.blocks.first_byte(self.class, self.id.index);
        // SAFETY: valid for `bytes` reads and writes as in `as_slice`; aligned for bytes; unique: by the
        // invariant this value is the only one with access, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(first, self.bytes as usize) }
    }

    /// Changes how many bytes are in use, 0..=[`OwnedBlock::capacity`]. New ones hold whatever was there.
    ///
    /// # Errors
    /// [`HandleError::TooLong`] if the block is not that large.
    pub fn set_bytes(&mut self, bytes: usize) -> Result<(), HandleError> {
        let class_bytes = self.class.bytes();
        let too_long = HandleError::TooLong { bytes: bytes as u64, class_bytes };
        let in_use = u32::try_from(bytes).map_err(|_| too_long)?;
        if u64::from(in_use) > class_bytes {
            return Err(too_long);
        }
        self.bytes = in_use;
        Ok(())
    }

    /// Most bytes the block can hold.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the block lies in a mapping, so its size is a usize"
    )]
    pub fn capacity(&self) -> usize {
        self.class.bytes() as usize
    }

    /// The process that has it.
    #[must_use]
    #[inline]
    pub fn owner(&self) -> OwnerId {
        self.holder.owner()
    }

    /// The allocator it belongs to.
    #[must_use]
    #[inline]
    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// The block's name as it stands. Worth nothing to others before [`OwnedBlock::into_handle`].
    #[must_use]
    pub fn handle(&self) -> BlockHandle {
        self.blocks.shape().handle(self.class, self.id, self.bytes)
    }

    /// Ends this value without freeing the block.
    fn without_free(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `blocks` is a valid `Arc` that is not used again: `this` is never dropped nor touched.
        unsafe { std::ptr::drop_in_place(&raw mut this.blocks) };
    }
}

impl Drop for OwnedBlock {
    #[inline]
    fn drop(&mut self) {
        // A failure means that another process broke the word; the block is lost then, not given out twice.
        let _ = self.blocks.table(self.class).free(self.id, BlockState::Claimed(self.holder));
        self.blocks.freed();
    }
}

impl fmt::Debug for OwnedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedBlock").field("handle", &self.handle()).field("holder", &self.holder).finish()
    }
}
