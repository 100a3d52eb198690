//! What host and zygote say over the control socket: one packet a message, descriptors beside it.

use crate::cpu_set::CpuSet;
use crate::jail::{Jail, JailRefusal};
use crate::os::socket::{self, Packet};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Environment mark of a zygote; its value is [`mark`]'s.
pub const VARIABLE: &str = "GORUN_ZYGOTE";
/// Changes with the messages below.
pub const VERSION: u32 = 3;

/// The mark's value for a host's token.
#[must_use]
pub fn mark(token: u128) -> String {
    format!("{VERSION}:{token:032x}")
}

/// Host to zygote.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// First of all, with the segment and the lease's read end.
    Hello {
        /// Must match the environment mark.
        token: u128,
        /// Size of the segment in bytes.
        segment_bytes: u64,
        /// Workers to fork at once.
        first: Vec<Birth>,
        /// Processors that a worker without a processor of its own may run on.
        cpus: CpuSet,
        /// True if a zygote was there before: it may have left processes that are nobody's children now.
        is_successor: bool,
    },
    /// Fork a worker. Beside it what it is to have for standard error, if not the zygote's own.
    Fork(Birth),
    /// A worker of an earlier zygote has ended: kill what it left behind.
    Sweep,
    /// First of all, in place of [`Order::Hello`], to a zygote of jailed workers, which maps no segment; with the
    /// lease's read end.
    HelloJailer {
        /// Must match the environment mark.
        token: u128,
        /// Processors that its workers may run on.
        cpus: CpuSet,
    },
    /// Fork a jailed worker into a segment of its own; with the segment, and what it wakes the host by.
    Jail {
        /// Number by which it is told of.
        cell: u16,
        /// Size of its segment in bytes.
        segment_bytes: u64,
        /// What it may do.
        jail: Jail,
    },
}

/// A worker to be: two forks with one birth are two tries at the same worker, and one of them leaves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Record it lives in.
    pub record: u16,
    /// Which of the record's lives: see `WorkerRecord::move_in`.
    pub birth: u32,
}

/// Zygote to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// The zygote is up.
    Ready {
        /// Shared libraries it has loaded, in the loader's order.
        libraries: Vec<String>,
    },
    /// The zygote cannot serve.
    Failed {
        /// Why, in words fit for an error message.
        reason: String,
    },
    /// A worker was forked; its pidfd comes beside.
    Forked {
        /// Record it lives in, or the number of a jailed one.
        record: u16,
        /// Its process id.
        pid: i32,
    },
    /// A jailed worker could not put its jail on, and leaves.
    NotJailed {
        /// Its number.
        cell: u16,
        /// Why.
        refusal: JailRefusal,
    },
    /// A fork was refused.
    Refused {
        /// Record it was for.
        record: u16,
        /// The kernel's error number.
        errno: i32,
    },
    /// A worker ended and was reaped.
    Ended {
        /// Record it lived in.
        record: u16,
        /// Its process id.
        pid: i32,
        /// How.
        end: ProcessEnd,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessEnd {
    /// It called exit.
    Exited {
        /// With this code.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Its number.
        signal: i32,
        /// Whether a core was dumped.
        dumped: bool,
    },
    /// Nobody was left to tell.
    Unknown,
}

/// Sends one message.
///
/// # Errors
/// What the kernel said; `BrokenPipe` if the other side is gone.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = bincode::serialize(message).map_err(io::Error::other)?;
    socket::send(socket, &bytes, descriptors)
}

/// A message and the descriptors beside it.
#[derive(Debug)]
pub struct Received<T> {
    /// What was said.
    pub message: T,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// Receives one message; none if the other side is gone.
///
/// # Errors
/// What the kernel said; `WouldBlock` without `wait`; `InvalidData` if the packet is no such message.
///
/// # Blocking
/// If `wait`, until a message comes or the other side goes.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd, wait: bool) -> io::Result<Option<Received<T>>> {
    let Some(Packet { bytes, descriptors }) = socket::receive(socket, wait)? else { return Ok(None) };
    let message =
        bincode::deserialize(&bytes).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
    Ok(Some(Received { message, descriptors }))
}
