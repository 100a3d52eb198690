//! Quarantine: inputs that keep killing workers are refused before they reach the next one.
//!
//! Each death of a worker that nobody planned is counted against the innermost task that it ran: its function and
//! the bytes of its encoded input, by fingerprint. Once a fingerprint has `quarantine_after` deaths, its tasks are
//! refused where they are submitted, those that stand in line are ended, and [`Quarantine`] lists it.
//!
//! Until the first death this costs a submission one load. Afterwards only tasks of functions that have killed a
//! worker are looked at. Inputs of up to [`EAGER_BYTES_MAX`] bytes are known by their fingerprint from the start; of
//! longer ones the first death of their function is noted by length, and counted for the first one of that length
//! which kills again.
//!
//! | file | what |
//! |---|---|
//! | `fingerprint` | function and input in one word |
//! | `ledger` | who has killed how often: pure |
//! | `screen` | the host's and the workers' look at a task before it is published |
//! | `fence` | the same for the items of a map |
//! | `face` | what a user sees of it |

mod face;
mod fence;
mod fingerprint;
mod ledger;
mod screen;

pub use face::{Quarantine, QuarantinedTask, ReplayError};
pub(crate) use fence::{Fence, Stretch};
pub use fingerprint::Fingerprint;
pub(crate) use ledger::{Crash, Death};
pub(crate) use screen::{Screen, inline_fingerprint, task_of};

/// Longest input, in bytes, whose fingerprint is taken before its function has killed anybody: about 100 ns of work.
pub(crate) const EAGER_BYTES_MAX: usize = 1024;
