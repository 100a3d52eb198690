//! The one door to atomics: std's, or loom's when the protocols are model-checked.
//!
//! Every other file of the workspace takes its atomics from here, so that a protocol that is tried under
//! loom is the very text that runs on shared memory.

#[cfg(not(loom))]
mod door {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

    /// Tells the processor that the caller spins.
    #[inline]
    pub fn spin_hint() {
        std::hint::spin_loop();
    }
}

#[cfg(loom)]
mod door {
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

    /// Lets loom run another thread: a model that spins without this never ends.
    #[inline]
    pub fn spin_hint() {
        loom::thread::yield_now();
    }
}

pub use door::*;
