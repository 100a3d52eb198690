//! Inmate: one task for a jail, from `go` until its outcome was taken. Lives in the host's memory only.

use super::state::{Order, StockId};
use crate::book::Outcome;
use gorun_shm::os::futex;
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_worker::wire::status::Status;
use std::sync::Arc;
use std::task::Waker;

/// Where a task stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// In line.
    Waiting,
    /// Being put into the cell of this number.
    Moving(u16),
    /// In the cell.
    Running(u16),
    /// Ended.
    Ended(Outcome),
}

/// How a task ends once its process is dead, whatever the process has done until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) allowed_ns: u64,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Inmate {
    pub(super) stock: StockId,
    /// Kept to its end: a worker that dies before it has begun leaves the task to another.
    pub(super) order: Arc<Order>,
    pub(super) phase: Phase,
    /// How often it was given to a cell.
    pub(super) turn: u32,
    pub(super) verdict: Option<Verdict>,
    pub(super) attempt: u8,
    /// Nanoseconds it may run, once it does.
    pub(super) timeout_ns: Option<u64>,
    /// When it is over at the latest, and how long it was given until then.
    pub(super) deadline: Option<(u64, u64)>,
    /// Moments at which somebody looks at it.
    pub(super) dues: Vec<u64>,
    pub(super) waker: Option<Waker>,
    /// True if nobody will take its outcome.
    pub(super) is_detached: bool,
    /// Changes with each phase; those who join sleep on it.
    pub(super) word: Arc<AtomicU32>,
}

impl Inmate {
    /// Enters a phase and wakes who sleeps. The waker is for the caller to wake, with the lock released.
    pub(super) fn enter(&mut self, phase: Phase) -> Option<Waker> {
        let has_ended = matches!(phase, Phase::Ended(_));
        self.phase = phase;
        self.word.fetch_add(1, Ordering::Release); // Release: pairs with the kernel's look in `wait`.
        futex::wake(&self.word, u32::MAX >> 1);
        if has_ended { self.waker.take() } else { None }
    }

    /// True if its outcome is known.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
}
