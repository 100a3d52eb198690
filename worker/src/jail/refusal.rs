//! Refusal: which part of a jail cannot be had, and why.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// One of the means by which a worker is jailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JailPart {
    /// No more rights by executing a program (`no_new_privs`).
    NoNewPrivileges,
    /// The filter of system calls (seccomp).
    SystemCallFilter,
    /// The restriction to paths (Landlock).
    Landlock,
    /// The limits of the process (rlimits).
    Limits,
    /// Closing of what was inherited.
    Descriptors,
}

impl fmt::Display for JailPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNewPrivileges => "no_new_privs",
            Self::SystemCallFilter => "system call filter (seccomp)",
            Self::Landlock => "path restriction (Landlock)",
            Self::Limits => "process limits (rlimits)",
            Self::Descriptors => "closing of inherited descriptors",
        })
    }
}

/// Why a task cannot run in the jail it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JailRefusal {
    /// The kernel, or whoever confines this program already, lacks a part.
    #[error("its jail lacks the {part}: {}; allow it, or accept less with `best_effort`", cause(*errno))]
    Lacking {
        /// What is lacking.
        part: JailPart,
        /// What the kernel said.
        errno: i32,
    },
    /// The kernel's Landlock is too old for the profile.
    #[error(
        "its jail needs Landlock {needed}, the kernel has {found}; allow no writing, or accept less with `best_effort`"
    )]
    LandlockTooOld {
        /// Version the profile needs.
        needed: i32,
        /// Version there is.
        found: i32,
    },
    /// A path of the profile cannot be opened.
    #[error("its jail allows {}, which cannot be opened: {}", path.display(), cause(*errno))]
    Path {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        errno: i32,
    },
    /// The profile has more and longer paths than can be sent.
    #[error("its jail's paths have {bytes} bytes, the limit is {limit}; allow a folder above them")]
    TooManyPaths {
        /// Bytes of the profile.
        bytes: u64,
        /// Most bytes.
        limit: u64,
    },
    /// No jailed process can be had.
    #[error("no jailed process can be had: {message}")]
    NoProcess {
        /// Why.
        message: String,
    },
}

impl JailRefusal {
    /// For a part of which the kernel said this.
    pub(crate) fn lacking(part: JailPart, error: &io::Error) -> Self {
        Self::Lacking { part, errno: error.raw_os_error().unwrap_or(0) }
    }
}

fn cause(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
