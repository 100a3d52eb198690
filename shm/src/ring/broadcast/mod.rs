//! Broadcast: a ring of which every subscriber reads every message, each at its own cursor. Any number of producers, any of
//! which may be killed at any instant, as may subscribers.
//!
//! A producer claims a slot by name, as in `mpmc`; subscribers write nothing but their cursors. `README.md` beside this file
//! holds the protocol and its proof.
//!
//! Progress: every operation is lock-free; none waits.

mod cursor;
mod header;
mod ring;

pub use cursor::{Cursor, CursorIndex};
pub use header::{BroadcastHead, BroadcastShape};
pub use ring::{BroadcastRing, Claim, Keeping, Miss, Seen};
