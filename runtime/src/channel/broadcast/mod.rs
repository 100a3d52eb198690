//! Broadcasts: every subscriber gets every message that is sent from its subscription on.
//!
//! There is one copy of a message in shared memory, and a cursor for each subscriber; see `shm/src/ring/broadcast/README.md`. All
//! subscribers see the messages in one order, in which those of each sender are in the order of sending. The ends are values as
//! those of a channel. A message that lies in a block of its own, because it is large or carries something, is freed when its
//! place is used again; what it carries is held so long.

mod open;
mod receiver;
mod recover;
mod sender;

pub use open::{Broadcast, BroadcastStats, broadcast_channel};
pub use receiver::{BroadcastDrain, BroadcastIter, BroadcastReceiver, BroadcastRecvFuture};
pub(super) use recover::{bury, rehouse, shut};
pub use sender::BroadcastSender;
