//! Pool: the seats and whoever sits in them, kept by two threads of the host.
//!
//! `watch` sleeps on the workers' death words and on the bell of awaited tasks; `reactor` sleeps on the
//! zygote's socket and on the workers' pidfds. Both feed the roster, which decides; what it decides is done
//! here, under its lock, so that there is one recoverer at a time.

mod breaker;
mod burial;
mod checkup;
mod degrade;
mod link;
mod passing;
mod reactor;
mod resting;
mod roster;
#[cfg(test)]
mod sim;
mod vitals;
mod watch;

use crate::archive::Killing;
use crate::config::Config;
use crate::dispatch::Dispatcher;
use crate::error::BuildError;
use crate::mode::Mode;
use crate::streams::Streams;
use breaker::Intensity;
use gorun_shm::OwnerId;
use gorun_shm::os::ticks;
use gorun_shm::sync::{AtomicBool, Ordering};
use gorun_worker::os::death_word::Sign;
use gorun_worker::os::poll::WakeUp;
use gorun_worker::os::{death_word, fork, identity, lease, memory, pidfd};
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::control::{Assignment, DEPTH_MAX, NO_SEAT, WorkerRecord};
use gorun_worker::wire::status::Status;
use gorun_worker::zygote::protocol::Birth;
pub(crate) use link::Link;
use roster::{Action, Roster};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use vitals::Vitals;

/// What both threads and the runtime share.
#[derive(Debug)]
pub(crate) struct Pool {
    /// For its own threads.
    own: Weak<Self>,
    config: Config,
    commons: Arc<Commons>,
    dispatcher: Arc<Dispatcher>,
    state: Mutex<PoolState>,
    /// Told when a seat changes hands: what `wait_until_ready` and the shutdown wait for.
    changed: Condvar,
    /// Where workers write that have no standard error of the host's.
    streams: Option<Arc<Streams>>,
    /// Ends the reactor's sleep.
    wake_up: WakeUp,
    stopping: AtomicBool,
    /// Records whose threads are leaving their seats: see `degrade`.
    left: Mutex<Vec<u16>>,
    /// What looks at the workers have found, by record.
    vitals: Mutex<HashMap<u16, Vitals>>,
}

#[derive(Debug)]
struct PoolState {
    roster: Roster,
    link: Option<Link>,
    /// Descriptors of living workers by record, and whether the end was seen on them.
    pidfds: HashMap<u16, (i32, Arc<OwnedFd>, bool)>,
    zygote: Option<Arc<OwnedFd>>,
    /// True once the zygote of today has said that it serves.
    zygote_is_ready: bool,
    /// Libraries that zygotes have loaded; none until one was ready.
    libraries: Option<Vec<String>>,
    degraded: bool,
    /// Threads that serve seats, by record.
    threads: HashMap<u16, JoinHandle<()>>,
    /// Records whose workers the host has killed.
    killed: HashMap<u16, Killing>,
    /// Tasks each seat had finished before its worker came.
    tasks_before: Vec<u64>,
    /// Troubles of which the user was told.
    told: HashSet<Trouble>,
    /// When the reactor looks at the roster again; none for never.
    look_due_ns: Option<u64>,
    /// Both ends of the lease; dropping the write end ends every worker.
    lease: Option<(OwnedFd, OwnedFd)>,
    /// Marks the runtime's processes and what these start. Made with the lease.
    family: u128,
}

/// The pool's threads; dropping them without [`Threads::join`] leaves them to the process's end.
#[derive(Debug)]
pub(crate) struct Threads {
    both: Vec<JoinHandle<()>>,
    /// The one that forwards what workers write, if it is captured.
    stderr: Option<JoinHandle<()>>,
}

