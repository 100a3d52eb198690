//! tokio: tasks on the threads of one process, results through join handles.

use tokio::runtime::{Builder, Runtime};

use crate::measure::{call_ns, time_ns};

/// A multi-threaded runtime of `threads` workers.
///
/// # Panics
/// When threads cannot be had.
#[must_use]
pub fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).build().expect("a runtime can be made")
}

/// Nanoseconds per task: `tasks` calls of `spawn`, then all handles awaited.
///
/// # Panics
/// When a result got lost.
#[must_use]
pub fn spawn_ns(runtime: &Runtime, tasks: u64) -> f64 {
    let mut sum = 0;
    let ns = time_ns(|| {
        let handles: Vec<_> = (0..tasks).map(|_| runtime.spawn(async { 1_u64 })).collect();
        sum = runtime.block_on(async {
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.expect("no task panics");
            }
            sum
        });
    });
    assert_eq!(sum, tasks, "every task has a result");
    ns / tasks as f64
}

/// Median of one `spawn` and the wait for its result from outside the runtime, in ns.
///
/// # Panics
/// When a result got lost.
#[must_use]
pub fn round_trip_ns(runtime: &Runtime, calls: usize) -> f64 {
    call_ns(calls, || {
        let one = runtime.block_on(runtime.spawn(async { 1_u64 }));
        assert_eq!(one.expect("no task panics"), 1);
    })
}
