//! Handle: what a started task's user holds, and how an outcome becomes a value or an error.

use crate::book::Outcome;
use crate::dispatch::CLOSED_FOR_WANT_OF_WORKERS;
use crate::dispatch::Ticket;
use crate::error::{Place, Rejection, ResultRefusal, TaskError};
use crate::obituary;
use crate::runtime::{PartsRef, Runtime};
use crate::supervise::{Guarded, Standing};
use gorun_shm::os::{futex, ticks};
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_worker::codec::{self, Portable};
use gorun_worker::message;
use gorun_worker::wire::status::{PanicReport, Status};
use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

/// A started task. Dropping it lets the task run on and forgets its result.
///
/// It is also a future, for any executor.
///
/// A task with a [`Retry`](crate::Retry) or a [`Hedge`](crate::Hedge) gets its further attempts from whoever waits for
/// it or asks about it: from `join`, `join_timeout`, `.await` and `is_finished`. Nobody else starts them, and dropping
/// the handle ends that. What a bulkhead or a rate limit holds back is started by the runtime itself.
#[must_use = "join the handle for the result, or drop it explicitly to run the task for its effects"]
pub struct TaskHandle<R> {
    state: State<R>,
    result: PhantomData<fn() -> R>,
}

enum State<R> {
    Waiting {
        runtime: PartsRef,
        ticket: Ticket,
    },
    /// Boxed, so that a handle stays small: there may be a million of them.
    Refused(Box<TaskError>),
    /// Boxed, so that a plain task pays nothing for what guards others.
    Guarded(Box<Mutex<Guarded<R>>>),
    Taken,
}

impl<R: Portable> TaskHandle<R> {
    pub(crate) fn waiting(runtime: &Runtime, ticket: Ticket) -> Self {
        Self { state: State::Waiting { runtime: runtime.parts(), ticket }, result: PhantomData }
    }

    pub(crate) fn refused(error: TaskError) -> Self {
        Self { state: State::Refused(Box::new(error)), result: PhantomData }
    }

