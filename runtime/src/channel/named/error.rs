//! Why a name could not be bound, or not be connected to.

use crate::channel::ChannelError;
use gorun_shm::SegmentError;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// What is wrong with a name, or with what is behind it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NamedError {
    /// That is no name.
    #[error("{name:?} is no name for a channel: 1 to 64 letters, digits and any of `.`, `_`, `-`, `:`")]
    BadName {
        /// What was given.
        name: String,
    },
    /// A program of this user has bound the name and still runs.
    #[error("the name {name:?} is in use: a program of this user has bound it")]
    InUse {
        /// The name.
        name: String,
    },
    /// No program has bound the name, or none in time.
    #[error("no program of user {user} has bound the name {name:?}")]
    NotFound {
        /// The name.
        name: String,
        /// The user whose programs were asked for.
        user: u32,
    },
    /// Who has bound the name does not answer: it is stopped, or no program of ours.
    #[error("who has bound the name {name:?} did not answer within {waited:?}")]
    Silent {
        /// The name.
        name: String,
        /// How long that was.
        waited: Duration,
    },
    /// The binder went away meanwhile.
    #[error("the program that had bound the name {name:?} is gone")]
    Gone {
        /// The name.
        name: String,
    },
    /// The name was bound by another user than the one it belongs to.
    #[error("the name {name:?} belongs to user {expected}, and user {found} has bound it")]
    Impostor {
        /// The name.
        name: String,
        /// Who has bound it.
        found: u32,
        /// Whose it is.
        expected: u32,
    },
    /// The binder does not let this user in.
    #[error("user {user} may not connect to {name:?}; its binder can allow it")]
    NotAllowed {
        /// The name.
        name: String,
        /// Who asked.
        user: u32,
    },
    /// The binder does not give out such an end.
    #[error("the binder of {name:?} does not give out {asked}")]
    RoleRefused {
        /// The name.
        name: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// The values are of another type there, or of another version of it.
    #[error(
        "the channel {name:?} carries values of another type than {asked_type} (schema {found:016x}, not {expected:016x})"
    )]
    Schema {
        /// The name.
        name: String,
        /// The type as this program calls it.
        asked_type: &'static str,
        /// Its schema.
        expected: u64,
        /// The schema of what the channel carries.
        found: u64,
    },
    /// The other program uses a gorun that does not understand this one.
    #[error("the binder of {name:?} speaks version {found} of gorun's protocol, and this program {expected}")]
    Version {
        /// The name.
        name: String,
        /// The version of this program.
        expected: u64,
        /// The version of the other.
        found: u64,
    },
    /// As many programs are connected as there can be.
    #[error("{most} ends are connected to {name:?}, and more there cannot be")]
    Crowded {
        /// The name.
        name: String,
        /// The limit.
        most: u16,
    },
    /// What the other side said makes no sense.
    #[error("what was bound to the name {name:?} is no channel of gorun's")]
    NoChannel {
        /// The name.
        name: String,
    },
    /// The channel itself cannot be.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Its memory cannot be had.
    #[error(transparent)]
    Memory(#[from] SegmentError),
    /// This process was forked from one that uses named channels; only a program that was started can use its own.
    #[error(
        "this process is a fork of one that uses named channels; start a program instead, or fork earlier"
    )]
    Forked,
    /// The kernel refused something.
    #[error("{what}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl NamedError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}
