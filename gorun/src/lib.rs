//! gorun runs closures in other processes; a task costs less than a `rayon::spawn`.
//!
//! A segfault, an abort or a kill costs the task that ran, and with a limit of time or memory so does an endless loop or
//! a memory bomb. A task that waits for tasks of its own may run them itself, and is then lost with one that crashes.
//!
//! ```
//! use gorun::prelude::*;
//!
//! let answer: u64 = go_parallel(|| 6 * 7).join()?;
//! assert_eq!(answer, 42);
//! # Ok::<(), TaskError>(())
//! ```

pub use gorun_runtime::observe;
pub use gorun_runtime::{
    Backoff, Block, BreakerHandle, BreakerSettings, BreakerState, BuildError, Builder, BulkheadHandle,
    BulkheadSettings, Config, Evidence, Fallback, Fingerprint, Hedge, IntoTask, Jail, JailPart, JailRefusal,
    JailStats, Map, Mode, Outcomes, Placement, PolicyStats, Quarantine, QuarantinedTask, RateLimit,
    RateLimitHandle, RecentTask, Rejection, ReplayError, ResultRefusal, Retry, RetryBudget, Runtime,
    SeatStats, ShareError, SharedSlice, SliceLoan, Stats, Task, TaskError, TaskHandle, error, go, go_all,
    go_any, go_map, go_parallel, go_race, is_cancelled,
};
pub use gorun_shm::Plain;
pub use gorun_worker::codec::Portable;

/// Everything most programs need, for `use gorun::prelude::*`.
pub mod prelude {
    pub use crate::{
        Backoff, Block, BreakerSettings, BreakerState, BulkheadSettings, Fallback, Hedge, Jail, Mode,
        Placement, Plain, RateLimit, Retry, Runtime, SeatStats, SharedSlice, SliceLoan, Stats, Task,
        TaskError, TaskHandle, go, go_all, go_any, go_map, go_parallel, go_race, is_cancelled,
    };
}
