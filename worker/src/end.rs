//! End: one side of a channel as a process holds it, and the way of an end from process to process.
//!
//! An end is a hold of the channel's block and a role in the channel's census. A process has one bit there per role, so
//! the ends of a process are counted here: the first joins, the last leaves. Who leaves a channel that nobody can receive
//! from any more throws away what is in it.
//!
//! An end is good only in the process that made it: a fork of that process must not touch the channel.

use crate::letter;
use crate::os::fork;
use crate::pace::Pace;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{AllocateError, BlockHandle, Blocks, HandleError, Holder, OwnedBlock, SharedBlock};
use gorun_shm::ring::mpmc::{Geometry, Header, Ring, Role, Terms};
use gorun_shm::segment::{View, ViewSlice};
use gorun_shm::sync::AtomicU64;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose, of which allocator (by address), which block, which life of it, in which role.
type Key = (Holder, usize, u64, u16, Role);

/// How many ends this process has of each kind.
static ENDS: Mutex<BTreeMap<Key, usize>> = Mutex::new(BTreeMap::new());

/// A channel's memory, held and no more: no end.
pub struct Place {
    header: View<Header>,
    words: ViewSlice<AtomicU64>,
    geometry: Geometry,
    terms: Terms,
    /// Forks behind this process when the place was opened.
    forks: u32,
    block: SharedBlock,
}

impl Place {
    /// The channel in `block`.
    ///
    /// # Errors
    /// [`HandleError::TooLong`] if there is none that fits.
    pub fn open(block: SharedBlock) -> Result<Self, HandleError> {
        let bytes = block.handle().bytes();
        let no_channel = HandleError::TooLong { bytes: bytes.into(), class_bytes: 0 };
        let header = block.view::<Header>(0).map_err(|_| no_channel)?;
        let (geometry, terms) = header.read(bytes as usize).map_err(|_| no_channel)?;
        let words = block.view_slice(Geometry::HEADER_BYTES, geometry.words()).map_err(|_| no_channel)?;
        Ok(Self { header, words, geometry, terms, forks: fork::forks(), block })
    }

    /// The ring.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> Ring<'_> {
        Ring::new(&self.header, &self.words, self.geometry)
    }

    /// The header, for who waits at its gates while it holds the block.
    #[must_use]
    pub fn header(&self) -> &View<Header> {
        &self.header
    }

    /// The block it lies in.
    #[must_use]
    pub fn block(&self) -> &SharedBlock {
        &self.block
    }

    /// What the channel's users agreed upon.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.terms
    }

    #[inline]
    fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_foreign() {
            // The hold is the parent's: this process, its fork, must not let go of it.
            std::mem::forget(self.block.clone());
        }
    }
}

/// One side of a channel.
pub struct End {
    place: Place,
    role: Role,
    me: Holder,
    pace: Pace,
}

impl End {
    /// A channel: its first two ends.
    ///
    /// # Errors
    /// [`AllocateError`] if there is no memory for it.
    pub fn channel(
        blocks: &Arc<Blocks>,
        owner: OwnerId,
        geometry: Geometry,
        terms: Terms,
    ) -> Result<(Arc<Self>, Arc<Self>), AllocateError> {
        let mut block = OwnedBlock::allocate(blocks, geometry.bytes(), owner)?;
        block.as_mut_slice().fill(0);
        let not_an_owner = AllocateError::NotAnOwner { owner };
        // Fails only over words that another process has written: then there is no such owner either.
        let block = block.enliven().map_err(|_| not_an_owner)?;
        let header = block.view::<Header>(0).map_err(|_| not_an_owner)?;
        let words = block.view_slice(Geometry::HEADER_BYTES, geometry.words()).map_err(|_| not_an_owner)?;
        let me = Holder::of(owner).ok_or(not_an_owner)?;
        // Before the head is written: a recoverer that finds the channel from then on finds that it has ends.
        let ring = Ring::new(&header, &words, geometry);
        if !(ring.join(Role::Sender, me) && ring.join(Role::Receiver, me)) {
            return Err(not_an_owner);
        }
        header.format(geometry, terms);
        let sender = Self::hold(block.clone(), Role::Sender).map_err(|_| not_an_owner)?;
        let receiver = Self::hold(block, Role::Receiver).map_err(|_| not_an_owner)?;
        Ok((sender, receiver))
    }

