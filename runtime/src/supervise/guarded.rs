//! Guarded: the handle's side of a task that is tried again, falls back, or asks a breaker. It is driven by whoever waits.
//!
//! Nothing here has a thread: `advance` looks where the attempt is and goes as far as it can without waiting for a
//! task or a pause. `wait` and `poll` sleep on what `advance` says: the attempt's slot, or an alarm of the watching
//! thread. Whoever asked to be woken is asked for again in each new phase.

use super::Policies;
use super::circuit::Pending;
use super::fallback::announce;
use super::flight::Flight;
use super::hedge::{Hedge, Times};
use super::passage::{Checks, Passage};
use super::retry::Tries;
use super::runner::Runner;
use super::substitute::StandIn;
use crate::book::Outcome;
use crate::context::{Context, Wake};
use crate::deadlines::{Alarm, Limits};
use crate::dispatch::{Dispatcher, Ticket};
use crate::error::{Place, Rejection, TaskError};
use crate::handle::resolve;
use crate::jail::StockId;
use crate::runtime::{PartsRef, Runtime};
use crate::sealed::{Sealed, Unsent};
use crate::select::unpark_this_thread;
use crate::task::over;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use gorun_worker::wire::status::Status;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// What a task is made of, kept for further attempts.
pub(crate) trait Source<R>: Send {
    /// Encodes the input for an attempt.
    fn seal(&self, runtime: &Runtime, attempt: &Attempt) -> Result<Sealed, TaskError>;

    /// Of the function.
    fn address(&self) -> usize;

    /// Runs the function here.
    fn run(self: Box<Self>) -> R;
}

/// One attempt: its number, from 1, and when it must be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) number: u8,
    pub(crate) timeout: Option<Duration>,
    /// The deadline of all attempts: its moment and the time it gave.
    pub(crate) deadline: Option<(u64, Duration)>,
    pub(crate) grace: Option<Duration>,
    /// The stock of its jail, if it has one.
    pub(crate) jail: Option<StockId>,
}

/// See the module's head.
pub(crate) struct Guarded<R> {
    parts: PartsRef,
    phase: Phase,
    attempt: Attempt,
    source: Option<Box<dyn Source<R>>>,
    tries: Tries,
    policies: Policies<R>,
    /// It ends with this.
    context: Context,
    /// Whom to wake when something changes.
    waker: Option<Waker>,
    /// Of the function, for a hedge that asks what it usually takes.
    times: Option<Arc<Times>>,
    stand_in: Option<Arc<dyn StandIn<R>>>,
    result: PhantomData<fn() -> R>,
}

enum Phase {
    Running(Flight),
    Pausing {
        until_ns: u64,
        alarm: Option<Alarm>,
        /// The context's end ends the pause.
        end: Option<Wake>,
    },
    /// It has a value, not decoded yet.
    Finished(Outcome),
    Failed(TaskError),
    /// A thread runs it, or has run it.
    Elsewhere,
    Taken,
}

/// What a guarded task waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    /// For a task, and at most until a moment of the monotonic clock.
    Running(Ticket, Option<u64>),
    /// For its turn or its permit, on the host's side, or for one of two attempts.
    Waiting,
    /// For a moment of the monotonic clock.
    Pausing(u64),
    Ended,
}

impl<R: Portable> Guarded<R> {
    /// For a task that starts now.
    pub(crate) fn new(runtime: &Runtime, limits: Limits, policies: Policies<R>) -> Self {
        let nanos = |allowed: Duration| u64::try_from(allowed.as_nanos()).unwrap_or(u64::MAX / 2);
        let deadline =
            limits.deadline.map(|allowed| (ticks::system_ns().saturating_add(nanos(allowed)), allowed));
        Self {
            parts: runtime.parts(),
            phase: Phase::Taken,
            attempt: Attempt {
                number: 1,
                timeout: limits.timeout,
                deadline,
                grace: limits.grace,
                jail: None,
            },
            source: None,
            tries: Tries::default(),
            policies,
            context: Context::background(),
            waker: None,
            times: None,
            stand_in: None,
            result: PhantomData,
        }
    }

    /// The same, each attempt in a jail.
    pub(crate) fn jailed(mut self, stock: Option<StockId>) -> Self {
        self.attempt.jail = stock;
        self
    }

