//! Locks between the processes of a runtime: host, workers, and threads of either.
//!
//! They are values: cloned, sent as inputs and results of tasks, and through channels; all that come from one another are
//! the same lock, whose words and value lie in shared memory. A process may be killed at any instruction: what it had is given
//! back, and the next owner is told that the value may be half written.
//!
//! ```
//! use gorun_runtime::{Task, sync::Mutex};
//!
//! let total = Mutex::new(0_u64);
//! let adders: Vec<_> = (1..=10)
//!     .map(|n| Task::with((total.clone(), n), |(total, n): (Mutex<u64>, u64)| *total.lock().unwrap() += n).go())
//!     .collect();
//! for adder in adders {
//!     adder.join()?;
//! }
//! assert_eq!(*total.lock().unwrap(), 55);
//! # Ok::<(), gorun_runtime::TaskError>(())
//! ```
//!
//! **Death and panic.** `lock()` gives `Ok(guard)`, or an error that says what is wrong: [`LockError::Recovered`], with the
//! guard, if an owner was killed while it had the lock; [`LockError::Poisoned`], with the guard, if a thread panicked, as in
//! std; [`LockError::Refused`] if there is no guard. Both marks stay until somebody has seen to the value:
//! [`MutexGuard::mark_sound`], or [`Mutex::lock_or_repair`] for all at once. Readers cannot harm a value: their deaths and
//! panics only give the lock back.
//!
//! **Waiting** spins a little, as long as it was worth of late, then sleeps. Plain names wait as long as it takes, `try_` does
//! not, `_until` and `_timeout` do for so long, `_async` are futures. A wait also ends when the runtime ends, and in place of
//! waiting for itself a thread gets [`WaitError::HeldHere`]. A task that waits occupies its worker. Where it waits for what
//! others have yet to do (a condition, a barrier, a wait group), and has no lock itself, it runs tasks of its own that nobody
//! has started meanwhile, as in `join`; where it waits for what somebody has (a mutex, a permit) it does not: a task on top of
//! the one that has the lock would wait for it for ever.
//!
//! **Forks.** What the host has is the host's: in a fork of it locks are refused and guards give nothing back.
//!
//! A lock lives as long as somebody holds a handle, in any process, or a message that carries one is on its way.

mod barrier;
mod condvar;
mod error;
mod future;
mod held;
mod mutex;
mod once;
mod place;
mod recover;
mod rwlock;
mod semaphore;
mod wait;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use error::{BarrierError, GroupError, LockError, LockResult, OnceError, SyncError, WaitError};
pub use future::{AcquireFuture, LockFuture, ReadFuture, WriteFuture};
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceLock, OnceState};
pub(crate) use recover::{recover, shut_all};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphorePermit};
pub use wait_group::{Member, WaitGroup};
