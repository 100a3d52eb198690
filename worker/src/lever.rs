//! Lever: the right to cancel a context, as a process holds it, and the context's own words.
//!
//! The right is a hold of a block of its own, so that the allocator counts who has it, dead or alive, here or on its way:
//! see `shm/src/context.md`. Who lets go of it as the last ends the context.
//!
//! Both are good only in the process that made them: a fork of that process must not touch the context.

use crate::os::fork;
use crate::porter::Post;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{AllocateError, BlockHandle, Blocks, HandleError, Holder, OwnedBlock, SharedBlock};
use gorun_shm::context::{ContextWords, Ending};
use gorun_shm::gate::Gate;
use gorun_shm::segment::View;
use std::fmt;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// A context's words, held.
pub struct ContextPlace {
    words: View<ContextWords>,
    gate: View<Gate>,
    /// Forks behind this process when it was opened.
    forks: u32,
    block: SharedBlock,
}

impl ContextPlace {
    /// A context, and the right to cancel it.
    ///
    /// # Errors
    /// [`AllocateError`] if there is no memory for it.
    pub fn create(blocks: &Arc<Blocks>, owner: OwnerId) -> Result<(Self, Lever), AllocateError> {
        let not_an_owner = AllocateError::NotAnOwner { owner };
        let mut block = OwnedBlock::allocate(blocks, ContextWords::BYTES, owner)?;
        let mut lever = OwnedBlock::allocate(blocks, size_of::<BlockHandle>(), owner)?;
        lever.as_mut_slice().copy_from_slice(block.handle().words().as_bytes());
        block.as_mut_slice().fill(0);
        // These fail only over words that another process has written: then there is no such owner either.
        let block = block.enliven().map_err(|_| not_an_owner)?;
        let lever = lever.share().map_err(|_| not_an_owner)?;
        block.view::<ContextWords>(0).map_err(|_| not_an_owner)?.format(lever.handle().words());
        let open = |block: &SharedBlock| Self::open(block.clone()).map_err(|_| not_an_owner);
        let me = Holder::of(owner).ok_or(not_an_owner)?;
        let lever = Lever { context: open(&block)?, me, hold: Some(lever) };
        Ok((open(&block)?, lever))
    }

    /// The context in `block`.
    ///
    /// # Errors
    /// [`HandleError::TooLong`] if there is none.
    pub fn open(block: SharedBlock) -> Result<Self, HandleError> {
        let no_context = HandleError::TooLong { bytes: block.handle().bytes().into(), class_bytes: 0 };
        let words = block.view::<ContextWords>(0).map_err(|_| no_context)?;
        let gate = block.view::<Gate>(ContextWords::GATE_BYTE).map_err(|_| no_context)?;
        words.lever().ok_or(no_context)?;
        Ok(Self { words, gate, forks: fork::forks(), block })
    }

    /// The words.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &ContextWords {
        &self.words
    }

    /// The block they lie in.
    #[must_use]
    pub fn block(&self) -> &SharedBlock {
        &self.block
    }

    /// Where the porter waits for its end.
    #[must_use]
    pub fn post(&self) -> Post {
        Post::alone(self.gate.clone(), self.block.clone())
    }

    /// True if nobody is left who could cancel it.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let lever = self.words.lever().map(BlockHandle::from_words);
        lever.is_none_or(|lever| self.block.blocks().check(lever).is_err())
    }

    /// True in a process that was forked from the one it belongs to.
    #[must_use]
    #[inline]
    pub fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }
}

impl Drop for ContextPlace {
    fn drop(&mut self) {
        if self.is_foreign() {
            // The hold is the parent's: this process, its fork, must not let go of it.
            std::mem::forget(self.block.clone());
        }
    }
}

/// The right to cancel a context.
pub struct Lever {
    context: ContextPlace,
    me: Holder,
    /// None once it was let go of.
    hold: Option<SharedBlock>,
}

impl Lever {
    /// The lever in `block`, which this process holds, together with its context. Somebody must hold that meanwhile.
    pub(crate) fn open(block: SharedBlock) -> Result<Self, HandleError> {
        let (blocks, owner) = (Arc::clone(block.blocks()), block.owner());
        let no_lever = HandleError::TooLong { bytes: block.handle().bytes().into(), class_bytes: 0 };
        let words = <[u64; 2]>::read_from_bytes(block.as_slice()).map_err(|_| no_lever)?;
        let context = SharedBlock::hold(&blocks, BlockHandle::from_words(words), owner)?;
        let me = Holder::of(owner).ok_or(HandleError::NotAnOwner { owner })?;
        Ok(Self { context: ContextPlace::open(context)?, me, hold: Some(block) })
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &ContextPlace {
        &self.context
    }

    /// Cancels the context; false if it is over.
    pub fn cancel(&self, cause: &str) -> bool {
        if self.context.is_foreign() {
            return false;
        }
        let fits = cause.floor_char_boundary(ContextWords::CAUSE_BYTES_MAX);
        self.context.words.cancel(self.me, &cause.as_bytes()[..fits])
    }

    pub(crate) fn block(&self) -> &SharedBlock {
        self.hold.as_ref().unwrap_or(&self.context.block)
    }

    /// Tells whoever keeps it for a message that it has arrived.
    pub(crate) fn announce(&self) {
        self.context.gate.wake_all();
    }
}

impl Drop for Lever {
    fn drop(&mut self) {
        if self.context.is_foreign() {
            std::mem::forget(self.hold.take());
            return;
        }
        drop(self.hold.take());
        if self.context.is_abandoned() {
            self.context.words.end(self.me, Ending::Abandoned);
        }
    }
}

impl fmt::Debug for ContextPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextPlace")
            .field("ending", &self.words.ending())
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lever").field("context", &self.context).field("me", &self.me).finish_non_exhaustive()
    }
}
