//! Dispatch: from a sealed task to a slot of a lane, and from a finished slot back to whoever waits.
//!
//! One dispatcher per producer: the host's has a lane per seat, a worker's has its nested lane. The lock of a
//! book is held for a push or a take, never while waiting.

use crate::book::{Book, Keep, Outcome, Pushed};
use crate::context::Leashes;
use crate::deadlines::{Deadlines, limit_payload};
use crate::error::{Rejection, TaskError};
use crate::handle::Watched;
use crate::home::Home;
use crate::jail::Keeper;
use crate::quarantine::{Fingerprint, Screen};
use crate::tally::Tally;
pub(crate) use crate::ticket::Ticket;
use crossbeam_utils::CachePadded;
use gorun_shm::OwnerId;
use gorun_shm::os::ticks::Rate;
use gorun_shm::os::{futex, ticks};
use gorun_shm::ring::spmc::Lane;
use gorun_shm::slots::{Descriptor, Slot, State, Word};
use gorun_shm::sync::{AtomicBool, Ordering, fence, spin_hint};
use gorun_worker::context;
use gorun_worker::os::fork;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::control::{Intent, RangeProgress};
use gorun_worker::wire::ids::LaneId;
use gorun_worker::wire::status::Status;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Payload word 2 of a closed task: the runtime has no workers left. 0 is a runtime that was shut down.
pub(crate) const CLOSED_FOR_WANT_OF_WORKERS: u64 = 1;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(crate) commons: Arc<Commons>,
    pub(crate) me: OwnerId,
    pub(crate) home: Home,
    lanes: Box<[CachePadded<LaneEnd>]>,
    /// How long a waiting thread spins before it sleeps, in ticks.
    spin_ticks: u64,
    pub(crate) rate: Rate,
    pub(crate) deadlines: Deadlines,
    pub(crate) screen: Screen,
    /// Tasks that end with a context.
    pub(crate) leashes: Leashes,
    /// Of jailed tasks; none in a worker.
    pub(crate) jail: OnceLock<Arc<Keeper>>,
    pub(crate) closed: AtomicBool,
    /// True once no worker will ever run anything again: why it is closed.
    pub(crate) exhausted: AtomicBool,
    /// True while somebody may wait: see `patrol`.
    pub(crate) patrol: AtomicBool,
    /// True in a worker: a waiting task then runs others meanwhile.
    nested: bool,
    /// Forks behind this process when the dispatcher was made.
    forks: u32,
}

/// What came of one push.
pub(crate) enum Push {
    At(Ticket),
    /// The lane's oldest task stands there.
    Full {
        oldest: u64,
    },
    Closed,
}

#[derive(Debug)]
struct LaneEnd {
    id: LaneId,
    book: Mutex<Book>,
}

impl Dispatcher {
    /// The host's, over all seats.
    pub(crate) fn of_host(
        commons: Arc<Commons>,
        home: Home,
        rate: Rate,
        spin_ticks: u64,
        screen: Screen,
    ) -> Self {
        let lanes = (0..commons.map.shape.seats).map(LaneId).collect::<Vec<_>>();
        let host = Self::new(commons, OwnerId::HOST, &lanes, home, (rate, spin_ticks), false);
        Self { screen, ..host }
    }

    /// A worker's, over its nested lane.
    pub(crate) fn of_worker(commons: Arc<Commons>, me: OwnerId, lane: LaneId) -> Self {
        Self::new(commons, me, &[lane], Home::single(), (Rate { hz: 1_000_000_000 }, 0), true)
    }

    fn new(
        commons: Arc<Commons>,
        me: OwnerId,
        lanes: &[LaneId],
        home: Home,
        (rate, spin_ticks): (Rate, u64),
        nested: bool,
    ) -> Self {
        let end = |id: &LaneId| {
            let book = Mutex::new(Book::new(commons.lane(*id), Arc::clone(&commons.blocks), me));
            CachePadded::new(LaneEnd { id: *id, book })
        };
        let lanes = lanes.iter().map(end).collect();
        let (closed, exhausted, patrol) = Default::default();
        Self {
            lanes,
            commons,
            me,
            home,
            spin_ticks,
            closed,
            exhausted,
            patrol,
            nested,
            forks: fork::forks(),
            rate,
            deadlines: Deadlines::default(),
            screen: Screen::default(),
            leashes: Leashes::default(),
            jail: OnceLock::new(),
        }
    }

