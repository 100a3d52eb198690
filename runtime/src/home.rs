//! Home: which seat's lane a task goes to.
//!
//! As the runtime's load balancing says; if nothing else was said, the cheapest by estimate: tasks ahead of it times their smoothed run time, plus a wake-up if the seat's
//! worker sleeps, plus a switch if the seat's processor is the one the caller runs on (a waiting caller and its
//! worker would take turns there). Stealing and the waiting side's offer of help mend wrong estimates.

use crate::balance::{self, LoadBalancing, Policy, SeatLoad, TaskFacts};
use gorun_shm::os::ticks::{self, Rate};
use gorun_shm::slots::Descriptor;
use gorun_shm::sync::{AtomicU32, AtomicU64, Ordering, fence};
use gorun_worker::os::pin;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::control::WorkerRecord;
use gorun_worker::wire::ids::LaneId;
use std::time::Duration;

/// Estimated cost of waking a sleeping worker.
const WAKE_NS: u64 = 8_000;
/// Estimated cost of sharing a processor with the caller.
const SHARED_CORE_NS: u64 = 30_000;
/// Estimated run time of a task before any was seen.
const UNKNOWN_TASK_NS: u64 = 2_000;
/// How many times longer the pause between wake-ups for short tasks is.
const SHORT_PAUSES: u64 = 32;
/// Seats looked at for one task; with more seats, a stretch that moves on with each task.
const SEATS_LOOKED_AT: usize = 8;

/// What the host knows of a seat without touching shared memory.
#[derive(Debug)]
struct SeatView {
    /// Record of its worker plus one, 0 while it has none. Written by the supervisor.
    record: AtomicU32,
    /// Its processor plus one, 0 for none.
    cpu: u32,
    /// Tasks pushed and not collected. Written under the book's lock, read without: may be stale.
    tasks: AtomicU64,
    /// Smoothed run time in ticks; as `tasks`.
    task_ticks: AtomicU64,
    /// Position of the task published last. May be stale.
    newest: AtomicU64,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Home {
    seats: Box<[crossbeam_utils::CachePadded<SeatView>]>,
    next: AtomicU32,
    balancing: LoadBalancing,
    /// The seats in the order of their weights; empty without weights.
    schedule: Box<[u16]>,
    rate: Rate,
    /// When an idle worker was last woken for a task in another's lane.
    last_wake: AtomicU64,
    /// When to look whether a wake-up that was put off is still wanted, in nanoseconds; 0 if none was.
    owed_ns: AtomicU64,
    wake_ticks: u64,
    shared_core_ticks: u64,
    unknown_ticks: u64,
}

impl Home {
    /// For seats with these processors.
    pub(crate) fn new(cpus: &[Option<u32>], balancing: LoadBalancing, rate: Rate) -> Self {
        let schedule = match &balancing {
            LoadBalancing::Weighted(weights) => balance::schedule(weights),
            _ => Box::default(),
        };
        let seat = |cpu: &Option<u32>| {
            crossbeam_utils::CachePadded::new(SeatView {
                record: AtomicU32::new(0),
                cpu: cpu.map_or(0, |cpu| cpu + 1),
                tasks: AtomicU64::new(0),
                task_ticks: AtomicU64::new(0),
                newest: AtomicU64::new(u64::MAX),
            })
        };
        Self {
            seats: cpus.iter().map(seat).collect(),
            next: AtomicU32::new(0),
            balancing,
            schedule,
            rate,
            last_wake: AtomicU64::new(0),
            owed_ns: AtomicU64::new(0),
            wake_ticks: rate.ticks(WAKE_NS),
            shared_core_ticks: rate.ticks(SHARED_CORE_NS),
            unknown_ticks: rate.ticks(UNKNOWN_TASK_NS),
        }
    }

    /// For a producer with one lane.
    pub(crate) fn single() -> Self {
        Self::new(&[None], LoadBalancing::LeastBusy, Rate { hz: 1_000_000_000 })
    }

    /// The seat for this task.
    #[inline]
    pub(crate) fn choose(&self, commons: &Commons, task: &Descriptor) -> u16 {
        if self.seats.len() == 1 {
            return 0;
        }
        match &self.balancing {
            LoadBalancing::LeastBusy => self.least_busy(commons),
            LoadBalancing::RoundRobin => self.in_turn(commons, self.seats.len(), |turn| turn),
            LoadBalancing::Weighted(_) => {
                self.in_turn(commons, self.schedule.len(), |turn| self.schedule[turn].into())
            }
            LoadBalancing::Custom(policy) => self.as_told(commons, policy.as_ref(), task),
        }
    }

