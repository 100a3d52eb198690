//! Task: a function, its input, and how it is to be run; built first, started by `go`.

mod wanted;

use crate::block::ShareError;
use crate::book::Keep;
use crate::context::{Context, Quarry};
use crate::deadlines::Limits;
use crate::dispatch::Ticket;
use crate::error::{Place, Rejection, TaskError};
use crate::handle::TaskHandle;
use crate::jail::{self, Jail, Sentence};
use crate::mode::Mode;
use crate::runtime::Runtime;
use crate::sealed::{Body, Sealed};
use crate::supervise::{
    Attempt, BreakerName, Fallback, Guarded, Guards, Hedge, IntoFallback, Retry, Source, Understudy,
};
use gorun_shm::blocks::AllocateError;
use gorun_shm::os::ticks;
use gorun_shm::slots::Descriptor;
use gorun_worker::codec::Portable;
use gorun_worker::function::{self, Shim};
use gorun_worker::message::{self, SealError};
use gorun_worker::run;
use gorun_worker::wire::status::MARK_MORTAL;
use std::fmt;
use std::time::Duration;

pub(crate) use wanted::over;

/// A task that was not started yet.
///
/// ```
/// use gorun_runtime::Task;
///
/// let length = Task::with(String::from("four"), |text: String| text.len()).go().join()?;
/// assert_eq!(length, 4);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[must_use = "a task runs only after `go`"]
pub struct Task<A, R> {
    kind: Kind<A, R>,
    limits: Limits,
    /// It ends with this.
    context: Context,
    mode: Option<Mode>,
    /// The jail it runs in, if it asks for one.
    jail: Option<Box<Jail>>,
    /// What is done if it fails; most tasks have none.
    guards: Option<Box<Guards<A, R>>>,
}

/// What a task runs.
pub(crate) enum Kind<A, R> {
    Thunk(fn() -> R),
    Function(A, fn(A) -> R),
}

impl<R: Portable> Task<(), R> {
    /// A task without input.
    pub fn new(function: fn() -> R) -> Self {
        Self::of(Kind::Thunk(function))
    }
}

impl<A: Portable, R: Portable> Task<A, R> {
    /// A task that passes `input` to `function`.
    ///
    /// The input is encoded once, straight into shared memory. A closure that captures is refused by the
    /// compiler: pass what it needs as input.
    pub fn with(input: A, function: fn(A) -> R) -> Self {
        Self::of(Kind::Function(input, function))
    }

    fn of(kind: Kind<A, R>) -> Self {
        let (limits, context) = (Limits::default(), Context::background());
        Self { kind, limits, context, mode: None, jail: None, guards: None }
    }

    /// The task is over `after` its start with `go` at the latest, waiting in line included: it then has its value, or
    /// ends as [`TaskError::TimedOut`], and never both. Its worker is killed if it runs, whatever it does.
    ///
    /// ```
    /// use gorun_runtime::{Task, TaskError};
    /// use std::time::Duration;
    ///
    /// let endless = Task::new(|| loop { std::hint::spin_loop() }).deadline(Duration::from_millis(20));
    /// let outcome: Result<(), TaskError> = endless.go().join();
    /// assert_eq!(outcome, Err(TaskError::TimedOut { after: Duration::from_millis(20) }));
    /// ```
    pub fn deadline(mut self, after: Duration) -> Self {
        self.limits.deadline = Some(after);
        self
    }

