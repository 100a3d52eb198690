//! A block that several processes read and nobody writes.
// UNSAFETY: the bytes of a block are a slice of the mapping.
#![expect(unsafe_code, reason = "a slice of mapped bytes is made from an address")]

use super::class::Class;
use super::handle::{BlockHandle, BlockRef, HandleError};
use super::holder::Holder;
use super::pool::{Blocks, holder_of};
use super::table::{BlockId, Stale};
use crate::owner::OwnerId;
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
        });
    }
}

/// Read access to a shared block; let go of when the process's last clone is dropped.
///
/// Invariant: the holder's bit is set in the block's holder set for as long as this lives, so the block stays
/// Shared in generation `id.generation`, and nobody writes a shared block.
#[derive(Clone)]
pub struct SharedBlock {
    hold: Arc<Hold>,
    /// Bytes in use, at most the class's.
    bytes: u32,
}

impl SharedBlock {
    /// Turns a claimed block into a shared one. On failure the block is given up.
    pub(super) fn publish(
        blocks: &Arc<Blocks>,
        class: Class,
        id: BlockId,
        bytes: u32,
        holder: Holder,
    ) -> Result<Self, HandleError> {
        let key = (holder, class, id);
        let held = blocks.local_holds().add(key, || blocks.table(class).share(id, holder));
        held.map_err(|stale| HandleError::stale(id, stale))?;
        Ok(Self { hold: Arc::new(Hold { blocks: Arc::clone(blocks), key }), bytes })
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
        let key = (holder, class, id);
        let held = blocks.local_holds().add(key, || blocks.table(class).hold(id, holder));
        held.map_err(|stale| HandleError::stale(id, stale))?;
        Ok(Self { hold: Arc::new(Hold { blocks: Arc::clone(blocks), key }), bytes })
    }

    /// The bytes in use.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let (_, class, id) = self.hold.key;
        let first = self.hold.blocks.first_byte(class, id.index);
        // SAFETY: valid for `bytes` reads: index and length were checked against the shape, whose end lies in the
        // mapping, which `blocks` keeps alive. Initialised: mapped bytes always are. Not written meanwhile: by
        // the invariant the block is Shared, and only an `OwnedBlock` of a claimed one writes.
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
