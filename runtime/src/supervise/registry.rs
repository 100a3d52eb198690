//! Registry: what the policies of one runtime share, in the memory of its process.

use super::cache::Cache;
use super::circuit::{BreakerHandle, Call, Circuits};
use crate::runtime::PartsRef;
use crate::stats::PolicyStats;
use gorun_shm::os::ticks;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    retries: AtomicU64,
    fallbacks: AtomicU64,
    /// Functions whose first fallback was told.
    told: Mutex<HashSet<usize>>,
    cache: Cache,
    circuits: Circuits,
    refused_by_breaker: AtomicU64,
    /// Random numbers given so far.
    randoms: AtomicU64,
}

impl Registry {
    pub(crate) fn stats(&self) -> PolicyStats {
        PolicyStats {
            // Relaxed, all of these: counters.
            retries: self.retries.load(Ordering::Relaxed),
            fallbacks: self.fallbacks.load(Ordering::Relaxed),
            refused_by_breaker: self.refused_by_breaker.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    }

    /// Counts a fallback; true for the first of the function at this address.
    pub(super) fn count_fallback(&self, function: usize) -> bool {
        self.fallbacks.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(function)
    }

    /// The breaker of this name.
    pub(crate) fn breaker(&self, name: &str) -> BreakerHandle {
        self.circuits.handle(name)
    }

    /// A call through the breaker of this name, or when to ask again.
    pub(super) fn call(&self, name: &str, parts: &PartsRef) -> Result<Arc<Call>, Duration> {
        let call = self.circuits.ask(name, parts);
        if call.is_err() {
            self.refused_by_breaker.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
        }
        call
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A number that nobody can foretell well enough to come back at the same moment.
    pub(super) fn random(&self) -> u64 {
        // Relaxed: different numbers are all that is asked for.
        let count = self.randoms.fetch_add(1, Ordering::Relaxed);
        mix(ticks::now() ^ count.rotate_left(32) ^ u64::from(std::process::id()).rotate_left(48))
    }
}

/// Spreads a word over all 64 bits: the finisher of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_fill_the_whole_range() {
        let registry = Registry::default();
        let mut eighths = [0_u32; 8];
        (0..8000).for_each(|_| eighths[usize::try_from(registry.random() >> 61).unwrap()] += 1);
        assert!(eighths.iter().all(|count| (800..1200).contains(count)), "{eighths:?}");
    }
}
