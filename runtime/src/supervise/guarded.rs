//! Guarded: the handle's side of a task that is tried again, falls back, or asks a breaker. It is driven by whoever waits.
//!
//! Nothing here has a thread: `advance` looks where the attempt is and goes as far as it can without waiting for a
//! task or a pause. `wait` and `poll` sleep on what `advance` says: the attempt's slot, or an alarm of the watching
//! thread. Whoever asked to be woken is asked for again in each new phase.

use super::circuit::Call;
use super::fallback::Rescue;
use super::retry::{Retry, Tries};
use crate::book::Outcome;
use crate::deadlines::{Alarm, Limits};
use crate::dispatch::Ticket;
use crate::error::{Place, Rejection, TaskError};
use crate::handle::resolve;
use crate::runtime::{PartsRef, Runtime};
use crate::select::unpark_this_thread;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use gorun_worker::wire::status::Status;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// Starts an attempt: encodes the input again and submits it.
pub(crate) type Launch = Box<dyn FnMut(&Runtime, &Attempt) -> Result<Ticket, TaskError> + Send>;

/// One attempt: its number, from 1, and when it must be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) number: u8,
    pub(crate) timeout: Option<Duration>,
    /// The deadline of all attempts: its moment and the time it gave.
    pub(crate) deadline: Option<(u64, Duration)>,
    pub(crate) grace: Option<Duration>,
}

/// See the module's head.
pub(crate) struct Guarded<R> {
    parts: PartsRef,
    phase: Phase,
    attempt: Attempt,
    again: Option<(Retry, Launch)>,
    tries: Tries,
    rescue: Option<Box<dyn Rescue<R>>>,
    breaker: Option<Box<str>>,
    /// The attempt as the breaker sees it.
    call: Option<Arc<Call>>,
    /// Whom to wake when something changes.
    waker: Option<Waker>,
    result: PhantomData<fn() -> R>,
}

enum Phase {
    Running(Ticket),
    Pausing {
        until_ns: u64,
        alarm: Option<Alarm>,
    },
    /// It has a value, not decoded yet.
    Finished(Outcome),
    Failed(TaskError),
    Taken,
}

/// What a guarded task waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    Running(Ticket),
    /// For a moment of the monotonic clock.
    Pausing(u64),
    Ended,
}

impl<R: Portable> Guarded<R> {
    /// For a task that starts now.
    pub(crate) fn new(
        runtime: &Runtime,
        limits: Limits,
        rescue: Option<Box<dyn Rescue<R>>>,
        breaker: Option<Box<str>>,
    ) -> Self {
        let nanos = |allowed: Duration| u64::try_from(allowed.as_nanos()).unwrap_or(u64::MAX / 2);
        let deadline =
            limits.deadline.map(|allowed| (ticks::system_ns().saturating_add(nanos(allowed)), allowed));
        Self {
            parts: runtime.parts(),
            phase: Phase::Taken,
            attempt: Attempt { number: 1, timeout: limits.timeout, deadline, grace: limits.grace },
            again: None,
            tries: Tries::default(),
            rescue,
            breaker,
            call: None,
            waker: None,
            result: PhantomData,
        }
    }

    /// Starts the only attempt.
    ///
    /// # Blocking
    /// While the queue is full.
    pub(crate) fn start_once(
        mut self,
        launch: impl FnOnce(&Runtime, &Attempt) -> Result<Ticket, TaskError>,
    ) -> Self {
        self.launch(launch);
        self
    }

    /// Starts the first of several attempts.
    ///
    /// # Blocking
    /// While the queue is full.
    pub(crate) fn start_again(mut self, retry: Retry, mut launch: Launch) -> Self {
        retry.note_first_attempt();
        self.launch(&mut launch);
        self.again = Some((retry, launch));
        self
    }

    /// Waits until the task has ended for good; false if `deadline_ns` (monotonic) came first.
    ///
    /// # Blocking
    /// Until then. In a worker it runs tasks of its own meanwhile.
    pub(crate) fn wait(&mut self, deadline_ns: Option<u64>) -> bool {
        loop {
            match self.advance() {
                Standing::Ended => return true,
                Standing::Running(ticket) => {
                    if !self.parts.dispatcher().wait(&ticket, deadline_ns) {
                        return false;
                    }
                }
                Standing::Pausing(until_ns) => {
                    self.sleep_until(deadline_ns.map_or(until_ns, |deadline| deadline.min(until_ns)));
                    if deadline_ns.is_some_and(|deadline| ticks::system_ns() >= deadline) {
                        return matches!(self.advance(), Standing::Ended);
                    }
                }
            }
        }
    }

