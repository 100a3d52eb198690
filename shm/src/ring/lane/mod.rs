//! Lane of a stream: an spsc ring behind a channel's head, so that its two ends can be handed on, be closed and die.
//!
//! `README.md` beside this file holds the protocol and its proof.
//!
//! Progress: every operation is wait-free but [`Lane::close`], which is lock-free; none waits.

mod header;
mod receiver;
mod sender;

pub use header::{Lane, LaneHead, LaneMemory, LaneShape};
pub use receiver::LaneReceiver;
pub use sender::{LaneLoan, LaneSender};
