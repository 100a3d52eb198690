//! Blocks: bytes of any size that one process fills and others read, given and taken back by any of them.
//!
//! A block belongs to one process (`OwnedBlock`, writable) or is held by several (`SharedBlock`, immutable).
//! Who has it stands in shared words, so a process may be killed between any two instructions and
//! `recover` finds everything it had. `README.md` beside this file holds the protocol and its proof.
//!
//! Progress: allocating and freeing are lock-free, one exchange each when nobody competes. Holding and letting go
//! of shared blocks is lock-free between processes; the threads of one process take a short lock.

mod class;
mod holder;
mod table;
mod word;

#[cfg(not(loom))]
mod budget;
#[cfg(not(loom))]
mod handle;
#[cfg(not(loom))]
mod nodes;
#[cfg(not(loom))]
mod owned;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod shape;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
mod strangers;
#[cfg(not(loom))]
mod supply;

pub use class::Class;
pub use holder::{Holder, HolderSet};
pub use table::{BlockId, Region, Stale, Table};
pub use word::{BlockState, Word};

#[cfg(not(loom))]
pub use budget::Budget;
#[cfg(not(loom))]
pub use handle::{BlockHandle, BlockRef, HandleError};
#[cfg(not(loom))]
pub use nodes::NodeRange;
#[cfg(not(loom))]
pub use owned::OwnedBlock;
#[cfg(not(loom))]
pub use pool::{AllocateError, Blocks, ClassUsage, PoolCounts, Recovered};
#[cfg(not(loom))]
pub use record::{Growth, PoolRecord, PoolTerms};
#[cfg(not(loom))]
pub use shape::{Limits, Shape};
#[cfg(not(loom))]
pub use shared::SharedBlock;
