//! Condition: where threads of all processes wait for another to say that something has changed.

use super::head::Head;
use crate::gate::Gate;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// A condition variable in shared memory.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Condition {
    head: Head,
    told: Gate,
    spare: AtomicU32,
    spare_too: AtomicU64,
}

impl Condition {
    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where to wait: armed while the mutex is held, slept at after it was given back.
    #[must_use]
    pub fn told(&self) -> &Gate {
        &self.told
    }

    /// Wakes one who waits, if anybody does.
    pub fn notify_one(&self) {
        self.told.notify();
    }

    /// Wakes all who wait, if anybody does.
    pub fn notify_all(&self) {
        fence(Ordering::SeqCst); // SeqCst: pairs with the fence in `Gate::arm`, as in `Gate::notify`.
        if self.told.has_waiter() {
            self.told.wake_all();
        }
    }
}