    /// The same, until the context is over.
    pub(crate) fn within(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Starts the only attempt.
    ///
    /// # Blocking
    /// While the queue is full.
    pub(crate) fn start_once(
        mut self,
        seal: impl FnOnce(&Runtime, &Attempt) -> Result<Sealed, TaskError>,
    ) -> Self {
        self.launch(seal);
        self
    }

    /// Starts the first attempt, and keeps what others need.
    ///
    /// # Blocking
    /// While the queue is full.
    pub(crate) fn start_kept(mut self, source: Box<dyn Source<R>>) -> Self {
        if let Some(retry) = &self.policies.retry {
            retry.note_first_attempt();
        }
        if self.policies.hedge.as_ref().is_some_and(Hedge::remembers) {
            self.times = Some(self.parts.supervise().times(source.address()));
        }
        self.launch(|runtime, attempt| source.seal(runtime, attempt));
        self.source = Some(source);
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
                Standing::Running(ticket, until_ns) => {
                    let end_ns = deadline_ns.into_iter().chain(until_ns).min();
                    if !self.parts.dispatcher().wait(&ticket, end_ns)
                        && deadline_ns.is_some_and(|deadline| ticks::system_ns() >= deadline)
                    {
                        return false;
                    }
                }
                standing @ (Standing::Pausing(_) | Standing::Waiting) => {
                    let until_ns =
                        if let Standing::Pausing(until_ns) = standing { until_ns } else { u64::MAX };
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
                Phase::Running(ref mut flight) => {
                    let dispatcher = self.parts.dispatcher();
                    if flight.take_due(dispatcher) {
                        self.launch_second();
                    } else if let Some(standing) = flight.standing(dispatcher, self.waker.as_ref()) {
                        return standing;
                    }
                }
                Phase::Pausing { until_ns, .. } => {
                    if let Some(done) = self.context.reason() {
                        self.drop_alarm();
                        self.phase = Phase::Failed(over(done));
                    } else if ticks::system_ns() >= until_ns {
                        self.launch_next();
                    } else if self.set_alarm(until_ns) {
                        return Standing::Pausing(until_ns);
                    } else {
                        self.phase = Phase::Failed(TaskError::Closed);
                    }
                }
                Phase::Failed(_) if self.policies.understudy.is_some() => self.ask_understudy(),
                Phase::Elsewhere => {
                    let stand_in = self.stand_in.as_ref();
                    let is_over = stand_in.is_none_or(|stand_in| stand_in.is_over(self.waker.as_ref()));
                    return if is_over { Standing::Ended } else { Standing::Waiting };
                }
                Phase::Finished(_) | Phase::Failed(_) | Phase::Taken => return Standing::Ended,
            }
        }
    }

    /// All attempts have failed: a thread is asked, once.
    #[cold]
    fn ask_understudy(&mut self) {
        let (Some(understudy), Phase::Failed(error)) = (self.policies.understudy.take(), &self.phase) else {
            return;
        };
        let is_final = matches!(error, TaskError::Cancelled | TaskError::Closed);
        if is_final || self.parts.dispatcher().is_foreign() || self.parts.dispatcher().is_nested() {
            return;
        }
        let Some(source) = self.source.take() else { return };
        let (registry, function) = (self.parts.supervise(), source.address());
        if let Some(stand_in) = understudy(source, registry) {
            announce::<R>(registry, function, error);
            self.stand_in = Some(stand_in);
            self.phase = Phase::Elsewhere;
        }
    }

    /// The value or the error of an ended task.
    pub(crate) fn take(&mut self) -> Result<R, TaskError> {
        let outcome = match std::mem::replace(&mut self.phase, Phase::Taken) {
            Phase::Finished(outcome) => resolve(outcome, &self.parts),
            Phase::Failed(error) => Err(error),
            Phase::Elsewhere => {
                let outcome = self.stand_in.take().and_then(|stand_in| stand_in.take());
                outcome.unwrap_or(Err(TaskError::Closed))
            }
            Phase::Running(_) | Phase::Pausing { .. } | Phase::Taken => Err(TaskError::Closed),
        };
        let Some(rescue) = self.policies.rescue.take() else { return outcome };
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
        self.end(Runner::cancel)
    }

    /// Kills the attempt, or cancels the pause before the next.
    pub(crate) fn kill(&mut self) -> bool {
        self.end(Runner::kill)
    }

    fn end(&mut self, end_attempt: impl Fn(&Runner, &Dispatcher) -> bool) -> bool {
        self.settle();
        let dispatcher = self.parts.dispatcher();
        if let Phase::Running(flight) = &mut self.phase
            && flight.end(dispatcher, |runner| end_attempt(runner, dispatcher))
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
        if dispatcher.is_foreign()
            && matches!(self.phase, Phase::Running(_) | Phase::Pausing { .. } | Phase::Elsewhere)
        {
            let error = TaskError::Rejected { reason: Rejection::ForkedHost };
            // Forgotten: another thread may have held a policy's lock when this process was forked.
            std::mem::forget(std::mem::replace(&mut self.phase, Phase::Failed(error)));
        }
        while let Phase::Running(flight) = &mut self.phase {
            let Some((runner, is_second)) = flight.pull_ended(self.parts.dispatcher()) else { return };
            self.settle_one(&runner, is_second);
        }
    }

