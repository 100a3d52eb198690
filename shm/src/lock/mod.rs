//! Locks between processes: mutex, reader-writer lock, semaphore, once, barrier, condition, each in a block of its own.
//!
//! Who has a lock stands in shared words, so a process may be killed between any two instructions and `recover` gives back
//! what it had. The steps of one side never wait; whoever waits sleeps at a gate. `README.md` beside this file holds the
//! protocols, their proofs and what each death leaves behind.
//!
//! Only a process that maps the segment can be trusted to keep the protocol: one that scribbles over a lock can make others
//! wait, and see a value that is being changed, but nothing here is read outside of the lock's own block.
//!
//! Progress: every operation is lock-free; a failed try failed because somebody else has the lock.

mod barrier;
mod condition;
mod group;
mod head;
mod mutex;
mod once;
mod owner;
mod rwlock;
mod semaphore;
mod word;

#[cfg(not(loom))]
mod site;
#[cfg(not(loom))]
mod value;

pub use barrier::{Arrival, Barrier, Broken};
pub use condition::Condition;
pub use group::Group;
pub use head::{FormatError, Head, Marks, Plan, Primitive};
pub use mutex::{Mutex, MutexHold};
pub use once::{Once, OnceTurn};
pub use owner::Owner;
pub use rwlock::{Claim, ReadHold, RwLock, WriteHold};
pub use semaphore::{Permit, Semaphore, Slots};
pub use word::{OwnedWord, Taken};

#[cfg(not(loom))]
pub use site::{Site, recover, shut};
#[cfg(not(loom))]
pub use value::{Access, Exclusive, Protected};
