//! Sealed: a task whose input is encoded, and that no worker can see yet.
//!
//! No user code is left to run when it is submitted, so any thread of the host may do that. Dropped, it gives back the
//! shared memory that it holds.

use crate::book::Keep;
use crate::deadlines::Limits;
use crate::dispatch::{Dispatcher, Push, Ticket};
use crate::error::{Rejection, TaskError};
use crate::jail::{self, Order, Sentence, StockId};
use crate::runtime::PartsRef;
use gorun_shm::os::ticks;
use gorun_shm::slots::Descriptor;
use std::time::Duration;

/// See the module's head.
pub(crate) struct Sealed {
    pub(crate) parts: PartsRef,
    pub(crate) body: Body,
    pub(crate) timeout: Option<Duration>,
    /// A moment of the monotonic clock, and the time it gave.
    pub(crate) deadline: Option<(u64, Duration)>,
    pub(crate) grace: Option<Duration>,
}

/// Where it will go, and what it takes with it.
pub(crate) enum Body {
    /// A slot of a lane.
    Slot(Descriptor, Option<Box<Keep>>),
    /// The line of a jail. None once it stands there.
    Jail(Option<Order>, StockId),
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
        let ticket = match &mut self.body {
            Body::Slot(descriptor, keep) => self.parts.as_runtime().submit(descriptor, keep.take())?,
            Body::Jail(..) => return self.jail(),
        };
        self.limit(&ticket);
        Ok(ticket)
    }

    /// Publishes it if there is room. Never waits, and runs nothing here.
    pub(crate) fn try_submit(mut self: Box<Self>) -> Result<Ticket, Unsent> {
        let sent = match &mut self.body {
            Body::Jail(..) => return self.jail().map_err(Unsent::Refused),
            Body::Slot(..) if self.parts.is_inline() => {
                return Err(Unsent::Refused(TaskError::Rejected { reason: Rejection::CannotWait }));
            }
            Body::Slot(descriptor, keep) => self.parts.dispatcher().try_submit(descriptor, keep),
        };
        match sent {
            Ok(Some(ticket)) => {
                self.limit(&ticket);
                Ok(ticket)
            }
            Ok(None) => Err(Unsent::Full(self)),
            Err(error) => Err(Unsent::Refused(error)),
        }
    }

    /// Puts it in line for a jailed worker, which never waits.
    fn jail(&mut self) -> Result<Ticket, TaskError> {
        let Body::Jail(order, stock) = &mut self.body else { return Err(TaskError::Closed) };
        let Some(order) = order.take() else { return Err(TaskError::Closed) };
        let attempt = order.descriptor.attempt;
        let Self { timeout, deadline, .. } = *self;
        let sentence = Sentence { stock: *stock, attempt, timeout, deadline };
        jail::admit(&self.parts, order, &sentence)
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
        let first = self.home.choose(&self.commons, descriptor);
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
        let Body::Slot(_, keep) = &mut self.body else { return };
        let Some(keep) = keep.take() else { return };
        if self.parts.dispatcher().is_foreign() {
            // The blocks are the parent's.
            std::mem::forget(keep);
            return;
        }
        // Says that the task is closed, which nobody asks here.
        let _ = self.parts.dispatcher().give_back(Some(keep));
    }
}
