//! Distributed channels: messages with keys, spread over the processes that receive them.
//!
//! A key is hashed to one of a fixed number of **partitions** (jump hash), each of which is a channel. A partition belongs
//! to one of the **members**, the receivers that have joined (rendezvous hash). When a member comes, goes or is killed,
//! those partitions change hands that must, and no others. What was sent lies in the partition meanwhile, so nothing is
//! lost. `shm/src/partitions/README.md` holds the protocol.
//!
//! Blocking: as with other channels. A member that waits sleeps at one gate, whatever number of partitions it has.

mod desk;
mod future;
mod gather;
mod hash;
#[cfg(test)]
mod hostile;
mod member;
mod open;
mod plan;
mod receiver;
mod recover;
mod sender;
mod stats;
mod wait;

pub use future::{DistributedRecvFuture, DistributedSendFuture};
pub use gather::GatherError;
pub use hash::Key;
pub use member::KeyedDelivery;
pub use open::Distributed;
pub use receiver::{DistributedIter, DistributedReceiver};
pub(crate) use recover::{recover, shut_all};
pub use sender::{DistributedSender, RouteError};
pub use stats::{DistributedStats, MemberStats, Moved, PartitionStats};

pub use gorun_shm::partitions::MemberId;
