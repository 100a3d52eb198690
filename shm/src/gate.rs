//! Gate: "look again", as a doorbell, but for any number of sleepers, of whom one is woken at a time.
//!
//! ```text
//! word  bit 31..1  rings   counts wake-ups; wraps, only its change matters
//!       bit 0      waiter  somebody is about to sleep, or sleeps
//! ```
//!
//! A sleeper arms (sets `waiter`), looks once more, then sleeps while the word is as armed. Whoever changes what
//! sleepers look at fences, and only if `waiter` is set pays for a system call, which wakes one. The bit stays until a
//! wake-up finds nobody. Who was woken and leaves something for others notifies on: see `README.md` beside this file.
//!
//! Progress: `notify` and `arm` are lock-free, `wait` blocks.

use crate::os::futex;
use crate::sync::{AtomicU32, Ordering, fence, fence_after_exchange};
use std::time::Duration;

const WAITER: u32 = 1;
const RING: u32 = 2;

/// A futex word in shared memory.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Gate {
    /// See the bit table above. Written by everybody; any read may be stale.
    word: AtomicU32,
}

/// What the word held when a sleeper armed it.
#[derive(Debug, Clone, Copy)]
#[must_use = "who armed looks once more, then waits or goes away"]
pub struct ArmedGate(u32);

impl Gate {
    /// Announces that the caller will sleep. The caller must look once more before it does, and may then go away
    /// instead: the next notifier pays for one system call.
    pub fn arm(&self) -> ArmedGate {
        // SeqCst: with the fence below, orders the announcement before the caller's last look. Pairs with the fence in
        // `notify`: either that look sees the change, or the notifier sees the waiter bit.
        let word = self.word.fetch_or(WAITER, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        ArmedGate(word | WAITER)
    }

    /// Sleeps until somebody notifies.
    ///
    /// # Blocking
    /// Until a notification after `arm`, or `timeout`. May return early.
    pub fn wait(&self, armed: ArmedGate, timeout: Option<Duration>) {
        futex::wait(&self.word, armed.0, timeout);
    }

    /// Wakes one sleeper if there is any. Call after the change; costs one fence when nobody sleeps.
    #[inline]
    pub fn notify(&self) {
        // SeqCst: pairs with the fence in `arm`; orders the caller's change before the look below.
        fence(Ordering::SeqCst);
        self.notify_after_fence();
    }

    /// [`Gate::notify`] for a caller whose change was an exchange.
    #[inline]
    pub fn notify_after_exchange(&self) {
        fence_after_exchange(); // Pairs with the fence in `arm`, as in `notify`.
        self.notify_after_fence();
    }

    /// [`Gate::notify`] for a caller that has just fenced.
    #[inline]
    pub fn notify_after_fence(&self) {
        if self.has_waiter() {
            self.wake_one();
        }
    }

    /// True if a sleeper has announced itself. A hint: it may have left since.
    #[inline]
    pub fn has_waiter(&self) -> bool {
        // Relaxed: the caller's fence does the ordering where there must be one.
        self.word.load(Ordering::Relaxed) & WAITER != 0
    }

    #[cold]
    fn wake_one(&self) {
        let rung = self.ring(WAITER);
        if futex::wake(&self.word, 1) > 0 {
            return;
        }
        // Nobody slept. Relaxed, both: who arms after this sets the bit again, and the next wake-up is for who armed
        // before it and was not asleep yet.
        if self.word.compare_exchange(rung, rung & !WAITER, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            futex::wake(&self.word, u32::MAX >> 1);
        }
    }

    /// Wakes all sleepers, whatever the word says: for ends, and for notices that must not be missed.
    #[cold]
    pub fn wake_all(&self) {
        self.ring(0);
        futex::wake(&self.word, u32::MAX >> 1);
    }

    /// Counts a wake-up and leaves the waiter bit as given.
    fn ring(&self, waiter: u32) -> u32 {
        let mut word = self.word.load(Ordering::Relaxed); // Relaxed: the exchange below checks it.
        loop {
            let rung = (word & !WAITER).wrapping_add(RING) | waiter;
            // Release: what the caller wrote before is seen by a sleeper that reads the new word.
            // Relaxed on failure: only retried.
            match self.word.compare_exchange_weak(word, rung, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return rung,
                Err(found) => word = found,
            }
        }
    }

    /// True if somebody has notified since `armed`, or the announcement is not in force any more.
    #[must_use]
    pub fn has_rung(&self, armed: ArmedGate) -> bool {
        // Acquire: pairs with the Release in `ring`.
        self.word.load(Ordering::Acquire) != armed.0
    }

    /// The futex word and what it holds while `armed` is in force, for waiting on several gates at once.
    #[cfg(not(loom))]
    #[must_use]
    pub fn word(&self, armed: ArmedGate) -> (&AtomicU32, u32) {
        (&self.word, armed.0)
    }
}
