//! Cache: the last good results of functions, for when the next call has none.
//!
//! Bounded in number and in age. Nothing waits here but for short locks; a value's `Clone` runs under its own only.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Results kept in a runtime at most: with one more, the one that would be too old first goes.
pub(super) const CACHED_RESULTS_MAX: usize = 1024;

/// Whose result it is: the function, the type of its result, and a number of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    pub(super) function: usize,
    pub(super) result: TypeId,
    pub(super) key: u64,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: Mutex<HashMap<CacheKey, Kept>>,
}

#[derive(Debug)]
struct Kept {
    value: Arc<Mutex<dyn Any + Send>>,
    until_ns: u64,
}

impl Cache {
    /// Keeps a result for `ttl`.
    pub(super) fn keep<R: Send + 'static>(&self, key: CacheKey, value: R, ttl: Duration, now_ns: u64) {
        let until_ns = now_ns.saturating_add(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
        let fresh = Kept { value: Arc::new(Mutex::new(value)), until_ns };
        let mut gone = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CACHED_RESULTS_MAX && !kept.contains_key(&key) {
            gone = Self::make_room(&mut kept, now_ns);
        }
        gone.extend(kept.insert(key, fresh));
        drop(kept);
        // With the lock released: a value may do anything when it goes.
        drop(gone);
    }

    /// Takes out what is too old, or else what would be first.
    fn make_room(kept: &mut HashMap<CacheKey, Kept>, now_ns: u64) -> Vec<Kept> {
        let mut gone: Vec<Kept> =
            kept.extract_if(|_, kept| kept.until_ns <= now_ns).map(|(_, kept)| kept).collect();
        if gone.is_empty() {
            let first = kept.iter().min_by_key(|(_, kept)| kept.until_ns).map(|(key, _)| *key);
            gone.extend(first.and_then(|key| kept.remove(&key)));
        }
        gone
    }

    /// A copy of the result kept last, if it is not too old.
    pub(super) fn find<R: Clone + 'static>(&self, key: CacheKey, now_ns: u64) -> Option<R> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let old = if kept.get(&key)?.until_ns <= now_ns { kept.remove(&key) } else { None };
        let value = if old.is_none() { kept.get(&key).map(|kept| Arc::clone(&kept.value)) } else { None };
        drop(kept);
        drop(old);
        let value = value?;
        let value = value.lock().unwrap_or_else(PoisonError::into_inner);
        value.downcast_ref::<R>().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_nanos(100);

    fn key(key: u64) -> CacheKey {
        CacheKey { function: 1, result: TypeId::of::<u64>(), key }
    }

    #[test]
    fn a_result_is_found_until_it_is_too_old() {
        let cache = Cache::default();
        cache.keep(key(1), 7_u64, TTL, 1000);
        assert_eq!(cache.find::<u64>(key(1), 1099), Some(7));
        assert_eq!(cache.find::<u64>(key(2), 1099), None);
        assert_eq!(cache.find::<u64>(key(1), 1100), None);
        assert!(cache.kept.lock().unwrap().is_empty());
        cache.keep(key(1), 8_u64, Duration::MAX, 1000);
        assert_eq!(cache.find::<u64>(key(1), u64::MAX - 1), Some(8));
    }

    #[test]
    fn the_number_of_results_is_bounded_and_the_oldest_goes_first() {
        let cache = Cache::default();
        for n in 0..CACHED_RESULTS_MAX as u64 + 10 {
            cache.keep(key(n), n, TTL, n);
        }
        // Those that were too old went together; never were there more than the limit.
        assert!(cache.kept.lock().unwrap().len() <= CACHED_RESULTS_MAX);
        let long = Cache::default();
        for n in 0..CACHED_RESULTS_MAX as u64 + 10 {
            long.keep(key(n), n, Duration::from_secs(1), n);
        }
        assert_eq!(long.kept.lock().unwrap().len(), CACHED_RESULTS_MAX);
        assert_eq!((long.find::<u64>(key(9), 2000), long.find::<u64>(key(10), 2000)), (None, Some(10)));
    }
}
