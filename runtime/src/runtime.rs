//! Runtime: the pool and the way to it; one by default for the program, others by builder.

use crate::book::Keep;
use crate::builder::Builder;
use crate::config::{Config, Wishes};
use crate::deadlines::Limits;
use crate::dispatch::{Dispatcher, Ticket};
use crate::error::{BuildError, Rejection, TaskError};
use crate::handle::TaskHandle;
use crate::home::Home;
use crate::jail::{Jail, JailStats, Keeper, Settings, StockId};
use crate::map::Map;
use crate::mode::{self, Companions, Mode};
use crate::pool::{Pool, Threads};
use crate::quarantine::{Quarantine, Screen};
use crate::report;
use crate::stats::Stats;
use crate::supervise::{
    Board, BreakerHandle, BulkheadHandle, BulkheadSettings, RateLimit, RateLimitHandle, Registry,
};
use crate::task::{IntoTask, Task};
use gorun_shm::Segment;
use gorun_shm::os::ticks::{self, Rate};
use gorun_shm::slots::Descriptor;
use gorun_shm::sync::Ordering;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use gorun_worker::function;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::map::{self, Shape};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A pool of worker processes. Cloning gives another handle on the same pool; dropping the last one shuts it
/// down: unstarted tasks end as `Closed`, running ones are killed, and no process is left.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: PartsRef,
    /// The pool stops when the last of them is dropped.
    guard: Option<Arc<StopGuard>>,
}

/// The parts behind a runtime, kept alive by handles without keeping the pool running.
#[derive(Debug, Clone)]
pub(crate) enum PartsRef {
    /// The default runtime and a worker's nested one live as long as their process.
    Static(&'static Parts),
    Counted(Arc<Parts>),
    /// The same, for tasks that run where they are started. Its own variants, so that a handle is no larger for it.
    StaticInline(&'static Parts),
    CountedInline(Arc<Parts>),
}

#[derive(Debug)]
pub(crate) struct Parts {
    dispatcher: Arc<Dispatcher>,
    /// None in a worker, whose pool is the host's.
    pool: Option<Arc<Pool>>,
    workers: usize,
    /// For tasks that say nothing else.
    limits: Limits,
    supervise: Arc<Registry>,
    /// What it was built from, for companions.
    wishes: Wishes,
    mode: Mode,
    companions: Companions,
    /// For tasks that ask for a jail and do not say which.
    jail: Jail,
}

#[derive(Debug)]
struct StopGuard {
    parts: Arc<Parts>,
    threads: Mutex<Option<Threads>>,
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        let threads =
            self.threads.get_mut().map_or_else(|poisoned| poisoned.into_inner().take(), Option::take);
        if self.parts.dispatcher.is_foreign() {
            // A fork of the host has neither the threads nor the right to stop the host's pool.
            std::mem::forget(threads);
            return;
        }
        self.parts.companions.close();
        if let (Some(pool), Some(threads)) = (&self.parts.pool, threads) {
            if let Some(keeper) = self.parts.dispatcher.keeper() {
                keeper.stop();
            }
            pool.stop(threads);
            report::stopped(&self.parts.dispatcher.commons, || pool.libraries());
        }
    }
}

impl Deref for PartsRef {
    type Target = Parts;

    #[inline]
    fn deref(&self) -> &Parts {
        match self {
            Self::Static(parts) | Self::StaticInline(parts) => parts,
            Self::Counted(parts) | Self::CountedInline(parts) => parts,
        }
    }
}

impl PartsRef {
    #[inline]
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The dispatcher, for what must not keep it alive.
    pub(crate) fn dispatcher_of(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    pub(crate) fn message_bytes_max(&self) -> u64 {
        self.dispatcher.commons.map.shape.block_bytes_max
    }

    pub(crate) fn supervise(&self) -> &Registry {
        &self.supervise
    }

    /// True if tasks run where they are started.
    #[inline]
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::StaticInline(_) | Self::CountedInline(_))
    }

    fn inline(&self) -> Self {
        match self {
            Self::Static(parts) | Self::StaticInline(parts) => Self::StaticInline(parts),
            Self::Counted(parts) | Self::CountedInline(parts) => Self::CountedInline(Arc::clone(parts)),
        }
    }

    fn not_inline(&self) -> Self {
        match self {
            Self::Static(parts) | Self::StaticInline(parts) => Self::Static(parts),
            Self::Counted(parts) | Self::CountedInline(parts) => Self::Counted(Arc::clone(parts)),
        }
    }

