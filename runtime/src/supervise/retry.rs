//! Retry: which failed attempts are made again, and how often. The decision is pure; `guarded` carries it out.

use super::backoff::Backoff;
use super::budget::RetryBudget;
use crate::error::TaskError;
use std::time::Duration;

/// How a task that fails is tried again.
///
/// Without more said, the next attempt follows at once, panics and ended timeouts ([`Task::timeout`]) are retried,
/// and crashes are not: a task that killed its worker may have done half of its work, and may kill the next.
///
/// Never retried: `Cancelled`, `Closed`, `Rejected`, `Quarantined`, `CircuitOpen`, a task whose [`Task::deadline`] has passed, and a
/// result that arrived and cannot be decoded.
///
/// ```
/// use gorun_runtime::{Backoff, Retry, Task};
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_secs(1)).full_jitter();
/// let retry = Retry::attempts(3).crash_attempts(2).backoff(backoff);
/// assert_eq!(Task::with(20, |n: u32| n + 1).retry(retry).go().join(), Ok(21));
/// ```
///
/// [`Task::timeout`]: crate::Task::timeout
/// [`Task::deadline`]: crate::Task::deadline
#[derive(Debug, Clone)]
#[must_use = "a retry is given to `Task::retry`"]
pub struct Retry {
    attempts: u8,
    crash_attempts: u8,
    backoff: Backoff,
    when: Option<fn(&TaskError) -> bool>,
    budget: Option<RetryBudget>,
}

impl Retry {
    /// The task may fail `attempts` times, 1..=255: with 3 it is tried up to three times. 0 is taken as 1.
    pub const fn attempts(attempts: u8) -> Self {
        let attempts = if attempts == 0 { 1 } else { attempts };
        Self { attempts, crash_attempts: 1, backoff: Backoff::none(), when: None, budget: None }
    }

    /// The task may take its worker with it `attempts` times, 1..=255, counted apart from other failures. Without
    /// this call 1: a crash is not retried. 0 is taken as 1.
    ///
    /// A crashed attempt may have done its work in part, so the task must bear being done twice.
    pub const fn crash_attempts(mut self, attempts: u8) -> Self {
        self.crash_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// The pause before the next attempt. Crashes and other failures lengthen it alike.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Asked for each failure that may be retried and is not a crash: false ends the task with it. Without this call
    /// panics and timeouts are retried, and undecodable inputs and refused results are not.
    pub const fn when(mut self, retries: fn(&TaskError) -> bool) -> Self {
        self.when = Some(retries);
        self
    }

    /// Retries of this task come out of a budget that it shares with others.
    pub fn budget(mut self, budget: &RetryBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    pub(super) fn note_first_attempt(&self) {
        if let Some(budget) = &self.budget {
            budget.note_first_attempt();
        }
    }

    /// The pause before the next attempt, if there is to be one.
    pub(super) fn pause(&self, error: &TaskError, tries: &mut Tries, random: u64) -> Option<Duration> {
        let left = match error {
            TaskError::WorkerLost { .. } => {
                tries.crashes = tries.crashes.saturating_add(1);
                tries.crashes < self.crash_attempts
            }
            TaskError::Cancelled
            | TaskError::Closed
            | TaskError::Rejected { .. }
            | TaskError::Quarantined { .. }
            | TaskError::CircuitOpen { .. } => false,
            failure => {
                tries.failures = tries.failures.saturating_add(1);
                tries.failures < self.attempts && self.when.map_or(is_passing(failure), |when| when(failure))
            }
        };
        // The attempt's number travels as a byte.
        let failed = u32::from(tries.failures) + u32::from(tries.crashes);
        (left && failed < u32::from(u8::MAX)).then(|| self.backoff.pause(failed, random))
    }

    /// True if the budget bears one more; it has paid for it then.
    pub(super) fn is_affordable(&self) -> bool {
        self.budget.as_ref().is_none_or(RetryBudget::take)
    }
}

/// What has gone wrong so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) failures: u8,
    pub(super) crashes: u8,
}

/// True for a failure that another attempt may not have.
fn is_passing(error: &TaskError) -> bool {
    matches!(error, TaskError::Panicked { .. } | TaskError::TimedOut { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Place, Rejection, ResultRefusal};
    use crate::evidence::Evidence;
    use gorun_worker::wire::ids::{Seat, WorkerId};
    use gorun_worker::zygote::protocol::ProcessEnd;

    fn panicked() -> TaskError {
        TaskError::Panicked { message: String::new(), location: None }
    }

    fn lost() -> TaskError {
        let worker = WorkerId { seat: Seat(0), generation: 1 };
        TaskError::WorkerLost {
            evidence: Box::new(Evidence {
                worker,
                pid: 1,
                end: ProcessEnd::Unknown,
                attempt: 1,
                details: None,
            }),
        }
    }

    /// How many attempts a task makes that always ends like this.
    fn attempts(retry: &Retry, error: &TaskError) -> u32 {
        let mut tries = Tries::default();
        (1..).find(|_| retry.pause(error, &mut tries, 0).is_none()).unwrap_or(0)
    }

    #[test]
    fn panics_and_timeouts_are_tried_again_as_often_as_said() {
        let late = TaskError::TimedOut { after: Duration::ZERO };
        for count in [1, 2, 3, 255] {
            assert_eq!(attempts(&Retry::attempts(count), &panicked()), u32::from(count));
            assert_eq!(attempts(&Retry::attempts(count), &late), u32::from(count));
        }
        assert_eq!(attempts(&Retry::attempts(0), &panicked()), 1);
    }

    #[test]
    fn crashes_are_counted_apart() {
        assert_eq!(attempts(&Retry::attempts(200), &lost()), 1);
        let retry = Retry::attempts(2).crash_attempts(3);
        assert_eq!(attempts(&retry, &lost()), 3);
        let mut tries = Tries::default();
        let course = [lost(), panicked(), lost(), panicked()];
        let again = course.map(|error| retry.pause(&error, &mut tries, 0).is_some());
        assert_eq!(again, [true, true, true, false]);
    }

    #[test]
    fn no_attempt_has_a_number_over_a_byte() {
        let retry = Retry::attempts(255).crash_attempts(255);
        let mut tries = Tries::default();
        let errors = [panicked(), lost()].into_iter().cycle();
        let made = errors.take_while(|error| retry.pause(error, &mut tries, 0).is_some()).count();
        assert_eq!(made, 254);
    }

    #[test]
    fn what_another_attempt_cannot_mend_is_not_tried_again() {
        let retry = Retry::attempts(9).crash_attempts(9);
        let decode = TaskError::Decode { place: Place::Input };
        let refused = TaskError::ResultRefused { reason: ResultRefusal::Unencodable };
        let rejected = TaskError::Rejected { reason: Rejection::ForeignBlock };
        let open = TaskError::CircuitOpen { retry_after: Duration::ZERO };
        for error in [open, TaskError::Cancelled, TaskError::Closed, rejected, decode.clone(), refused] {
            assert_eq!(attempts(&retry, &error), 1, "{error}");
        }
        // The last two may be asked for; the first three may not.
        let all = retry.when(|_| true);
        assert_eq!(attempts(&all, &decode), 9);
        assert_eq!(attempts(&all, &TaskError::Cancelled), 1);
    }

    #[test]
    fn the_predicate_decides_on_failures_and_not_on_crashes() {
        let retry = Retry::attempts(5).crash_attempts(2).when(|_| false);
        assert_eq!((attempts(&retry, &panicked()), attempts(&retry, &lost())), (1, 2));
    }
}
