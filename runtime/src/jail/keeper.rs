//! Keeper: a runtime's jailed tasks as everybody else sees them, and the lock they are kept under.
//!
//! `wait` blocks until a task has ended; nothing else here waits, but for the keeper's own thread (see `serve`).

use super::cell::Standing;
use super::inmate::{Inmate, Phase, Verdict};
use super::memory::Memory;
use super::serve;
use super::state::{CLOSED, Effects, JailStats, Move, Order, State, StockId};
use super::submit::Sentence;
use crate::book::Outcome;
use crate::error::{Rejection, TaskError};
use gorun_shm::os::{futex, ticks};
use gorun_shm::sync::{AtomicU32, Ordering, spin_hint};
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::jail::{Jail, JailRefusal};
use gorun_worker::os::jail as os_jail;
use gorun_worker::os::poll::WakeUp;
use gorun_worker::wire::status::Status;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

/// What a runtime's jail is to be like.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Jailed workers that may have a task at once.
    pub(crate) workers: usize,
    /// The runtime's limit on messages: a profile may have a lower one.
    pub(crate) message_bytes_max: u64,
    /// Shared slices travel by value, and so get into jails.
    pub(crate) by_value: bool,
    /// How long a worker or a waiting thread spins before it sleeps.
    pub(crate) spin_ticks: u64,
    /// Processors that jailed workers may run on.
    pub(crate) cpus: CpuSet,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Told when the jailer's libraries are known, and at the end.
    pub(super) changed: Condvar,
    /// Ends the thread's sleep. None until the thread is started.
    wake_up: OnceLock<WakeUp>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How often a joiner may find that the word it slept on has changed for nothing, before it leaves the slot to the
/// keeper: hostile code can change it at will.
const VAIN_WAKES_MAX: u32 = 64;

impl Keeper {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
            wake_up: OnceLock::new(),
            thread: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of ours; tasks must end all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stock of this profile.
    pub(crate) fn stock(&self, jail: &Jail) -> StockId {
        self.lock().stock(jail, os_jail::check)
    }

    /// Largest message of this profile's tasks.
    pub(super) fn message_limit(&self, stock: StockId) -> u64 {
        let state = self.lock();
        let limit = state.stocks.get(stock.0).map_or(0, |stock| stock.jail.message_limit());
        limit.min(self.settings.message_bytes_max)
    }

    /// Takes a task in; gives its number.
    pub(super) fn admit(self: &Arc<Self>, order: Order, sentence: &Sentence) -> Result<u64, TaskError> {
        let refuse = |reason| TaskError::Rejected { reason: Rejection::Jail { reason } };
        self.start().map_err(refuse)?;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        let inmate = Inmate {
            stock: sentence.stock,
            turn: 0,
            verdict: None,
            attempt: sentence.attempt,
            deadline: sentence.deadline.map(|(at_ns, allowed)| (at_ns, nanos(allowed))),
            timeout_ns: sentence.timeout.map(nanos),
            dues: Vec::new(),
            waker: None,
            is_detached: false,
            word: Arc::new(AtomicU32::new(0)),
            phase: Phase::Waiting,
            order: Arc::new(order),
        };
        let mut effects = Effects::default();
        let mut state = self.lock();
        if state.is_stopped {
            return Err(TaskError::Closed);
        }
        let Some(stock) = state.stocks.get(sentence.stock.0) else { return Err(TaskError::Closed) };
        if let Some(refusal) = stock.refusal() {
            return Err(refuse(refusal.clone()));
        }
        let id = state.admit(inmate);
        state.serve(self.settings.workers, &mut effects);
        let is_busy = state.has_chores(self.settings.workers);
        drop(state);
        self.carry_out(effects);
        if is_busy {
            self.wake();
        }
        Ok(id)
    }