    /// The next seat in line that has a worker; the next at all if none has.
    #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
    fn in_turn(&self, commons: &Commons, turns: usize, seat_at: impl Fn(usize) -> usize) -> u16 {
        // Relaxed: only the number matters.
        let first = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        let seats = (0..turns).map(|step| seat_at((first + step) % turns) as u16);
        let mut with_worker = seats.filter(|seat| self.worker(commons, *seat).is_some());
        with_worker.next().unwrap_or_else(|| seat_at(first % turns) as u16)
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
    fn as_told(&self, commons: &Commons, policy: &dyn Policy, task: &Descriptor) -> u16 {
        let seats: Vec<SeatLoad> = (0..self.seats.len()).map(|seat| self.load_of(commons, seat)).collect();
        let chosen = balance::ask(policy, &TaskFacts::new(task.function, task.input_bytes), &seats);
        match chosen.and_then(|seat| seats.get(seat)) {
            Some(seat) if seat.has_worker => seat.seat as u16,
            _ => self.least_busy(commons),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
    fn load_of(&self, commons: &Commons, seat: usize) -> SeatLoad {
        let (view, worker) = (&self.seats[seat], self.worker(commons, seat as u16));
        SeatLoad {
            // Relaxed, both: estimates.
            queued: view.tasks.load(Ordering::Relaxed),
            usual_time: self.rate.duration(view.task_ticks.load(Ordering::Relaxed)),
            has_worker: worker.is_some(),
            is_asleep: worker.is_some_and(|worker| worker.bell.has_waiter()),
            cpu: view.cpu.checked_sub(1),
            ..SeatLoad::new(seat)
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
    fn least_busy(&self, commons: &Commons) -> u16 {
        let count = self.seats.len();
        let here = pin::current().map_or(0, |cpu| cpu + 1);
        let first = if count > SEATS_LOOKED_AT {
            // Relaxed: any spread will do.
            self.next.fetch_add(1, Ordering::Relaxed) as usize
        } else {
            0
        };
        let looked_at = (0..count.min(SEATS_LOOKED_AT)).map(|step| (first + step) % count);
        let best = looked_at.min_by_key(|seat| self.cost(commons, *seat, here));
        best.unwrap_or(0) as u16
    }

    /// Takes down what a book says of its lane.
    #[inline]
    pub(crate) fn note_load(&self, seat: u16, (tasks, task_ticks): (u64, u64)) {
        let view = &self.seats[usize::from(seat)];
        // Relaxed, both: estimates.
        view.tasks.store(tasks, Ordering::Relaxed);
        view.task_ticks.store(task_ticks, Ordering::Relaxed);
    }

    /// Takes down which task was published last.
    #[inline]
    pub(crate) fn note_newest(&self, seat: u16, position: u64) {
        self.seats[usize::from(seat)].newest.store(position, Ordering::Relaxed); // Relaxed: a hint.
    }

    /// True if the lane's newest task has another before it: it may be a long one.
    #[inline]
    pub(crate) fn is_behind_another(&self, seat: u16) -> bool {
        self.seats[usize::from(seat)].tasks.load(Ordering::Relaxed) > 1 // Relaxed: an estimate.
    }

    /// Wakes a sleeping worker to take what stands in line elsewhere, but not more often than a wake-up is worth. Whoever was
    /// woken may be busy for long, so a wake-up that is put off is owed: see [`Home::pay`].
    pub(crate) fn wake_idle(&self, commons: &Commons, lane: u16) {
        let each = self.seats[usize::from(lane)].task_ticks.load(Ordering::Relaxed); // Relaxed: an estimate.
        // Of a stream of short tasks little is worth taking; but one in it may be long, and another stand behind it.
        let short = each != 0 && each < self.unknown_ticks;
        let pause = self.shared_core_ticks * if short { SHORT_PAUSES } else { 1 };
        let seats = 0..self.seats.len().min(usize::from(u16::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
        let idle = seats
            .filter_map(|seat| self.worker(commons, seat as u16))
            .find(|worker| worker.bell.has_waiter());
        let Some(idle) = idle else { return commons.host.call_for_workers() };
        let (now, last) = (ticks::now(), self.last_wake.load(Ordering::Relaxed)); // Relaxed: a rate limit.
        if now.wrapping_sub(last) > pause {
            self.last_wake.store(now, Ordering::Relaxed); // Relaxed: as above.
            idle.bell.notify();
        } else if self.owed_ns.load(Ordering::Relaxed) == 0 {
            // Relaxed: set twice by two at once, it is paid once.
            self.owe(pause);
            commons.host.bell.ring();
        }
    }

    /// Wakes who should have been woken, if the time has come and tasks wait still; gives the time until the next look. Called
    /// by the watching thread with the host's bell armed.
    pub(crate) fn pay(&self, commons: &Commons) -> Option<Duration> {
        let owed_ns = self.owed_ns.load(Ordering::Relaxed); // Relaxed: ordered by the bell.
        if owed_ns == 0 {
            return None;
        }
        let left_ns = owed_ns.saturating_sub(ticks::system_ns());
        if left_ns > 0 {
            return Some(Duration::from_nanos(left_ns));
        }
        self.owed_ns.store(0, Ordering::Relaxed); // Relaxed: as above.
        // SeqCst: what is put off from here on is owed anew, and what was put off before shows below.
        fence(Ordering::SeqCst);
        let seats = || (0..self.seats.len()).filter_map(|seat| u16::try_from(seat).ok());
        let waiting = seats().find(|seat| commons.lane(LaneId(*seat)).has_ready());
        waiting.and_then(|seat| {
            self.wake_idle(commons, seat);
            // If somebody was woken now, the next may be wanted too.
            let more = seats().any(|seat| self.worker(commons, seat).is_some_and(|it| it.bell.has_waiter()));
            more.then(|| self.owe(SHORT_PAUSES * self.shared_core_ticks))
        })
    }

    fn owe(&self, pause_ticks: u64) -> Duration {
        let pause = self.rate.duration(pause_ticks);
        let at_ns = ticks::system_ns() + u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX >> 1);
        self.owed_ns.store(at_ns, Ordering::Relaxed); // Relaxed: ordered by the bell, or read by the caller.
        pause
    }

    /// True if no later task was published in the lane.
    #[inline]
    pub(crate) fn is_newest(&self, seat: u16, position: u64) -> bool {
        self.seats[usize::from(seat)].newest.load(Ordering::Relaxed) == position // Relaxed: a hint.
    }

    /// The supervisor put the worker of `record` into the seat, or took it out.
    pub(crate) fn set_worker(&self, seat: u16, record: Option<u16>) {
        let value = record.map_or(0, |record| u32::from(record) + 1);
        // Release: pairs with the Acquire in `worker`.
        self.seats[usize::from(seat)].record.store(value, Ordering::Release);
    }

    /// The worker in the seat.
    #[inline]
    pub(crate) fn worker<'a>(&self, commons: &'a Commons, seat: u16) -> Option<&'a WorkerRecord> {
        // Acquire: pairs with the Release in `set_worker`.
        let record = self.seats[usize::from(seat)].record.load(Ordering::Acquire).checked_sub(1)?;
        commons.workers.get(record as usize)
    }

    /// True if the seat's processor is the caller's: spinning would keep the worker from running.
    #[inline]
    pub(crate) fn shares_core(&self, seat: u16) -> bool {
        let cpu = self.seats[usize::from(seat)].cpu;
        cpu != 0 && pin::current().is_some_and(|here| here + 1 == cpu)
    }

    fn cost(&self, commons: &Commons, seat: usize, here: u32) -> u64 {
        let view = &self.seats[seat];
        // Relaxed, both: estimates.
        let tasks = view.tasks.load(Ordering::Relaxed);
        let each = view.task_ticks.load(Ordering::Relaxed);
        let each = if each == 0 { self.unknown_ticks } else { each };
        let mut cost = tasks.saturating_mul(each);
        if view.cpu == here {
            cost = cost.saturating_add(self.shared_core_ticks);
        }
        #[expect(clippy::cast_possible_truncation, reason = "seats are numbered by a u16")]
        match self.worker(commons, seat as u16) {
            Some(worker) if worker.bell.has_waiter() => cost.saturating_add(self.wake_ticks),
            // It waits inside of a task, nobody knows how long: any other is better.
            Some(worker) if worker.is_blocked() => cost.saturating_add(self.unknown_ticks << 8),
            Some(_) => cost,
            None => cost.saturating_add(self.shared_core_ticks).saturating_add(self.wake_ticks),
        }
    }
}