    pub(crate) fn guarded(guarded: Guarded<R>) -> Self {
        Self { state: State::Guarded(Box::new(Mutex::new(guarded))), result: PhantomData }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`TaskError`] if there is none, whatever the reason. Every join ends, whatever dies.
    ///
    /// # Blocking
    /// Until the task has ended. Inside a task it runs tasks of its own meanwhile.
    #[inline]
    pub fn join(mut self) -> Result<R, TaskError> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Waiting { runtime, .. } if runtime.dispatcher().is_foreign() => {
                Err(TaskError::Rejected { reason: Rejection::ForkedHost })
            }
            State::Waiting { runtime, ticket } => match runtime.dispatcher().join(&ticket) {
                Some(outcome) => resolve(outcome, &runtime),
                None => Err(TaskError::Decode { place: Place::Slot }),
            },
            State::Refused(error) => Err(*error),
            State::Guarded(mut guarded) => {
                let guarded = guarded.get_mut().unwrap_or_else(PoisonError::into_inner);
                guarded.wait(None);
                guarded.take()
            }
            State::Taken => Err(TaskError::Closed),
        }
    }

    /// Waits for the result, at most `timeout`; gives the handle back if the task goes on longer.
    ///
    /// The task is not stopped by the timeout.
    ///
    /// # Errors
    /// The handle, if the timeout came first.
    ///
    /// # Blocking
    /// Until the task has ended or the timeout has passed.
    pub fn join_timeout(mut self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline = || Some(ticks::system_ns().saturating_add(nanos));
        let ended = match &mut self.state {
            State::Waiting { runtime, .. } if runtime.dispatcher().is_foreign() => true,
            State::Waiting { runtime, ticket } => runtime.dispatcher().wait(ticket, deadline()),
            State::Guarded(guarded) => {
                guarded.get_mut().unwrap_or_else(PoisonError::into_inner).wait(deadline())
            }
            State::Refused(_) | State::Taken => true,
        };
        if ended { Ok(self.join()) } else { Err(self) }
    }

    /// True once [`TaskHandle::join`] would not wait. For a task with a retry, asking starts the next attempt when it
    /// is due.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Waiting { runtime, ticket } => {
                runtime.dispatcher().is_foreign() || runtime.dispatcher().is_done(ticket)
            }
            State::Guarded(guarded) => matches!(lock(guarded).advance(), Standing::Ended),
            State::Refused(_) | State::Taken => true,
        }
    }

    /// Has the context's waker called when the task ends. Does nothing inside a worker.
    pub(crate) fn ask_to_be_woken(&self, context: &mut Context<'_>) {
        match &self.state {
            State::Waiting { runtime, ticket } => {
                runtime.dispatcher().ask_to_be_woken(ticket, context.waker());
            }
            State::Guarded(guarded) => {
                lock(guarded).ask_to_be_woken(context.waker());
            }
            State::Refused(_) | State::Taken => {}
        }
    }

    /// Ends the task whether it was started or not: its worker is killed if it runs, an endless loop in foreign code
    /// included, and a spare takes the seat. It then ends as [`TaskError::Cancelled`].
    ///
    /// Returns false if it has ended already, or runs where nobody can kill it: on a thread, or as a task inside a task.
    /// Race-free: the task ends in one way, and this tells which. Other tasks lose nothing, but those that it
    /// started itself and ran while it waited for them.
    pub fn kill(&self) -> bool {
        match &self.state {
            State::Waiting { runtime, ticket } => runtime.dispatcher().kill(ticket),
            State::Guarded(guarded) => lock(guarded).kill(),
            State::Refused(_) | State::Taken => false,
        }
    }

    /// Cancels the task if no worker has started it; it then ends as [`TaskError::Cancelled`].
    ///
    /// Returns false if it has started or ended. A task that runs is asked to stop: it sees that by [`is_cancelled`] if it
    /// looks, and ends as it likes; [`TaskHandle::kill`] does not ask. Further attempts of a [`Retry`](crate::Retry) are made
    /// all the same; between two of them it can be cancelled.
    ///
    /// [`is_cancelled`]: crate::is_cancelled
    pub fn cancel(&self) -> bool {
        match &self.state {
            State::Waiting { runtime, ticket } => runtime.dispatcher().cancel(ticket),
            State::Guarded(guarded) => lock(guarded).cancel(),
            State::Refused(_) | State::Taken => false,
        }
    }
}

impl<R: Portable> Future for TaskHandle<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.state {
            State::Waiting { runtime, .. } if runtime.dispatcher().is_foreign() => {
                Err(TaskError::Rejected { reason: Rejection::ForkedHost })
            }
            State::Waiting { runtime, ticket } => {
                let Some(outcome) = runtime.dispatcher().poll(ticket, context.waker()) else {
                    return Poll::Pending;
                };
                resolve(outcome, runtime)
            }
            State::Refused(error) => Err((**error).clone()),
            State::Guarded(guarded) => {
                match guarded.get_mut().unwrap_or_else(PoisonError::into_inner).poll(context.waker()) {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => return Poll::Pending,
                }
            }
            State::Taken => Err(TaskError::Closed),
        };
        self.state = State::Taken;
        Poll::Ready(outcome)
    }
}

impl<R> Unpin for TaskHandle<R> {}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if let State::Waiting { runtime, ticket } = &self.state {
            runtime.dispatcher().detach(ticket);
        }
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting",
            State::Refused(_) => "refused",
            State::Guarded(_) => "guarded",
            State::Taken => "taken",
        };
        f.debug_struct("TaskHandle").field("state", &state).finish()
    }
}

