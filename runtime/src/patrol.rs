//! Patrol: once a second, while anybody waits, the host looks for tasks that nobody runs.
//!
//! An honest slot that says Running names a worker whose record notes the task: the intent is written before the
//! claim and stays while the task runs. A slot that says so of nobody was scribbled over, or its worker's record
//! was; whoever waits for it would wait for ever. Such a task ends as damaged.
//!
//! Nothing here is needed between honest processes; a dead worker's tasks are ended when it is buried.

use crate::dispatch::Dispatcher;
use gorun_shm::OwnerId;
use gorun_shm::sync::Ordering;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::control::{DEPTH_MAX, Intent};

/// Time between two rounds in nanoseconds.
pub(crate) const ROUND_NS: u64 = 1_000_000_000;

impl Dispatcher {
    /// Somebody is about to sleep until a task ends: rounds are walked from now on.
    #[inline]
    pub(crate) fn ask_for_patrol(&self) {
        // Relaxed: the exchange below decides; a stale false costs that exchange, a stale true is impossible to
        // miss for longer than one round, because a round ends patrols only where no task is left.
        if !self.patrol.load(Ordering::Relaxed) {
            self.start_patrol();
        }
    }

    #[cold]
    fn start_patrol(&self) {
        // AcqRel: pairs with the exchange in `walk_round`: either that round sees this caller's task, or this
        // caller sees the patrol ended and starts it again.
        if !self.is_nested() && !self.patrol.swap(true, Ordering::AcqRel) {
            self.commons.host.bell.ring();
        }
    }

    /// True while rounds are asked for.
    pub(crate) fn is_patrolled(&self) -> bool {
        self.patrol.load(Ordering::Acquire) // Acquire: pairs with the exchange in `start_patrol`.
    }

    /// Ends every task that says it runs and that nobody runs.
    pub(crate) fn walk_round(&self) {
        self.patrol.swap(false, Ordering::AcqRel); // AcqRel: pairs with `start_patrol`.
        let mut open = false;
        for lane in 0..self.lane_count() {
            open |= self.end_in_lane(lane, |book, ring, position| {
                let (slot, _) = ring.slot(position);
                let seen = slot.word();
                let owner = book.runner(ring, position)?;
                let known =
                    is_run_by(&self.commons, owner, lane, position) || self.is_condemned(lane, position);
                if known || slot.word() != seen {
                    return None;
                }
                tracing::warn!(lane, position, ?owner, "a task that nobody runs was ended");
                book.end_damaged(ring, position, owner)
            });
        }
        if open {
            self.patrol.store(true, Ordering::Release); // Release: pairs with `is_patrolled`.
        }
    }
}

/// True if the record of `owner` says that it is inside of this task.
fn is_run_by(commons: &Commons, owner: OwnerId, lane: u16, position: u64) -> bool {
    let Some(worker) = owner.worker_index().and_then(|record| commons.workers.get(usize::from(record)))
    else {
        return false;
    };
    let depth = worker.duty.depth();
    let task = Intent { lane, position }.to_word();
    depth >= DEPTH_MAX || (0..=depth).any(|depth| worker.duty.intent(depth).to_word() == task)
}
