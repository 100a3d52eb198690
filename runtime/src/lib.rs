//! The host side of gorun: tasks and handles, dispatch, seats and their supervision.

mod archive;
mod balance;
pub mod block;
mod book;
mod builder;
pub mod channel;
mod clock;
pub mod config;
pub mod context;
mod deadlines;
mod dispatch;
mod endings;
mod environment;
pub mod error;
mod evidence;
#[cfg(feature = "shared_memory")]
pub mod foreign;
mod go;
pub mod handle;
pub mod health;
mod here;
mod home;
pub mod jail;
pub mod map;
pub mod memory;
mod mode;
mod obituary;
pub mod observe;
mod orphan;
mod patrol;
mod pool;
pub mod profile;
mod quarantine;
pub mod report;
mod results;
pub mod runtime;
mod sealed;
mod select;
pub mod stats;
mod streams;
mod supervise;
pub mod supervision;
mod symbols;
pub mod sync;
mod tally;
pub mod task;
pub mod text;
mod ticket;
pub mod timer;
pub mod topology;

pub use balance::{LoadBalancing, Policy, SeatLoad, TaskFacts};
pub use block::{Block, ShareError, SharedSlice, SliceLoan};
pub use builder::Builder;
pub use channel::Select;
pub use channel::distributed::{
    Distributed, DistributedReceiver, DistributedRecvFuture, DistributedSendFuture, DistributedSender,
    DistributedStats, GatherError, Key, KeyedDelivery, MemberId, MemberStats, Moved, PartitionStats,
    RouteError,
};
pub use channel::{
    Backpressure, Channel, NamedChannel, NamedError, Receiver, RecvError, SendError, Sender, channel,
    rendezvous,
};
pub use channel::{Broadcast, BroadcastReceiver, BroadcastSender, broadcast_channel};
pub use channel::{StreamReceiver, StreamSender, stream, stream_on};
pub use config::Config;
pub use context::{Canceller, Context, Done};
pub use error::{BuildError, Rejection, ResultRefusal, TaskError};
pub use evidence::{Evidence, RecentTask};
pub use go::{go_all, go_any, go_map, go_parallel, go_race};
pub use gorun_worker::context::is_cancelled;
pub use handle::TaskHandle;
pub use health::{Health, WorkerHealth, WorkerState};
pub use jail::{Jail, JailPart, JailRefusal, JailStats};
pub use map::{Map, Outcomes};
pub use memory::{MemoryPoolConfig, OnFull, PoolGrowth, Prefault, SharedMemory, SharedMemoryConfig};
pub use mode::Mode;
pub use profile::{FunctionProfile, Profile, Times};
pub use quarantine::{Fingerprint, Quarantine, QuarantinedTask, ReplayError};
pub use runtime::Runtime;
pub use stats::{ClassStats, MemoryStats, PolicyStats, SeatStats, Stats};
pub use supervise::{
    Backoff, BreakerHandle, BreakerSettings, BreakerState, BulkheadHandle, BulkheadSettings, Fallback, Hedge,
    IntoFallback, RateLimit, RateLimitHandle, Retry, RetryBudget, ThreadFallback,
};
pub use supervision::{Restart, Supervision};
pub use task::{IntoTask, Task};
pub use text::{NoRoom, SharedStr, StrLoan};
pub use timer::{Tick, Ticker, Timer};
pub use topology::{Placement, Smt};