/// What tells that a task may have ended.
#[derive(Debug)]
pub enum Watched<'a> {
    /// A futex word and what it holds until then.
    Word(&'a AtomicU32, u32),
    /// A time of the monotonic clock in nanoseconds.
    Until(u64),
    /// It has ended.
    Ended,
}

/// What whoever watches a task keeps meanwhile.
#[derive(Debug, Default)]
pub struct Watch {
    runtime: OnceCell<PartsRef>,
    /// Counted up when the task has something to tell, where that is no word of a slot.
    told: Arc<Told>,
}

/// A waker that changes a word and wakes who sleeps on it.
#[derive(Debug, Default)]
pub(crate) struct Told(AtomicU32);

impl Told {
    /// Changes with each telling.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    pub(crate) fn tell(&self) {
        self.0.fetch_add(1, Ordering::Release); // Release: pairs with the Acquire in `TaskHandle::listen`.
        futex::wake(&self.0, u32::MAX >> 1);
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.tell();
    }
}

impl<R: Portable> TaskHandle<R> {
    /// What to sleep on until the task may have ended; asked before a last look.
    pub(crate) fn watch<'a>(&'a self, watch: &'a Watch) -> Watched<'a> {
        match &self.state {
            State::Waiting { runtime, ticket } if runtime.dispatcher().keeper_of(ticket).is_some() => {
                self.listen(watch)
            }
            State::Waiting { runtime, ticket } => runtime.dispatcher().watch(ticket),
            State::Guarded(guarded) => {
                let guarded = lock(guarded);
                if !guarded.parts().dispatcher().is_nested() {
                    drop(guarded);
                    return self.listen(watch);
                }
                match guarded.standing() {
                    Standing::Running(ticket, _) => {
                        watch.runtime.get_or_init(|| guarded.parts().clone()).dispatcher().watch(&ticket)
                    }
                    Standing::Pausing(at_ns) => Watched::Until(at_ns),
                    // Waiting: only the host has those.
                    Standing::Waiting | Standing::Ended => Watched::Ended,
                }
            }
            State::Refused(_) | State::Taken => Watched::Ended,
        }
    }

    /// Has that told when the task may have ended; false inside a task, where nobody tells.
    pub(crate) fn has_told(&self, told: &Arc<Told>) -> bool {
        let is_nested = match &self.state {
            State::Waiting { runtime, .. } => runtime.dispatcher().is_nested(),
            State::Guarded(guarded) => lock(guarded).parts().dispatcher().is_nested(),
            State::Refused(_) | State::Taken => true,
        };
        if !is_nested {
            self.ask_to_be_woken(&mut Context::from_waker(&Arc::clone(told).into()));
            if self.is_finished() {
                told.tell();
            }
        }
        !is_nested
    }

    /// Has the task's waker change the word to sleep on.
    fn listen<'a>(&self, watch: &'a Watch) -> Watched<'a> {
        // Acquire: pairs with the Release in `Told::wake`.
        let before = watch.told.0.load(Ordering::Acquire);
        let waker = Arc::clone(&watch.told).into();
        self.ask_to_be_woken(&mut Context::from_waker(&waker));
        Watched::Word(&watch.told.0, before)
    }
}

/// Sleeps until one of the handles of a worker's nested tasks may have ended, or may be tried again.
pub(crate) fn sleep_until_any<R>(handles: &[TaskHandle<R>]) {
    let (mut tickets, mut parts, mut until_ns) = (Vec::new(), None, u64::MAX);
    for handle in handles {
        match &handle.state {
            State::Waiting { runtime, ticket } => {
                parts = Some(runtime.clone());
                tickets.push(*ticket);
            }
            State::Guarded(guarded) => {
                let guarded = lock(guarded);
                match guarded.standing() {
                    Standing::Running(ticket, _) => {
                        parts = Some(guarded.parts().clone());
                        tickets.push(ticket);
                    }
                    Standing::Pausing(at_ns) => until_ns = until_ns.min(at_ns),
                    // Only the host has those.
                    Standing::Waiting => {}
                    Standing::Ended => return,
                }
            }
            State::Refused(_) | State::Taken => {}
        }
    }
    let left = Duration::from_nanos(until_ns.saturating_sub(ticks::system_ns()));
    match parts {
        Some(parts) => parts.dispatcher().sleep_until_any(&tickets, (until_ns != u64::MAX).then_some(left)),
        None => std::thread::park_timeout(left),
    }
}