    /// As [`Task::deadline`], but counted from the moment a worker begins to run the task. Both may be given.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.limits.timeout = Some(after);
        self
    }

    /// When its time is over while it runs, it is first asked to stop, which it sees by [`is_cancelled`](crate::is_cancelled),
    /// and killed `after` that. If it ends by itself meanwhile, its value stands, and its worker lives on. Without this
    /// it is killed at once.
    ///
    /// ```
    /// use gorun_runtime::{Task, is_cancelled};
    /// use std::time::Duration;
    ///
    /// let patient = || (1_u64..).take_while(|_| !is_cancelled()).last();
    /// let counted = Task::new(patient).deadline(Duration::from_millis(20)).grace(Duration::from_secs(10));
    /// assert!(counted.go().join()? > Some(1));
    /// # Ok::<(), gorun_runtime::TaskError>(())
    /// ```
    pub fn grace(mut self, after: Duration) -> Self {
        self.limits.grace = Some(after);
        self
    }

    /// Tries it again if it fails, as `retry` says. Its handle keeps the input and encodes it again for each attempt.
    ///
    /// A [`Task::deadline`] covers all attempts and the pauses between them; a [`Task::timeout`] is for each attempt. If
    /// the next attempt could only begin after the deadline, the task ends with the error of the last.
    ///
    /// # Blocking
    /// Whoever waits for the handle drives the attempts: see [`TaskHandle`]. A dropped handle retries nothing.
    ///
    /// ```
    /// use gorun_runtime::{Retry, Task, TaskError};
    ///
    /// let moody = Task::with(1_u32, |n: u32| -> u32 { panic!("no luck with {n}") });
    /// let outcome = moody.retry(Retry::attempts(3)).go().join();
    /// assert!(matches!(outcome, Err(TaskError::Panicked { .. })));
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self
    where
        A: Send,
    {
        let guards = self.guards.get_or_insert_default();
        guards.policies.retry = Some(retry);
        guards.keeper = Some(keep);
        self
    }

    /// Starts a second attempt if the first takes long, and takes the value of whichever has one first: see [`Hedge`],
    /// which says what becomes of the other. Its handle keeps the input.
    ///
    /// # Blocking
    /// Whoever waits for the handle starts the second attempt: see [`TaskHandle`].
    ///
    /// Hedges are the host's: inside a task this ends as [`Rejection::HostOnly`].
    ///
    /// ```
    /// use gorun_runtime::{Hedge, Task};
    /// use std::time::Duration;
    ///
    /// let hedge = Hedge::p95().at_first(Duration::from_millis(100));
    /// assert_eq!(Task::with(4, |n: u32| n * 2).hedge(hedge).go().join()?, 8);
    /// # Ok::<(), gorun_runtime::TaskError>(())
    /// ```
    pub fn hedge(mut self, hedge: Hedge) -> Self
    where
        A: Send,
    {
        let guards = self.guards.get_or_insert_default();
        guards.policies.hedge = Some(hedge);
        guards.keeper = Some(keep);
        self
    }

    /// Gives what `fallback` says in place of an error, once all attempts have failed; the last one given to a task is
    /// taken.
    ///
    /// ```
    /// use gorun_runtime::{Fallback, Task};
    /// use std::time::Duration;
    ///
    /// let endless = Task::new(|| -> u8 { loop { std::hint::spin_loop() } });
    /// let quick = endless.deadline(Duration::from_millis(20)).fallback(Fallback::value(0));
    /// assert_eq!(quick.go().join(), Ok(0));
    /// ```
    pub fn fallback(self, fallback: impl IntoFallback<A, R>) -> Self {
        fallback.guard(self)
    }

    pub(crate) fn rescued(mut self, fallback: Fallback<R>) -> Self
    where
        R: Send,
    {
        let function = self.kind.address();
        let policies = &mut self.guards.get_or_insert_default().policies;
        (policies.rescue, policies.understudy) = (Some(fallback.bind(function)), None);
        self
    }

    pub(crate) fn understudied(mut self, understudy: Understudy<R>) -> Self
    where
        A: Send,
    {
        let guards = self.guards.get_or_insert_default();
        guards.keeper = Some(keep);
        (guards.policies.rescue, guards.policies.understudy) = (None, Some(understudy));
        self
    }

    /// Asks the breaker of this name, made at its first use, before each attempt, and tells it how the attempt ended:
    /// see [`Runtime::breaker`](crate::Runtime::breaker). While it is open the task ends as
    /// [`TaskError::CircuitOpen`], which is not retried, and for which a fallback may stand in.
    ///
    /// A value is a success. Panics, crashes, timeouts and results that could not come back are failures. What was
    /// cancelled, closed or not accepted is neither, nor is a task whose handle is dropped. The breaker hears of an
    /// outcome when the handle is waited for or asked; its time is that of the task all the same, waiting in line
    /// included.
    ///
    /// Inside a task it is the host's breaker of that name, through shared memory, if the host has one by then; else this
    /// ends as [`Rejection::UnknownPolicy`]. Breakers with a key are the host's: they end as [`Rejection::HostOnly`].
    pub fn breaker(mut self, name: &str) -> Self {
        let name = BreakerName { name: name.into(), key: None };
        self.guards.get_or_insert_default().policies.breaker = Some(name);
        self
    }

    /// As [`Task::breaker`], with a breaker for each key: a host, a customer, a hash of the input. Settings and listeners
    /// are those of the name. A name has up to 1024 of them; with one more, the one that was not asked for longest goes,
    /// with what it has counted.
    ///
    /// ```
    /// use gorun_runtime::{BreakerSettings, BreakerState, Runtime, Task};
    /// use std::time::Duration;
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// let hosts = runtime.breaker("hosts");
    /// hosts.configure(BreakerSettings::default().failures(1, Duration::from_secs(10)));
    /// let ask = |host: u64| Task::with(host, |host| assert!(host != 7)).keyed_breaker("hosts", host);
    /// assert!(ask(7).go_on(&runtime).join().is_err());
    /// assert_eq!((hosts.key(7).state(), hosts.key(8).state()), (BreakerState::Open, BreakerState::Closed));
    /// assert_eq!(ask(8).go_on(&runtime).join(), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyed_breaker(mut self, name: &str, key: u64) -> Self {
        let name = BreakerName { name: name.into(), key: Some(key) };
        self.guards.get_or_insert_default().policies.breaker = Some(name);
        self
    }

    /// As [`Task::breaker`], with a breaker for the task's function: one of the keys of the name `functions`, whose
    /// settings are for all of them.
    ///
    /// ```
    /// use gorun_runtime::{BreakerSettings, Runtime, Task, TaskError};
    /// use std::time::Duration;
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// let once = BreakerSettings::default().failures(1, Duration::from_secs(10));
    /// runtime.breaker("functions").configure(once);
    /// let broken: fn() -> u32 = || panic!("tilt");
    /// let ask = || Task::new(broken).function_breaker().go_on(&runtime).join();
    /// assert!(matches!(ask(), Err(TaskError::Panicked { .. })));
    /// assert!(matches!(ask(), Err(TaskError::CircuitOpen { .. })));
    /// assert_eq!(Task::new(|| 1_u32).function_breaker().go_on(&runtime).join(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn function_breaker(mut self) -> Self {
        let name = BreakerName::of_function(self.kind.address());
        self.guards.get_or_insert_default().policies.breaker = Some(name);
        self
    }

    /// Runs each attempt only with a permit of the bulkhead of this name, which [`Runtime::bulkhead`] has set up. Without
    /// one it waits in the bulkhead's queue, outside of the workers' queues; if that is full too, it ends as
    /// [`Rejection::BulkheadFull`].
    ///
    /// `go` encodes the input and does not wait for the permit: the runtime starts the task when another gives its own
    /// back, whether or not anybody waits for the handle, also if the handle was dropped. A permit comes back when its
    /// task has ended in whatever way. A [`Task::deadline`] counts while the task waits, and ends it; so do
    /// [`TaskHandle::cancel`] and [`TaskHandle::kill`].
    ///
    /// Bulkheads are the host's: inside a task this ends as [`Rejection::HostOnly`].
    pub fn bulkhead(mut self, name: &str) -> Self {
        self.guards.get_or_insert_default().policies.bulkhead = Some(name.into());
        self
    }

    /// Starts each attempt only when the rate limit of this name, which [`Runtime::rate_limit`] has set up, lets it.
    /// Until then it waits in the limit's queue, outside of the workers' queues; if that is full, or its turn would come
    /// after its [`Task::deadline`], it ends as [`Rejection::RateLimited`], with the time to come back after.
    ///
    /// `go` encodes the input and does not wait for the turn: the runtime starts the task then, whether or not anybody
    /// waits for the handle. A task that is cancelled while it waits has used up its turn. Of a bulkhead's queue, a task
    /// stands in line after its turn here.
    ///
    /// Rate limits are the host's: inside a task this ends as [`Rejection::HostOnly`].
    pub fn rate_limit(mut self, name: &str) -> Self {
        self.guards.get_or_insert_default().policies.rate_limit = Some(name.into());
        self
    }

    /// Runs it there, whatever mode its runtime has. The first task of another mode than the runtime's starts a pool for it,
    /// which [`Runtime::stats`] does not count.
    ///
    /// Inside a task only [`Mode::Inline`] and the mode that the task itself runs in can be had.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Runs it in a worker that may do no more than the profile says: see [`Jail`].
    ///
    /// It goes to a process of its own kind, not to a seat: [`Builder::jailed_workers`](crate::Builder::jailed_workers)
    /// says how many there are at most. While all of them are busy it waits in the host's memory, where no other task
    /// can see its input. A [`Task::timeout`] counts from the moment it was given to its worker.
    ///
    /// Its input and result may carry no [`SharedSlice`](crate::SharedSlice), for jailed workers map no memory of others.
    /// Jails are the host's: inside a task this ends as [`Rejection::HostOnly`]; without the kernel's help it ends as
    /// [`Rejection::Jail`].
    ///
    /// ```
    /// use gorun_runtime::{Jail, Task};
    ///
    /// let peek = Task::new(|| std::fs::read("/etc/passwd").is_ok()).jail(Jail::compute().best_effort());
    /// assert_eq!(peek.go().join(), Ok(false));
    /// ```
    pub fn jail(mut self, jail: Jail) -> Self {
        self.jail = Some(Box::new(jail));
        self
    }

    /// Starts it on the program's default runtime, or, inside a task, as a nested task.
    ///
    /// Never panics: whatever is wrong comes out of the handle.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn go(self) -> TaskHandle<R> {
        match Runtime::current() {
            Ok(runtime) => self.go_on(&runtime),
            Err(error) => TaskHandle::refused(TaskError::Rejected { reason: error }),
        }
    }

    /// Starts it on `runtime`.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn go_on(mut self, runtime: &Runtime) -> TaskHandle<R> {
        match self.mode {
            None => self.start_on(runtime),
            Some(Mode::Jailed) => {
                self.jail.get_or_insert_with(|| Box::new(runtime.jail()));
                self.start_on(runtime)
            }
            Some(mode) => match runtime.in_mode(mode) {
                Ok(runtime) => self.start_on(&runtime),
                Err(error) => TaskHandle::refused(error),
            },
        }
    }

    #[inline]
    fn start_on(mut self, runtime: &Runtime) -> TaskHandle<R> {
        if self.context.scope().is_some()
            && let Err(error) = self.bind(runtime)
        {
            return TaskHandle::refused(error);
        }
        if self.guards.is_some() {
            return self.go_guarded(runtime);
        }
        match self.submit(runtime) {
            Ok(ticket) => TaskHandle::waiting(runtime, ticket),
            Err(error) => TaskHandle::refused(error),
        }
    }

    #[cold]
    fn go_guarded(self, runtime: &Runtime) -> TaskHandle<R> {
        let limits = runtime.limits(self.limits);
        let Guards { keeper, policies } = self.guards.map_or_else(Guards::default, |guards| *guards);
        let stock = runtime.stock_of(self.jail.as_deref());
        let guarded = Guarded::new(runtime, limits, policies).jailed(stock).within(self.context);
        TaskHandle::guarded(match keeper {
            Some(keeper) => guarded.start_kept(keeper(self.kind)),
            None => guarded.start_once(|runtime, attempt| self.kind.seal_for(runtime, attempt)),
        })
    }

    #[inline]
    fn submit(self, runtime: &Runtime) -> Result<Ticket, TaskError> {
        let context = self.context.clone();
        let ticket = self.submit_free(runtime)?;
        if context.scope().is_some() {
            runtime.parts().leash(&context, Quarry::Task(ticket));
        }
        Ok(ticket)
    }

    #[inline]
    fn submit_free(self, runtime: &Runtime) -> Result<Ticket, TaskError> {
        let limits = runtime.limits(self.limits);
        if let Some(stock) = runtime.stock_of(self.jail.as_deref()) {
            let deadline =
                limits.deadline.map(|allowed| (ticks::system_ns().saturating_add(nanos(allowed)), allowed));
            return jail::submit(
                runtime,
                &self.kind,
                Sentence { stock, attempt: 1, timeout: limits.timeout, deadline },
            );
        }
        if !limits.any() {
            return self.kind.submit(runtime, (0, 1));
        }
        let dispatcher = runtime.dispatcher();
        runtime.check_limits()?;
        let since_ns = ticks::system_ns();
        let ticket = self.kind.submit(runtime, (MARK_MORTAL, 1))?;
        dispatcher.limit(&ticket, limits, since_ns);
        Ok(ticket)
    }
}

