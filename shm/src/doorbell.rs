//! Doorbell: "look again". One sleeper, any number of ringers, no data.
//!
//! ```text
//! word  bit 31..1  rings   counts how often a sleeper was woken; wraps, only its change matters
//!       bit 0      waiter  the sleeper is about to sleep, or sleeps
//! ```
//!
//! The sleeper arms (sets `waiter`), looks at its queues once more, then sleeps while the word is as armed.
//! A ringer publishes its work, fences, and only if `waiter` is set pays for the system call. The proof that
//! no wake-up is lost is in `README.md` beside this file; `tests/loom_doorbell.rs` checks it.
//!
//! Progress: `notify` and `arm` are lock-free, `wait_until` blocks.

use crate::os::futex;
use crate::sync::{AtomicU32, Ordering, fence};
use std::time::Duration;

const WAITER: u32 = 1;
const RING: u32 = 2;

/// A futex word in shared memory.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Doorbell {
    /// See the bit table above. Written by both sides; any read may be stale.
    word: AtomicU32,
}

/// What the word held when the sleeper armed it.
#[derive(Debug, Clone, Copy)]
#[must_use = "an armed doorbell must be waited on or disarmed"]
pub struct Armed(u32);

impl Doorbell {
    /// Announces that the caller will sleep. The caller must look at its queues once more before it does.
    pub fn arm(&self) -> Armed {
        // SeqCst: with the fence below, orders the announcement before the caller's last look. Pairs with
        // the fence in `notify`: either that look sees the work, or the ringer sees the waiter bit.
        let word = self.word.fetch_or(WAITER, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Armed(word | WAITER)
    }

    /// Takes the announcement back: the last look found work.
    pub fn disarm(&self) {
        // Relaxed: a ringer that still sees the bit rings once in vain, nothing else depends on it.
        self.word.fetch_and(!WAITER, Ordering::Relaxed);
    }

    /// Sleeps until somebody rings.
    ///
    /// # Blocking
    /// Until a ring after `arm`, or `timeout`. Returns with the waiter bit cleared.
    pub fn wait_until(&self, armed: Armed, timeout: Option<Duration>) {
        futex::wait(&self.word, armed.0, timeout);
        self.disarm();
    }

    /// Wakes the sleeper if there is one. Call after publishing; costs one fence when nobody sleeps.
    ///
    /// Returns true if a system call was made.
    #[inline]
    pub fn notify(&self) -> bool {
        // SeqCst: pairs with the fence in `arm`; orders the caller's publication before the look below.
        fence(Ordering::SeqCst);
        self.notify_after_fence()
    }

    /// [`Doorbell::notify`] for a caller that has just fenced, so that one fence serves several bells.
    #[inline]
    pub fn notify_after_fence(&self) -> bool {
        // Relaxed: the fence before this load does the ordering.
        if self.word.load(Ordering::Relaxed) & WAITER == 0 {
            return false;
        }
        self.ring();
        true
    }

    /// True if a sleeper has announced itself. A hint: it may have left since.
    #[inline]
    pub fn has_waiter(&self) -> bool {
        // Relaxed: a hint for choosing whom to wake; the caller rings with its own fence.
        self.word.load(Ordering::Relaxed) & WAITER != 0
    }

    /// Wakes the sleeper whatever the word says: for notices that must not be missed.
    #[cold]
    pub fn ring(&self) {
        let mut word = self.word.load(Ordering::Relaxed); // Relaxed: the exchange below checks it.
        loop {
            let rung = (word & !WAITER).wrapping_add(RING);
            // Release: what the ringer wrote before is seen by a sleeper that reads the new word.
            // Relaxed on failure: only retried.
            match self.word.compare_exchange_weak(word, rung, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => word = found,
            }
        }
        futex::wake(&self.word, 1);
    }

    /// The futex word, for waiting on several bells at once.
    #[cfg(not(loom))]
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// The value [`Doorbell::word`] holds while `armed` is in force.
    #[must_use]
    pub fn expected(armed: Armed) -> u32 {
        armed.0
    }
}
