//! Duty: the one loop of a worker. Find a task, run it, spin a little, park.
//!
//! A duty belongs to one thread. It is re-entered when a task waits for tasks of its own and helps meanwhile,
//! so its fields are cells and every method takes `&self`.

use crate::call::Call;
use crate::context;
use crate::cpu_set::CpuSet;
use crate::exit;
use crate::find::Finder;
use crate::function;
use crate::os::fork;
use crate::os::poll::WakeUp;
use crate::tenure::Tenure;
use crate::wire::commons::Commons;
use crate::wire::control::{Command, Departure, Intent, RangeProgress, SeatRecord, WorkerRecord};
use crate::wire::ids::LaneId;
use crate::wire::profile;
use crate::wire::recorder::Place;
use crate::wire::status::{MARK_IN_BLOCK, MARK_MORTAL, MARK_RANGE, Status};
use crate::{message, parcel};
use gorun_shm::OwnerId;
use gorun_shm::doorbell::Armed;
use gorun_shm::os::ticks::Rate;
use gorun_shm::os::{futex, ticks};
use gorun_shm::ring::spmc::Lane;
use gorun_shm::ring::spsc::{self, RingHeader};
use gorun_shm::segment::{View, ViewSlice};
use gorun_shm::slots::{Completion, Descriptor, Word};
use gorun_shm::sync::{AtomicU64, Ordering, spin_hint};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Looks at the own lane between two looks at everything.
const SPIN_ROUND: u32 = 16;

/// How often an otherwise idle worker looks whether the blocks of an unread result have arrived.
const TRANSIT_SWEEP: Duration = Duration::from_millis(50);

/// Stolen tasks in a row that were not worth it, after which a worker rests, and for how long.
const CHEAP_STEALS_MAX: u32 = 16;
const REST: Duration = Duration::from_millis(1);

/// How many tasks ahead a slot is fetched.
const AHEAD: u64 = 8;

/// What a duty's thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The only thread of a worker process: it may be killed.
    Process,
    /// A thread of the host, which nobody can kill.
    Thread,
}

/// A worker's state while it serves.
#[derive(Debug)]
pub struct Duty {
    commons: Arc<Commons>,
    record: u16,
    owner: OwnerId,
    kind: Kind,
    /// Forks behind this process when the duty was made.
    forks: u32,
    seat: Cell<Option<u16>>,
    depth: Cell<usize>,
    tenure: Tenure,
    finder: Finder,
    /// Told of an awaited task's end beside the host's bell, where the host sleeps on descriptors.
    caller: Option<WakeUp>,
    /// Made at the first notice; none if the ring was found corrupt.
    notices: RefCell<Option<spsc::Producer<u64, NoticeMemory>>>,
    /// How far the own lane was published when it was last looked at.
    published: Cell<u64>,
    /// When the last task ended, as the start of one that follows at once.
    last_end: Cell<u64>,
    /// Smoothed run time of a task in ticks.
    task_ticks: Cell<u64>,
    /// Number of the next task in the flight recorder.
    next_flight: Cell<u64>,
    /// Stolen tasks in a row that were not worth it.
    cheap_steals: Cell<u32>,
}

/// Where a worker's notice ring lies.
type NoticeMemory = (View<RingHeader>, ViewSlice<AtomicU64>);

/// Called when the worker takes a seat, to pin the thread.
pub type OnSeat<'a> = &'a dyn Fn(u16, CpuSet);