impl<A: Portable, R: Portable> Kind<A, R> {
    fn address(&self) -> usize {
        match self {
            Self::Thunk(thunk) => *thunk as usize,
            Self::Function(_, function) => *function as usize,
        }
    }

    /// Encodes the input and submits it as an attempt of this number, with this mark.
    #[inline]
    fn submit(self, runtime: &Runtime, marks: (u8, u8)) -> Result<Ticket, TaskError> {
        let (descriptor, keep) = self.seal(runtime, marks)?;
        if keep.as_ref().is_some_and(|keep| keep.input.ends.is_some()) {
            drop(self); // Now, for the task may be over before us, and its ends are to be the last.
        }
        runtime.submit(&descriptor, keep)
    }

    /// Encodes the input for an attempt of this number, with this mark.
    #[inline]
    fn seal(
        &self,
        runtime: &Runtime,
        (mark, attempt): (u8, u8),
    ) -> Result<(Descriptor, Option<Box<Keep>>), TaskError> {
        let dispatcher = runtime.dispatcher();
        let (shim, address, input) = match self {
            Self::Thunk(thunk) => {
                let shim = run::run_thunk::<R> as Shim;
                let described = describe(runtime, shim, *thunk as usize, [0; 4], (0, mark))?;
                dispatcher.screen_inline(&described)?;
                return Ok((Descriptor { attempt, ..described }, None));
            }
            Self::Function(input, function) => (run::run_function::<A, R> as Shim, *function as usize, input),
        };
        if let Some((payload, bytes)) = message::seal_inline(input).map_err(rejected)? {
            let described = describe(runtime, shim, address, payload, (bytes, mark))?;
            dispatcher.screen_inline(&described)?;
            return Ok((Descriptor { attempt, ..described }, None));
        }
        let limit = runtime.message_bytes_max();
        let sealed = message::seal_in_block(input, &dispatcher.commons.blocks, dispatcher.me, limit);
        let sealed = sealed.map_err(rejected)?;
        let described =
            describe(runtime, shim, address, sealed.payload, (sealed.bytes, sealed.marks | mark))?;
        let descriptor = Descriptor { attempt, ..described };
        let input = sealed.block.as_ref().and_then(|block| block.as_slice().get(..sealed.bytes as usize));
        let fingerprint = dispatcher.screen_block(&descriptor, input.unwrap_or_default())?;
        let keep = Keep { input: sealed.hand_over_input().without_ends(), output: None, fingerprint };
        Ok((descriptor, Some(Box::new(keep))))
    }

