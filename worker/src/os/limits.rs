//! Limits of this process, which its workers share: what a person wants to know after a death.

use rustix::process::{Resource, getrlimit};
use std::fmt;

/// True if the call failed because this process has as many descriptors as it may.
#[must_use]
pub fn is_out_of_descriptors(cause: &std::io::Error) -> bool {
    cause.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32)
}

/// The soft limits that tasks run into most often; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space.
    pub address_space: Option<u64>,
    /// Bytes of stack.
    pub stack: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Processes of this user.
    pub processes: Option<u64>,
}

/// The limits now.
#[must_use]
pub fn current() -> Limits {
    let soft = |resource| getrlimit(resource).current;
    Limits {
        address_space: soft(Resource::As),
        stack: soft(Resource::Stack),
        descriptors: soft(Resource::Nofile),
        processes: soft(Resource::Nproc),
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |limit: Option<u64>| {
            limit.map_or("unlimited".to_owned(), |limit| format!("{} KiB", limit / 1024))
        };
        let count = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        write!(
            f,
            "address space {}, stack {}, descriptors {}, processes {}",
            bytes(self.address_space),
            bytes(self.stack),
            count(self.descriptors),
            count(self.processes)
        )
    }
}
