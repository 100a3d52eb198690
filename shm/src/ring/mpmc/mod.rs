//! Mpmc: the ring of a channel. Any number of producers and consumers, any of which may be killed at any instant.
//!
//! Slot words are the truth, as in a lane: each names its lap, its state and, while somebody is at it, who. Head and
//! tail are hints. `README.md` beside this file holds the protocol and its proof.
//!
//! Progress: every operation is lock-free; none waits.

mod census;
mod header;
mod lease;
mod peek;
mod recover;
mod ring;
mod word;

pub use census::{Role, Standing};
pub use header::{FormatError, Geometry, Header, Terms};
pub use peek::Seen;
pub use recover::{Fate, Recovered, Stuck};
pub use ring::{Claim, Message, Nothing, Refused, Ring, Taken};
pub use word::{DELIVERIES_MAX, MARKS_MAX, SlotState, SlotWord};

/// Number of a message in the order of claims, 0.. (never wraps).
pub type Position = u64;
