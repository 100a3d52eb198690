//! Holder: a process as the blocks know it, and the set of processes that hold a shared block.

use crate::owner::OwnerId;
use crate::sync::{AtomicU64, Ordering};
use std::fmt;

/// Words of a holder set. The model has two, so that its collects stay short.
const WORDS: usize = if cfg!(loom) { 2 } else { 4 };

/// A process that can have blocks: a worker or the host, as one of 256 numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder(u8);

impl Holder {
    /// Most holders there can be.
    pub const COUNT: u16 = 256;
    /// The host: the last number.
    pub const HOST: Self = Self(u8::MAX);

    /// The holder that `owner` is; none if it names neither a worker nor the host.
    #[must_use]
    #[inline]
    pub fn of(owner: OwnerId) -> Option<Self> {
        if owner == OwnerId::HOST {
            return Some(Self::HOST);
        }
        owner.worker_index().and_then(|index| u8::try_from(index).ok()).map(Self)
    }

    /// The owner behind this holder.
    #[must_use]
    pub fn owner(self) -> OwnerId {
        OwnerId::worker(u16::from(self.0)).unwrap_or(OwnerId::HOST)
    }

    /// The number, 0..[`Holder::COUNT`].
    #[must_use]
    #[inline]
    pub fn index(self) -> u8 {
        self.0
    }

    /// The holder with this number.
    #[must_use]
    #[inline]
    pub fn new(index: u8) -> Self {
        Self(index)
    }

    fn bit(self) -> (usize, u64) {
        (usize::from(self.0 / 64) % WORDS, 1 << (self.0 % 64))
    }
}

// The host's bit must not coincide with a worker's.
const _: () = assert!(OwnerId::WORKERS_MAX == Holder::COUNT - 1);

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner().fmt(f)
    }
}

/// Which processes hold a shared block: bit `i` is worker record `i`, bit 255 the host.
///
/// A process sets and clears its own bit only; `recover` clears the bits of the dead. Meaningful while the
/// block's word says Shared; a bit that a killed process left behind in another state is cleared by `recover`.
#[repr(C, align(32))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct HolderSet {
    words: [AtomicU64; WORDS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<HolderSet>() == 32);

impl HolderSet {
    /// True if `holder`'s bit is set now.
    #[must_use]
    pub fn contains(&self, holder: Holder) -> bool {
        let (word, bit) = holder.bit();
        // Relaxed: asked about the caller's own bit, or about a dead process's; nobody else changes it.
        self.words[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Sets `holder`'s bit.
    pub(super) fn insert(&self, holder: Holder) {
        let (word, bit) = holder.bit();
        // Relaxed: published by the Release exchange of the state word that follows in `share` and `hold`.
        self.words[word].fetch_or(bit, Ordering::Relaxed);
    }

    /// Clears `holder`'s bit; false if it was not set.
    pub(super) fn remove(&self, holder: Holder) -> bool {
        let (word, bit) = holder.bit();
        // Release: pairs with the Acquire loads in `is_empty`; the holder's reads of the block come before the
        // block is given to anybody else.
        self.words[word].fetch_and(!bit, Ordering::Release) & bit != 0
    }

    /// True if each word was zero at some moment during the call, not necessarily the same one.
    pub(super) fn is_empty(&self) -> bool {
        // Acquire: pairs with the Release in `remove`.
        self.words.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }
}

#[cfg(loom)]
impl HolderSet {
    /// Sets a bit as a process does that is killed before its next step: for models only.
    pub fn leave_behind(&self, dead: Holder) {
        self.insert(dead);
    }
}
