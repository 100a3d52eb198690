//! Sealed: a task whose input is encoded, and that no worker can see yet.
//!
//! No user code is left to run when it is submitted, so any thread of the host may do that. Dropped, it gives back the
//! shared memory that it holds.

use crate::book::Keep;
use crate::deadlines::Limits;
use crate::dispatch::{Dispatcher, Push, Ticket};
use crate::error::{Rejection, TaskError};
use crate::runtime::PartsRef;
use gorun_shm::os::ticks;
use gorun_shm::slots::Descriptor;
use std::time::Duration;

/// See the module's head.
pub(crate) struct Sealed {
    pub(crate) parts: PartsRef,
    pub(crate) descriptor: Descriptor,
    pub(crate) keep: Option<Box<Keep>>,
    pub(crate) timeout: Option<Duration>,
    /// A moment of the monotonic clock, and the time it gave.
    pub(crate) deadline: Option<(u64, Duration)>,
    pub(crate) grace: Option<Duration>,
}

/// Why a sealed task was not submitted.
pub(crate) enum Unsent {
    /// Every lane is full; it is handed back.
    Full(Box<Sealed>),
    Refused(TaskError),
}

impl Sealed {
    /// Publishes it.
    ///
    /// # Blocking
    /// While every lane is full.
    pub(crate) fn submit(mut self) -> Result<Ticket, TaskError> {
        let keep = self.keep.take();
        let ticket = self.parts.as_runtime().submit(&self.descriptor, keep)?;
        self.limit(&ticket);
        Ok(ticket)
    }

    /// Publishes it if there is room. Never waits, and runs nothing here.
    pub(crate) fn try_submit(mut self: Box<Self>) -> Result<Ticket, Unsent> {
        if self.parts.is_inline() {
            return Err(Unsent::Refused(TaskError::Rejected { reason: Rejection::CannotWait }));
        }
        match self.parts.dispatcher().try_submit(&self.descriptor, &mut self.keep) {
            Ok(Some(ticket)) => {
                self.limit(&ticket);
                Ok(ticket)
            }
            Ok(None) => Err(Unsent::Full(self)),
            Err(error) => Err(Unsent::Refused(error)),
        }
    }

    fn limit(&self, ticket: &Ticket) {
        let dispatcher = self.parts.dispatcher();
        if let Some(moment) = self.deadline {
            dispatcher.limit_until(ticket, moment, self.grace);
        }
        if self.timeout.is_some() {
            let limits = Limits { deadline: None, timeout: self.timeout, grace: self.grace };
            dispatcher.limit(ticket, limits, ticks::system_ns());
        }
    }
}

impl Dispatcher {
    /// [`Dispatcher::submit`] that never waits: none, and `keep` as it was, if every lane is full.
    fn try_submit(
        &self,
        descriptor: &Descriptor,
        keep: &mut Option<Box<Keep>>,
    ) -> Result<Option<Ticket>, TaskError> {
        if self.is_foreign() {
            return Err(TaskError::Rejected { reason: Rejection::ForkedHost });
        }
        let first = self.home.choose(&self.commons);
        for step in 0..self.lane_count() {
            match self.push((first + step) % self.lane_count(), descriptor, keep) {
                Push::At(ticket) => return Ok(Some(ticket)),
                Push::Closed => return self.give_back(keep.take()).map(Some),
                Push::Full { .. } => {}
            }
        }
        Ok(None)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if self.keep.is_none() {
            return;
        }
        if self.parts.dispatcher().is_foreign() {
            // The blocks are the parent's.
            std::mem::forget(self.keep.take());
            return;
        }
        // Says that the task is closed, which nobody asks here.
        let _ = self.parts.dispatcher().give_back(self.keep.take());
    }
}
