//! Site: whatever lock lies in a block, for who does not care which: the recoverer, and the end of the runtime.

use super::{Barrier, Condition, Group, Head, Mutex, Once, Plan, Primitive, RwLock, Semaphore, Slots};
use crate::blocks::{BlockHandle, Blocks, Holder, SharedBlock};
use crate::owner::OwnerId;
use crate::segment::{View, ViewSlice};
use crate::sync::AtomicU64;
use std::sync::Arc;

/// A lock in a block, held meanwhile.
#[derive(Debug)]
pub struct Site {
    lock: Kind,
    _block: SharedBlock,
}

#[derive(Debug)]
enum Kind {
    Mutex(View<Mutex>),
    RwLock(View<RwLock>),
    Semaphore(View<Semaphore>, ViewSlice<AtomicU64>, u32),
    Once(View<Once>),
    Barrier(View<Barrier>),
    Condition(View<Condition>),
    Group(View<Group>),
}

impl Site {
    /// The lock in `block`; none if there is none, or it was overwritten.
    #[must_use]
    pub fn open(block: SharedBlock) -> Option<Self> {
        let Plan { primitive, number, .. } = block.view::<Head>(0).ok()?.plan().ok()?;
        let lock = match primitive {
            Primitive::Mutex => Kind::Mutex(block.view(0).ok()?),
            Primitive::RwLock => Kind::RwLock(block.view(0).ok()?),
            Primitive::Semaphore => {
                let permits = number.min(Semaphore::PERMITS_MAX);
                let words = block.view_slice(Semaphore::BYTES, Semaphore::words(permits)).ok()?;
                Kind::Semaphore(block.view(0).ok()?, words, permits)
            }
            Primitive::Once => Kind::Once(block.view(0).ok()?),
            Primitive::Barrier => Kind::Barrier(block.view(0).ok()?),
            Primitive::Condition => Kind::Condition(block.view(0).ok()?),
            Primitive::Group => Kind::Group(block.view(0).ok()?),
        };
        Some(Self { lock, _block: block })
    }

    /// Gives back what `dead` had; true if it had something.
    fn recover(&self, dead: Holder) -> bool {
        match &self.lock {
            Kind::Mutex(mutex) => mutex.recover(dead),
            Kind::RwLock(lock) => lock.recover(dead) > 0,
            Kind::Semaphore(head, words, permits) => Slots::new(head, words, *permits).recover(dead) > 0,
            Kind::Once(once) => once.recover(dead),
            Kind::Barrier(barrier) => barrier.recover(dead),
            Kind::Condition(condition) => {
                // A wake-up may have died with the dead.
                condition.told().wake_all();
                false
            }
            Kind::Group(_) => false,
        }
    }

    fn shut(&self) {
        match &self.lock {
            Kind::Mutex(mutex) => {
                mutex.head().shut();
                mutex.freed().wake_all();
            }
            Kind::RwLock(lock) => {
                lock.head().shut();
                lock.wake_all();
            }
            Kind::Semaphore(semaphore, ..) => {
                semaphore.head().shut();
                semaphore.freed().wake_all();
                semaphore.turns().wake_all();
            }
            Kind::Once(once) => {
                once.head().shut();
                once.ended().wake_all();
            }
            Kind::Barrier(barrier) => {
                barrier.head().shut();
                barrier.opened().wake_all();
            }
            Kind::Condition(condition) => {
                condition.head().shut();
                condition.told().wake_all();
            }
            Kind::Group(group) => group.head().shut(),
        }
    }
}

/// The locks in blocks, held by the host meanwhile.
fn sites(blocks: &Arc<Blocks>, handles: Vec<BlockHandle>) -> impl Iterator<Item = Site> {
    let hold = |handle| SharedBlock::hold(blocks, handle, OwnerId::HOST).ok();
    handles.into_iter().filter_map(hold).filter_map(Site::open)
}

/// Gives back whatever `dead` had of any lock, and wakes who waits for it; returns of how many. Only the host, once no
/// thread of `dead` runs any more, before its blocks are recovered.
pub fn recover(blocks: &Arc<Blocks>, dead: OwnerId) -> usize {
    let Some(holder) = Holder::of(dead) else { return 0 };
    // What it did not hold when it died it had done nothing with that is not finished.
    sites(blocks, blocks.live_of(dead)).filter(|site| site.recover(holder)).count()
}

/// The runtime has ended: whoever waits for a lock is told. Only the host.
pub fn shut(blocks: &Arc<Blocks>) {
    sites(blocks, blocks.live()).for_each(|site| site.shut());
}
