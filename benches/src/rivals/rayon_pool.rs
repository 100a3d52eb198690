//! rayon: tasks on the threads of one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::measure::{call_after_pause_ns, call_ns, spin_until, time_ns};
use crate::pair::Cores;

/// A pool of rayon's.
#[derive(Debug)]
pub struct Pool {
    pool: ThreadPool,
    done: Arc<AtomicU64>,
}

impl Pool {
    /// A pool of `threads` that the kernel places.
    ///
    /// # Panics
    /// When threads cannot be had.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        Self { pool: pool.expect("a pool can be made"), done: Arc::default() }
    }

    /// A pool of one thread on `cores.peer`.
    ///
    /// # Panics
    /// When the thread cannot be had.
    #[must_use]
    pub fn pinned(cores: Cores) -> Self {
        let pin = move |_| {
            core_affinity::set_for_current(cores.peer);
        };
        let pool = ThreadPoolBuilder::new().num_threads(1).start_handler(pin).build();
        Self { pool: pool.expect("a pool can be made"), done: Arc::default() }
    }

    /// Median of one `spawn` until a spinning waiter sees its effect, in ns.
    #[must_use]
    pub fn round_trip_ns(&self, calls: usize) -> f64 {
        call_ns(calls, || self.round_trip())
    }

    /// The same with a busy pause before each, in which the pool falls asleep.
    #[must_use]
    pub fn round_trip_asleep_ns(&self, calls: usize, pause: Duration) -> f64 {
        call_after_pause_ns(calls, pause, || self.round_trip())
    }

    /// Nanoseconds per task: `tasks` calls of `spawn`, each adding to one counter, until all have.
    #[must_use]
    pub fn spawn_ns(&self, tasks: u64) -> f64 {
        self.done.store(0, Ordering::Relaxed);
        time_ns(|| {
            for _ in 0..tasks {
                let done = Arc::clone(&self.done);
                self.pool.spawn(move || {
                    done.fetch_add(1, Ordering::Release);
                });
            }
            spin_until(|| self.done.load(Ordering::Acquire) == tasks);
        }) / tasks as f64
    }

    /// Nanoseconds per item of a `par_iter` that collects `work` of `0..items`, with pieces of exactly `grain` items.
    ///
    /// # Panics
    /// When an item got lost.
    #[must_use]
    pub fn map_ns(&self, items: usize, grain: usize, work: fn(u64) -> u64) -> f64 {
        let run = || -> Vec<u64> {
            let pieces = (0..items).into_par_iter().with_min_len(grain).with_max_len(grain);
            pieces.map(|item| work(item as u64)).collect()
        };
        let mut results = Vec::new();
        let ns = time_ns(|| results = self.pool.install(run)) / items as f64;
        assert_eq!(results.len(), items, "every item has a result");
        ns
    }

    fn round_trip(&self) {
        self.done.store(0, Ordering::Relaxed);
        let done = Arc::clone(&self.done);
        self.pool.spawn(move || done.store(1, Ordering::Release));
        while self.done.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
    }
}
