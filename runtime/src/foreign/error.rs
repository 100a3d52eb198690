//! What can go wrong with memory that others have made.

use gorun_shm::OutOfSegment;
use std::io;
use thiserror::Error;

/// Why a named object cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// That is no name.
    #[error("{name:?} is no name of a shared memory object: 1 to 254 bytes without `/` and NUL")]
    BadName {
        /// What was given.
        name: String,
    },
    /// There is no such object.
    #[error("there is no shared memory object {name:?}; the other program makes it, or it was unlinked")]
    Missing {
        /// The name.
        name: String,
    },
    /// There is one already: of a program that runs, or that was killed.
    #[error(
        "there is a shared memory object {name:?} already; `unlink` removes one that a killed program has left"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// It belongs to somebody else.
    #[error("no permission to read and write the shared memory object {name:?}")]
    Permission {
        /// The name.
        name: String,
    },
    /// It is smaller than what was asked for; its maker may not have come so far.
    #[error("the shared memory object {name:?} has {found} bytes, and {asked} were asked for")]
    TooSmall {
        /// The name.
        name: String,
        /// Its size.
        found: usize,
        /// What was asked for.
        asked: usize,
    },
    /// The kernel refused it for another reason.
    #[error("map the shared memory object {name:?}")]
    System {
        /// The name.
        name: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// Why a ring took or gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingError {
    /// It is full, and stayed so.
    #[error("the ring is full")]
    Full,
    /// It is empty, and stayed so.
    #[error("the ring is empty")]
    Empty,
    /// The other side has closed it; a reader has read everything.
    #[error("the ring is closed")]
    Closed,
    /// The message is longer than a slot.
    #[error("a message of {bytes} bytes does not fit a slot of {slot_bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// Bytes of a slot.
        slot_bytes: usize,
    },
    /// The message has another length than the type that was asked for. It is gone.
    #[error("a message of {bytes} bytes came, and the type has {expected}")]
    OtherLength {
        /// Its length.
        bytes: usize,
        /// Bytes of the type.
        expected: usize,
    },
    /// There is no ring, or the other side wrote nonsense over it.
    #[error("no ring lies there: it was never made, was overwritten, or has another version")]
    NoRing,
    /// It reaches outside of the memory.
    #[error(transparent)]
    Outside(#[from] OutOfSegment),
}
