//! Wanted: until when, as a task's context says.

use super::Task;
use crate::context::{Context, Done};
use crate::error::TaskError;
use crate::runtime::Runtime;
use gorun_worker::codec::Portable;
use std::time::Duration;

impl<A: Portable, R: Portable> Task<A, R> {
    /// The task is wanted only until the context is over, whether or not anybody waits for its handle. If that is cancelled
    /// the task ends as [`TaskError::Cancelled`] if nobody has started it, and is asked to stop if it runs, which it sees
    /// by [`is_cancelled`](crate::is_cancelled); there are no further attempts. That happens a moment later, so a worker may
    /// just have begun it. The context's deadline is one of the task, as
    /// by [`Task::deadline`]; where nobody could kill the task, inside of another one say, it is asked to stop then.
    ///
    /// To look at the context itself, or to pass it on, the task needs it as input too.
    ///
    /// ```
    /// use gorun_runtime::{Context, Task, is_cancelled};
    ///
    /// let (context, canceller) = Context::background().with_cancel();
    /// let patient = Task::new(|| (1_u64..).take_while(|_| !is_cancelled()).last()).context(&context).go();
    /// canceller.cancel();
    /// let _ = patient.join(); // Its value, or `Cancelled` if it had not begun.
    /// let late = Task::new(|| 1).context(&context).go();
    /// assert_eq!(late.join(), Err(gorun_runtime::TaskError::Cancelled));
    /// ```
    pub fn context(mut self, context: &Context) -> Self {
        self.context = context.clone();
        self
    }

    /// Gives the task its context's deadline, unless that is over.
    #[cold]
    pub(super) fn bind(&mut self, runtime: &Runtime) -> Result<(), TaskError> {
        self.context.check().map_err(over)?;
        let is_killable = self.jail.is_some() || runtime.check_limits().is_ok();
        if let Some(left) = self.context.remaining().filter(|_| is_killable) {
            let own = runtime.limits(self.limits).deadline;
            self.limits.deadline = Some(own.map_or(left, |own| own.min(left)));
        }
        Ok(())
    }
}

/// What a task ends as whose context is over.
pub(crate) fn over(done: Done) -> TaskError {
    match done {
        Done::DeadlineExceeded => TaskError::TimedOut { after: Duration::ZERO },
        Done::RuntimeEnded => TaskError::Closed,
        Done::Cancelled { .. } | Done::Abandoned | Done::OwnerDied | Done::Unavailable { .. } => {
            TaskError::Cancelled
        }
    }
}