    /// The outcome, or has the waker called when it is worth asking again.
    ///
    /// # Blocking
    /// In a worker, which has no thread that could wake anybody, until the task has ended.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<R, TaskError>> {
        if self.parts.dispatcher().is_nested() {
            self.wait(None);
        } else if !matches!(self.ask_to_be_woken(waker), Standing::Ended) {
            return Poll::Pending;
        }
        Poll::Ready(self.take())
    }

    /// Has the waker called when something has changed.
    pub(crate) fn ask_to_be_woken(&mut self, waker: &Waker) -> Standing {
        if !self.parts.dispatcher().is_nested() {
            self.waker = Some(waker.clone());
        }
        self.advance()
    }

    /// Goes as far as it can without waiting for a task or a pause.
    ///
    /// # Blocking
    /// While the queue is full, if a next attempt is due.
    pub(crate) fn advance(&mut self) -> Standing {
        loop {
            self.settle();
            match self.phase {
                Phase::Running(ticket) => {
                    let ended = self.waker.as_ref().is_some_and(|waker| match &self.call {
                        Some(call) => !call.ask_to_be_woken(waker),
                        None => !self.parts.dispatcher().ask_to_be_woken(&ticket, waker),
                    });
                    if !ended {
                        return Standing::Running(ticket);
                    }
                }
                Phase::Pausing { until_ns, .. } => {
                    if ticks::system_ns() >= until_ns {
                        self.launch_next();
                    } else if self.set_alarm(until_ns) {
                        return Standing::Pausing(until_ns);
                    } else {
                        self.phase = Phase::Failed(TaskError::Closed);
                    }
                }
                Phase::Finished(_) | Phase::Failed(_) | Phase::Taken => return Standing::Ended,
            }
        }
    }

    /// The value or the error of an ended task.
    pub(crate) fn take(&mut self) -> Result<R, TaskError> {
        let outcome = match std::mem::replace(&mut self.phase, Phase::Taken) {
            Phase::Finished(outcome) => resolve(outcome, &self.parts),
            Phase::Failed(error) => Err(error),
            Phase::Running(_) | Phase::Pausing { .. } | Phase::Taken => Err(TaskError::Closed),
        };
        let Some(rescue) = self.rescue.take() else { return outcome };
        let registry = self.parts.supervise();
        match outcome {
            Ok(value) => {
                rescue.keep(registry, &value);
                Ok(value)
            }
            Err(error) => rescue.give(registry, &error).ok_or(error),
        }
    }

    /// Cancels the attempt if nobody has started it, or the pause before the next.
    pub(crate) fn cancel(&mut self) -> bool {
        self.end(|parts, ticket| parts.dispatcher().cancel(ticket))
    }

    /// Kills the attempt, or cancels the pause before the next.
    pub(crate) fn kill(&mut self) -> bool {
        self.end(|parts, ticket| parts.dispatcher().kill(ticket))
    }

    fn end(&mut self, end_attempt: impl Fn(&PartsRef, &Ticket) -> bool) -> bool {
        self.settle();
        if let Phase::Running(ticket) = &self.phase
            && end_attempt(&self.parts, ticket)
        {
            return true;
        }
        // It may have ended meanwhile.
        self.settle();
        let pausing = matches!(self.phase, Phase::Pausing { .. });
        if pausing {
            self.drop_alarm();
            self.phase = Phase::Failed(TaskError::Cancelled);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        pausing
    }

    /// Takes the outcome of an ended attempt and decides what follows.
    fn settle(&mut self) {
        let dispatcher = self.parts.dispatcher();
        if dispatcher.is_foreign() && matches!(self.phase, Phase::Running(_) | Phase::Pausing { .. }) {
            self.phase = Phase::Failed(TaskError::Rejected { reason: Rejection::ForkedHost });
            // Not told: another thread may have held the breaker's lock when this process was forked.
            self.call = None;
        }
        let Phase::Running(ticket) = self.phase else { return };
        if !dispatcher.is_done(&ticket) {
            return;
        }
        // A predicate of the user's may panic below; the ticket is used up by then.
        self.phase = Phase::Taken;
        let broken = TaskError::Decode { place: Place::Slot };
        self.phase = match self.parts.dispatcher().take(&ticket) {
            Some(outcome) if has_value(&outcome) => {
                self.end_call(Ok(()));
                Phase::Finished(outcome)
            }
            Some(outcome) => {
                let error = resolve::<R>(outcome, &self.parts).err().unwrap_or(broken);
                self.end_call(Err(&error));
                self.after(error)
            }
            None => {
                self.end_call(Err(&broken));
                Phase::Failed(broken)
            }
        };
    }

    /// What follows a failed attempt.
    fn after(&mut self, error: TaskError) -> Phase {
        let now = ticks::system_ns();
        let end_ns = self.attempt.deadline.map_or(u64::MAX, |(at_ns, _)| at_ns);
        let Some((retry, _)) = &self.again else { return Phase::Failed(error) };
        if now >= end_ns {
            return Phase::Failed(error);
        }
        let random = self.parts.supervise().random();
        let Some(pause) = retry.pause(&error, &mut self.tries, random) else { return Phase::Failed(error) };
        let until_ns = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        // An attempt that could only begin after the deadline is none.
        if until_ns >= end_ns || !retry.is_affordable() {
            return Phase::Failed(error);
        }
        Phase::Pausing { until_ns, alarm: None }
    }

    fn launch_next(&mut self) {
        self.drop_alarm();
        self.attempt.number = self.attempt.number.saturating_add(1);
        self.parts.supervise().count_retry();
        if let Some((at_ns, after)) = self.attempt.deadline
            && ticks::system_ns() >= at_ns
        {
            self.phase = Phase::Failed(TaskError::TimedOut { after });
            return;
        }
        if let Some((retry, mut launch)) = self.again.take() {
            self.launch(&mut launch);
            self.again = Some((retry, launch));
        }
    }

    fn launch(&mut self, launch: impl FnOnce(&Runtime, &Attempt) -> Result<Ticket, TaskError>) {
        let started = self.ask_breaker().and_then(|()| launch(&self.parts.as_runtime(), &self.attempt));
        self.phase = match started {
            Ok(ticket) => {
                if let Some(call) = &self.call {
                    call.watch(ticket);
                }
                Phase::Running(ticket)
            }
            Err(error) => {
                self.end_call(Err(&error));
                Phase::Failed(error)
            }
        };
    }

    fn ask_breaker(&mut self) -> Result<(), TaskError> {
        let Some(name) = &self.breaker else { return Ok(()) };
        if self.parts.dispatcher().is_nested() {
            return Err(TaskError::Rejected { reason: Rejection::HostOnly { what: "a breaker".into() } });
        }
        let call = self.parts.supervise().call(name, &self.parts);
        self.call = Some(call.map_err(|retry_after| TaskError::CircuitOpen { retry_after })?);
        Ok(())
    }

    /// Tells the breaker how the attempt ended.
    fn end_call(&mut self, outcome: Result<(), &TaskError>) {
        if let Some(call) = self.call.take() {
            call.end(outcome);
        }
    }

    /// Has whoever waits woken at the end of the pause; false if the runtime was shut down.
    fn set_alarm(&mut self, until_ns: u64) -> bool {
        let dispatcher = self.parts.dispatcher();
        if dispatcher.is_closed() {
            return false;
        }
        if let (Phase::Pausing { alarm, .. }, Some(waker)) = (&mut self.phase, &self.waker) {
            *alarm = dispatcher.set_alarm(*alarm, until_ns, waker);
            return alarm.is_some();
        }
        true
    }

    /// Sleeps until that moment, or until the runtime is shut down.
    fn sleep_until(&mut self, until_ns: u64) {
        let nested = self.parts.dispatcher().is_nested();
        let duty = if nested { context::duty() } else { None };
        let before = self.waker.take();
        if !nested {
            // For the shutdown: the end of the pause would be noticed without it.
            self.waker = Some(unpark_this_thread());
        }
        loop {
            let paused = match self.phase {
                Phase::Pausing { until_ns: end_ns, .. } => self.set_alarm(end_ns),
                _ => false,
            };
            let left_ns = until_ns.saturating_sub(ticks::system_ns());
            if !paused || left_ns == 0 {
                break;
            }
            if !duty.as_ref().is_some_and(|duty| duty.run_one()) {
                thread::park_timeout(Duration::from_nanos(left_ns));
            }
        }
        self.drop_alarm();
        self.waker = before;
    }
}

impl<R> Guarded<R> {
    /// Where it stood when it was last looked at.
    pub(crate) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Running(ticket) => Standing::Running(ticket),
            Phase::Pausing { until_ns, .. } => Standing::Pausing(until_ns),
            Phase::Finished(_) | Phase::Failed(_) | Phase::Taken => Standing::Ended,
        }
    }

    pub(crate) fn parts(&self) -> &PartsRef {
        &self.parts
    }

    fn drop_alarm(&mut self) {
        if let Phase::Pausing { alarm, .. } = &mut self.phase
            && let Some(alarm) = alarm.take()
        {
            self.parts.dispatcher().drop_alarm(alarm);
        }
    }
}

impl<R> Drop for Guarded<R> {
    fn drop(&mut self) {
        self.drop_alarm();
        if let Some(call) = self.call.take()
            && !self.parts.dispatcher().is_foreign()
        {
            call.abandon();
        }
        if let Phase::Running(ticket) = &self.phase {
            self.parts.dispatcher().detach(ticket);
        }
    }
}

/// True for an outcome that carries a value.
fn has_value(outcome: &Outcome) -> bool {
    let (Outcome::Inline { status, .. } | Outcome::Message { status, .. }) = outcome else { return false };
    *status == Status::Finished
}
