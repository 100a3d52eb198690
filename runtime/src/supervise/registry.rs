//! Registry: what the policies of one runtime share, in the memory of its process.

use super::board::Board;
use super::bulkhead::{Bulkhead, BulkheadHandle, BulkheadSettings};
use super::cache::Cache;
use super::circuit::{BreakerHandle, BreakerName, Call, Circuits};
use super::hedge::{ServiceTimes, Times};
use super::pace::{Pace, RateLimit, RateLimitHandle};
use super::substitute::{Stage, StandIn, Substitute};
use crate::error::TaskError;
use crate::stats::PolicyStats;
use gorun_shm::os::ticks;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// They stay as long as the runtime: names are few.
    bulkheads: Mutex<HashMap<Box<str>, Arc<Bulkhead>>>,
    refused_by_bulkhead: AtomicU64,
    /// As with bulkheads.
    paces: Mutex<HashMap<Box<str>, Arc<Pace>>>,
    refused_by_rate_limit: AtomicU64,
    times: ServiceTimes,
    stage: Stage,
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    /// Random numbers given so far.
    randoms: AtomicU64,
}

impl Registry {
    /// Of a process that has this board.
    pub(crate) fn new(board: Board) -> Self {
        Self { circuits: Circuits::new(board), ..Self::default() }
    }

    pub(crate) fn stats(&self) -> PolicyStats {
        PolicyStats {
            // Relaxed, all of these: counters.
            retries: self.retries.load(Ordering::Relaxed),
            fallbacks: self.fallbacks.load(Ordering::Relaxed),
            refused_by_breaker: self.refused_by_breaker.load(Ordering::Relaxed),
            refused_by_bulkhead: self.refused_by_bulkhead.load(Ordering::Relaxed),
            refused_by_rate_limit: self.refused_by_rate_limit.load(Ordering::Relaxed),
            hedges: self.hedges.load(Ordering::Relaxed),
            hedges_won: self.hedges_won.load(Ordering::Relaxed),
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
    pub(super) fn call(&self, name: &BreakerName) -> Result<Call, TaskError> {
        let call = self.circuits.ask(name);
        if matches!(call, Err(TaskError::CircuitOpen { .. })) {
            self.refused_by_breaker.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
        }
        call
    }

    /// Makes or changes the bulkhead of this name.
    pub(crate) fn set_bulkhead(&self, name: &str, settings: BulkheadSettings) -> BulkheadHandle {
        let mut bulkheads = self.bulkheads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = bulkheads.get(name).map(Arc::clone);
        let bulkhead = known.unwrap_or_else(|| {
            let fresh = Arc::new(Bulkhead::new(name, settings));
            bulkheads.insert(name.into(), Arc::clone(&fresh));
            fresh
        });
        drop(bulkheads);
        bulkhead.configure(settings);
        BulkheadHandle { bulkhead }
    }

    pub(super) fn bulkhead(&self, name: &str) -> Option<Arc<Bulkhead>> {
        let bulkheads = self.bulkheads.lock().unwrap_or_else(PoisonError::into_inner);
        bulkheads.get(name).map(Arc::clone)
    }

    /// Makes or changes the rate limit of this name.
    pub(crate) fn set_rate_limit(&self, name: &str, limit: RateLimit) -> RateLimitHandle {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = match paces.get(name).map(Arc::clone) {
            Some(known) => known,
            None => {
                let fresh = Arc::new(Pace::new(name, limit));
                paces.insert(name.into(), Arc::clone(&fresh));
                return RateLimitHandle { pace: fresh };
            }
        };
        drop(paces);
        let handle = RateLimitHandle { pace };
        handle.configure(limit);
        handle
    }

    pub(super) fn pace(&self, name: &str) -> Option<Arc<Pace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    pub(super) fn count_rate_limited(&self) {
        self.refused_by_rate_limit.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    }

    /// How long the last attempts of the function at this address took.
    pub(super) fn times(&self, function: usize) -> Arc<Times> {
        self.times.of(function)
    }

    pub(super) fn count_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    }

    pub(super) fn count_hedge_won(&self) {
        self.hedges_won.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    }

    pub(super) fn count_bulkhead_full(&self) {
        self.refused_by_bulkhead.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
    }

    /// Has `run` called by a thread; none if there is none to be had.
    pub(super) fn stand_in<R: Send + 'static>(
        &self,
        run: impl FnOnce() -> R + Send + 'static,
    ) -> Option<Arc<dyn StandIn<R>>> {
        Some(Substitute::start(&self.stage, run)?)
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