    /// The runtime of these parts, for a handle that starts another attempt. Does not keep the pool running.
    pub(crate) fn as_runtime(&self) -> Runtime {
        Runtime { inner: self.clone(), guard: None }
    }
}

impl Runtime {
    /// Settings for a runtime of its own.
    ///
    /// ```
    /// use gorun_runtime::Runtime;
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// assert_eq!(runtime.go(|| 6 * 7).join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The runtime that `go_parallel` uses here: inside a task the worker's own, elsewhere the program's default,
    /// started at the first call with the settings of the environment (see [`Config`]).
    ///
    /// # Errors
    /// [`Rejection::NoRuntime`] if the default one could not start; every later call says so again.
    #[inline]
    pub fn current() -> Result<Self, Rejection> {
        if context::is_worker() {
            return Ok(Self { inner: PartsRef::Static(nested()), guard: None });
        }
        if let Some(runtime) = mode::inside() {
            return Ok(runtime);
        }
        static DEFAULT: OnceLock<Result<&'static Parts, String>> = OnceLock::new();
        let parts = DEFAULT.get_or_init(|| start_default().map_err(|error| error.to_string()));
        match parts {
            Ok(parts) if parts.mode == Mode::Inline => {
                Ok(Self { inner: PartsRef::StaticInline(parts), guard: None })
            }
            Ok(parts) => Ok(Self { inner: PartsRef::Static(parts), guard: None }),
            Err(message) => Err(Rejection::NoRuntime { message: message.clone() }),
        }
    }