impl Duty {
    /// A duty for the worker that lives in `record`; none if there is no such record.
    #[must_use]
    pub fn new(commons: Arc<Commons>, record: u16, kind: Kind) -> Option<Self> {
        let owner = OwnerId::worker(record)?;
        commons.workers.get(usize::from(record))?;
        let finder = Finder::new(commons.nested_lane(record));
        let (seat, depth, published, last_end, task_ticks, next_flight) = Default::default();
        let cheap_steals = Cell::new(0);
        let tenure = match kind {
            Kind::Process => Tenure::begin(&commons.host.tenure),
            Kind::Thread => Tenure::endless(),
        };
        let notices = commons.notices(record).and_then(|memory| spsc::Producer::attach(memory).ok());
        let notices = RefCell::new(notices);
        Some(Self {
            commons,
            record,
            owner,
            kind,
            forks: fork::forks(),
            seat,
            depth,
            tenure,
            finder,
            caller: None,
            notices,
            published,
            last_end,
            task_ticks,
            next_flight,
            cheap_steals,
        })
    }

    /// The same, telling `caller` too when an awaited task has ended.
    #[must_use]
    pub fn calling(self, caller: WakeUp) -> Self {
        Self { caller: Some(caller), ..self }
    }

    /// Who this worker is in slots and blocks.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The segment it serves.
    #[must_use]
    pub fn commons(&self) -> &Arc<Commons> {
        &self.commons
    }

    /// True if it has a process of its own.
    #[must_use]
    pub fn is_process(&self) -> bool {
        self.kind == Kind::Process
    }

    /// The lane into which it publishes tasks of its own.
    #[must_use]
    pub fn nested_lane(&self) -> LaneId {
        self.commons.nested_lane(self.record)
    }

    /// Serves until the host says stop.
    ///
    /// # Blocking
    /// Until then.
    pub fn serve(self: Rc<Self>, on_seat: OnSeat<'_>) {
        let _bound = context::bind(Rc::clone(&self));
        self.record().duty.begin();
        let spin = self.commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the fork.
        while self.record().command() == Command::Work && !self.tenure.is_over() {
            if self.take_seat(on_seat).is_none() {
                self.park_without_seat();
            } else if self.cheap_steals.get() >= CHEAP_STEALS_MAX {
                self.rest();
            } else if !self.run_one() && !self.spin(spin) {
                self.park();
            }
        }
        if let Some(why) = self.tenure.departure() {
            let terms = &self.commons.host.tenure;
            let count = if why == Departure::Rest { &terms.rested } else { &terms.left };
            count.add_shared(1);
            self.record().leave(why);
        }
    }

    /// True if the innermost task that runs here was asked to stop.
    #[must_use]
    pub fn is_asked_to_stop(&self) -> bool {
        let depth = self.depth.get();
        depth > 0 && self.record().is_asked_to_stop(depth - 1)
    }

    /// True once the host wants this worker to leave.
    #[must_use]
    pub fn is_told_to_stop(&self) -> bool {
        self.record().command() != Command::Work
    }