    /// Starts the thread at the first task.
    fn start(self: &Arc<Self>) -> Result<(), JailRefusal> {
        if self.wake_up.get().is_some() {
            return Ok(());
        }
        let refusal = |message: String| JailRefusal::NoProcess { message };
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if self.wake_up.get().is_some() {
            return Ok(());
        }
        let wake_up = WakeUp::new().map_err(|cause| refusal(cause.to_string()))?;
        let keeper = Arc::clone(self);
        let started =
            std::thread::Builder::new().name("gorun-jail".to_owned()).spawn(move || serve::run(&keeper));
        *thread = Some(started.map_err(|cause| refusal(cause.to_string()))?);
        // The thread looks for it after it has taken the lock that is held here.
        let _ = self.wake_up.set(wake_up);
        Ok(())
    }

    /// What ends the thread's sleep, for the thread itself.
    ///
    /// # Blocking
    /// Until whoever started the thread has put it there.
    pub(super) fn own_wake_up(&self) -> Option<&WakeUp> {
        drop(self.thread.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake_up.get()
    }

    pub(super) fn wake(&self) {
        if let Some(wake_up) = self.wake_up.get() {
            wake_up.wake();
        }
    }

    /// Does what was decided under the lock.
    pub(super) fn carry_out(&self, mut effects: Effects) {
        loop {
            effects.wakers.drain(..).for_each(Waker::wake);
            let Some(Move { task, turn, cell, memory, position, order }) = effects.moves.pop() else {
                return;
            };
            let outcome = memory.put(position, &order);
            let mut state = self.lock();
            state.moved((task, turn, cell), outcome, &mut effects);
            let is_watched = state.is_watched(task);
            drop(state);
            if is_watched {
                self.wake();
            }
        }
    }

    /// Reads the outcome of the cell's task if it has ended, and gives the cell the next.
    pub(super) fn read(&self, cell: u16) {
        let Some((task, memory, position, attempt)) = self.lock().begin_to_read(cell) else { return };
        let taken = memory.take(position, attempt);
        let mut effects = Effects::default();
        let mut state = self.lock();
        state.end_reading(cell, task, taken, &mut effects);
        state.serve(self.settings.workers, &mut effects);
        let is_busy = state.has_chores(self.settings.workers);
        drop(state);
        self.carry_out(effects);
        if is_busy {
            self.wake();
        }
    }

    /// Waits until the task has ended; false if `deadline_ns` (monotonic) came first.
    ///
    /// # Blocking
    /// Until then.
    pub(crate) fn wait(&self, task: u64, deadline_ns: Option<u64>) -> bool {
        let started = ticks::now();
        let mut vain = 0;
        loop {
            let (word, seen, place) = {
                let state = self.lock();
                let Some(inmate) = state.inmates.get(&task).filter(|inmate| !inmate.has_ended()) else {
                    return true;
                };
                let word = Arc::clone(&inmate.word);
                let seen = word.load(Ordering::Acquire); // Acquire: pairs with `Inmate::enter`.
                let place = state.cell_of(task).filter(|(_, cell)| cell.standing == Standing::Busy(task));
                (word, seen, place.map(|(number, cell)| (number, Arc::clone(&cell.memory), cell.current())))
            };
            if let Some((number, memory, position)) = &place
                && self.spin(started, &word, seen, memory, *position)
            {
                self.read(*number);
                continue;
            }
            let now = ticks::system_ns();
            if deadline_ns.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            let left = deadline_ns.map(|deadline| Duration::from_nanos(deadline - now));
            let Some((number, memory, position)) = place.filter(|_| vain < VAIN_WAKES_MAX) else {
                if vain >= VAIN_WAKES_MAX {
                    self.listen(task);
                }
                futex::wait(&word, seen, left);
                continue;
            };
            match memory.ask_for_wake(position) {
                Some((slot, running)) => {
                    futex::wait_any(&[(&word, seen), (slot, running)], left);
                    vain += 1;
                }
                None => self.read(number),
            }
        }
    }

    /// Spins for a while; true if the task has ended.
    fn spin(&self, started: u64, word: &AtomicU32, seen: u32, memory: &Memory, position: u64) -> bool {
        loop {
            if memory.has_ended(position) {
                return true;
            }
            // Relaxed: what it means is looked up under the lock.
            if word.load(Ordering::Relaxed) != seen
                || ticks::now().wrapping_sub(started) >= self.settings.spin_ticks
            {
                return false;
            }
            spin_hint();
        }
    }

    /// Has the keeper's thread look out for the task's end.
    fn listen(&self, task: u64) {
        if let Some(inmate) = self.lock().inmates.get_mut(&task) {
            inmate.waker.get_or_insert_with(|| Waker::noop().clone());
        }
        self.wake();
    }

    /// The outcome of an ended task; none while it is not ended.
    pub(crate) fn take(&self, task: u64) -> Option<Outcome> {
        if !self.is_done(task) {
            return None;
        }
        match self.lock().inmates.remove(&task)?.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// True if the task has ended.
    pub(crate) fn is_done(&self, task: u64) -> bool {
        let place = {
            let state = self.lock();
            let Some(inmate) = state.inmates.get(&task).filter(|inmate| !inmate.has_ended()) else {
                return true;
            };
            let Phase::Running(cell) = inmate.phase else { return false };
            cell
        };
        self.read(place);
        self.lock().inmates.get(&task).is_none_or(Inmate::has_ended)
    }

    /// Has `waker` called when the task ends; false if it has ended.
    pub(crate) fn ask_to_be_woken(&self, task: u64, waker: &Waker) -> bool {
        let mut state = self.lock();
        let Some(inmate) = state.inmates.get_mut(&task).filter(|inmate| !inmate.has_ended()) else {
            return false;
        };
        let replaced = inmate.waker.replace(waker.clone());
        drop(state);
        // With the lock released: a waker may run anything when it goes.
        drop(replaced);
        self.wake();
        true
    }

    /// Ends the task if it stands in line, and asks it to stop if it runs; true if it stood in line.
    pub(crate) fn cancel(&self, task: u64) -> bool {
        let mut effects = Effects::default();
        let mut state = self.lock();
        let verdict = Verdict { status: Status::Cancelled, allowed_ns: 0 };
        let ended = state.end_waiting(task, verdict, &mut effects);
        if !ended && let Some((_, cell)) = state.cell_of(task) {
            cell.memory.ask_to_stop(cell.current());
        }
        drop(state);
        self.carry_out(effects);
        ended
    }

    /// Ends the task whether it was started or not; false if it has ended already.
    pub(crate) fn kill(&self, task: u64) -> bool {
        if self.cancel(task) {
            return true;
        }
        let mut state = self.lock();
        let ended = state.cell_of(task).is_some_and(|(_, cell)| cell.memory.has_ended(cell.current()));
        !ended && state.condemn(task, Verdict { status: Status::Cancelled, allowed_ns: 0 })
    }

    /// Nobody will take this task's outcome.
    pub(crate) fn detach(&self, task: u64) {
        let mut state = self.lock();
        let Some(inmate) = state.inmates.get_mut(&task) else { return };
        let gone = if inmate.has_ended() {
            state.inmates.remove(&task).and_then(|inmate| inmate.waker)
        } else {
            inmate.is_detached = true;
            inmate.waker.take()
        };
        drop(state);
        drop(gone);
        self.wake();
    }

    /// Libraries that jailed workers have loaded, for naming functions in them.
    ///
    /// # Blocking
    /// Until the jailer is ready or given up.
    pub(super) fn libraries(self: &Arc<Self>) -> Vec<String> {
        if self.start().is_err() {
            return Vec::new();
        }
        let mut state = self.lock();
        state.is_asked_for_libraries = true;
        self.wake();
        while state.is_asked_for_libraries && state.libraries.is_none() && !state.is_stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.libraries.clone().unwrap_or_default()
    }

    pub(crate) fn stats(&self) -> JailStats {
        self.lock().stats()
    }

    /// Ends everything: what waits is closed, what runs is killed; returns when no process is left.
    ///
    /// # Blocking
    /// Until the kernel has torn down the workers.
    pub(crate) fn stop(&self) {
        let mut effects = Effects::default();
        {
            let mut state = self.lock();
            state.is_stopped = true;
            let waiting = std::mem::take(&mut state.waiting);
            for task in waiting {
                let attempt = state.inmates.get(&task).map_or(1, |inmate| inmate.attempt);
                state.end(task, super::state::bare(CLOSED, attempt), &mut effects);
            }
        }
        self.changed.notify_all();
        self.carry_out(effects);
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}
