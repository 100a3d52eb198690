//! Place: a lock's memory as a process holds it. All handles of one origin in a process share it.

use super::SyncError;
use super::held;
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::blocks::{AllocateError, Holder, OwnedBlock, SharedBlock};
use gorun_shm::gate::Gate;
use gorun_shm::lock::{Head, Owner, Plan, Primitive};
use gorun_shm::segment::{Shared, View};
use gorun_shm::sync::Ordering;
use gorun_worker::context;
use gorun_worker::os::fork;
use gorun_worker::parcel::Living;
use gorun_worker::porter::Post;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is to lie in a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    pub(super) primitive: Primitive,
    /// See [`kind_of`].
    pub(super) kind: u64,
    pub(super) number: u32,
    /// Bytes of the block.
    pub(super) bytes: usize,
}

/// A lock `S`, held.
pub(super) struct Place<S: Shared> {
    state: View<S>,
    block: SharedBlock,
    holder: Holder,
    number: u32,
    /// Forks behind this process when the place was opened.
    forks: u32,
}

impl<S: Shared> Place<S> {
    /// A fresh lock on `runtime`, with `value` at the end of its block.
    pub(super) fn make(runtime: &Runtime, recipe: Recipe, value: &[u8]) -> Result<Self, SyncError> {
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(SyncError::NoRuntime(Rejection::ForkedHost));
        }
        let commons = &dispatcher.commons;
        let no_memory = SyncError::NoMemory { bytes: recipe.bytes as u64 };
        let block = OwnedBlock::allocate(&commons.blocks, recipe.bytes, dispatcher.me);
        let mut block = block.map_err(|error| match error {
            AllocateError::NotAnOwner { .. } => SyncError::Closed,
            _ => no_memory.clone(),
        })?;
        block.as_mut_slice().fill(0);
        let start = recipe.primitive.value_at().unwrap_or(0);
        if let Some(place) = block.as_mut_slice().get_mut(start..start + value.len()) {
            place.copy_from_slice(value);
        }
        // Fails only over words that another process has written.
        let block = block.enliven().map_err(|_| no_memory.clone())?;
        let head = block.view::<Head>(0).map_err(|_| no_memory.clone())?;
        let spin_ticks = commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the first worker.
        let Recipe { primitive, kind, number, .. } = recipe;
        head.format(Plan { primitive, kind, number, spin_ticks });
        // Looked at behind the making: either this sees the end of the runtime, or that sees the lock.
        let is_over = dispatcher.is_closed() || context::duty().is_some_and(|duty| duty.is_told_to_stop());
        if is_over {
            return Err(SyncError::Closed);
        }
        Self::open(block, primitive, kind).ok_or(no_memory)
    }

    /// The lock in `block`, if it is one of that kind.
    fn open(block: SharedBlock, primitive: Primitive, kind: u64) -> Option<Self> {
        let plan = block.view::<Head>(0).ok()?.plan().ok()?;
        if plan.primitive != primitive || plan.kind != kind {
            return None;
        }
        let holder = Holder::of(block.owner())?;
        Some(Self { state: block.view(0).ok()?, holder, number: plan.number, forks: fork::forks(), block })
    }

    /// Takes a lock of that kind out of a message.
    pub(super) fn decode<'de, D: Deserializer<'de>>(
        deserializer: D,
        primitive: Primitive,
        kind: u64,
    ) -> Result<Self, D::Error> {
        let Living(block) = Living::deserialize(deserializer)?;
        Self::open(block, primitive, kind)
            .ok_or_else(|| D::Error::custom("that is no lock, or one of another kind"))
    }

    pub(super) fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.check().map_err(Z::Error::custom)?;
        Living(self.block.clone()).serialize(serializer)
    }

    /// Refuses in a fork of the process that the place belongs to.
    #[inline]
    pub(super) fn check(&self) -> Result<(), SyncError> {
        if self.is_foreign() {
            return Err(SyncError::NoRuntime(Rejection::ForkedHost));
        }
        Ok(())
    }

    /// True in a fork of the process that the place belongs to.
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }

    /// The calling thread, as an owner.
    #[inline]
    pub(super) fn me(&self) -> Owner {
        Owner::new(self.holder, held::thread())
    }

    pub(super) fn holder(&self) -> Holder {
        self.holder
    }

    #[inline]
    pub(super) fn state(&self) -> &S {
        &self.state
    }

    /// One of its gates, for the porter to wait at.
    pub(super) fn post(&self, gate: fn(&S) -> &Gate) -> Option<Post> {
        let at = std::ptr::from_ref(gate(&self.state)) as usize - self.address();
        Some(Post::alone(self.block.view(at).ok()?, self.block.clone()))
    }

    pub(super) fn block(&self) -> &SharedBlock {
        &self.block
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Where it lies in this process: names it among the locks of a thread.
    #[inline]
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref::<S>(&self.state) as usize
    }
}

impl<S: Shared> Drop for Place<S> {
    fn drop(&mut self) {
        if self.is_foreign() {
            // The hold is the parent's: this process, its fork, must not let go of it.
            std::mem::forget(self.block.clone());
        }
    }
}

impl<S: Shared> fmt::Debug for Place<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("block", &self.block)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// Names the type of a lock with its value, so that one is not taken for another by a slip of serde.
pub(super) fn kind_of<L>() -> u64 {
    // FNV-1a, over the name: both sides are the same build.
    let name = std::any::type_name::<L>();
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
