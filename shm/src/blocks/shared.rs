//! A block that several processes read and nobody writes.
// UNSAFETY: the bytes of a block are a slice of the mapping.
#![expect(unsafe_code, reason = "a slice of mapped bytes is made from an address")]

use super::class::Class;
use super::handle::{BlockHandle, BlockRef, HandleError};
use super::holder::Holder;
use super::pool::{Blocks, holder_of};
use super::table::{BlockId, Stale};
use crate::owner::OwnerId;
use crate::segment::{OutOfSegment, Shared, View, ViewSlice};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One hold: which holder, which block, which life of it.
type Key = (Holder, Class, BlockId);

/// How often this process holds each block: it has one bit in the holder set, however many threads ask.
#[derive(Debug, Default)]
pub(super) struct LocalHolds {
    counts: Mutex<BTreeMap<Key, usize>>,
}

impl LocalHolds {
    /// Counts one more hold; the first is made by `first`, under the lock.
    fn add(&self, key: Key, first: impl FnOnce() -> Result<(), Stale>) -> Result<(), Stale> {
        match self.lock().entry(key) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(place) => {
                first()?;
                place.insert(1);
            }
        }
        Ok(())
    }

    /// Counts one hold less; the last is ended by `last`, under the lock, so that no `add` slips in between.
    fn remove(&self, key: Key, last: impl FnOnce()) {
        let mut counts = self.lock();
        let Entry::Occupied(mut count) = counts.entry(key) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
            last();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted hold, shared by the clones of a [`SharedBlock`].
struct Hold {
    blocks: Arc<Blocks>,
    key: Key,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (holder, class, id) = self.key;
        self.blocks.local_holds().remove(self.key, || {
            // A failure means that another process broke the tables; the block is lost then, not freed twice.
            let _ = self.blocks.table(class).let_go(id, holder);
            self.blocks.freed();
        });
    }
}

/// Read access to a shared block; let go of when the process's last clone is dropped.
///
/// Invariant: the holder's bit is set in the block's holder set for as long as this lives, so the block stays
/// Shared or Live in generation `id.generation`, and nobody writes a shared block.
#[derive(Clone)]
pub struct SharedBlock {
    hold: Arc<Hold>,
    /// Bytes in use, at most the class's.
    bytes: u32,
    is_live: bool,
}

impl SharedBlock {
    /// Turns a claimed block into a shared or live one by `publish`. On failure the block is given up.
    pub(super) fn publish(
        blocks: &Arc<Blocks>,
        class: Class,
        id: BlockId,
        bytes: u32,
        holder: Holder,
        publish: impl FnOnce(BlockId) -> Result<(), Stale>,
    ) -> Result<Self, HandleError> {
        Self::held_by(blocks, (holder, class, id), bytes, || publish(id))
    }

    fn held_by(
        blocks: &Arc<Blocks>,
        key: Key,
        bytes: u32,
        first: impl FnOnce() -> Result<(), Stale>,
    ) -> Result<Self, HandleError> {
        let (_, class, id) = key;
        let held = blocks.local_holds().add(key, first);
        held.map_err(|stale| HandleError::stale(id, stale))?;
        // A held block stays what it is, so the word need not be looked at again.
        let is_live = blocks.table(class).word(id.index).is_live();
        Ok(Self { hold: Arc::new(Hold { blocks: Arc::clone(blocks), key }), bytes, is_live })
    }

    /// Holds a block that another process shares, for `owner`, which is this process.
    ///
    /// It fails if everybody let go of the block before; so somebody should be known to hold it meanwhile.
    ///
    /// # Errors
    /// [`HandleError`] if the handle is not, or no longer, that of a shared block.
    ///
    /// # Blocking
    /// While another thread of this process holds or lets go of a block.
    pub fn hold(blocks: &Arc<Blocks>, handle: BlockHandle, owner: OwnerId) -> Result<Self, HandleError> {
        let holder = holder_of(owner)?;
        let BlockRef { class, id, bytes, .. } = blocks.check(handle)?;
        Self::held_by(blocks, (holder, class, id), bytes, || blocks.table(class).hold(id, holder))
    }

    /// True if holders write the block, as atomics.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The process that holds it by this value.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.hold.key.0.owner()
    }

    /// A view of one `T` at byte `at` of a live block. It keeps the segment alive, not the hold.
    ///
    /// # Errors
    /// [`OutOfSegment`] if it does not fit the bytes in use, or the block is not live.
    pub fn view<T: Shared>(&self, at: usize) -> Result<View<T>, OutOfSegment> {
        self.hold.blocks.segment().view(self.place(at, 1, size_of::<T>())?)
    }

    /// A view of `count` `T`s from byte `at` of a live block on. It keeps the segment alive, not the hold.
    ///
    /// # Errors
    /// As [`SharedBlock::view`].
    pub fn view_slice<T: Shared>(&self, at: usize, count: usize) -> Result<ViewSlice<T>, OutOfSegment> {
        self.hold.blocks.segment().view_slice(self.place(at, count, size_of::<T>())?, count)
    }

    fn place(&self, at: usize, count: usize, each: usize) -> Result<u64, OutOfSegment> {
        let bytes = if self.is_live { self.bytes as usize } else { 0 };
        let refusal = OutOfSegment { offset: at as u64, count, each, bytes };
        let end = each.checked_mul(count).and_then(|long| long.checked_add(at)).ok_or(refusal)?;
        if end > bytes {
            return Err(refusal);
        }
        Ok(self.handle().offset() + at as u64)
    }

    /// The bytes in use; none of a live block, which others write meanwhile.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.is_live {
            return &[];
        }
        let (_, class, id) = self.hold.key;
        let first = self.hold.blocks.first_byte(class, id.index);
        // SAFETY: valid for `bytes` reads: index and length were checked against the shape, whose end lies in the
        // mapping, which `blocks` keeps alive. Initialised: mapped bytes always are. Not written meanwhile: by
        // the invariant the block is Shared or Live, the latter was excluded, and only an `OwnedBlock` of a claimed
        // one writes.
        unsafe { std::slice::from_raw_parts(first, self.bytes as usize) }
    }

    /// The allocator it belongs to.
    #[must_use]
    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.hold.blocks
    }

    /// The block's name, for other processes to hold it by while this value lives.
    #[must_use]
    pub fn handle(&self) -> BlockHandle {
        let (_, class, id) = self.hold.key;
        self.hold.blocks.shape().handle(class, id, self.bytes)
    }
}

impl fmt::Debug for SharedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBlock")
            .field("handle", &self.handle())
            .field("holder", &self.hold.key.0)
            .finish()
    }
}
