//! Inline: one attempt at a task on the thread that submits it, in the host. No isolation, and no other thread.
//!
//! Input and result pass through the same bytes as everywhere else, so that what cannot travel fails here as well.

use crate::call::Call;
use crate::context;
use crate::function;
use crate::parcel;
use crate::wire::commons::Commons;
use crate::wire::control::DutyLine;
use crate::wire::status::Status;
use gorun_shm::OwnerId;
use gorun_shm::slots::{Completion, Descriptor};
use std::sync::Arc;

/// Runs a task that `owner` has sealed for itself; whatever it does, there is a completion.
///
/// # Blocking
/// Until the task has ended.
#[must_use]
pub fn run(commons: &Arc<Commons>, descriptor: Descriptor, owner: OwnerId) -> Completion {
    // Where a range notes how far it has come: nobody outlives this thread to read it.
    let line = DutyLine::default();
    let mut call = Call::new(commons, &line, descriptor, (owner, owner), 0);
    match context::contain(|| function::invoke(&mut call)) {
        Ok(true) => {}
        Ok(false) => call.end(Status::UnknownFunction),
        Err(report) => call.panicked(&report),
    }
    call.completion
}

/// The outcome was taken over, with what it carries.
pub fn arrived() {
    parcel::let_go();
}
