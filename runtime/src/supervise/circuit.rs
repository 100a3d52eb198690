//! Circuit: a breaker by name, its listeners, and the calls that report to it.
//!
//! The first names have their state in shared memory, where workers see it too; others, and keys, in this process.

use super::board::{Board, Shared, now_ms};
use super::breaker::{BreakerSettings, BreakerState, Event, Machine, Verdict};
use super::recent::Recent;
use crate::error::{Rejection, TaskError};
use gorun_shm::breaker::{self, End, Mode};
use gorun_shm::os::ticks;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Listener = Arc<dyn Fn(&str, BreakerState, BreakerState) + Send + Sync>;

/// Breakers of keys that one name has at most: with one more, the one not asked for longest goes, with what it counted.
const KEYS_MAX: usize = 1024;
/// The name whose keys are functions.
pub(super) const FUNCTIONS: &str = "functions";

/// Which breaker a task asks.
#[derive(Debug)]
pub(crate) struct BreakerName {
    pub(crate) name: Box<str>,
    pub(crate) key: Option<u64>,
}

impl BreakerName {
    /// Of the function at this address.
    pub(crate) fn of_function(address: usize) -> Self {
        Self { name: FUNCTIONS.into(), key: Some(address as u64) }
    }
}

/// A breaker and who hears of its changes.
pub(super) struct Circuit {
    name: Box<str>,
    engine: Engine,
    /// Those of a key are its name's.
    listeners: Arc<Mutex<Vec<Listener>>>,
    /// Breakers of its keys, and the settings of new ones; none for one that belongs to a key itself.
    keys: Option<Mutex<Keys>>,
}

/// Who decides.
enum Engine {
    /// This process, for itself.
    Private(Mutex<Machine>),
    /// Words of all processes, and the state that this one's listeners were told last.
    Shared(Shared, Mutex<BreakerState>),
}

struct Keys {
    settings: BreakerSettings,
    breakers: Recent<u64, Arc<Circuit>>,
}

impl Circuit {
    /// Of this name: among the words that all processes share, or else in this process.
    fn new(name: &str, shared: Option<Shared>) -> Self {
        let settings = BreakerSettings::default();
        let keys = Mutex::new(Keys { settings, breakers: Recent::new(KEYS_MAX) });
        let engine = match shared {
            Some(shared) => {
                let state = state_of(shared.words().mode());
                Engine::Shared(shared, Mutex::new(state))
            }
            None => Engine::Private(Mutex::new(Machine::new(settings))),
        };
        Self { name: name.into(), engine, listeners: Arc::default(), keys: Some(keys) }
    }

    /// The breaker of this key.
    fn of_key(self: &Arc<Self>, key: u64) -> Arc<Self> {
        let Some(keys) = &self.keys else { return Arc::clone(self) };
        let mut keys = lock(keys);
        let settings = keys.settings;
        let make = || {
            let name = format!("{}#{key}", self.name).into();
            let engine = Engine::Private(Mutex::new(Machine::new(settings)));
            Arc::new(Self { name, engine, listeners: Arc::clone(&self.listeners), keys: None })
        };
        let (circuit, gone) = keys.breakers.use_or_make(key, make);
        drop(keys);
        // With the lock released: listeners go with the last of a name.
        drop(gone);
        circuit
    }

    fn state(&self) -> BreakerState {
        match &self.engine {
            Engine::Private(machine) => lock(machine).state(),
            Engine::Shared(shared, _) => state_of(shared.words().mode()),
        }
    }

    /// A call, or when to ask again.
    fn ask(&self) -> Result<Course, Duration> {
        let asked = match &self.engine {
            Engine::Private(machine) => match self.step(machine, Event::Ask) {
                Verdict::Allowed(number) => Ok(Course::Private(number)),
                Verdict::Refused { retry_after } => Err(retry_after),
                Verdict::Noted => Err(Duration::ZERO),
            },
            Engine::Shared(shared, _) => match shared.words().ask(shared.me, now_ms()) {
                breaker::Verdict::Allowed(call) => Ok(Course::Shared(Mutex::new(call))),
                breaker::Verdict::Refused(u64::MAX) => Err(Duration::MAX),
                breaker::Verdict::Refused(ms) => Err(Duration::from_millis(ms)),
            },
        };
        self.tell_news();
        asked
    }

    /// A call has returned.
    fn note_return(&self, course: &Course) {
        match (&self.engine, course) {
            (Engine::Private(machine), Course::Private(number)) => {
                self.step(machine, Event::Returned(*number));
            }
            (Engine::Shared(shared, _), Course::Shared(call)) => {
                shared.words().note_return(&mut lock(call), now_ms());
            }
            _ => {}
        }
        self.tell_news();
    }

