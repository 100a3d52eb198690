//! Circuit: a breaker by name, its listeners, and the calls that report to it. Lives in the memory of the host.

use super::breaker::{BreakerSettings, BreakerState, Event, Machine, Verdict};
use super::recent::Recent;
use crate::error::TaskError;
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
    machine: Mutex<Machine>,
    /// Those of a key are its name's.
    listeners: Arc<Mutex<Vec<Listener>>>,
    /// Breakers of its keys, and the settings of new ones; none for one that belongs to a key itself.
    keys: Option<Mutex<Keys>>,
}

struct Keys {
    settings: BreakerSettings,
    breakers: Recent<u64, Arc<Circuit>>,
}

impl Circuit {
    fn new(name: &str) -> Self {
        let settings = BreakerSettings::default();
        let keys = Mutex::new(Keys { settings, breakers: Recent::new(KEYS_MAX) });
        let machine = Mutex::new(Machine::new(settings));
        Self { name: name.into(), machine, listeners: Arc::default(), keys: Some(keys) }
    }

    /// The breaker of this key.
    fn of_key(self: &Arc<Self>, key: u64) -> Arc<Self> {
        let Some(keys) = &self.keys else { return Arc::clone(self) };
        let mut keys = lock(keys);
        let settings = keys.settings;
        let make = || {
            let name = format!("{}#{key}", self.name).into();
            let machine = Mutex::new(Machine::new(settings));
            Arc::new(Self { name, machine, listeners: Arc::clone(&self.listeners), keys: None })
        };
        let (circuit, gone) = keys.breakers.use_or_make(key, make);
        drop(keys);
        // With the lock released: listeners go with the last of a name.
        drop(gone);
        circuit
    }

    fn step(&self, event: Event) -> Verdict {
        self.change(|machine, now_ns| machine.step(event, now_ns))
    }

    fn change<T>(&self, act: impl FnOnce(Machine, u64) -> (Machine, T)) -> T {
        let mut machine = lock(&self.machine);
        let before = machine.state();
        let (next, told) = act(std::mem::take(&mut *machine), ticks::system_ns());
        let after = next.state();
        *machine = next;
        drop(machine);
        if before != after {
            tracing::info!(breaker = %self.name, ?before, ?after, "a breaker changed its state");
            // With no lock held: a listener may ask the breaker, or add another.
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(&self.name, before, after));
        }
        told
    }
}

/// A breaker of a runtime: to set it up, to watch it, and to force it.
///
/// Got from [`Runtime::breaker`](crate::Runtime::breaker); clones are the same breaker. Its state is in the memory of
/// this process: other processes, and tasks in workers, do not see it.
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
        self.circuit.change(|machine, _| (machine.configured(settings), ()));
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
        lock(&self.circuit.machine).state()
    }

    /// Refuses every task until [`BreakerHandle::reset`].
    pub fn force_open(&self) {
        self.circuit.step(Event::ForceOpen);
    }

    /// Lets every task through until [`BreakerHandle::reset`], whatever fails.
    pub fn force_close(&self) {
        self.circuit.step(Event::ForceClose);
    }

    /// Closes it, with nothing counted, and lets it do its work.
    pub fn reset(&self) {
        self.circuit.step(Event::Reset);
    }

    /// Calls `listener` with the name, the state before and the state after, at each change.
    ///
    /// It is called by the thread that brought the change about, which may be one of the runtime's own: it must not
    /// wait. It stays as long as the runtime.
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
}

impl Circuits {
    pub(super) fn handle(&self, name: &str) -> BreakerHandle {
        BreakerHandle { circuit: self.named(name) }
    }

    fn named(&self, name: &str) -> Arc<Circuit> {
        let mut by_name = lock(&self.by_name);
        if let Some(circuit) = by_name.get(name) {
            return Arc::clone(circuit);
        }
        let circuit = Arc::new(Circuit::new(name));
        by_name.insert(name.into(), Arc::clone(&circuit));
        circuit
    }

    /// Asks the breaker of this name for a call.
    pub(super) fn ask(&self, asked: &BreakerName) -> Result<Call, Duration> {
        let named = self.named(&asked.name);
        let circuit = asked.key.map_or_else(|| Arc::clone(&named), |key| named.of_key(key));
        match circuit.step(Event::Ask) {
            Verdict::Refused { retry_after } => Err(retry_after),
            Verdict::Allowed(number) => Ok(Call { circuit, number }),
            Verdict::Noted => Err(Duration::ZERO),
        }
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
    number: u64,
}

impl Call {
    /// The task is over; how, is not known yet.
    pub(super) fn note_return(&self) {
        self.circuit.step(Event::Returned(self.number));
    }

    /// Tells the breaker how the call ended.
    pub(super) fn end(&self, outcome: Result<(), &TaskError>) {
        let event = match outcome {
            Ok(()) => Event::Succeeded(self.number),
            // Not the doing of the function.
            Err(
                TaskError::Cancelled
                | TaskError::Closed
                | TaskError::Rejected { .. }
                | TaskError::CircuitOpen { .. },
            ) => Event::Abandoned(self.number),
            Err(_) => Event::Failed(self.number),
        };
        self.circuit.step(event);
    }

    /// Nobody will look at the outcome.
    pub(super) fn abandon(&self) {
        self.circuit.step(Event::Abandoned(self.number));
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