    /// Where its tasks run that ask for nothing else.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.inner.is_inline() { Mode::Inline } else { self.inner.mode }
    }

    /// The runtime for tasks of this mode: this one, or a companion of it.
    ///
    /// # Errors
    /// [`Rejection::HostOnly`] for threads inside a task; else see [`Companions::get`].
    #[cold]
    pub(crate) fn in_mode(&self, mode: Mode) -> Result<Self, TaskError> {
        let own = self.inner.mode;
        if mode == Mode::Inline {
            return Ok(Self { inner: self.inner.inline(), guard: self.guard.clone() });
        }
        if mode == own {
            return Ok(Self { inner: self.inner.not_inline(), guard: self.guard.clone() });
        }
        if self.inner.dispatcher.is_nested() {
            let what = format!("another mode than {own}, here {mode},").into();
            return Err(TaskError::Rejected { reason: Rejection::HostOnly { what } });
        }
        self.inner.companions.get(mode, || {
            let wishes = Wishes { mode: Some(mode), ..self.inner.wishes.clone() };
            counted(&wishes, Some(Arc::clone(&self.inner.supervise)))
        })
    }

    /// Starts `function` as a task.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn go<R: Portable>(&self, function: fn() -> R) -> TaskHandle<R> {
        Task::new(function).go_on(self)
    }

    /// Starts a task with an input.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn task<A: Portable, R: Portable>(&self, input: A, function: fn(A) -> R) -> TaskHandle<R> {
        Task::with(input, function).go_on(self)
    }

    /// Starts everything that can be a task.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn start<R>(&self, task: impl IntoTask<R>) -> TaskHandle<R> {
        task.start(self)
    }

    /// Maps `function` over `items`, each item a task of its own. Nothing runs before the result is asked for.
    pub fn map<'a, I, A, R>(&self, items: I, function: fn(A) -> R) -> Map<'a, I::IntoIter, A, R>
    where
        I: IntoIterator<Item = A>,
        A: Portable,
        R: Portable,
    {
        Map::new(Ok(self.clone()), items.into_iter(), function)
    }

    /// Number of seats.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.workers
    }

    /// True if tasks run on threads because no process could be had; a warning said why.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.inner.pool.as_ref().is_some_and(|pool| pool.is_degraded())
    }

    /// Counters of every seat and of the runtime, as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::read(&self.inner.dispatcher.commons);
        stats.policies = Some(self.inner.supervise.stats());
        stats
    }

    /// The circuit breaker of this name, made at its first use, for [`Task::breaker`]. It stays as long as the runtime:
    /// name it after a service or a function, not after a request.
    ///
    /// The first 64 names of up to 64 bytes have their state in shared memory: tasks inside of tasks, in whatever worker,
    /// ask and tell the same breaker by its name. Breakers of further names, and those of keys, are this process's. Inside
    /// a task a handle to a name that the host does not know is of a breaker of the worker's own, which no task asks.
    ///
    /// ```
    /// use gorun_runtime::{BreakerState, Runtime, Task, TaskError};
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// runtime.breaker("billing").force_open();
    /// let outcome = Task::new(|| 1_u8).breaker("billing").go_on(&runtime).join();
    /// assert!(matches!(outcome, Err(TaskError::CircuitOpen { .. })));
    /// runtime.breaker("billing").reset();
    /// assert_eq!(runtime.breaker("billing").state(), BreakerState::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn breaker(&self, name: &str) -> BreakerHandle {
        self.inner.supervise.breaker(name)
    }

    /// The tasks that are refused because they keep killing workers, for a look at them, a release or a replay.
    ///
    /// ```
    /// use gorun_runtime::{Runtime, TaskError};
    ///
    /// let runtime = Runtime::builder().workers(1).quarantine_after(2).build()?;
    /// let crash = || runtime.task(7_u32, |_: u32| std::process::abort()).join();
    /// let outcomes: [Result<(), TaskError>; 3] = [crash(), crash(), crash()];
    /// assert!(matches!(outcomes[1], Err(TaskError::WorkerLost { .. })));
    /// assert!(matches!(outcomes[2], Err(TaskError::Quarantined { crashes: 2, .. })));
    ///
    /// let quarantined = runtime.quarantine().list();
    /// println!("{}", quarantined[0]);
    /// assert!(runtime.quarantine().release(quarantined[0].fingerprint));
    /// assert!(matches!(crash(), Err(TaskError::WorkerLost { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn quarantine(&self) -> Quarantine {
        Quarantine::of(self)
    }

    /// Sets up the bulkhead of this name, or changes it, for [`Task::bulkhead`]. It stays as long as the runtime, and is
    /// this process's: inside a task no task asks it.
    ///
    /// ```
    /// use gorun_runtime::{BulkheadSettings, Runtime, Task};
    ///
    /// let runtime = Runtime::builder().workers(2).build()?;
    /// let database = runtime.bulkhead("database", BulkheadSettings::concurrency(1).queue(8));
    /// let ask = |n| Task::with(n, |n: u32| n + 1).bulkhead("database").go_on(&runtime);
    /// let asked: Vec<_> = (0..5).map(ask).collect();
    /// assert_eq!(asked.into_iter().map(|task| task.join()).sum::<Result<u32, _>>()?, 15);
    /// assert_eq!((database.running(), database.waiting()), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bulkhead(&self, name: &str, settings: BulkheadSettings) -> BulkheadHandle {
        self.inner.supervise.set_bulkhead(name, settings)
    }

    /// Sets up the rate limit of this name, or changes it, for [`Task::rate_limit`]. It stays as long as the runtime, and
    /// is this process's: inside a task no task asks it.
    ///
    /// ```
    /// use gorun_runtime::{RateLimit, Rejection, Runtime, Task, TaskError};
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// runtime.rate_limit("mail", RateLimit::per_second(1).burst(2));
    /// let send = || Task::new(|| 1_u8).rate_limit("mail").go_on(&runtime).join();
    /// assert_eq!((send(), send()), (Ok(1), Ok(1)));
    /// let outcome = send();
    /// assert!(matches!(outcome, Err(TaskError::Rejected { reason: Rejection::RateLimited { .. } })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rate_limit(&self, name: &str, limit: RateLimit) -> RateLimitHandle {
        self.inner.supervise.set_rate_limit(name, limit)
    }

    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        self.inner.pool.as_ref()
    }

    #[inline]
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.inner.dispatcher
    }

    /// Publishes a task, or runs it here and now.
    ///
    /// # Blocking
    /// While every lane is full, or until the task has ended.
    #[inline]
    pub(crate) fn submit(
        &self,
        descriptor: &Descriptor,
        keep: Option<Box<Keep>>,
    ) -> Result<Ticket, TaskError> {
        if self.inner.is_inline() {
            let _inside = mode::enter(self);
            return self.inner.dispatcher.run_inline(descriptor, keep);
        }
        self.inner.dispatcher.submit(descriptor, keep)
    }

    /// Refuses limits where nobody could enforce them.
    ///
    /// # Errors
    /// [`Rejection::CannotKill`] inside a worker, and where tasks run in the host.
    pub(crate) fn check_limits(&self) -> Result<(), TaskError> {
        let place = match self.mode() {
            Mode::Inline => "that run where they are started",
            Mode::Thread => "on threads of the host",
            Mode::Process | Mode::Jailed => return self.inner.dispatcher.check_limits(),
        };
        Err(TaskError::Rejected { reason: Rejection::CannotKill { place: place.into() } })
    }

    /// What a task asks for, and what the runtime's settings give it otherwise.
    #[inline]
    pub(crate) fn limits(&self, asked: Limits) -> Limits {
        let own = &self.inner.limits;
        Limits {
            deadline: asked.deadline.or(own.deadline),
            timeout: asked.timeout.or(own.timeout),
            grace: asked.grace.or(own.grace),
        }
    }

    /// The profile of tasks that ask for a jail and do not say which: see [`Builder::jail`].
    pub fn jail(&self) -> Jail {
        self.inner.jail.clone()
    }

    /// The stock of jailed workers of this profile. In a worker, which has none, one that no task gets into.
    pub(crate) fn stock(&self, jail: &Jail) -> StockId {
        self.keeper().map_or(StockId::NONE, |keeper| keeper.stock(jail))
    }

    /// The stock for a task that asks for this jail; none if it asks for none, and the runtime does not either.
    #[inline]
    pub(crate) fn stock_of(&self, asked: Option<&Jail>) -> Option<StockId> {
        match asked {
            Some(jail) => Some(self.stock(jail)),
            None if self.inner.mode == Mode::Jailed && !self.inner.is_inline() => {
                Some(self.stock(&self.inner.jail))
            }
            None => None,
        }
    }

    /// Counters of jailed workers and their tasks, as of now. All zero inside a task.
    #[must_use]
    pub fn jail_stats(&self) -> JailStats {
        self.keeper().map(|keeper| keeper.stats()).unwrap_or_default()
    }

    /// None in a fork of the host too, where its lock may be held by a thread that is not there.
    fn keeper(&self) -> Option<&Keeper> {
        let dispatcher = self.dispatcher();
        dispatcher.keeper().map(Arc::as_ref).filter(|_| !dispatcher.is_foreign())
    }

    pub(crate) fn message_bytes_max(&self) -> u64 {
        self.inner.message_bytes_max()
    }

    pub(crate) fn libraries(&self) -> Vec<String> {
        // A worker's nested tasks run in forks of the same zygote, which have loaded what it has.
        self.inner.pool.as_ref().map_or_else(function::libraries, |pool| pool.libraries())
    }

    /// What a handle needs: it keeps the shared memory, but not the pool, alive.
    #[inline]
    pub(crate) fn parts(&self) -> PartsRef {
        self.inner.clone()
    }
}