    /// Takes the outcome of an ended attempt of this flight.
    fn settle_one(&mut self, runner: &Runner, is_second: bool) {
        // A predicate of the user's may panic below; the runner is used up by then.
        let Phase::Running(flight) = std::mem::replace(&mut self.phase, Phase::Taken) else { return };
        let dispatcher = self.parts.dispatcher();
        self.phase = match runner.take(dispatcher) {
            Ok(outcome) if has_value(&outcome) => {
                runner.report(Ok(()));
                if let (Some(times), Some(took_ns)) = (&self.times, runner.took_ns()) {
                    times.note(took_ns);
                }
                if is_second {
                    self.parts.supervise().count_hedge_won();
                }
                flight.lose(dispatcher, self.times.as_deref());
                Phase::Finished(outcome)
            }
            other => {
                let error = other.and_then(|outcome| resolve::<R>(outcome, &self.parts)).err();
                let error = error.unwrap_or(TaskError::Decode { place: Place::Slot });
                runner.report(Err(&error));
                if flight.is_over() {
                    flight.abandon(dispatcher);
                    self.after(error)
                } else {
                    Phase::Running(flight)
                }
            }
        };
    }

    /// What follows a failed attempt.
    fn after(&mut self, error: TaskError) -> Phase {
        let now = ticks::system_ns();
        let end_ns = self.attempt.deadline.map_or(u64::MAX, |(at_ns, _)| at_ns);
        let (Some(retry), Some(_)) = (&self.policies.retry, &self.source) else {
            return Phase::Failed(error);
        };
        if now >= end_ns || self.context.is_done() {
            return Phase::Failed(error);
        }
        let random = self.parts.supervise().random();
        let Some(pause) = retry.pause(&error, &mut self.tries, random) else { return Phase::Failed(error) };
        let until_ns = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        // An attempt that could only begin after the deadline is none.
        if until_ns >= end_ns || !retry.is_affordable() {
            return Phase::Failed(error);
        }
        Phase::Pausing { until_ns, alarm: None, end: None }
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
        if let Some(source) = self.source.take() {
            self.launch(|runtime, attempt| source.seal(runtime, attempt));
            self.source = Some(source);
        }
    }