    /// An end of a channel between programs: the one in the block of this handle. Somebody must have an end of that role
    /// meanwhile.
    ///
    /// # Errors
    /// [`HandleError`] if there is no channel, or nobody has an end of that role any more.
    pub fn attach(
        blocks: &Arc<Blocks>,
        handle: BlockHandle,
        owner: OwnerId,
        role: Role,
    ) -> Result<Arc<Self>, HandleError> {
        Self::hold(SharedBlock::hold(blocks, handle, owner)?, role)
    }

    /// An end of the channel in `block`, which this process holds. Somebody must have an end of that role meanwhile.
    pub(crate) fn hold(block: SharedBlock, role: Role) -> Result<Arc<Self>, HandleError> {
        let me = Holder::of(block.owner()).ok_or(HandleError::NotAnOwner { owner: block.owner() })?;
        let place = Place::open(block)?;
        let mut ends = lock();
        match ends.entry(key(&place.block, me, role)) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(first) => {
                if !place.ring().join(role, me) {
                    return Err(HandleError::NotAnOwner { owner: me.owner() });
                }
                first.insert(1);
            }
        }
        Ok(Arc::new(Self { place, role, me, pace: Pace::default() }))
    }

    /// The same end, counted once more; none in a fork of its process.
    pub(crate) fn again(&self) -> Option<Arc<Self>> {
        if self.is_foreign() {
            return None;
        }
        Self::hold(self.place.block.clone(), self.role).ok()
    }

    /// The ring.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> Ring<'_> {
        self.place.ring()
    }

    /// What it is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who this process is in the channel.
    #[must_use]
    #[inline]
    pub fn me(&self) -> Holder {
        self.me
    }

    /// How long to leave the other side alone.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What the channel's users agreed upon.
    #[must_use]
    #[inline]
    pub fn terms(&self) -> Terms {
        self.place.terms
    }

    /// The shape of the ring.
    #[must_use]
    #[inline]
    pub fn geometry(&self) -> Geometry {
        self.place.geometry
    }

    /// The allocator it lies in.
    #[must_use]
    #[inline]
    pub fn blocks(&self) -> &Arc<Blocks> {
        self.place.block.blocks()
    }

    /// The block it lies in: holding it keeps the memory, and no role.
    #[must_use]
    pub fn block(&self) -> &SharedBlock {
        &self.place.block
    }

    /// The channel's memory.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// True in a process that was forked from the one it belongs to.
    #[must_use]
    #[inline]
    pub fn is_foreign(&self) -> bool {
        self.place.is_foreign()
    }

    /// Lies in the same place as the other end's channel.
    #[must_use]
    pub fn is_same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.blocks(), other.blocks()) && self.block().handle() == other.block().handle()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.is_foreign() {
            return;
        }
        {
            let mut ends = lock();
            let Entry::Occupied(mut count) = ends.entry(key(&self.place.block, self.me, self.role)) else {
                return;
            };
            *count.get_mut() -= 1;
            if *count.get() > 0 {
                return;
            }
            count.remove();
            // Under the lock, so that no `hold` of this process joins in between.
            self.ring().leave(self.role, self.me);
        }
        if self.ring().standing().has_lost(Role::Receiver) {
            letter::throw_away(&self.ring(), self.blocks(), self.me);
        }
    }
}

fn key(block: &SharedBlock, me: Holder, role: Role) -> Key {
    let handle = block.handle();
    (me, Arc::as_ptr(block.blocks()) as usize, handle.offset(), handle.generation(), role)
}

fn lock() -> MutexGuard<'static, BTreeMap<Key, usize>> {
    ENDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("role", &self.role)
            .field("me", &self.me)
            .field("place", &self.place)
            .finish()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("geometry", &self.geometry)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}