fn nested() -> &'static Parts {
    thread_local! {
        static NESTED: OnceLock<&'static Parts> = const { OnceLock::new() };
    }
    NESTED.with(|place| *place.get_or_init(|| Box::leak(Box::new(nested_parts()))))
}

fn nested_parts() -> Parts {
    let Some(duty) = context::duty() else { unreachable!("asked only inside a worker") };
    let commons = Arc::clone(duty.commons());
    let workers = commons.seats.len();
    let supervise = Registry::new(Board::of_worker(Arc::clone(&commons), duty.owner()));
    let dispatcher = Arc::new(Dispatcher::of_worker(commons, duty.owner(), duty.nested_lane()));
    Parts {
        dispatcher,
        pool: None,
        workers,
        limits: Limits::default(),
        supervise: Arc::new(supervise),
        wishes: Wishes::default(),
        mode: if duty.is_process() { Mode::Process } else { Mode::Thread },
        jail: Jail::compute(),
        companions: Companions::default(),
    }
}

fn start_default() -> Result<&'static Parts, BuildError> {
    let (parts, threads) = build(&Wishes::default(), None)?;
    // The default runtime ends with the process: the kernel closes the lease, which ends every worker.
    std::mem::forget(threads);
    Ok(Box::leak(Box::new(parts)))
}

/// A runtime that ends with its last handle.
/// A companion shares the registry of the runtime that it is beside.
pub(crate) fn counted(wishes: &Wishes, shared: Option<Arc<Registry>>) -> Result<Runtime, BuildError> {
    let (parts, threads) = build(wishes, shared)?;
    let parts = Arc::new(parts);
    let guard = StopGuard { parts: Arc::clone(&parts), threads: Mutex::new(Some(threads)) };
    let inline = parts.mode == Mode::Inline;
    let inner = if inline { PartsRef::CountedInline(parts) } else { PartsRef::Counted(parts) };
    Ok(Runtime { inner, guard: Some(Arc::new(guard)) })
}

/// Slots of a worker's nested lane: a task that starts more at once waits for some of them.
const NESTED_SLOTS: u32 = 256;
/// Pause between two looks of a worker at its own memory: a look costs two microseconds.
const MEMORY_LOOK: Duration = Duration::from_millis(5);
/// Run time of a task that is worth taking from another lane: a few cache lines and their misses.
const STEAL_WORTH_NS: u64 = 1_000;
/// Words of a worker's notice ring. When it is full, the host looks at every awaited task instead.
const NOTICE_SLOTS: u32 = 1024;

