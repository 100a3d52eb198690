//! The pool's record: what all its processes go by, and what they count together. It lies before the tables.
//!
//! ```text
//! byte   0  terms    limit, patience, growth, travel, compression   written before the first worker, read by all
//!       64  room     gate of those who wait for a free block, and counters of rare things
//!      128  copied   eight counters on lines of their own
//! ```

use super::holder::Holder;
use crate::counters::Counter;
use crate::gate::Gate;
use crate::owner::OwnerId;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Counters of copied bytes, so that few processes share a line.
const STRIPES: usize = 8;

/// How blocks that were never used before come by their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Growth {
    /// Page by page, at the first write.
    #[default]
    OnDemand,
    /// As many blocks at once as the class has in use for the first time, up to 64 MiB: fewer faults, and what is missing
    /// is found before it is used.
    Doubling,
    /// All of it at the start.
    Fixed,
}

/// What the processes of a pool go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolTerms {
    /// Most bytes in blocks of 64 KiB and more at once, counted by what their classes have; 0 for what the shape has.
    pub limit_bytes: u64,
    /// How long who finds no free block waits for one.
    pub patience: Duration,
    /// How fresh blocks come by their memory.
    pub growth: Growth,
    /// Shared slices travel by value.
    pub by_value: bool,
    /// Messages of at least so many bytes are compressed; 0 for none.
    pub compress_from: u64,
    /// Bytes of the ring of a channel that names no capacity; 0 for a few.
    pub ring_bytes: u64,
    /// Channels have no queues.
    pub without_queue: bool,
}

/// See the module's head.
#[repr(C, align(64))]
#[derive(Debug, Default, gorun_macros::Shared)]
pub struct PoolRecord {
    terms: Terms,
    pub(super) rare: Rare,
    copied: [Copied; STRIPES],
}

#[repr(C, align(64))]
#[derive(Debug, Default, gorun_macros::Shared)]
struct Terms {
    limit_bytes: AtomicU64,
    /// Microseconds.
    patience_us: AtomicU64,
    compress_from: AtomicU64,
    ring_bytes: AtomicU64,
    /// 0 on demand, 1 doubling, 2 fixed.
    growth: AtomicU32,
    by_value: AtomicU32,
    without_queue: AtomicU32,
    /// Memory nodes that have a part each; 0 and 1 for none.
    nodes: AtomicU32,
}

#[repr(C, align(64))]
#[derive(Debug, Default, gorun_macros::Shared)]
pub(super) struct Rare {
    /// Rung by who frees a block, if anybody may wait.
    pub(super) room: Gate,
    /// Keeps what follows in place.
    spare: AtomicU32,
    /// Blocks asked for and not had. Written by everybody.
    pub(super) refused: Counter,
    /// Times somebody slept until a block was free. Written by everybody.
    pub(super) waited: Counter,
    /// Bytes given back to the kernel. Written by everybody.
    pub(super) given_back: Counter,
    /// Bytes backed with memory ahead of their use. Written by everybody.
    pub(super) backed: Counter,
    /// Bytes that compression spared. Written by everybody.
    pub(super) spared: Counter,
}

/// A counter that few processes share.
#[repr(C, align(64))]
#[derive(Debug, Default, gorun_macros::Shared)]
struct Copied {
    bytes: Counter,
}

const _: () = assert!(size_of::<PoolRecord>() == 64 * (2 + STRIPES));

impl PoolRecord {
    /// Says what all go by, before any other process sees the segment.
    pub(super) fn set(&self, terms: &PoolTerms) {
        let growth = match terms.growth {
            Growth::OnDemand => 0,
            Growth::Doubling => 1,
            Growth::Fixed => 2,
        };
        let patience_us = u64::try_from(terms.patience.as_micros()).unwrap_or(u64::MAX);
        // Relaxed, all: the fork of the first worker comes later.
        self.terms.limit_bytes.store(terms.limit_bytes, Ordering::Relaxed);
        self.terms.patience_us.store(patience_us, Ordering::Relaxed); // Relaxed: as above.
        self.terms.compress_from.store(terms.compress_from, Ordering::Relaxed); // Relaxed: as above.
        self.terms.ring_bytes.store(terms.ring_bytes, Ordering::Relaxed); // Relaxed: as above.
        self.terms.without_queue.store(terms.without_queue.into(), Ordering::Relaxed); // Relaxed: as above.
        self.terms.growth.store(growth, Ordering::Relaxed); // Relaxed: as above.
        self.terms.by_value.store(terms.by_value.into(), Ordering::Relaxed); // Relaxed: as above.
    }

    /// What all go by, as it stands here now. Each process reads it once, before anything could have written over it.
    pub(super) fn terms(&self) -> PoolTerms {
        // Relaxed, all: written before this process was there.
        PoolTerms {
            limit_bytes: self.terms.limit_bytes.load(Ordering::Relaxed),
            patience: Duration::from_micros(self.terms.patience_us.load(Ordering::Relaxed)), // Relaxed: as above.
            growth: match self.terms.growth.load(Ordering::Relaxed) {
                1 => Growth::Doubling,
                2 => Growth::Fixed,
                _ => Growth::OnDemand,
            },
            by_value: self.terms.by_value.load(Ordering::Relaxed) != 0, // Relaxed: as above.
            compress_from: self.terms.compress_from.load(Ordering::Relaxed),
            ring_bytes: self.terms.ring_bytes.load(Ordering::Relaxed), // Relaxed: as above.
            without_queue: self.terms.without_queue.load(Ordering::Relaxed) != 0,
        }
    }

    /// Says that each of so many memory nodes has a part of the pool, before any other process sees the segment.
    pub fn set_nodes(&self, nodes: u32) {
        self.terms.nodes.store(nodes, Ordering::Relaxed); // Relaxed: the fork of the first worker comes later.
    }

    /// Memory nodes that have a part of the pool each.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.terms.nodes.load(Ordering::Relaxed) // Relaxed: written before this process was there.
    }

    /// Counts bytes that a message did not take because it was compressed.
    pub fn count_spared(&self, bytes: u64) {
        self.rare.spared.add_shared(bytes);
    }

    /// Counts bytes of values that `owner` has copied into a block or out of one.
    #[inline]
    pub fn count_copied(&self, owner: OwnerId, bytes: u64) {
        if bytes != 0 {
            let stripe = Holder::of(owner).map_or(0, |holder| usize::from(holder.index()) % STRIPES);
            self.copied[stripe].bytes.add_shared(bytes);
        }
    }

    /// Bytes of values that were copied into blocks and out of them.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied.iter().fold(0, |sum, stripe| sum.wrapping_add(stripe.bytes.get()))
    }

    /// A block is free again: wakes who waits for one.
    #[cold]
    pub(super) fn wake(&self) {
        // SeqCst: pairs with the fence in `Gate::arm`; orders the freeing before the look at the waiter bit.
        crate::sync::fence(Ordering::SeqCst);
        if self.rare.room.has_waiter() {
            // All: who was woken may want a larger block than this one.
            self.rare.room.wake_all();
        }
    }
}
