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

pub use gorun_runtime::channel::{
    BatchError, Binding, BoundName, ChannelError, ChannelStats, Connect, Delivery, NamedChannel, NamedError,
    NamedPeer, Observer, RecvFuture, SendFuture, bound_names,
};
pub use gorun_runtime::channel::{BroadcastDrain, BroadcastIter, BroadcastRecvFuture, BroadcastStats};
pub use gorun_runtime::channel::{RecvStream, SendSink};
pub use gorun_runtime::channel::{StreamDrain, StreamIntoIter, StreamIter, StreamLoan, StreamRef};
pub use gorun_runtime::context::{ContextError, DoneFuture};
#[cfg(feature = "shared_memory")]
pub use gorun_runtime::foreign;
pub use gorun_runtime::{
    Backoff, Backpressure, Block, BreakerHandle, BreakerSettings, BreakerState, BuildError, Builder,
    BulkheadHandle, BulkheadSettings, Channel, ClassStats, Config, Evidence, Fallback, Fingerprint,
    FunctionProfile, Health, Hedge, IntoFallback, IntoTask, Jail, JailPart, JailRefusal, JailStats,
    LoadBalancing, Map, MemoryPoolConfig, MemoryStats, Mode, NoRoom, OnFull, Outcomes, Placement, Policy,
    PolicyStats, PoolGrowth, Prefault, Profile, Quarantine, QuarantinedTask, RateLimit, RateLimitHandle,
    Receiver, RecentTask, RecvError, Rejection, ReplayError, Restart, ResultRefusal, Retry, RetryBudget,
    Runtime, SeatLoad, SeatStats, SendError, Sender, ShareError, SharedMemory, SharedMemoryConfig,
    SharedSlice, SharedStr, SliceLoan, Smt, Stats, StrLoan, Supervision, Task, TaskError, TaskFacts,
    TaskHandle, ThreadFallback, Times, WorkerHealth, WorkerState, channel, error, go, go_all, go_any, go_map,
    go_parallel, go_race, is_cancelled, rendezvous, select,
};
pub use gorun_runtime::{Broadcast, BroadcastReceiver, BroadcastSender, broadcast_channel};
pub use gorun_runtime::{Canceller, Context, Done, Select, Tick, Ticker, Timer};
pub use gorun_runtime::{
    Distributed, DistributedReceiver, DistributedRecvFuture, DistributedSendFuture, DistributedSender,
    DistributedStats, GatherError, Key, KeyedDelivery, MemberId, MemberStats, Moved, PartitionStats,
    RouteError,
};
pub use gorun_runtime::{StreamReceiver, StreamSender, stream, stream_on};
pub use gorun_runtime::{observe, sync, topology};
pub use gorun_shm::Plain;
pub use gorun_worker::codec::Portable;

/// Everything most programs need, for `use gorun::prelude::*`.
pub mod prelude {
    pub use crate::{
        Backoff, Backpressure, Block, BreakerSettings, BreakerState, BulkheadSettings, Channel, Fallback,
        Hedge, Jail, MemoryPoolConfig, Mode, NamedChannel, NamedError, OnFull, Placement, Plain, PoolGrowth,
        RateLimit, Receiver, RecvError, Restart, Retry, Runtime, SeatStats, SendError, Sender,
        SharedMemoryConfig, SharedSlice, SharedStr, SliceLoan, Stats, Task, TaskError, TaskHandle, channel,
        go, go_all, go_any, go_map, go_parallel, go_race, is_cancelled, rendezvous,
    };
    pub use crate::{Broadcast, BroadcastReceiver, BroadcastSender, broadcast_channel};
    pub use crate::{Canceller, Connect, Context, Done, Select, Ticker, Timer};
    pub use crate::{Distributed, DistributedReceiver, DistributedSender, Key, KeyedDelivery, MemberId};
    pub use crate::{StreamReceiver, StreamSender, stream};
}