    fn launch(&mut self, seal: impl FnOnce(&Runtime, &Attempt) -> Result<Sealed, TaskError>) {
        let delay = self.policies.hedge.and_then(|hedge| hedge.delay(self.times.as_deref()));
        let end_ns = self.attempt.deadline.map_or(u64::MAX, |(at_ns, _)| at_ns);
        let now = ticks::system_ns();
        let due_ns =
            delay.map(|delay| now.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)));
        self.phase = match self.begin(false, seal) {
            Ok(runner) => Phase::Running(Flight::new(runner, due_ns.filter(|due_ns| *due_ns < end_ns))),
            Err(error) => Phase::Failed(error),
        };
    }

    /// Starts a second attempt beside the first; if it is refused, the first goes on alone.
    fn launch_second(&mut self) {
        let Some(source) = self.source.take() else { return };
        let number = self.attempt.number;
        self.attempt.number = number.saturating_add(1);
        match (self.begin(true, |runtime, attempt| source.seal(runtime, attempt)), &mut self.phase) {
            (Ok(second), Phase::Running(flight)) => {
                flight.join(second);
                self.parts.supervise().count_hedge();
            }
            _ => self.attempt.number = number,
        }
        self.source = Some(source);
    }

    /// Starts an attempt, or has it wait for what its policies ask for.
    fn begin(
        &self,
        is_second: bool,
        seal: impl FnOnce(&Runtime, &Attempt) -> Result<Sealed, TaskError>,
    ) -> Result<Runner, TaskError> {
        let runtime = self.parts.as_runtime();
        if self.parts.dispatcher().is_nested()
            && let Some(what) = self.policies.of_host()
        {
            return Err(TaskError::Rejected { reason: Rejection::HostOnly { what: what.into() } });
        }
        if !self.policies.watch() {
            let sealed = seal(&runtime, &self.attempt)?;
            if !is_second {
                return sealed.submit().map(Runner::Bare).inspect(|runner| self.leash(runner));
            }
            return match Box::new(sealed).try_submit() {
                Ok(ticket) => Ok(Runner::Bare(ticket)).inspect(|runner| self.leash(runner)),
                // More of the same would help nobody.
                Err(Unsent::Full(_)) => Err(TaskError::Cancelled),
                Err(Unsent::Refused(error)) => Err(error),
            };
        }
        if self.parts.dispatcher().is_foreign() {
            return Err(TaskError::Rejected { reason: Rejection::ForkedHost });
        }
        let registry = self.parts.supervise();
        let (bulkhead, pace) = (self.policies.bulkhead.as_deref(), self.policies.rate_limit.as_deref());
        let bulkhead = bulkhead.map(|name| known("bulkhead", name, registry.bulkhead(name))).transpose()?;
        let pace = pace.map(|name| known("rate limit", name, registry.pace(name))).transpose()?;
        let bulkhead = bulkhead.map(|bulkhead| {
            let number = bulkhead.number();
            (bulkhead, number)
        });
        let call = self.policies.breaker.as_ref().map(|name| registry.call(name)).transpose();
        let mut call = Pending(call?);
        // A failure here is none of the function; a panic in the user's encoding gives the call back too.
        let sealed = seal(&runtime, &self.attempt)?;
        let end_ns = self.attempt.deadline.map_or(u64::MAX, |(at_ns, _)| at_ns);
        let turn_ns = pace.map(|pace| pace.take_turn(end_ns)).transpose().map_err(|retry_after| {
            registry.count_rate_limited();
            TaskError::Rejected { reason: Rejection::RateLimited { retry_after } }
        })?;
        let checks = Checks { call: call.0.take(), bulkhead, turn_ns, is_second };
        let runner = Runner::Watched(Passage::begin(&self.parts, checks, sealed));
        self.leash(&runner);
        Ok(runner)
    }

    /// The attempt ends with the context.
    fn leash(&self, runner: &Runner) {
        if self.context.scope().is_some() {
            self.parts.leash(&self.context, runner.quarry());
        }
    }

    /// Has whoever waits woken at the end of the pause; false if the runtime was shut down.
    fn set_alarm(&mut self, until_ns: u64) -> bool {
        let dispatcher = self.parts.dispatcher();
        if dispatcher.is_closed() {
            return false;
        }
        if let (Phase::Pausing { alarm, end, .. }, Some(waker)) = (&mut self.phase, &self.waker) {
            *end = Some(Wake::at_end(&self.context, waker));
            *alarm = dispatcher.set_alarm(*alarm, until_ns, waker);
            return alarm.is_some();
        }
        true
    }

    /// Sleeps until that moment, until what it waits for is there, or until the runtime is shut down.
    fn sleep_until(&mut self, until_ns: u64) {
        let nested = self.parts.dispatcher().is_nested();
        let duty = if nested { context::duty() } else { None };
        let before = self.waker.take();
        let _end = nested.then(|| Wake::at_end(&self.context, &unpark_this_thread()));
        if !nested {
            // For the shutdown: the end of the pause would be noticed without it.
            self.waker = Some(unpark_this_thread());
        }
        loop {
            let waits = match self.phase {
                Phase::Pausing { until_ns: end_ns, .. } => !self.context.is_done() && self.set_alarm(end_ns),
                Phase::Running(_) | Phase::Elsewhere => matches!(self.advance(), Standing::Waiting),
                _ => false,
            };
            let left_ns = until_ns.saturating_sub(ticks::system_ns());
            if !waits || left_ns == 0 {
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
            Phase::Running(ref flight) => flight.nested_standing(self.parts.dispatcher()),
            Phase::Elsewhere => Standing::Waiting,
            Phase::Pausing { until_ns, .. } => Standing::Pausing(until_ns),
            Phase::Finished(_) | Phase::Failed(_) | Phase::Taken => Standing::Ended,
        }
    }

    pub(crate) fn parts(&self) -> &PartsRef {
        &self.parts
    }

    fn drop_alarm(&mut self) {
        if let Phase::Pausing { alarm, end, .. } = &mut self.phase {
            *end = None;
            if let Some(alarm) = alarm.take() {
                self.parts.dispatcher().drop_alarm(alarm);
            }
        }
    }
}

impl<R> Drop for Guarded<R> {
    fn drop(&mut self) {
        self.drop_alarm();
        let phase = std::mem::replace(&mut self.phase, Phase::Taken);
        if self.parts.dispatcher().is_foreign() {
            // What it holds may be locked for ever here, and its memory is the parent's.
            std::mem::forget(phase);
        } else if let Phase::Running(flight) = phase {
            flight.abandon(self.parts.dispatcher());
        }
    }
}

/// A policy that was set up.
fn known<T>(what: &'static str, name: &str, policy: Option<T>) -> Result<T, TaskError> {
    let unknown = || Rejection::UnknownPolicy { what: what.into(), name: name.into() };
    policy.ok_or_else(|| TaskError::Rejected { reason: unknown() })
}

/// True for an outcome that carries a value.
fn has_value(outcome: &Outcome) -> bool {
    let (Outcome::Inline { status, .. } | Outcome::Message { status, .. } | Outcome::Private { status, .. }) =
        outcome
    else {
        return false;
    };
    *status == Status::Finished
}