    /// Encodes the input for an attempt that may be submitted later.
    fn seal_for(&self, runtime: &Runtime, attempt: &Attempt) -> Result<Sealed, TaskError> {
        let Attempt { number, timeout, deadline, grace, jail } = *attempt;
        if let Some(stock) = jail {
            let body = Body::Jail(Some(jail::seal(runtime, self, (stock, number))?), stock);
            return Ok(Sealed { parts: runtime.parts(), body, timeout, deadline, grace });
        }
        let is_mortal = timeout.is_some() || deadline.is_some();
        if is_mortal {
            runtime.check_limits()?;
        }
        let mark = if is_mortal { MARK_MORTAL } else { 0 };
        let (descriptor, keep) = self.seal(runtime, (mark, number))?;
        let body = Body::Slot(descriptor, keep);
        Ok(Sealed { parts: runtime.parts(), body, timeout, deadline, grace })
    }
}

impl<A: Portable + Send, R: Portable> Source<R> for Kind<A, R> {
    fn seal(&self, runtime: &Runtime, attempt: &Attempt) -> Result<Sealed, TaskError> {
        self.seal_for(runtime, attempt)
    }

    fn address(&self) -> usize {
        Self::address(self)
    }

    fn run(self: Box<Self>) -> R {
        match *self {
            Self::Thunk(thunk) => thunk(),
            Self::Function(input, function) => function(input),
        }
    }
}