fn lock<R>(guarded: &Mutex<Guarded<R>>) -> MutexGuard<'_, Guarded<R>> {
    // A predicate of the user's may have panicked; each step leaves the state whole.
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An outcome as its user sees it.
#[inline]
pub(crate) fn resolve<R: Portable>(outcome: Outcome, runtime: &PartsRef) -> Result<R, TaskError> {
    let undecodable = || TaskError::Decode { place: Place::Result };
    let (status, arrival) = match outcome {
        Outcome::Inline { status, bytes, payload } => {
            return match status {
                Status::Finished => message::open_inline(payload, bytes).map_err(|_| undecodable()),
                _ => Err(message::open_inline(payload, bytes).map_or_else(|_| undecodable(), panicked)),
            };
        }
        Outcome::Message { status, arrival } => (status, *arrival),
        Outcome::Private { status, bytes } => {
            return match status {
                Status::Finished => codec::decode(&bytes).map_err(|_| undecodable()),
                _ => Err(codec::decode(&bytes).map_or_else(|_| undecodable(), panicked)),
            };
        }
        Outcome::Failed(error) => return Err(*error),
        Outcome::Bare { status, attempt, payload } => {
            return Err(bare_error(status, attempt, payload, runtime.message_bytes_max()));
        }
        Outcome::Range(_) => return Err(TaskError::Decode { place: Place::Slot }),
        Outcome::Broken(place) => return Err(TaskError::Decode { place }),
    };
    if status == Status::Finished {
        return arrival.decode().map_err(|_| undecodable());
    }
    let report: PanicReport = arrival.decode().map_err(|_| undecodable())?;
    Err(panicked(report))
}

pub(crate) fn panicked(report: PanicReport) -> TaskError {
    TaskError::Panicked { message: report.message, location: report.location }
}

/// The error of a status that carries no message.
#[cold]
pub(crate) fn bare_error(status: Status, attempt: u8, payload: [u64; 4], limit: u64) -> TaskError {
    match status {
        Status::Lost => TaskError::WorkerLost { evidence: Box::new(obituary::unpack(payload, attempt)) },
        Status::Cancelled => TaskError::Cancelled,
        Status::OutOfMemory => TaskError::OutOfMemory { limit: payload[2] },
        Status::Quarantined => TaskError::Quarantined {
            crashes: u32::try_from(payload[0]).unwrap_or(u32::MAX),
            evidence: Box::new(obituary::unpack(payload, attempt)),
        },
        Status::TimedOut => TaskError::TimedOut { after: Duration::from_nanos(payload[2]) },
        Status::Closed if payload[2] == CLOSED_FOR_WANT_OF_WORKERS => TaskError::NoWorkers,
        Status::Closed => TaskError::Closed,
        Status::InputUndecodable => TaskError::Decode { place: Place::Input },
        Status::UnknownFunction => TaskError::Decode { place: Place::Function },
        Status::ResultTooLarge => {
            TaskError::ResultRefused { reason: ResultRefusal::TooLarge { bytes: payload[1], limit } }
        }
        Status::NoMemory => {
            TaskError::ResultRefused { reason: ResultRefusal::NoMemory { bytes: payload[1] } }
        }
        Status::ResultUnencodable => TaskError::ResultRefused { reason: ResultRefusal::Unencodable },
        Status::Finished | Status::Panicked | Status::RangePartial => {
            TaskError::Decode { place: Place::Slot }
        }
    }
}
