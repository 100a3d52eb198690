//! Barrier: a fence of which one side is nearly free, for two sides of which one passes often and the other seldom.
//!
//! The usual pair, a full fence on either side, costs the busy side as much as moving a cache line. The kernel can fence
//! for it instead: `membarrier` interrupts whoever runs of the processes that have registered. So the busy side passes a
//! `Light` one, which keeps the compiler from moving accesses over it and nothing more, and the rare side pays a few
//! microseconds for `everywhere`. Where the kernel offers none, light ones are full fences.
//!
//! What holds: of an access before a light barrier and one behind it, and a call of `everywhere`, either the first is seen
//! by whoever comes back from the call, or the second sees what was done before the call.

use crate::sync::{Ordering, compiler_fence, fence};

/// The busy side's barrier, good in the process that made it.
#[derive(Debug, Clone, Copy)]
pub struct Light {
    /// The kernel fences for this process when another asks for it.
    is_registered: bool,
}

impl Light {
    /// Registers this process, if it has not been. In a fork it must be called anew.
    #[must_use]
    pub fn register() -> Self {
        Self { is_registered: calls::register() }
    }

    /// Orders what comes before and what comes behind, as far as who calls [`everywhere`] can tell.
    #[inline]
    pub fn pass(self) {
        if self.is_registered {
            // SeqCst: the processor may still move loads over stores here; `everywhere` of the other side makes up for it.
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst); // SeqCst: pairs with the fence in `everywhere`.
        }
    }
}

/// The rare side's barrier: a fence here, and in every registered process. False if the kernel refused although it had
/// said it would not: then another process may not have fenced, and the caller must look again by itself.
///
/// Costs one to five microseconds.
pub fn everywhere() -> bool {
    fence(Ordering::SeqCst); // SeqCst: pairs with `Light::pass` of whoever has not registered.
    calls::everywhere()
}

#[cfg(not(loom))]
mod calls {
    use crate::sync::{AtomicU32, Ordering};
    use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};
    use std::sync::OnceLock;

    fn is_offered() -> bool {
        static OFFERED: OnceLock<bool> = OnceLock::new();
        let both = MembarrierQuery::GLOBAL_EXPEDITED | MembarrierQuery::REGISTER_GLOBAL_EXPEDITED;
        *OFFERED.get_or_init(|| membarrier_query().contains(both))
    }

    pub(super) fn register() -> bool {
        /// Process that has registered, 0 for none: a fork begins anew.
        static REGISTERED: AtomicU32 = AtomicU32::new(0);
        let me = std::process::id();
        // Relaxed, both: registering twice does no harm.
        if REGISTERED.load(Ordering::Relaxed) == me {
            return true;
        }
        let done = is_offered() && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok();
        if done {
            REGISTERED.store(me, Ordering::Relaxed); // Relaxed: as above.
        }
        done
    }

    pub(super) fn everywhere() -> bool {
        !is_offered() || membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }
}

/// Models fence on both sides: loom has no kernel.
#[cfg(loom)]
mod calls {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn everywhere() -> bool {
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    /// Each round, one side stores and looks behind a light barrier, the other stores and looks behind a heavy one: never do
    /// both miss each other.
    #[test]
    fn one_of_two_sides_sees_the_other() {
        const ROUNDS: u64 = 2000;
        let (light, heavy, start) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        // Relaxed, all of these: the barriers are what is tried; rounds are handed over by Acquire and Release.
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| {
                let barrier = Light::register();
                let look = |round| {
                    while start.load(Ordering::Acquire) < round {
                        std::hint::spin_loop();
                    }
                    light.store(round, Ordering::Relaxed);
                    barrier.pass();
                    // Or a later one: the other side goes on once it has seen this round's store.
                    heavy.load(Ordering::Relaxed) >= round
                };
                (1..=ROUNDS).map(look).collect::<Vec<_>>()
            });
            let mut here = Vec::new();
            for round in 1..=ROUNDS {
                start.store(round, Ordering::Release);
                heavy.store(round, Ordering::Relaxed);
                assert!(everywhere());
                here.push(light.load(Ordering::Relaxed) == round);
                while light.load(Ordering::Relaxed) != round {
                    std::hint::spin_loop();
                }
            }
            let there = seen.join().unwrap();
            assert!(there.iter().zip(&here).all(|(there, here)| *there || *here));
        });
    }
}