    /// Waits inside of a task. What stands in line behind it, now or later, is offered to other workers.
    ///
    /// # Blocking
    /// As long as `wait` does.
    pub fn wait_in_task<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.record().set_blocked(true);
        if self.any_ready() {
            self.wake_another();
        }
        let result = wait();
        self.record().set_blocked(false);
        result
    }

    /// Runs one task if there is one: any, or, inside of a task that waits, one of its own.
    pub fn run_one(&self) -> bool {
        let seat = self.seat.get();
        let intent = |lane: LaneId, position| {
            self.record().duty.note_intent(self.depth.get(), lane.0, position);
        };
        let found = if self.depth.get() == 0 {
            self.finder.find(&self.commons, seat, self.owner, intent)
        } else {
            // Inside of a task only its own: a stranger that crashed here would take it along.
            self.finder.find_own(&self.commons, self.owner, intent)
        };
        let Some(found) = found else { return false };
        self.wake_another_if_worth_it(found.lane);
        if !found.stolen {
            self.look_ahead(found.lane, found.position);
        }
        let spent = self.run(found.lane, found.position, found.descriptor);
        let worth = self.commons.host.steal_ticks.load(Ordering::Relaxed); // Relaxed: written before the fork.
        let cheap = found.stolen && spent < worth;
        self.cheap_steals.set(if cheap { self.cheap_steals.get() + 1 } else { 0 });
        if found.stolen {
            self.with_seat(|seat| seat.steals.add(1));
        }
        true
    }

    /// Fetches the slot of a task that will be next soon, if it is known to be published: the producer would lose
    /// the line in the middle of writing it otherwise. The tail is looked at now and then only.
    #[inline]
    fn look_ahead(&self, lane: LaneId, position: u64) {
        if position + AHEAD < self.published.get() {
            self.commons.lane(lane).slot(position + AHEAD).0.prepare();
        } else if position.is_multiple_of(2 * AHEAD) {
            self.published.set(self.commons.lane(lane).published());
        }
    }

    /// Runs a task of this worker's own that never stood in a slot, inside of the one that started it.
    #[must_use]
    pub fn run_here(&self, descriptor: Descriptor) -> Completion {
        let (depth, start) = (self.depth.get(), ticks::now());
        let flight = self.begin_flight(descriptor.function, start);
        self.enter(depth + 1);
        let call = self.call(descriptor, (self.owner, self.owner), depth);
        let (items, panics, mut completion) = (call.items, call.panics, call.completion);
        let end = ticks::now();
        completion.ticks = end.wrapping_sub(start);
        flight.end(start, end);
        self.account(depth, completion.ticks, items, panics);
        self.profile(&descriptor, (completion.ticks, items, panics), None);
        self.record().duty.note_progress(depth, RangeProgress::default());
        self.enter(depth);
        self.last_end.set(0);
        completion
    }

    /// Calls the task's function; whatever it does, there is a completion.
    fn call(&self, descriptor: Descriptor, parties: (OwnerId, OwnerId), depth: usize) -> Call<'_> {
        let mut call = Call::new(&self.commons, &self.record().duty, descriptor, parties, depth);
        // User code runs in the shim outside of the user's function too: where values are decoded, encoded, dropped.
        match context::contain(|| function::invoke(&mut call)) {
            Ok(true) => {}
            Ok(false) => call.end(Status::UnknownFunction),
            Err(report) => call.panicked(&report),
        }
        if fork::forks() != self.forks {
            // The task forked, and this is the child: it must not go on as the worker.
            fork::leave(exit::ASKED);
        }
        call
    }

    /// Runs a task; gives the ticks it took.
    fn run(&self, lane: LaneId, position: u64, descriptor: Descriptor) -> u64 {
        let depth = self.depth.get();
        // The end of the task before is the start of this one, but not of one inside of another.
        let start = if depth > 0 || self.last_end.get() == 0 { ticks::now() } else { self.last_end.get() };
        let mortal = descriptor.marks & MARK_MORTAL != 0;
        if mortal {
            self.record().duty.note_start(depth, start);
        }
        let flight = self.begin_flight(descriptor.function, start);
        self.enter(depth + 1);
        let parties = (self.owner, self.commons.producer(lane));
        let call = self.call(descriptor, parties, depth);
        let end = ticks::now();
        let spent = end.wrapping_sub(start);
        let (items, panics) = (call.items, call.panics);
        let mut completion = call.completion;
        completion.ticks = spent;
        // Before the outcome is visible: whoever sees it may stop this process and read the books.
        self.account(depth, spent, items, panics);
        self.profile(&descriptor, (spent, items, panics), Some((lane, position, start)));
        match self.commons.lane(lane).finish(position, self.owner, &completion) {
            Ok(0) => {}
            Ok(flags) => self.tell(lane, position, flags, &completion),
            Err(_) => self.leave_condemned(),
        }
        // After the outcome is visible: whoever waits for it need not wait for this.
        flight.end(start, end);
        if descriptor.marks & MARK_RANGE != 0 {
            // Before the next claim here: who dies right after that has finished nothing of it.
            self.record().duty.note_progress(depth, RangeProgress::default());
        }
        if mortal {
            self.record().duty.note_start(depth, 0);
        }
        self.enter(depth);
        self.last_end.set(end);
        if depth == 0 {
            self.tenure.count(items, end);
        }
        spent
    }

    /// Tells the flight recorder of a task.
    #[inline]
    fn begin_flight(&self, function: u64, start: u64) -> &Place {
        let flight = self.next_flight.get();
        self.next_flight.set(flight.wrapping_add(1));
        self.record().recorder.begin(flight, function, start)
    }

    /// The task was taken from this worker: its deadline has passed, or somebody killed it. The host waits for this
    /// process to be gone before it says so, and has sent the signal already.
    #[cold]
    fn leave_condemned(&self) {
        if self.kind == Kind::Process {
            fork::leave(exit::CONDEMNED);
        }
    }

    fn enter(&self, depth: usize) {
        self.depth.set(depth);
        self.record().duty.set_depth(depth);
    }

    fn account(&self, depth: usize, spent: u64, items: u64, panics: u64) {
        let smoothed = self.task_ticks.get();
        self.task_ticks.set(smoothed - smoothed / 8 + spent / 8);
        self.with_seat(|seat| {
            seat.tasks.add(items);
            seat.run_ticks.record(spent);
            // The time of a nested task is part of its parent's.
            if depth == 0 {
                seat.busy_ticks.add(spent);
            }
            if panics > 0 {
                seat.panics.add(panics);
            }
        });
    }

    /// Counts a task for its function; `from` says where it stood in line, and when it was started.
    #[inline]
    fn profile(
        &self,
        descriptor: &Descriptor,
        (spent, items, panics): (u64, u64, u64),
        from: Option<(LaneId, u64, u64)>,
    ) {
        let Some(seat) = self.seat.get() else { return };
        let Some(place) = profile::find(self.commons.profile(seat), descriptor.function) else { return };
        place.tasks.add(items);
        place.run_ticks.record(if items > 1 { spent / items } else { spent });
        if descriptor.input_bytes > 0 {
            place.input_bytes.add(descriptor.input_bytes.into());
        }
        if panics > 0 {
            place.panics.add(panics);
        }
        let Some((lane, position, start)) = from else { return };
        if lane.0 != seat && usize::from(lane.0) < self.commons.seats.len() {
            place.stolen.add(items);
        }
        if let Some(stamp) = self.commons.stamp(lane, position) {
            // Relaxed: published with the task.
            place.queue_ticks.record(start.saturating_sub(stamp.load(Ordering::Relaxed)));
        }
    }

    /// Wakes or notifies whoever waits for the task.
    #[cold]
    fn tell(&self, lane: LaneId, position: u64, flags: u8, completion: &Completion) {
        if flags & Word::UNWANTED != 0 && completion.marks & MARK_IN_BLOCK != 0 {
            // The producer may have taken it over in this instant; then it frees it.
            let handle = message::handle_of(completion.payload);
            let _ = self.commons.blocks.free(handle, self.owner);
        }
        if flags & Word::SLEEPER != 0 {
            let (slot, _) = self.commons.lane(lane).slot(position);
            futex::wake(slot.futex(), u32::MAX >> 1);
        }
        if flags & Word::NOTICE != 0 {
            let notice = Intent { lane: lane.0, position }.to_word();
            let mut notices = self.notices.borrow_mut();
            if notices.as_mut().is_none_or(|ring| ring.try_push(notice).is_err()) {
                // The host then looks at every awaited task instead of the ring.
                self.commons.host.notices_dropped.add_shared(1);
            }
            self.commons.host.bell.notify();
            if let Some(caller) = &self.caller {
                caller.wake();
            }
        }
    }

    /// Tasks of this size are worth a wake-up for the next one in line.
    fn wake_another_if_worth_it(&self, lane: LaneId) {
        let spin = self.commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the fork.
        if self.task_ticks.get() < spin.max(1) || !self.commons.lane(lane).has_ready() {
            return;
        }
        self.wake_another();
    }

    fn wake_another(&self) {
        let sleeper =
            self.commons.workers.iter().find(|worker| worker.seat().is_some() && worker.bell.has_waiter());
        if let Some(sleeper) = sleeper {
            sleeper.bell.notify();
        } else {
            self.commons.host.call_for_workers();
        }
    }

    /// Looks for work for a while before sleeping; true if there seems to be some.
    fn spin(&self, budget: u64) -> bool {
        self.last_end.set(0);
        let start = ticks::now();
        let own = self.seat.get().map(|seat| self.commons.lane(LaneId(seat)));
        loop {
            // Mostly the own lane: a look at the others costs their cache lines, one at the clock 10 ns.
            for _ in 0..SPIN_ROUND {
                if own.is_some_and(Lane::has_ready) {
                    return true;
                }
                spin_hint();
            }
            if self.any_ready() {
                return true;
            }
            if ticks::now().wrapping_sub(start) >= budget {
                return false;
            }
        }
    }

    fn park(&self) {
        // What a result carries is held until its reader has it; a reader in no hurry is looked after now and then.
        let look_again = parcel::sweep_transit().then_some(TRANSIT_SWEEP);
        let armed = self.record().bell.arm();
        if self.any_ready() || self.record().command() != Command::Work {
            return self.record().bell.disarm();
        }
        let rest = self.rest_left();
        if self.tenure.is_over() {
            return self.record().bell.disarm();
        }
        self.with_seat(|seat| seat.parks.add(1));
        self.sleep(armed, look_again.into_iter().chain(rest).min());
    }

    /// How long it may sleep for want of tasks; its tenure is over if that has been long enough.
    fn rest_left(&self) -> Option<Duration> {
        let seat = self.seat.get()?;
        let tasks = self.commons.seats[usize::from(seat)].tasks.get();
        let left = self.tenure.rest_left(seat, tasks, ticks::now())?;
        Some(Rate::measured().duration(left))
    }

    /// Sleeps until the bell rings, `limit` passes, or the worker is old enough to leave.
    fn sleep(&self, armed: Armed, limit: Option<Duration>) {
        let age = self.tenure.ticks_left(ticks::now()).map(|left| Rate::measured().duration(left));
        self.record().bell.wait_until(armed, limit.into_iter().chain(age).min());
        self.tenure.look_at_age(ticks::now());
    }

    /// What there is to steal is not worth it: leaves it to its own worker, for a while. A long task may come, with
    /// others behind it, and nobody tell.
    fn rest(&self) {
        self.cheap_steals.set(0);
        self.last_end.set(0);
        let armed = self.record().bell.arm();
        let own = self.seat.get().is_some_and(|seat| self.commons.lane(LaneId(seat)).has_ready());
        if own || self.record().command() != Command::Work {
            return self.record().bell.disarm();
        }
        let look_again = self.any_ready().then_some(REST);
        self.record().bell.wait_until(armed, look_again);
    }

    fn park_without_seat(&self) {
        let armed = self.record().bell.arm();
        if self.record().seat().is_some() || self.record().command() != Command::Work {
            return self.record().bell.disarm();
        }
        self.record().bell.wait_until(armed, None);
    }

    fn any_ready(&self) -> bool {
        self.finder.any_ready(&self.commons, self.seat.get())
    }

    fn take_seat(&self, on_seat: OnSeat<'_>) -> Option<u16> {
        if self.seat.get().is_none()
            && let Some((seat, cpu)) = self.record().seat()
            && usize::from(seat) < self.commons.seats.len()
        {
            on_seat(seat, cpu);
            self.seat.set(Some(seat));
        }
        self.seat.get()
    }

    fn with_seat(&self, account: impl FnOnce(&SeatRecord)) {
        if let Some(seat) = self.seat.get() {
            account(&self.commons.seats[usize::from(seat)]);
        }
    }

    fn record(&self) -> &WorkerRecord {
        &self.commons.workers[usize::from(self.record)]
    }
}
