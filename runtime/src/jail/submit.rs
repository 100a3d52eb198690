//! Submit: from a task to the line of its jail.

use super::state::{Order, StockId};
use crate::dispatch::Ticket;
use crate::error::{Rejection, TaskError};
use crate::runtime::{PartsRef, Runtime};
use crate::task::{Kind, describe_with, rejected};
use gorun_shm::slots::Descriptor;
use gorun_worker::codec::Portable;
use gorun_worker::function::Shim;
use gorun_worker::{message, run};
use std::time::Duration;

/// How a task is to be jailed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sentence {
    /// Of `Runtime::stock`.
    pub(crate) stock: StockId,
    pub(crate) attempt: u8,
    /// How long it may run, from the moment it was given to its worker.
    pub(crate) timeout: Option<Duration>,
    /// A moment of the monotonic clock, and the time the task was given to reach it.
    pub(crate) deadline: Option<(u64, Duration)>,
}

/// Puts a task in line for a jailed worker. Its input is encoded now, into the host's own memory.
///
/// # Errors
/// [`TaskError::Rejected`]: inside a task, if the jail cannot be had, or if the input cannot travel.
pub(crate) fn submit<A: Portable, R: Portable>(
    runtime: &Runtime,
    kind: &Kind<A, R>,
    sentence: Sentence,
) -> Result<Ticket, TaskError> {
    let order = seal(runtime, kind, (sentence.stock, sentence.attempt))?;
    admit(&runtime.parts(), order, &sentence)
}

/// Puts a sealed task in line for a jailed worker. Never waits for a worker.
///
/// # Errors
/// [`TaskError::Rejected`]: inside a task, or if the jail cannot be had.
pub(crate) fn admit(parts: &PartsRef, order: Order, sentence: &Sentence) -> Result<Ticket, TaskError> {
    let host_only = || TaskError::Rejected { reason: Rejection::HostOnly { what: "a jail".into() } };
    parts.dispatcher().keeper().ok_or_else(host_only)?.admit(order, sentence).map(Ticket::jailed)
}

/// Encodes the input of a task for a jailed worker, into the host's own memory.
///
/// # Errors
/// As [`submit`].
pub(crate) fn seal<A: Portable, R: Portable>(
    runtime: &Runtime,
    kind: &Kind<A, R>,
    (stock, attempt): (StockId, u8),
) -> Result<Order, TaskError> {
    let dispatcher = runtime.dispatcher();
    if dispatcher.is_foreign() {
        return Err(TaskError::Rejected { reason: Rejection::ForkedHost });
    }
    let Some(keeper) = dispatcher.keeper() else {
        return Err(TaskError::Rejected { reason: Rejection::HostOnly { what: "a jail".into() } });
    };
    let (shim, address, input) = match kind {
        Kind::Thunk(thunk) => (run::run_thunk::<R> as Shim, *thunk as usize, None),
        Kind::Function(input, function) => {
            (run::run_function::<A, R> as Shim, *function as usize, Some(input))
        }
    };
    let (mut payload, mut input_bytes, mut aside) = ([0; 4], 0, None);
    if let Some(input) = input {
        match message::seal_inline(input).map_err(rejected)? {
            Some((words, bytes)) => (payload, input_bytes) = (words, bytes),
            None => {
                let bytes = message::seal_privately(input, keeper.message_limit(stock));
                let bytes = bytes.map_err(rejected)?;
                input_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                aside = Some(bytes);
            }
        }
    }
    let described = describe_with(|| keeper.libraries(), shim, address, payload, (input_bytes, 0))?;
    Ok(Order { descriptor: Descriptor { attempt, ..described }, input: aside })
}
