//! Quarantine list: what the host has quarantined, for workers that start tasks of their own.
//!
//! The host posts the whole list at each change, the newest first. A worker reads it while it is rewritten: it may
//! then miss an entry or read the numbers of another, which costs a worker or a wrong number in an error, no more.
//!
//! Progress: both sides are wait-free.

use gorun_macros::Shared;
use gorun_shm::sync::{AtomicU64, Ordering};

/// Entries the list has room for; the host's own list is longer.
pub const ENTRIES_MAX: usize = 32;

const ENTRY_WORDS: usize = 4;

/// One quarantined function and input.
///
/// ```text
/// word 0  fingerprint
///      1  attempt 39..32 | crashes 31..0
///      2  how the last worker died, as the host packs it
///      3  who it was
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Function and input in one word.
    pub fingerprint: u64,
    /// Workers it has killed.
    pub crashes: u32,
    /// Attempt in which the last of them died.
    pub attempt: u8,
    /// How that one died.
    pub how: u64,
    /// Which it was.
    pub who: u64,
}

/// See the module's head.
#[repr(C)]
#[derive(Debug, Shared)]
pub struct QuarantineList {
    /// Entries posted, 0..=[`ENTRIES_MAX`]; anything if it was scribbled on.
    count: AtomicU64,
    words: [AtomicU64; ENTRIES_MAX * ENTRY_WORDS],
}

impl Default for QuarantineList {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; ENTRIES_MAX * ENTRY_WORDS] }
    }
}

impl QuarantineList {
    /// How many entries there are.
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        // Acquire: pairs with the Release in `post`.
        let count = self.count.load(Ordering::Acquire);
        usize::try_from(count).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX)
    }

    /// The entry of a fingerprint.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes fields out of the word")]
    pub fn find(&self, fingerprint: u64) -> Option<QuarantineEntry> {
        // Relaxed, all of these: the Acquire in `count` came before, and a rewrite meanwhile is allowed for.
        let word = |at: usize| self.words[at].load(Ordering::Relaxed);
        let at = (0..self.count()).map(|entry| entry * ENTRY_WORDS).find(|at| word(*at) == fingerprint)?;
        let numbers = word(at + 1);
        let (how, who) = (word(at + 2), word(at + 3));
        Some(QuarantineEntry {
            fingerprint,
            crashes: numbers as u32,
            attempt: (numbers >> 32) as u8,
            how,
            who,
        })
    }

    /// Puts these in place of what was there; those beyond [`ENTRIES_MAX`] are left out. Only the host, one at a time.
    pub fn post(&self, entries: impl Iterator<Item = QuarantineEntry>) {
        let mut count = 0;
        for (entry, place) in entries.zip(self.words.chunks_exact(ENTRY_WORDS)) {
            let numbers = u64::from(entry.attempt) << 32 | u64::from(entry.crashes);
            for (word, place) in [entry.fingerprint, numbers, entry.how, entry.who].into_iter().zip(place) {
                place.store(word, Ordering::Relaxed); // Relaxed: published by `count` below.
            }
            count += 1;
        }
        self.count.store(count, Ordering::Release); // Release: pairs with the Acquire in `count`.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fingerprint: u64) -> QuarantineEntry {
        QuarantineEntry { fingerprint, crashes: 3, attempt: 2, how: 11, who: 1 }
    }

    #[test]
    fn what_is_posted_is_found_until_it_is_not() {
        let list = QuarantineList::default();
        list.post((1..=3).map(entry));
        assert_eq!((list.count(), list.find(2), list.find(4)), (3, Some(entry(2)), None));
        list.post((3..=3).map(entry));
        assert_eq!((list.count(), list.find(2), list.find(3)), (1, None, Some(entry(3))));
    }

    #[test]
    fn more_than_fit_are_left_out_and_a_scribbled_count_reads_nothing_beyond() {
        let list = QuarantineList::default();
        list.post((1..=100).map(entry));
        assert_eq!((list.count(), list.find(32), list.find(33)), (32, Some(entry(32)), None));
        list.count.store(u64::MAX, Ordering::Relaxed); // Relaxed: one thread.
        assert_eq!((list.count(), list.find(99)), (32, None));
    }
}