    /// A call has ended.
    fn end(&self, course: &Course, end: End) {
        match (&self.engine, course) {
            (Engine::Private(machine), Course::Private(number)) => {
                let event = match end {
                    End::Succeeded => Event::Succeeded(*number),
                    End::Failed => Event::Failed(*number),
                    End::Abandoned => Event::Abandoned(*number),
                };
                self.step(machine, event);
            }
            (Engine::Shared(shared, _), Course::Shared(call)) => {
                let call = *lock(call);
                shared.words().end(&call, end, now_ms());
            }
            _ => {}
        }
        self.tell_news();
    }

    fn force(&self, event: Event, mode: Mode) {
        match &self.engine {
            Engine::Private(machine) => {
                self.step(machine, event);
            }
            Engine::Shared(shared, _) => shared.words().force(mode),
        }
        self.tell_news();
    }

    fn configure(&self, settings: BreakerSettings) {
        match &self.engine {
            Engine::Private(machine) => self.change(machine, |machine, _| (machine.configured(settings), ())),
            Engine::Shared(shared, _) => shared.words().configure(&settings.terms()),
        }
        self.tell_news();
    }

    fn step(&self, machine: &Mutex<Machine>, event: Event) -> Verdict {
        self.change(machine, |machine, now_ns| machine.step(event, now_ns))
    }

    fn change<T>(&self, place: &Mutex<Machine>, act: impl FnOnce(Machine, u64) -> (Machine, T)) -> T {
        let mut machine = lock(place);
        let before = machine.state();
        let (next, told) = act(std::mem::take(&mut *machine), ticks::system_ns());
        let after = next.state();
        *machine = next;
        drop(machine);
        self.tell(before, after);
        told
    }

    /// Tells what any process has changed in shared words since this one looked last.
    fn tell_news(&self) {
        if let Engine::Shared(shared, told) = &self.engine {
            let after = state_of(shared.words().mode());
            let before = std::mem::replace(&mut *lock(told), after);
            self.tell(before, after);
        }
    }

    fn tell(&self, before: BreakerState, after: BreakerState) {
        if before != after {
            tracing::info!(breaker = %self.name, ?before, ?after, "a breaker changed its state");
            // With no lock held: a listener may ask the breaker, or add another.
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(&self.name, before, after));
        }
    }
}

fn state_of(mode: Mode) -> BreakerState {
    match mode {
        Mode::Closed => BreakerState::Closed,
        Mode::Open => BreakerState::Open,
        Mode::HalfOpen => BreakerState::HalfOpen,
        Mode::ForcedOpen => BreakerState::ForcedOpen,
        Mode::ForcedClosed => BreakerState::ForcedClosed,
    }
}

/// A call as its engine knows it.
enum Course {
    Private(u64),
    Shared(Mutex<breaker::Call>),
}