impl Threads {
    /// Waits for both to end.
    fn join(both: Vec<JoinHandle<()>>) {
        for thread in both {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Pool {
    /// Opens the pool: asks for every worker, waits for none.
    ///
    /// # Errors
    /// If the host's own threads or descriptors cannot be had. Processes that cannot be had are no error: the
    /// pool degrades to threads and says so.
    pub(crate) fn open(
        config: Config,
        commons: Arc<Commons>,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<(Arc<Self>, Threads), BuildError> {
        let state = PoolState {
            roster: Roster::new(roster_terms(&config, &commons)),
            link: None,
            pidfds: HashMap::new(),
            zygote: None,
            zygote_is_ready: false,
            libraries: None,
            degraded: false,
            threads: HashMap::new(),
            killed: HashMap::new(),
            tasks_before: vec![0; usize::from(config.workers)],
            told: HashSet::new(),
            look_due_ns: None,
            lease: None,
            family: 0,
        };
        let capture = config.capture_stderr && config.mode == Mode::Process;
        let served = capture
            .then(|| Streams::start(commons.map.shape.records))
            .transpose()
            .map_err(BuildError::Refused)?;
        let (streams, server) = served.unzip();
        let wake_up = WakeUp::new().map_err(BuildError::Refused)?;
        let pool = Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            streams,
            config,
            commons,
            dispatcher,
            state: Mutex::new(state),
            changed: Condvar::new(),
            wake_up,
            stopping: AtomicBool::new(false),
            left: Mutex::new(Vec::new()),
            vitals: Mutex::default(),
        });
        let mut threads = pool.start_threads()?;
        threads.stderr = server;
        Ok((pool, threads))
    }

    fn start_threads(self: &Arc<Self>) -> Result<Threads, BuildError> {
        let (watch, reactor) = (Arc::clone(self), Arc::clone(self));
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(BuildError::Refused)
        };
        if !self.has_seats() {
            // No task goes to a seat; alarms need somebody all the same.
            let watch = spawn("gorun-watch", Box::new(move || watch::run(&watch)))?;
            return Ok(Threads { both: vec![watch], stderr: None });
        }
        // The reactor starts the zygote, so that the caller does not wait for it.
        let reactor = spawn("gorun-reactor", Box::new(move || reactor::run(&reactor)))?;
        match spawn("gorun-watch", Box::new(move || watch::run(&watch))) {
            Ok(watch) => Ok(Threads { both: vec![reactor, watch], stderr: None }),
            Err(error) => {
                self.stop_threads();
                Threads::join(vec![reactor]);
                Err(error)
            }
        }
    }

    /// Libraries that workers have loaded, for naming functions in them.
    ///
    /// # Blocking
    /// Until the zygote is ready or given up.
    pub(crate) fn libraries(&self) -> Vec<String> {
        let mut state = self.lock();
        loop {
            if let Some(libraries) = &state.libraries {
                return libraries.clone();
            }
            if state.degraded || !self.has_seats() || self.is_stopping() {
                return gorun_worker::function::libraries();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// False if no task goes to a seat: all run where they are started, or in jails.
    fn has_seats(&self) -> bool {
        matches!(self.config.mode, Mode::Process | Mode::Thread)
    }

    /// True if tasks run on threads because no process could be had.
    pub(crate) fn is_degraded(&self) -> bool {
        self.lock().degraded
    }

    /// Ends everything: unstarted tasks are closed, running ones killed; returns when no process is left.
    ///
    /// # Blocking
    /// Until the kernel has torn down the workers, or until running tasks end where they run on threads.
    pub(crate) fn stop(&self, threads: Threads) {
        self.dispatcher.close();
        self.lock().roster.close();
        for worker in self.commons.workers.iter() {
            worker.stop();
            worker.bell.ring();
        }
        // Behind the above: a task that opens a channel now sees that it is to stop.
        crate::channel::shut_all(&self.commons);
        crate::sync::shut_all(&self.commons);
        crate::context::shut_all(&self.commons);
        self.stop_threads();
        Threads::join(threads.both);
        let mut state = self.lock();
        self.end_known(&mut state);
        let lease = state.lease.take().map(|(_, write_end)| write_end);
        if let Some(write_end) = &lease {
            // Ends any worker that was being forked just now; the zygote waits for those.
            lease::revoke(write_end);
        }
        let told_late = state.link.take().and_then(|link| link.close(TEAR_DOWN_MS_MAX)).map(Arc::new);
        let zygote = state.zygote.take().or(told_late);
        let orphans = state.roster.has_orphans();
        drop(state);
        if let Some(zygote) = zygote {
            let _ = gorun_worker::os::poll::wait_one(zygote.as_fd(), TEAR_DOWN_MS_MAX);
        }
        if let Some(write_end) = lease {
            // A zygote that was killed in the middle of a fork left a process that nobody has told of.
            let _ = orphans && lease::await_release(&write_end, ORPHAN_MS_MAX);
            fork::allow_in_forks(write_end.as_fd());
        }
        for record in 0..self.commons.map.shape.records {
            if let Some(owner) = OwnerId::worker(record) {
                self.dispatcher.close_running(owner);
                if !self.is_degraded() {
                    // What it had left half done must not hold up who reads on after the end.
                    crate::channel::recover(&self.commons, owner);
                    crate::sync::recover(&self.commons, owner);
                }
            }
            self.dispatcher.end_condemned(record);
        }
        if let (Some(streams), Some(thread)) = (&self.streams, threads.stderr) {
            streams.stop(thread);
        }
    }

    /// Kills every worker the host knows of, or finds in a record, and waits for them.
    fn end_known(&self, state: &mut PoolState) {
        for (record, worker) in (0..).zip(self.commons.workers.iter()) {
            if let Some(pid) = worker.shut()
                && !state.pidfds.contains_key(&record)
                && let Some(pidfd) = self.open_worker(record, pid)
            {
                state.pidfds.insert(record, (pid, Arc::new(pidfd), false));
            }
        }
        for (_, pidfd, _) in state.pidfds.values() {
            // A worker that is gone already is what we want.
            let _ = pidfd::kill(pidfd);
        }
        for (_, (_, pidfd, _)) in state.pidfds.drain() {
            let _ = gorun_worker::os::poll::wait_one(pidfd.as_fd(), TEAR_DOWN_MS_MAX);
            pidfd::kill_group(&*pidfd);
        }
    }

    /// A descriptor of the worker that says it lives in the record; none if it is gone or cannot be had.
    fn open_worker(&self, record: u16, pid: i32) -> Option<OwnedFd> {
        let pidfd = pidfd::open(pid).ok()?;
        // Looked at after the descriptor was opened: who is our worker now was it then.
        self.is_worker(record, pid).then_some(pidfd)
    }

    /// False if no process has this id, or another one than the record's worker.
    fn is_worker(&self, record: u16, pid: i32) -> bool {
        match death_word::sign(&self.commons.workers[usize::from(record)].death_word) {
            Sign::Alive(word) if death_word::thread(word) == pid => true,
            _ => {
                identity::exists(pid)
                    && identity::name_of(pid).is_none_or(|name| name == identity::worker_name(record))
            }
        }
    }

    fn stop_threads(&self) {
        self.stopping.store(true, Ordering::Release); // Release: pairs with `is_stopping`.
        self.wake_up.wake();
        self.commons.host.bell.ring();
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) // Acquire: pairs with the Release in `stop_threads`.
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        // A panic under the lock is a bug of ours; recovery must go on all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the worker that lives in the record in this life of it, whatever it does.
    fn kill_worker(&self, record: u16, birth: u32) {
        self.kill_for(record, birth, Killing::Asked);
    }

    /// [`Pool::kill_worker`], and why.
    fn kill_for(&self, record: u16, birth: u32, why: Killing) {
        let mut state = self.lock();
        if self.birth_in(record).birth != birth {
            // It has left by itself, and another lives there now.
            return;
        }
        state.killed.insert(record, why);
        if let Some((_, pidfd, _)) = state.pidfds.get(&record) {
            // One that is gone already is what we want.
            let _ = pidfd::kill(pidfd);
            return;
        }
        // Its zygote's word has not come yet, or it had none to send: the worker itself says who it is.
        let Some(pid) = self.commons.workers.get(usize::from(record)).and_then(WorkerRecord::tenant) else {
            return;
        };
        match self.open_worker(record, pid) {
            Some(pidfd) => drop(pidfd::kill(pidfd)),
            None if self.is_worker(record, pid) => identity::kill(pid),
            None => {}
        }
    }

    /// Kills workers that are inside of tasks and have grown over the limit; those tasks end as out of memory.
    fn check_memory(&self, limit: u64) {
        let processes = self.lock().roster.processes();
        for (record, pid) in processes {
            let birth = self.birth_in(record).birth;
            let duty = &self.commons.workers[usize::from(record)].duty;
            if duty.depth() == 0 || memory::resident_of(pid) <= limit {
                continue;
            }
            for depth in 0..duty.depth().min(DEPTH_MAX) {
                let intent = duty.intent(depth);
                if intent.lane < self.dispatcher.lane_count() {
                    self.dispatcher.condemn_run_by(record, intent, Status::OutOfMemory, limit);
                }
            }
            self.kill_worker(record, birth);
        }
    }

    /// Carries out what the roster decided. `state` is locked, so there is one recoverer at a time.
    fn carry_out(&self, state: &mut PoolState, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Fork { record, seat } => self.ask_for_worker(state, record, seat),
                Action::Assign { record, seat } => self.seat_spare(state, record, seat),
                Action::Vacate { record, seat } => self.vacate(state, record, seat),
                Action::Abandon { seat } => self.abandon(state, seat),
                Action::Rest => self.rest(state),
                Action::Bury { record, worker, pid, end } => self.bury(state, record, worker, (pid, end)),
                Action::Degrade { seat } => self.degrade(state, seat),
                Action::Recall { record } => self.recall(record),
                Action::StartZygote => reactor::replace_zygote(self, state),
                Action::Exhaust => self.exhaust(),
            }
        }
        self.note_degradation(state);
        self.note_resting(state);
        self.note_due(state);
        self.changed.notify_all();
    }

    /// The reactor sleeps until something is due; what has come up may be due earlier.
    fn note_due(&self, state: &mut PoolState) {
        let due_ns = state.roster.due_ns();
        if due_ns.is_some_and(|due| state.look_due_ns.is_none_or(|known| due < known)) {
            state.look_due_ns = due_ns;
            self.wake_up.wake();
        }
    }

    fn ask_for_worker(&self, state: &mut PoolState, record: u16, seat: Option<u16>) {
        self.prepare(state, record, seat);
        // Without a link the next zygote is told of all unborn workers when it starts.
        if let Some(link) = &state.link {
            self.order(link, record);
        }
        self.commons.host.bell.ring();
    }

    fn order(&self, link: &Link, record: u16) {
        let stderr = self.streams.as_ref().and_then(|streams| streams.writer(record));
        // A dead zygote is noticed by the reactor, and its orders repeated to the next.
        let _ = link.fork(self.birth_in(record), stderr.as_ref().map(|stderr| stderr.as_fd()));
    }

    fn birth_in(&self, record: u16) -> Birth {
        Birth { record, birth: self.commons.workers[usize::from(record)].birth() }
    }

    fn prepare(&self, state: &mut PoolState, record: u16, seat: Option<u16>) {
        state.killed.remove(&record);
        let worker = &self.commons.workers[usize::from(record)];
        death_word::clear(&worker.death_word);
        let cpus = seat.map(|seat| self.config.cpus_of(seat)).unwrap_or_default();
        worker.prepare(seat.map_or(NO_SEAT, u32::from), cpus);
        if let Some(seat) = seat {
            self.note_tasks(state, seat);
            self.dispatcher.home.set_worker(seat, Some(record));
        }
    }

    fn seat_spare(&self, state: &mut PoolState, record: u16, seat: u16) {
        self.note_tasks(state, seat);
        let worker = &self.commons.workers[usize::from(record)];
        worker.assign(u32::from(seat), self.config.cpus_of(seat));
        self.dispatcher.home.set_worker(seat, Some(record));
        worker.bell.ring();
        self.commons.seats[usize::from(seat)].restarts.add(1);
        self.publish_assignment(state, record);
    }

    fn publish_assignment(&self, state: &PoolState, record: u16) {
        let Some((seat, generation, pid)) = state.roster.seat_of(record) else { return };
        self.commons.seats[usize::from(seat)].assign(Assignment {
            record: u64::from(record),
            generation: u64::from(generation),
            pid: u64::try_from(pid).unwrap_or(0),
            cpus: self.config.cpus_of(seat),
        });
    }

    fn vacate(&self, state: &PoolState, worker: u16, seat: u16) {
        self.dispatcher.home.set_worker(seat, None);
        if state.roster.is_closed() {
            // A planned stop is no death, and observers want to know who sat here at the end.
            return;
        }
        let record = &self.commons.seats[usize::from(seat)];
        if !self.commons.workers[usize::from(worker)].has_left() {
            record.deaths.add(1);
        }
        record.assign(Assignment::default());
    }

    /// The seat stays empty: what stands in its lane is for whoever has time.
    fn abandon(&self, state: &mut PoolState, seat: u16) {
        self.dispatcher.home.set_worker(seat, None);
        for worker in self.commons.workers.iter() {
            worker.bell.notify();
        }
        self.rouse(state);
        if state.roster.is_retired(seat) {
            return tracing::info!(seat, "a seat stays empty from now on, as its restart policy says");
        }
        self.commons.host.seats_shut.add(1);
        tracing::warn!(
            seat,
            "a seat stays empty for a while: its workers crash between tasks, or none can be had"
        );
        if state.roster.is_alone() {
            let text = "every worker process crashes outside of its tasks, or cannot be had; another try follows \
                        within a second, and tasks wait meanwhile";
            self.warn_once(state, Trouble::Alone, text);
        }
    }

    /// No seat will have a worker again.
    fn exhaust(&self) {
        tracing::warn!(
            "the last worker is gone, and the restart policy allows no other: pending tasks are ended"
        );
        self.dispatcher.exhaust();
    }
}

/// A trouble that the user is told of once, until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trouble {
    /// No zygote can be had.
    NoZygote,
    /// The kernel refuses forks.
    Refused,
    /// Every seat is empty.
    Alone,
    /// The same, and no thread is to serve one.
    Waiting,
}

fn roster_terms(config: &Config, commons: &Commons) -> roster::Terms {
    let supervision = &config.supervision;
    let intensity = Intensity {
        crashes_max: supervision.restart_intensity,
        period_ns: u64::try_from(supervision.restart_period.as_nanos()).unwrap_or(u64::MAX),
    };
    let shape = commons.map.shape;
    roster::Terms {
        seats: shape.seats,
        records: shape.records,
        spares: config.spares,
        intensity,
        restart: supervision.restart,
        // Runtimes that failed together must not come back together.
        seed: ticks::now() ^ u64::from(std::process::id()).rotate_left(32),
    }
}

/// Longest wait for the kernel to tear a killed process down.
const TEAR_DOWN_MS_MAX: i64 = 10_000;
/// Longest wait for processes that a killed zygote left and nobody knows by number. A task that forked one of its
/// own looks the same, and that is not ours to wait for.
const ORPHAN_MS_MAX: i64 = 1_000;

/// Where a lease is made, kept from forks of the host.
pub(crate) fn open_lease() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = lease::pipe()?;
    fork::keep_from_forks(write_end.as_fd());
    Ok((read_end, write_end))
}