    /// True in a process that was forked from the one the dispatcher belongs to.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }

    /// True in a worker.
    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    /// True once the runtime was shut down.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) // Acquire: pairs with the Release in `close`.
    }

    /// Publishes a task and wakes a worker for it.
    ///
    /// # Blocking
    /// While every lane is full.
    #[inline]
    pub(crate) fn submit(
        &self,
        descriptor: &Descriptor,
        mut keep: Option<Box<Keep>>,
    ) -> Result<Ticket, TaskError> {
        if self.is_foreign() {
            return Err(TaskError::Rejected { reason: Rejection::ForkedHost });
        }
        let mut lane = self.home.choose(&self.commons, descriptor);
        let mut refused = 0;
        loop {
            match self.push(lane, descriptor, &mut keep) {
                Push::At(ticket) => return Ok(ticket),
                Push::Closed => return self.give_back(keep),
                Push::Full { oldest } => {
                    if self.nested {
                        // Waiting for a slot could be waiting for a task on this very stack.
                        return Ok(self.run_here(lane, descriptor, keep));
                    }
                    refused += 1;
                    if refused % self.lanes.len() == 0 {
                        self.wait_slot(lane, oldest, None);
                    }
                    lane = (lane + 1) % self.lane_count();
                }
            }
        }
    }

    /// Publishes a task in this lane, if there is room.
    #[inline]
    pub(crate) fn push(&self, lane: u16, descriptor: &Descriptor, keep: &mut Option<Box<Keep>>) -> Push {
        let (pushed, load) = self.with_book(lane, |book, ring| {
            // Looked at under the lock: `close` ends everything that was pushed before it took the lock.
            if let Some(stamp) = self.commons.stamp(self.lanes[usize::from(lane)].id, book.next()) {
                stamp.store(ticks::now(), Ordering::Relaxed); // Relaxed: published with the task.
            }
            let pushed = (!self.is_closed()).then(|| book.push(ring, descriptor, keep.take()));
            (pushed, (book.uncollected(), book.task_ticks()))
        });
        match pushed {
            None => Push::Closed,
            Some(Pushed::At(position, entry)) => {
                self.home.note_load(lane, load);
                self.home.note_newest(lane, position);
                self.wake(lane);
                Push::At(Ticket { lane, position, entry })
            }
            Some(Pushed::Full { keep: returned, oldest }) => {
                *keep = returned;
                if !self.nested {
                    self.home.note_load(lane, load);
                }
                Push::Full { oldest }
            }
        }
    }

    /// Counts items of ranges.
    pub(crate) fn count_items(&self, lane: u16, count: impl FnOnce(&mut Tally)) {
        self.with_book(lane, |book, _| count(&mut book.tally));
    }

    /// Waits for the task to end; false if `deadline_ns` (monotonic) came first.
    ///
    /// # Blocking
    /// Until then. In a worker it runs tasks of its own meanwhile.
    pub(crate) fn wait(&self, ticket: &Ticket, deadline_ns: Option<u64>) -> bool {
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.wait(ticket.position, deadline_ns);
        }
        self.wait_slot(ticket.lane, ticket.position, deadline_ns)
    }

    /// Waits for the task and takes its outcome.
    ///
    /// # Blocking
    /// Until it has ended.
    #[inline]
    pub(crate) fn join(&self, ticket: &Ticket) -> Option<Outcome> {
        if let Some(keeper) = self.keeper_of(ticket) {
            keeper.wait(ticket.position, None);
            return keeper.take(ticket.position);
        }
        // The newest task has hardly ended yet, and looking would take its line from the worker.
        if !self.home.is_newest(ticket.lane, ticket.position)
            && let Some(outcome) = self.take(ticket)
        {
            return Some(outcome);
        }
        self.wait(ticket, None);
        self.take(ticket)
    }

    /// The outcome of an ended task; none while it is not ended.
    #[inline]
    pub(crate) fn take(&self, ticket: &Ticket) -> Option<Outcome> {
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.take(ticket.position);
        }
        self.with_book(ticket.lane, |book, lane| {
            let outcome = book.take(lane, ticket.position, ticket.entry);
            self.home.note_load(ticket.lane, (book.uncollected(), book.task_ticks()));
            outcome
        })
    }

    /// True if the task has ended.
    pub(crate) fn is_done(&self, ticket: &Ticket) -> bool {
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.is_done(ticket.position);
        }
        self.with_book(ticket.lane, |book, lane| book.is_done(lane, ticket.position, ticket.entry))
    }

    /// Takes the outcome, or remembers whom to wake when there is one.
    pub(crate) fn poll(&self, ticket: &Ticket, waker: &Waker) -> Option<Outcome> {
        if self.nested {
            // A worker has no thread that could wake the task, so it helps until the outcome is there.
            self.wait(ticket, None);
            return self.take(ticket);
        }
        if self.ask_to_be_woken(ticket, waker) {
            return None;
        }
        self.take(ticket)
    }

    /// Has `waker` called when the task ends; false if it has ended, or here is a worker, which cannot be woken.
    pub(crate) fn ask_to_be_woken(&self, ticket: &Ticket, waker: &Waker) -> bool {
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.ask_to_be_woken(ticket.position, waker);
        }
        if self.nested {
            return false;
        }
        let asked = self.with_book(ticket.lane, |book, lane| {
            if book.is_done(lane, ticket.position, ticket.entry) {
                return false;
            }
            let (slot, lap) = lane.slot(ticket.position);
            book.set_waker(ticket.entry, waker);
            slot.set_flag(lap, Word::NOTICE).is_ok()
        });
        if asked {
            self.ask_for_patrol();
            self.offer_help(ticket.lane);
        }
        asked
    }

    /// What to sleep on until the task may have ended.
    pub(crate) fn watch(&self, ticket: &Ticket) -> Watched<'_> {
        let (slot, lap) = self.ring(ticket.lane).slot(ticket.position);
        let Ok(word) = slot.set_flag(lap, Word::SLEEPER) else { return Watched::Ended };
        self.ask_for_patrol();
        self.offer_help(ticket.lane);
        Watched::Word(slot.futex(), word.low_half())
    }

    /// Sleeps until one of the tasks may have ended.
    ///
    /// # Blocking
    /// Until then, `limit` at most. With more tasks than the kernel can wait for, a millisecond at most.
    pub(crate) fn sleep_until_any(&self, tickets: &[Ticket], limit: Option<Duration>) {
        let mut words = Vec::new();
        for ticket in tickets.iter().take(futex::WORDS_MAX) {
            let (slot, lap) = self.ring(ticket.lane).slot(ticket.position);
            match slot.set_flag(lap, Word::SLEEPER) {
                Ok(word) => words.push((slot.futex(), word.low_half())),
                Err(_) => return,
            }
        }
        self.ask_for_patrol();
        let all = tickets.len() <= futex::WORDS_MAX;
        let look_again = (!all).then_some(Duration::from_millis(1));
        futex::wait_any(&words, look_again.into_iter().chain(limit).min());
    }

    /// Ends the task if nobody has started it; false if somebody has.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> bool {
        if self.is_foreign() {
            return false;
        }
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.cancel(ticket.position);
        }
        let ended = self.end_unstarted(ticket.lane, ticket.position, Status::Cancelled, 0);
        if !ended {
            self.ask_to_stop(ticket.lane, ticket.position);
        }
        ended
    }

    /// Lets a running task know that its result is not wanted.
    #[cold]
    pub(crate) fn ask_to_stop(&self, lane: u16, position: u64) {
        let (slot, lap) = self.slot(lane, position);
        let word = slot.word();
        let lane = self.lanes[usize::from(lane)].id.0;
        if word.lap() == lap
            && word.state() == State::Running
            && let Some((worker, depth)) = self.place_of(lane, position, word.owner())
        {
            worker.ask_to_stop(depth, Intent { lane, position });
        }
    }

    /// Ends the task whether it was started or not; false if it has ended already, or nobody can end it: it runs on a
    /// thread.
    pub(crate) fn kill(&self, ticket: &Ticket) -> bool {
        if let Some(keeper) = self.keeper_of(ticket) {
            return !self.is_foreign() && keeper.kill(ticket.position);
        }
        if self.cancel(ticket) {
            return true;
        }
        if self.nested || self.is_foreign() || !self.is_open(ticket.lane, ticket.position) {
            return false;
        }
        let condemned = self.condemn(ticket.lane, ticket.position, Status::Cancelled, 0);
        if condemned {
            self.commons.host.bell.ring();
        }
        condemned
    }

    /// Ends a task that nobody has started; false if somebody has.
    pub(crate) fn end_unstarted(&self, lane: u16, position: u64, status: Status, allowed_ns: u64) -> bool {
        let payload = limit_payload(RangeProgress::default(), allowed_ns);
        let flags = self.with_book(lane, |book, ring| book.end_unstarted(ring, position, status, payload));
        if let Some(flags) = flags {
            self.tell(lane, position, flags);
        }
        flags.is_some()
    }

    /// Ends a task that was taken from a worker that is dead now.
    pub(crate) fn end_taken(
        &self,
        lane: u16,
        position: u64,
        dead: OwnerId,
        status: Status,
        payload: [u64; 4],
    ) {
        let flags = self.with_book(lane, |book, ring| book.end_taken(ring, position, dead, status, payload));
        if let Some(flags) = flags {
            self.tell(lane, position, flags);
        }
    }

    /// True if the task has not ended, or its outcome was not collected.
    pub(crate) fn is_open(&self, lane: u16, position: u64) -> bool {
        self.with_book(lane, |book, _| book.is_open(position))
    }

    /// The fingerprint of a task, if it was noted when the task was published.
    pub(crate) fn fingerprint(&self, lane: u16, position: u64) -> Option<Fingerprint> {
        self.with_book(lane, |book, _| book.fingerprint(position))
    }

    /// How many tasks were ever published in the lane.
    pub(crate) fn published(&self, lane: u16) -> u64 {
        self.ring(lane).published()
    }

    /// A task's slot and the lap it is in.
    pub(crate) fn slot(&self, lane: u16, position: u64) -> (&Slot, u32) {
        self.ring(lane).slot(position)
    }

    /// Nobody will take this task's outcome.
    pub(crate) fn detach(&self, ticket: &Ticket) {
        if self.is_foreign() {
            return;
        }
        if let Some(keeper) = self.keeper_of(ticket) {
            return keeper.detach(ticket.position);
        }
        self.with_book(ticket.lane, |book, lane| book.detach(lane, ticket.position, ticket.entry));
    }

    /// Ends a task that a dead worker was running, if it still was.
    pub(crate) fn end_lost(
        &self,
        lane: u16,
        near: impl Fn(u64) -> u64,
        dead: OwnerId,
        payload: [u64; 4],
    ) -> bool {
        let (position, flags) = self.with_book(lane, |book, ring| {
            let position = near(ring.published());
            (position, book.end_lost(ring, position, dead, Status::Lost, payload))
        });
        if let Some(flags) = flags {
            self.tell(lane, position, flags);
        }
        flags.is_some()
    }

    /// A worker says that an awaited task has ended.
    pub(crate) fn notice(&self, lane: u16, near: impl Fn(u64) -> u64) {
        if lane >= self.lane_count() {
            return;
        }
        let waker = self.with_book(lane, |book, ring| {
            let position = near(ring.published());
            book.collect_detached(ring, position);
            book.take_waker(position)
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes everybody who awaits anything.
    pub(crate) fn notice_all(&self) {
        for lane in 0..self.lane_count() {
            let wakers = self.with_book(lane, |book, _| book.take_all_wakers());
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "lanes are numbered by a u16")]
    pub(crate) fn lane_count(&self) -> u16 {
        self.lanes.len() as u16
    }

    pub(crate) fn ring(&self, lane: u16) -> Lane<'_> {
        self.commons.lane(self.lanes[usize::from(lane)].id)
    }

    #[inline]
    pub(crate) fn with_book<T>(&self, lane: u16, act: impl FnOnce(&mut Book, Lane<'_>) -> T) -> T {
        let end = &self.lanes[usize::from(lane)];
        let mut book = lock(&end.book);
        let result = act(&mut book, self.commons.lane(end.id));
        let wakes = if book.wakes.is_empty() { Vec::new() } else { std::mem::take(&mut book.wakes) };
        if let Some(seat) = self.commons.seats.get(usize::from(end.id.0)) {
            book.tally.flush(&seat.ledger);
        }
        drop(book);
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// Rings for the worker of a lane that just got a task.
    #[inline]
    fn wake(&self, lane: u16) {
        if self.nested {
            self.wake_any_for_nested();
        } else if let Some(worker) = self.home.worker(&self.commons, lane) {
            if worker.bell.notify() {
                return;
            }
            if worker.is_blocked() {
                // Whoever sits there waits inside of a task: somebody else takes this one.
                self.wake_any_for_nested();
            } else if self.home.is_behind_another(lane) {
                self.home.wake_idle(&self.commons, lane);
            }
        } else {
            // Nobody sits there: whoever sleeps takes it. SeqCst: as in `Doorbell::notify`, for all of their bells.
            fence(Ordering::SeqCst);
            self.wake_any_for_nested();
        }
    }

    /// The own thread will get to it; somebody who sleeps may be faster.
    fn wake_any_for_nested(&self) {
        let sleeper =
            self.commons.workers.iter().find(|worker| worker.bell.has_waiter() && worker.seat().is_some());
        if let Some(sleeper) = sleeper {
            sleeper.bell.notify();
        } else {
            self.commons.host.call_for_workers();
        }
    }

    /// The task in `lane` is waited for and not started: wake somebody who sleeps to take it from there.
    fn offer_help(&self, lane: u16) {
        if self.ring(lane).has_ready() {
            self.wake_any_for_nested();
        }
    }

    /// Wakes or notifies whoever waits for a task that was ended here and not by a worker.
    pub(crate) fn tell(&self, lane: u16, position: u64, flags: u8) {
        if flags & Word::SLEEPER != 0 {
            let (slot, _) = self.ring(lane).slot(position);
            futex::wake(slot.futex(), u32::MAX >> 1);
        }
        if flags & Word::NOTICE != 0 {
            self.notice(lane, |_| position);
        }
    }

    fn wait_slot(&self, lane: u16, position: u64, deadline_ns: Option<u64>) -> bool {
        let (slot, lap) = self.ring(lane).slot(position);
        let duty = if self.nested { context::duty() } else { None };
        let ended = |word: Word| word.lap() != lap || !matches!(word.state(), State::Ready | State::Running);
        let started = ticks::now();
        let budget = if self.home.shares_core(lane) { 0 } else { self.spin_ticks };
        loop {
            if ended(slot.word()) {
                return true;
            }
            if duty.as_ref().is_some_and(|duty| duty.run_one()) {
                continue;
            }
            if ticks::now().wrapping_sub(started) < budget {
                spin_hint();
                continue;
            }
            let now = ticks::system_ns();
            if deadline_ns.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            let Ok(word) = slot.set_flag(lap, Word::SLEEPER) else { return true };
            if word.state() == State::Ready {
                self.offer_help(lane);
            }
            self.ask_for_patrol();
            let left = deadline_ns.map(|deadline| Duration::from_nanos(deadline - now));
            futex::wait(slot.futex(), word.low_half(), left);
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // A panic under the lock is a bug of ours; the book's own checks keep what follows safe.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
