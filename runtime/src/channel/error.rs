//! What can go wrong with a channel.

use crate::context::Done;
use crate::error::Rejection;
use std::fmt;
use thiserror::Error;

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// It would hold no messages, or more than there can be.
    #[error("a channel holds 1 to {most} messages, not {asked}; use `rendezvous` for one that holds none")]
    BadCapacity {
        /// What was asked for.
        asked: usize,
        /// The limit.
        most: usize,
    },
    /// No shared memory is free for it.
    #[error(
        "no shared memory is free for a channel of {bytes} bytes; drop what is no longer needed, or ask for less"
    )]
    NoMemory {
        /// Bytes it needs.
        bytes: u64,
    },
    /// A distributed channel would have no partitions or members, or more than there can be.
    #[error(
        "a distributed channel has 1 to 256 partitions and 1 to 128 members, not {partitions} and {members}"
    )]
    BadShape {
        /// Partitions asked for.
        partitions: usize,
        /// Members asked for.
        members: usize,
    },
    /// As many receivers as it has places for have joined a distributed channel.
    #[error("the distributed channel has {most} members already; open it with more places, by `members`")]
    TooManyMembers {
        /// The limit.
        most: usize,
    },
    /// There is no runtime, or this process may not use it.
    #[error(transparent)]
    NoRuntime(Rejection),
    /// The runtime was shut down.
    #[error("the runtime was shut down")]
    Closed,
    /// Another value is in use for this end of the stream: it was sent, or arrived twice, and the first to use it has it
    /// until it is dropped or sent on.
    #[error("this end of the stream is in use elsewhere; sending an end gives it up")]
    InUse,
    /// No subscriber is left to subscribe beside, or there are too many.
    #[error("nobody subscribes any more, or {most} do and no more can")]
    NoPlace {
        /// Most subscribers at a time.
        most: usize,
    },
}

/// Why a value was not sent. It comes back, whatever the reason.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// There was no room: of `try_send`, and of channels that reject.
    Full(T),
    /// There was no room in time: of `send_until` and `send_timeout`.
    TimedOut(T),
    /// Somebody closed the channel, or the runtime was shut down.
    Closed(T),
    /// No receiver is left, in any process.
    Disconnected(T),
    /// It cannot travel: too large, no shared memory, its `Serialize` refuses, or it carries a block of another runtime.
    Unsendable {
        /// What was to be sent.
        value: T,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process wrote nonsense over the channel.
    Damaged(T),
    /// The context was over: of `send_in`.
    Done {
        /// What was to be sent.
        value: T,
        /// Why it is over.
        reason: Done,
    },
    /// There is no channel: it could not be made.
    NoChannel {
        /// What was to be sent.
        value: T,
        /// Why there is none.
        reason: ChannelError,
    },
}

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_value(self) -> T {
        match self {
            Self::Full(value)
            | Self::TimedOut(value)
            | Self::Closed(value)
            | Self::Disconnected(value)
            | Self::Damaged(value)
            | Self::Unsendable { value, .. }
            | Self::Done { value, .. }
            | Self::NoChannel { value, .. } => value,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Full(_) => "the channel is full",
            Self::TimedOut(_) => "the channel was full for too long",
            Self::Closed(_) => "the channel is closed",
            Self::Disconnected(_) => "no receiver is left",
            Self::Unsendable { reason, .. } => reason,
            Self::Damaged(_) => "the channel was overwritten by another process",
            Self::Done { .. } => "the context is over",
            Self::NoChannel { .. } => "there is no channel",
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be large, or not printable.
        let name = match self {
            Self::Full(_) => "Full",
            Self::TimedOut(_) => "TimedOut",
            Self::Closed(_) => "Closed",
            Self::Disconnected(_) => "Disconnected",
            Self::Unsendable { reason, .. } => return write!(f, "Unsendable({reason})"),
            Self::Damaged(_) => "Damaged",
            Self::Done { reason, .. } => return write!(f, "Done({reason})"),
            Self::NoChannel { reason, .. } => return write!(f, "NoChannel({reason})"),
        };
        write!(f, "{name}(..)")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChannel { reason, .. } => write!(f, "there is no channel: {reason}"),
            Self::Done { reason, .. } => write!(f, "the context is over: {reason}"),
            other => f.write_str(other.text()),
        }
    }
}

impl<T> std::error::Error for SendError<T> {}

/// Why not all of a batch was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{sent} values were sent, then: {error}")]
pub struct BatchError<T> {
    /// How many were sent.
    pub sent: usize,
    /// What became of the next one. Those behind it were not taken from the iterator.
    pub error: SendError<T>,
}

/// Why a message was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AckError {
    /// It was taken away meanwhile, because its time was over: somebody else gets it, or has got it.
    #[error("the message was acknowledged too late: it was given to somebody else")]
    TooLate,
}

/// Why nothing was received.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing is there now: of `try_recv`.
    #[error("the channel is empty")]
    Empty,
    /// Nothing came in time: of `recv_until` and `recv_timeout`.
    #[error("nothing came in time")]
    TimedOut,
    /// So many messages were thrown away for newer ones before this subscriber had received them: of broadcasts that
    /// overwrite. The next one is the oldest that is left.
    #[error("{0} messages were missed")]
    Lagged(u64),
    /// Everything was received, and nothing will come: the channel was closed, or no sender is left in any process.
    #[error("no sender is left, and everything was received")]
    Disconnected,
    /// The runtime was shut down, and everything was received.
    #[error("the runtime was shut down")]
    Closed,
    /// A message came that is no value of this type, or whose memory another process overwrote. It is gone.
    #[error("a message could not be read: {reason}")]
    Unreadable {
        /// What was wrong.
        reason: String,
    },
    /// Another process wrote nonsense over the channel.
    #[error("the channel was overwritten by another process")]
    Damaged,
    /// The context was over: of `recv_in`.
    #[error("the context is over: {0}")]
    Done(Done),
    /// There is no channel: it could not be made.
    #[error("there is no channel: {0}")]
    NoChannel(ChannelError),
}