fn build(wishes: &Wishes, shared: Option<Arc<Registry>>) -> Result<(Parts, Threads), BuildError> {
    let config = Config::resolve(wishes, |key| std::env::var(key).ok())?;
    let shape = shape_of(&config);
    let commons = Arc::new(open_segment(shape)?);
    commons.blocks.set_terms(&config.memory.terms());
    config.memory.prepare(&commons.blocks).map_err(BuildError::NoMemory)?;
    let rate = Rate::measured();
    let host = &commons.host;
    // Relaxed, all of these: the workers are forked later.
    let spin = rate.ticks(u64::try_from(config.spin.as_nanos()).unwrap_or(0));
    host.spin_ticks.store(spin, Ordering::Relaxed);
    let ticks_of = |time: Duration| rate.ticks(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).max(1);
    let terms = &host.tenure;
    terms.tasks.store(config.max_tasks_per_worker.unwrap_or(0), Ordering::Relaxed);
    terms.age_ticks.store(config.max_worker_age.map_or(0, ticks_of), Ordering::Relaxed);
    terms.memory_bytes.store(config.memory_soft.unwrap_or(0), Ordering::Relaxed);
    terms.rest_ticks.store(config.supervision.worker_timeout.map_or(0, ticks_of), Ordering::Relaxed);
    terms.seats_min.store(config.supervision.workers_min, Ordering::Relaxed);
    terms.look_ticks.store(ticks_of(MEMORY_LOOK), Ordering::Relaxed);
    host.steal_ticks.store(rate.ticks(STEAL_WORTH_NS), Ordering::Relaxed);
    host.stealing.store(u32::from(config.work_stealing), Ordering::Relaxed);
    host.pid.store(std::process::id(), Ordering::Relaxed);
    host.start_ticks.store(ticks::now(), Ordering::Relaxed);
    host.start_ns.store(ticks::system_ns(), Ordering::Relaxed);
    let cpus: Vec<Option<u32>> = (0..config.workers).map(|seat| config.cpus_of(seat).single()).collect();
    let dispatcher = Arc::new(Dispatcher::of_host(
        Arc::clone(&commons),
        Home::new(&cpus, config.load_balancing.clone(), rate),
        rate,
        spin,
        Screen::of_host(config.quarantine_after),
    ));
    let workers = usize::from(config.workers);
    report::started(&commons);
    let (limits, mode) = (config.limits(), config.mode);
    if mode == Mode::Inline {
        context::install_panic_hook();
    }
    let jail = config.jail.clone();
    dispatcher.keep_jails(Keeper::new(Settings {
        workers: usize::from(config.jailed_workers),
        message_bytes_max: config.message_bytes_max,
        by_value: !config.memory.zero_copy,
        spin_ticks: spin,
        cpus: config.cpus,
    }));
    let supervise = shared.unwrap_or_else(|| Arc::new(Registry::new(Board::of_host(Arc::clone(&commons)))));
    let (pool, threads) = Pool::open(config, commons, Arc::clone(&dispatcher))?;
    let parts = Parts {
        dispatcher,
        pool: Some(pool),
        workers,
        limits,
        supervise,
        jail,
        wishes: wishes.clone(),
        mode,
        companions: Companions::default(),
    };
    Ok((parts, threads))
}

fn shape_of(config: &Config) -> Shape {
    // Two records a seat: one for its worker, one for the last worker's while its death is not confirmed.
    let records = (config.workers * 2 + config.spares + 2).min(255);
    let (pool_bytes, reserve_bytes) = config.memory.budget();
    Shape {
        seats: config.workers,
        records,
        lane_slots: config.queue_slots,
        nested_slots: NESTED_SLOTS,
        notice_slots: NOTICE_SLOTS,
        block_bytes_max: config.message_bytes_max,
        pool_bytes,
        reserve_bytes,
    }
}

/// A memfd if possible; memory of this process only where no memfd can be had, which then means threads.
fn open_segment(shape: Shape) -> Result<Commons, BuildError> {
    let plan = map::Map::plan(shape);
    let bytes = usize::try_from(plan.bytes).unwrap_or(usize::MAX);
    // Thread mode has one too where it can: an observer reads the counters through it.
    let segment = Segment::create("gorun", bytes);
    let segment = segment.or_else(|refused| Segment::private(bytes).map_err(|_| refused))?;
    plan.format(&segment, function::build_identity())?;
    Ok(Commons::open(segment, plan)?)
}