fn keep<A: Portable + Send, R: Portable>(kind: Kind<A, R>) -> Box<dyn Source<R>> {
    Box::new(kind)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// A descriptor for a function with its shim. The two must agree in their types: this is called only where both
/// come from one generic constructor.
#[inline]
pub(crate) fn describe(
    runtime: &Runtime,
    shim: Shim,
    address: usize,
    payload: [u64; 4],
    numbers: (u32, u8),
) -> Result<Descriptor, TaskError> {
    describe_with(|| runtime.libraries(), shim, address, payload, numbers)
}

/// [`describe`] for workers that have loaded these libraries.
#[inline]
pub(crate) fn describe_with(
    libraries: impl Fn() -> Vec<String>,
    shim: Shim,
    address: usize,
    payload: [u64; 4],
    (input_bytes, marks): (u32, u8),
) -> Result<Descriptor, TaskError> {
    let id = |address| {
        let found = function::code_id(address, &libraries);
        found.map_err(|foreign| TaskError::Rejected { reason: foreign.into() })
    };
    Ok(Descriptor {
        shim: id(shim as usize)?.0,
        function: id(address)?.0,
        input_bytes,
        marks,
        attempt: 1,
        payload,
    })
}

pub(crate) fn rejected(error: SealError) -> TaskError {
    let reason = match error {
        SealError::TooLarge { bytes, limit } => Rejection::InputTooLarge { bytes, limit },
        SealError::NoMemory { bytes, cause: AllocateError::TooLarge { largest, .. } } => {
            Rejection::InputTooLarge { bytes, limit: largest }
        }
        SealError::NoMemory { bytes, .. } => Rejection::NoMemory { bytes },
        SealError::ForeignBlock => Rejection::ForeignBlock,
        other => Rejection::InputUnencodable { message: other.to_string() },
    };
    TaskError::Rejected { reason }
}

impl<A, R> fmt::Debug for Task<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// What can be started together with others: a task, or a plain function without input.
pub trait IntoTask<R> {
    /// Starts it on `runtime`.
    fn start(self, runtime: &Runtime) -> TaskHandle<R>;
}

impl<A: Portable, R: Portable> IntoTask<R> for Task<A, R> {
    fn start(self, runtime: &Runtime) -> TaskHandle<R> {
        self.go_on(runtime)
    }
}

impl<R: Portable> IntoTask<R> for fn() -> R {
    fn start(self, runtime: &Runtime) -> TaskHandle<R> {
        Task::new(self).go_on(runtime)
    }
}

impl From<ShareError> for TaskError {
    fn from(error: ShareError) -> Self {
        let reason = match error {
            ShareError::NoMemory { bytes } => Rejection::NoMemory { bytes },
            ShareError::TooLarge { bytes, largest } => Rejection::InputTooLarge { bytes, limit: largest },
            ShareError::NoRuntime(reason) => reason,
            ShareError::Corrupt(_) => return Self::Decode { place: Place::Slot },
        };
        Self::Rejected { reason }
    }
}
