//! Here: tasks that run on the thread that submits them, and those that nobody takes over.

use crate::book::Keep;
use crate::dispatch::{Dispatcher, Ticket};
use crate::error::{Rejection, TaskError};
use gorun_shm::slots::{Completion, Descriptor};
use gorun_shm::sync::Ordering;
use gorun_worker::wire::status::Status;
use gorun_worker::{context, inline};

impl Dispatcher {
    /// Runs a task of a worker's own at once, on the worker's stack: its lane is full, so there is enough for others.
    #[cold]
    pub(crate) fn run_here(&self, lane: u16, descriptor: &Descriptor, keep: Option<Box<Keep>>) -> Ticket {
        let completion = match context::duty() {
            Some(duty) => duty.run_here(*descriptor),
            None => Completion { status: Status::Closed as u8, ..Completion::default() },
        };
        let entry = self.with_book(lane, |book, _| book.enter_ended(completion, keep));
        Ticket::of_ended(lane, entry)
    }

    /// Runs a task on the calling thread.
    ///
    /// # Blocking
    /// Until it has ended.
    pub(crate) fn run_inline(
        &self,
        descriptor: &Descriptor,
        keep: Option<Box<Keep>>,
    ) -> Result<Ticket, TaskError> {
        if self.is_foreign() {
            return Err(TaskError::Rejected { reason: Rejection::ForkedHost });
        }
        if self.is_closed() {
            return self.give_back(keep);
        }
        if self.is_nested() {
            return Ok(self.run_here(0, descriptor, keep));
        }
        let completion = inline::run(&self.commons, *descriptor, self.me);
        let entry = self.with_book(0, |book, _| book.enter_ended(completion, keep));
        inline::arrived();
        Ok(Ticket::of_ended(0, entry))
    }

    /// The runtime is closed: the input will not be taken over by anybody.
    pub(crate) fn give_back(&self, keep: Option<Box<Keep>>) -> Result<Ticket, TaskError> {
        let keep = keep.unwrap_or_default();
        for handle in [keep.input.message, keep.output].into_iter().flatten() {
            let _ = self.commons.blocks.free(handle, self.me);
        }
        // Relaxed: stored before the flag that brought the caller here.
        Err(if self.exhausted.load(Ordering::Relaxed) { TaskError::NoWorkers } else { TaskError::Closed })
    }
}
