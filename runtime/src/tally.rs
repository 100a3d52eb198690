//! Tally: how many tasks ended in which way, gathered under a lane's lock and added to its ledger now and then.

use crate::book::Outcome;
use crate::error::TaskError;
use gorun_worker::wire::control::Ledger;
use gorun_worker::wire::status::Status;

/// Outcomes seen since the tally was last taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) submitted: u64,
    pub(crate) finished: u64,
    pub(crate) panicked: u64,
    pub(crate) lost: u64,
    pub(crate) cancelled: u64,
    pub(crate) timed_out: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Counts one item of a range.
    #[inline]
    pub(crate) fn count_item<R>(&mut self, outcome: &Result<R, TaskError>) {
        let place = match outcome {
            Ok(_) => &mut self.finished,
            Err(TaskError::Panicked { .. }) => &mut self.panicked,
            Err(TaskError::WorkerLost { .. }) => &mut self.lost,
            Err(TaskError::Cancelled | TaskError::Closed) => &mut self.cancelled,
            Err(TaskError::TimedOut { .. }) => &mut self.timed_out,
            Err(_) => &mut self.failed,
        };
        *place += 1;
    }

    /// Adds what another tally counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.finished += other.finished;
        self.panicked += other.panicked;
        self.lost += other.lost;
        self.cancelled += other.cancelled;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
    }

    /// Counts one outcome that is not a range's.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Inline { status, .. }
            | Outcome::Message { status, .. }
            | Outcome::Private { status, .. }
            | Outcome::Bare { status, .. } => self.count_status(*status),
            // The items of a range are counted where they are read.
            Outcome::Range(_) => {}
            Outcome::Broken(_) | Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// Counts a task that ended so.
    pub(crate) fn count_status(&mut self, status: Status) {
        let place = match status {
            Status::Finished => &mut self.finished,
            Status::Panicked => &mut self.panicked,
            Status::Lost => &mut self.lost,
            Status::Cancelled | Status::Closed => &mut self.cancelled,
            Status::TimedOut => &mut self.timed_out,
            _ => &mut self.failed,
        };
        *place += 1;
    }

    /// Adds what was counted to the lane's ledger and starts again. Under the lane's lock.
    #[inline]
    pub(crate) fn flush(&mut self, ledger: &Ledger) {
        let Self { submitted, finished, panicked, lost, cancelled, timed_out, failed } = std::mem::take(self);
        for (counter, count) in [
            (&ledger.submitted, submitted),
            (&ledger.finished, finished),
            (&ledger.panicked, panicked),
            (&ledger.lost, lost),
            (&ledger.cancelled, cancelled),
            (&ledger.timed_out, timed_out),
            (&ledger.failed, failed),
        ] {
            if count > 0 {
                counter.add(count);
            }
        }
    }
}
