//! What can go wrong with a task, with a runtime, and what is said about it.

use crate::evidence::Evidence;
use crate::topology::PlacementError;
use gorun_shm::SegmentError;
use gorun_worker::jail::JailRefusal;
use gorun_worker::wire::map::AttachError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Why a task has no value.
///
/// It can travel: a task may return a `Result<T, TaskError>` of its own tasks.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// Its function panicked; the worker lives on.
    #[error("task panicked{}: {message}", At(location.as_deref()))]
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column` of the panic, if known.
        location: Option<String>,
    },
    /// Its worker process died while it ran. Nothing else was lost.
    #[error("{evidence}")]
    WorkerLost {
        /// What is known of the death.
        evidence: Box<Evidence>,
    },
    /// Its time was over: it was taken out of the queue, or killed with its worker.
    #[error("task timed out after {after:?}")]
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// Its worker grew over the runtime's `memory_max` while it ran, and was killed.
    #[error(
        "task was killed: its worker's memory grew over {limit} bytes; raise `memory_max`, or work on less at once"
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: u64,
    },
    /// It was cancelled: before it started, or killed while it ran.
    #[error("task was cancelled")]
    Cancelled,
    /// It was not accepted.
    #[error("task was not accepted: {reason}")]
    Rejected {
        /// Why.
        reason: Rejection,
    },
    /// It ran, but its result could not come back.
    #[error("the result could not come back: {reason}")]
    ResultRefused {
        /// Why.
        reason: ResultRefusal,
    },
    /// Bytes of its input, its result or its slot made no sense.
    #[error(
        "undecodable bytes in the {place}: the types do not match, their serde code is not symmetric, or another process wrote there"
    )]
    Decode {
        /// Where.
        place: Place,
    },
    /// Its function has killed too many workers with this input: see [`Runtime::quarantine`](crate::Runtime::quarantine).
    #[error(
        "task is quarantined: its function has killed {crashes} workers with this input; mend it, or let it pass with `Runtime::quarantine().release(..)`. The last one:\n{evidence}"
    )]
    Quarantined {
        /// How many.
        crashes: u32,
        /// What is known of the last of those deaths.
        evidence: Box<Evidence>,
    },
    /// Its breaker lets no task through.
    #[error("the circuit breaker is open; try again after {retry_after:?}")]
    CircuitOpen {
        /// When it is worth asking again; `Duration::MAX` if the breaker was forced open.
        retry_after: Duration,
    },
    /// The runtime's workers are all gone, and its restart policy allows no others.
    #[error("no worker is left, and the runtime's restart policy allows no other; see `Builder::restart`")]
    NoWorkers,
    /// The runtime was shut down before it finished.
    #[error("the runtime was shut down before the task finished")]
    Closed,
}

/// Why a task was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Rejection {
    /// Its input is over the limit.
    #[error(
        "its input has {bytes} bytes, the limit is {limit}; send a SharedSlice, or raise `message_bytes_max`"
    )]
    InputTooLarge {
        /// Encoded size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Its input could not be encoded.
    #[error("its input could not be encoded: {message}")]
    InputUnencodable {
        /// What serde said.
        message: String,
    },
    /// No shared memory was free for its input.
    #[error(
        "no shared memory is free for {bytes} bytes of input; wait for running tasks, or send less at once"
    )]
    NoMemory {
        /// Encoded size.
        bytes: u64,
    },
    /// Its function is not in the worker's image.
    #[error("{0}")]
    ForeignModule(#[from] gorun_worker::function::ForeignModule),
    /// It carries a block of another runtime.
    #[error(
        "its input carries a block of another runtime; build the block with `Runtime::block` of this one"
    )]
    ForeignBlock,
    /// This process is a fork of the host.
    #[error(
        "this process was forked from the host after the runtime started; build a `Runtime` of its own here"
    )]
    ForkedHost,
    /// It has a time limit or asks to be killed, where nobody can kill it.
    #[error(
        "tasks {place} cannot be killed at a deadline; start it from the host, in a runtime that has worker processes"
    )]
    CannotKill {
        /// Where.
        place: Cow<'static, str>,
    },
    /// It runs where it is started, and would have to stand in line first.
    #[error(
        "a task that runs where it is started cannot wait for its turn; raise the limit of its bulkhead, or run it in another mode"
    )]
    CannotWait,
    /// It asks inside a task for what only the host has.
    #[error("{what} works in the host only; start the task there")]
    HostOnly {
        /// What it asks for.
        what: Cow<'static, str>,
    },
    /// Its bulkhead is full, and so is the queue of those that wait.
    #[error("its bulkhead is full: {concurrency} tasks run, and {queue} wait for their turn")]
    BulkheadFull {
        /// How many may run at once.
        concurrency: u32,
        /// How many may wait.
        queue: u32,
    },
    /// Its rate limit lets no more through, and its turn is too far away to wait for.
    #[error("its rate limit lets no more through; try again after {retry_after:?}")]
    RateLimited {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// It names a policy that was not set up.
    #[error("no {what} has the name {name:?}; set it up on the runtime before the task is started")]
    UnknownPolicy {
        /// Which kind.
        what: Cow<'static, str>,
        /// The name.
        name: String,
    },
    /// The jail it asks for cannot be had.
    #[error("{reason}")]
    Jail {
        /// Which part of it, and why.
        #[source]
        reason: JailRefusal,
    },
    /// The program's default runtime could not start.
    #[error("the default runtime could not start: {message}")]
    NoRuntime {
        /// Why, in full.
        message: String,
    },
}

/// Why a result could not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ResultRefusal {
    /// It is over the limit.
    #[error("it has {bytes} bytes, the limit is {limit}; return a SharedSlice, or raise `message_bytes_max`")]
    TooLarge {
        /// Encoded size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No shared memory was free for it.
    #[error("no shared memory is free for its {bytes} bytes; join finished tasks sooner, or return less")]
    NoMemory {
        /// Encoded size.
        bytes: u64,
    },
    /// It carries blocks of a jail's own memory, where hostile code could write to them later.
    #[error("it carries a block that was made in a jail; return the bytes themselves")]
    Blocks,
    /// Its `Serialize` refused.
    #[error("its Serialize implementation refused")]
    Unencodable,
}

/// Where undecodable bytes were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Place {
    /// The input, as the worker saw it.
    Input,
    /// The result, as the host saw it.
    Result,
    /// The slot itself.
    Slot,
    /// The code id: it names no function of the program.
    Function,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Result => "result",
            Self::Slot => "slot",
            Self::Function => "function id",
        })
    }
}

struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |location| write!(f, " at {location}"))
    }
}

/// Why a runtime could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of its range.
    #[error("{key} = {value} is out of range; allowed: {allowed}")]
    OutOfRange {
        /// The setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        allowed: String,
    },
    /// The file with settings cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Where it lies.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The placement names processors that cannot be used.
    #[error("placement: {0}")]
    Placement(#[from] PlacementError),
    /// No memory for the segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// There is less memory than the pool is to have from the start.
    #[error("back the pool with memory: {0}; ask for a smaller one, or for less to be prefaulted")]
    NoMemory(#[source] std::io::Error),
    /// The segment could not be laid out.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The kernel refused a thread or a descriptor of the runtime itself.
    #[error("start the runtime's own threads and descriptors: {0}; raise RLIMIT_NPROC or RLIMIT_NOFILE")]
    Refused(#[source] std::io::Error),
}
