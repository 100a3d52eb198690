//! What can go wrong with a lock.

use crate::error::Rejection;
use std::fmt;
use thiserror::Error;

/// Why there is no lock.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// No shared memory is free for it.
    #[error("no shared memory is free for a lock of {bytes} bytes; drop what is no longer needed")]
    NoMemory {
        /// Bytes it needs.
        bytes: u64,
    },
    /// There is no runtime, or this process may not use it.
    #[error(transparent)]
    NoRuntime(Rejection),
    /// The runtime was shut down.
    #[error("the runtime was shut down")]
    Closed,
    /// A semaphore without permits or with too many, or a barrier for nobody or for too many.
    #[error("there can be 1 to {most}, not {asked}")]
    BadCount {
        /// What was asked for.
        asked: u64,
        /// The limit.
        most: u64,
    },
}

/// Why a wait ended without what was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Somebody else has it: of `try_`.
    #[error("somebody else has it")]
    WouldWait,
    /// It could not be had in time: of `_until` and `_timeout`.
    #[error("it could not be had in time")]
    TimedOut,
    /// The runtime was shut down meanwhile.
    #[error("the runtime was shut down")]
    Closed,
    /// This thread has it already, and would wait for itself: perhaps in a task that a waiting task of this thread started.
    #[error("this thread has the lock already, and would wait for itself")]
    HeldHere,
    /// More permits than the semaphore has.
    #[error("{asked} permits of a semaphore that has {permits}")]
    TooMany {
        /// What was asked for.
        asked: u32,
        /// How many there are.
        permits: u32,
    },
    /// Another process wrote nonsense over the lock.
    #[error("the lock was overwritten by another process")]
    Damaged,
    /// There is no lock: it could not be made, or this process may not use it.
    #[error("there is no lock: {0}")]
    NoLock(#[from] SyncError),
}

/// A guard, or what is wrong.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why a lock was not simply taken.
#[derive(Clone, PartialEq, Eq)]
pub enum LockError<G> {
    /// The lock is the caller's, but an owner before was killed while it had it: the value may be half written. Said again to
    /// the next owner until somebody marks the value sound.
    Recovered(G),
    /// The lock is the caller's, but a thread panicked while it had it. Said again until somebody marks the value sound.
    Poisoned(G),
    /// The lock is not the caller's.
    Refused(WaitError),
}

impl<G> LockError<G> {
    /// The guard, whatever has become of those before. The marks stay.
    ///
    /// # Errors
    /// [`WaitError`] if there is no guard.
    pub fn into_guard(self) -> Result<G, WaitError> {
        match self {
            Self::Recovered(guard) | Self::Poisoned(guard) => Ok(guard),
            Self::Refused(refused) => Err(refused),
        }
    }

    /// True if an owner was killed.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        matches!(self, Self::Recovered(_))
    }

    pub(super) fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::Recovered(guard) => LockError::Recovered(change(guard)),
            Self::Poisoned(guard) => LockError::Poisoned(change(guard)),
            Self::Refused(refused) => LockError::Refused(refused),
        }
    }
}

impl<G> From<WaitError> for LockError<G> {
    fn from(refused: WaitError) -> Self {
        Self::Refused(refused)
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => f.write_str("Recovered(..)"),
            Self::Poisoned(_) => f.write_str("Poisoned(..)"),
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => f.write_str("an owner was killed while it had the lock"),
            Self::Poisoned(_) => f.write_str("a thread panicked while it had the lock"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl<G> std::error::Error for LockError<G> {}

/// Why a once was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OnceError {
    /// Whoever tried panicked: `call_once_force` tries again.
    #[error("whoever was to do it panicked")]
    Poisoned,
    /// It could not be waited for.
    #[error(transparent)]
    Refused(#[from] WaitError),
}

/// Why a barrier did not open.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BarrierError {
    /// A process with a handle of the barrier was killed, or a handle was dropped by a panic: nobody knows who is still to
    /// come. For good.
    #[error("a participant of the barrier is dead")]
    Broken,
    /// It could not be waited for.
    #[error(transparent)]
    Refused(#[from] WaitError),
}

/// Why not all members of a wait group were done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// Nobody is a member any more, but some never said that they were done: their processes were killed.
    #[error("{members} members of the wait group were killed")]
    Lost {
        /// How many.
        members: u64,
    },
    /// Members are added by members now: the group was waited for, or this handle of it came from another process.
    #[error("members of a group that is waited for are added by its members")]
    Over,
    /// It could not be waited for.
    #[error(transparent)]
    Refused(#[from] WaitError),
}
