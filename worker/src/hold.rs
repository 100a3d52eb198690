//! Hold: a role of this process in something that begins with a channel's head, for ends that are not a channel's.
//!
//! As with `end`, a process has one bit per role in the census, so its holds are counted here: the first joins, the last
//! leaves. A hold is good only in the process that made it.

use crate::os::fork;
use crate::porter::{Post, Which};
use gorun_shm::blocks::{BlockHandle, Blocks, HandleError, Holder, SharedBlock};
use gorun_shm::ring::mpmc::{Header, Role};
use gorun_shm::segment::View;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose, of which allocator (by address), which block, which life of it, in which role.
type Key = (Holder, usize, u64, u16, Role);

/// How many holds this process has of each kind.
static HOLDS: Mutex<BTreeMap<Key, usize>> = Mutex::new(BTreeMap::new());

/// What a block holds whose bytes are something else.
pub(crate) const NOT_THAT: HandleError = HandleError::TooLong { bytes: 0, class_bytes: 0 };

/// One of this process's holds of a role.
pub struct Hold {
    header: View<Header>,
    block: SharedBlock,
    role: Role,
    me: Holder,
    /// Forks behind this process when the hold was made.
    forks: u32,
    is_over: bool,
}

impl Hold {
    /// Joins the census in `block`. Somebody must have that role meanwhile.
    ///
    /// # Errors
    /// [`HandleError`] if the block is another's, or nobody has the role any more.
    pub fn join(block: SharedBlock, header: View<Header>, role: Role) -> Result<Self, HandleError> {
        let me = Holder::of(block.owner()).ok_or(HandleError::NotAnOwner { owner: block.owner() })?;
        let mut holds = lock();
        match holds.entry(key(&block, me, role)) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(first) => {
                if !header.join(role, me) {
                    return Err(HandleError::NotAnOwner { owner: me.owner() });
                }
                first.insert(1);
            }
        }
        Ok(Self { header, block, role, me, forks: fork::forks(), is_over: false })
    }

    /// Gives the role up, once. The last of the process leaves the census.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.is_over, true) || self.is_foreign() {
            return;
        }
        let mut holds = lock();
        let Entry::Occupied(mut count) = holds.entry(key(&self.block, self.me, self.role)) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
            // Under the lock, so that no `join` of this process comes in between.
            self.header.leave(self.role, self.me);
        }
    }

    /// The head.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &View<Header> {
        &self.header
    }

    /// The block it lies in.
    #[must_use]
    pub fn block(&self) -> &SharedBlock {
        &self.block
    }

    /// The allocator it lies in.
    #[must_use]
    pub fn blocks(&self) -> &Arc<Blocks> {
        self.block.blocks()
    }

    /// The block's name.
    #[must_use]
    pub fn handle(&self) -> BlockHandle {
        self.block.handle()
    }

    /// What it is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who this process is in it.
    #[must_use]
    #[inline]
    pub fn me(&self) -> Holder {
        self.me
    }

    /// One of its gates.
    #[must_use]
    pub fn post(&self, which: Which) -> Post {
        Post::of(self.header.clone(), self.block.clone(), which)
    }

    /// True in a process that was forked from the one it belongs to.
    #[must_use]
    #[inline]
    pub fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_foreign() {
            // The hold of the block is the parent's: this process, its fork, must not let go of it.
            std::mem::forget(self.block.clone());
        }
        self.leave();
    }
}

fn key(block: &SharedBlock, me: Holder, role: Role) -> Key {
    let handle = block.handle();
    (me, Arc::as_ptr(block.blocks()) as usize, handle.offset(), handle.generation(), role)
}

fn lock() -> MutexGuard<'static, BTreeMap<Key, usize>> {
    HOLDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("role", &self.role)
            .field("me", &self.me)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}