/// A breaker of a runtime: to set it up, to watch it, and to force it.
///
/// Got from [`Runtime::breaker`](crate::Runtime::breaker), which says which processes share it; clones are the same
/// breaker.
///
/// ```
/// use gorun_runtime::{BreakerSettings, BreakerState, Runtime, Task, TaskError};
/// use std::time::Duration;
///
/// let runtime = Runtime::builder().workers(1).build()?;
/// let breaker = runtime.breaker("weather");
/// breaker.configure(BreakerSettings::default().failures(1, Duration::from_secs(10)));
/// let ask = || Task::new(|| -> u32 { panic!("no answer") }).breaker("weather").go_on(&runtime).join();
/// assert!(matches!(ask(), Err(TaskError::Panicked { .. })));
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert!(matches!(ask(), Err(TaskError::CircuitOpen { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BreakerHandle {
    circuit: Arc<Circuit>,
}

impl BreakerHandle {
    /// Gives it other settings and closes it, with nothing counted. Calls under way are no longer counted. The breakers
    /// of its keys begin anew with these settings.
    pub fn configure(&self, settings: BreakerSettings) {
        if let Some(keys) = &self.circuit.keys {
            let mut keys = lock(keys);
            keys.settings = settings;
            let gone = keys.breakers.take_all();
            drop(keys);
            drop(gone);
        }
        self.circuit.configure(settings);
    }

    /// The breaker of this key, made at its first use, for [`Task::keyed_breaker`](crate::Task::keyed_breaker). It has the
    /// settings and the listeners of this name, which hear of it as `name#key`, and a state of its own: forcing or
    /// resetting the one changes nothing of the other. A breaker that is of a key has no further ones, and gives itself.
    #[must_use]
    pub fn key(&self, key: u64) -> Self {
        Self { circuit: self.circuit.of_key(key) }
    }

    /// What it does now. An open one turns half open only when the next task asks.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.circuit.state()
    }

    /// Refuses every task until [`BreakerHandle::reset`].
    pub fn force_open(&self) {
        self.circuit.force(Event::ForceOpen, Mode::ForcedOpen);
    }

    /// Lets every task through until [`BreakerHandle::reset`], whatever fails.
    pub fn force_close(&self) {
        self.circuit.force(Event::ForceClose, Mode::ForcedClosed);
    }

    /// Closes it, with nothing counted, and lets it do its work.
    pub fn reset(&self) {
        self.circuit.force(Event::Reset, Mode::Closed);
    }

    /// Calls `listener` with the name, the state before and the state after, at each change.
    ///
    /// It is called by the thread that brought the change about, which may be one of the runtime's own: it must not
    /// wait. What another process has changed is told when this one next looks: at the next call, or here. It stays as
    /// long as the runtime.
    pub fn on_change(&self, listener: impl Fn(&str, BreakerState, BreakerState) + Send + Sync + 'static) {
        lock(&self.circuit.listeners).push(Arc::new(listener));
    }
}

impl fmt::Debug for BreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerHandle")
            .field("name", &self.circuit.name)
            .field("state", &self.state())
            .finish()
    }
}

/// The breakers of a runtime. They stay as long as it: names are few.
#[derive(Default)]
pub(super) struct Circuits {
    by_name: Mutex<HashMap<Box<str>, Arc<Circuit>>>,
    board: Option<Board>,
}

impl Circuits {
    pub(super) fn new(board: Board) -> Self {
        Self { board: Some(board), ..Self::default() }
    }

    pub(super) fn handle(&self, name: &str) -> BreakerHandle {
        BreakerHandle { circuit: self.named(name) }
    }

    fn named(&self, name: &str) -> Arc<Circuit> {
        let mut by_name = lock(&self.by_name);
        if let Some(circuit) = by_name.get(name) {
            return Arc::clone(circuit);
        }
        let shared = self.board.as_ref().and_then(|board| {
            let terms = BreakerSettings::default().terms();
            if board.is_of_host() { board.name(name, &terms) } else { board.find(name) }
        });
        if shared.is_none() && self.is_of_host() {
            tracing::warn!(
                breaker = name,
                "workers cannot share a breaker of this name; it is the host's alone"
            );
        }
        let is_kept = shared.is_some() || self.is_of_host();
        let circuit = Arc::new(Circuit::new(name, shared));
        if !is_kept {
            // The host may give the name yet.
            return circuit;
        }
        by_name.insert(name.into(), Arc::clone(&circuit));
        circuit
    }

    fn is_of_host(&self) -> bool {
        self.board.as_ref().is_none_or(Board::is_of_host)
    }

    /// Asks the breaker of this name for a call.
    pub(super) fn ask(&self, asked: &BreakerName) -> Result<Call, TaskError> {
        // A worker finds a name as soon as the host has given it, and asks no other.
        if !self.is_of_host() && self.board.as_ref().is_some_and(|board| board.find(&asked.name).is_none()) {
            let reason = Rejection::UnknownPolicy { what: "breaker".into(), name: asked.name.to_string() };
            return Err(TaskError::Rejected { reason });
        }
        let named = self.named(&asked.name);
        let circuit = asked.key.map_or_else(|| Arc::clone(&named), |key| named.of_key(key));
        let course = circuit.ask().map_err(|retry_after| TaskError::CircuitOpen { retry_after })?;
        Ok(Call { circuit, course })
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.by_name).keys()).finish()
    }
}

/// A call that a breaker has let through.
pub(super) struct Call {
    circuit: Arc<Circuit>,
    course: Course,
}

impl Call {
    /// The task is over; how, is not known yet.
    pub(super) fn note_return(&self) {
        self.circuit.note_return(&self.course);
    }

    /// Tells the breaker how the call ended.
    pub(super) fn end(&self, outcome: Result<(), &TaskError>) {
        let end = match outcome {
            Ok(()) => End::Succeeded,
            // Not the doing of the function.
            Err(
                TaskError::Cancelled
                | TaskError::Closed
                | TaskError::Rejected { .. }
                | TaskError::CircuitOpen { .. },
            ) => End::Abandoned,
            Err(_) => End::Failed,
        };
        self.circuit.end(&self.course, end);
    }

    /// Nobody will look at the outcome.
    pub(super) fn abandon(&self) {
        self.circuit.end(&self.course, End::Abandoned);
    }
}

/// A call whose task is not made yet; dropped, it is given back.
pub(super) struct Pending(pub(super) Option<Call>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(call) = &self.0 {
            call.abandon();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks, and each step leaves what they guard whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
