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

/// A full fence behind a read-modify-write on the caller's way.
///
/// On x86-64 such an operation is one already: it has a lock prefix, and neither loads nor stores pass it. The compiler is
/// kept from moving accesses over it. In models, and elsewhere, it is a fence.
#[inline]
pub fn fence_after_exchange() {
    if cfg!(all(target_arch = "x86_64", not(loom))) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst); // SeqCst: nothing is moved over it, in either direction.
    } else {
        fence(Ordering::SeqCst); // SeqCst: pairs with the fences that the caller names.
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
/// Keeps the compiler, and nobody else, from moving accesses over it.
pub use std::sync::atomic::compiler_fence;
