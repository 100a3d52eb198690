//! Why a context is over, and why a value did not get into one.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a context is over.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Done {
    /// Its canceller, or that of a context above it, said so.
    #[error("cancelled{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Cancelled {
        /// What was said, if anything.
        cause: Option<String>,
    },
    /// Its deadline, or one above it, has passed.
    #[error("the deadline has passed")]
    DeadlineExceeded,
    /// Its last canceller was dropped: nobody is left who could cancel it.
    #[error("its last canceller was dropped")]
    Abandoned,
    /// The process that had its last canceller was killed.
    #[error("the process that could cancel it has died")]
    OwnerDied,
    /// Its runtime was shut down.
    #[error("the runtime was shut down")]
    RuntimeEnded,
    /// It could not be made, or this process may not use it.
    #[error("there is no context: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// Why a value did not get into a context.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Its `Serialize` refuses, or it carries a block or a channel.
    #[error("the value cannot be encoded: {reason}")]
    Unencodable {
        /// What is wrong with it.
        reason: String,
    },
    /// All values of a context travel with it each time.
    #[error(
        "the values of a context would take {bytes} bytes, more than {limit}; send a shared slice instead"
    )]
    TooLarge {
        /// Bytes of all values together.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}
