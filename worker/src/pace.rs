//! Pace: how long an end of a channel leaves the other side alone before it looks again.
//!
//! A thread that looks at a slot takes its cache line away from whoever is about to use it. When both sides are busy and one
//! is a little faster, it finds every message at the very moment it comes, one by one, and each costs several transfers of
//! a line between processors. If it waits for a moment instead, some messages gather, and it takes them at full speed. Where
//! messages do not gather, because each is an answer to the last, a wait would only be late.
//!
//! So an end learns: found at once, it waits a little next time; waited in vain, less. It is a guess about time, and nothing
//! depends on it but speed.

use gorun_shm::sync::{AtomicU32, Ordering};

/// Looks in close succession: what is found so soon came while the other side was at work.
const CLOSE_LOOKS: u32 = 6;
/// The first pause, in spin hints.
const FIRST: u32 = 16;
/// The longest.
const LONGEST: u32 = 64;
/// So many messages, or free places, must have gathered for a pause to have been worth it.
const WORTH: u64 = 4;
/// More need not gather.
const PLENTY: u64 = 32;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Pace(AtomicU32);

impl Pace {
    /// Spin hints before the next look.
    #[must_use]
    pub fn pauses(&self) -> u32 {
        self.0.load(Ordering::Relaxed) // Relaxed: a guess, and nothing else hangs on it.
    }

    /// The wait is over, after so many looks behind the pause: learns from what had `gathered` in a channel of `capacity`.
    pub fn learn(&self, looks: u32, gathered: u64, capacity: u64) {
        let pauses = self.pauses();
        // A small channel is full, or empty, before a long pause is over.
        let longest = u32::try_from(capacity / 16).unwrap_or(LONGEST).min(LONGEST);
        let next = match pauses {
            0 if looks < CLOSE_LOOKS => FIRST,
            0 => 0,
            _ if gathered < WORTH => pauses / 2,
            _ if gathered < PLENTY && looks < CLOSE_LOOKS => pauses * 2,
            _ => pauses,
        };
        let next = next.min(longest);
        if next != pauses {
            self.0.store(next, Ordering::Relaxed); // Relaxed: as above; of two threads either may have its way.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_gather_make_it_patient() {
        let pace = Pace::default();
        (0..10).for_each(|_| pace.learn(1, 8, 1024));
        assert_eq!(pace.pauses(), LONGEST);
    }

    #[test]
    fn answers_make_it_quick() {
        let pace = Pace::default();
        pace.learn(100, 1, 1024);
        assert_eq!(pace.pauses(), 0);
        pace.learn(0, 1, 1024);
        assert_eq!(pace.pauses(), FIRST);
        (0..5).for_each(|_| pace.learn(0, 1, 1024));
        assert_eq!(pace.pauses(), 0);
    }

    #[test]
    fn a_small_channel_is_never_left_alone() {
        let pace = Pace::default();
        (0..10).for_each(|_| pace.learn(0, 4, 8));
        assert_eq!(pace.pauses(), 0);
    }
}
