//! Deadlines: when which task has to be over, and how it is ended if it is not.
//!
//! A task that nobody has started is ended where it stands. One that runs is condemned: one exchange on its slot
//! takes it from its worker, so that its value and its deadline cannot both stand; then the worker is killed, and
//! once its thread is dead the task ends as timed out. The supervisor's watching thread does all this; a task
//! without a deadline costs nothing here. The same thread wakes whoever waits for a moment and not for a task.

use crate::dispatch::{Dispatcher, Ticket};
use crate::error::{Rejection, TaskError};
use crate::orphan;
use gorun_shm::OwnerId;
use gorun_shm::os::ticks;
use gorun_shm::slots::{Slot, State};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_worker::wire::control::{DEPTH_MAX, Intent, RangeProgress};
use gorun_worker::wire::status::Status;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// How long a task may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From `go` on, waiting in line included.
    pub(crate) deadline: Option<Duration>,
    /// From its start in a worker on.
    pub(crate) timeout: Option<Duration>,
    /// Between being asked to stop and being killed.
    pub(crate) grace: Option<Duration>,
}

impl Limits {
    /// True if the task may have to be killed.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.deadline.is_some() || self.timeout.is_some()
    }
}

/// When something made of several tasks has to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at_ns: u64,
    pub(crate) allowed: Duration,
}

impl Deadline {
    pub(crate) fn after(allowed: Duration) -> Self {
        Self { at_ns: ticks::system_ns().saturating_add(nanos(allowed)), allowed }
    }
}

/// One time to look at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: u64,
    lane: u16,
    position: u64,
    allowed_ns: u64,
    /// True if the allowed time counts from the start of the run.
    of_run: bool,
    /// How long it may run on once it was asked to stop; none once it was.
    grace_ns: Option<u64>,
}

/// A task that was taken from a living worker, until that worker is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condemned {
    lane: u16,
    position: u64,
    record: u16,
    /// Which of the record's lives.
    birth: u32,
    status: Status,
    allowed_ns: u64,
    signalled: bool,
}

/// A moment at which somebody wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    at_ns: u64,
    id: u64,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// When the earliest is due, in nanoseconds of the monotonic clock; `u64::MAX` for none. Changed under `due`'s lock.
    next_ns: AtomicU64,
    due: Mutex<Queue>,
    condemned: Mutex<Vec<Condemned>>,
}

#[derive(Debug)]
struct Queue {
    heap: BinaryHeap<Reverse<Due>>,
    /// Length at which entries of ended tasks are thrown out.
    full: usize,
    alarms: BTreeMap<Alarm, Waker>,
    /// Alarms set so far.
    alarm_count: u64,
}

impl Queue {
    /// When the earliest entry is due, `u64::MAX` for none.
    fn first_ns(&self) -> u64 {
        let task = self.heap.peek().map_or(u64::MAX, |Reverse(due)| due.at_ns);
        self.alarms.keys().next().map_or(task, |alarm| alarm.at_ns.min(task))
    }
}

/// Shortest pause between two looks whether a task with a timeout was started: thousands may stand in line.
const READY_LOOK_NS_MIN: u64 = 500_000;
/// Fewest entries that are looked through for those of ended tasks.
const FULL_MIN: usize = 1024;

impl Default for Deadlines {
    fn default() -> Self {
        let queue =
            Queue { heap: BinaryHeap::new(), full: FULL_MIN, alarms: BTreeMap::new(), alarm_count: 0 };
        Self { next_ns: AtomicU64::new(u64::MAX), due: Mutex::new(queue), condemned: Mutex::new(Vec::new()) }
    }
}

impl Deadlines {
    /// When the next look is due; none if there is nothing to look at.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        // Acquire: pairs with the Release in `note_next`.
        let next = self.next_ns.load(Ordering::Acquire);
        (next != u64::MAX).then_some(next)
    }

    fn note_next(&self, queue: &Queue) -> u64 {
        // AcqRel: pairs with the Acquire in `next_ns`.
        self.next_ns.swap(queue.first_ns(), Ordering::AcqRel)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condemned(&self) -> MutexGuard<'_, Vec<Condemned>> {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatcher {
    /// Refuses limits where nobody could enforce them.
    ///
    /// # Errors
    /// [`Rejection::CannotKill`] inside a worker, and where tasks run on threads.
    #[cold]
    pub(crate) fn check_limits(&self) -> Result<(), TaskError> {
        // Relaxed: a pool that degrades in this instant is told of by its warning.
        let on_threads = self.commons.host.degraded.load(Ordering::Relaxed) != 0;
        let place = if self.is_nested() {
            "inside a task"
        } else if on_threads {
            "on threads of the host"
        } else {
            return Ok(());
        };
        Err(TaskError::Rejected { reason: Rejection::CannotKill { place: place.into() } })
    }

    /// Sees to it that the task is over in time. Its deadline counts from `since_ns`, before it stood in line for a slot.
    #[cold]
    pub(crate) fn limit(&self, ticket: &Ticket, limits: Limits, since_ns: u64) {
        let due = |allowed: Duration, of_run| {
            let allowed_ns = nanos(allowed);
            let at_ns = since_ns.saturating_add(allowed_ns);
            let grace_ns = Some(limits.grace.map_or(0, nanos));
            Due { at_ns, lane: ticket.lane, position: ticket.position, allowed_ns, of_run, grace_ns }
        };
        let deadline = limits.deadline.map(|allowed| due(allowed, false));
        let timeout = limits.timeout.map(|allowed| due(allowed, true));
        self.look_at(deadline.into_iter().chain(timeout));
    }

    /// Sees to it that the task is over at a moment of the monotonic clock, which it was given `allowed` to reach.
    #[cold]
    pub(crate) fn limit_until(
        &self,
        ticket: &Ticket,
        (at_ns, allowed): (u64, Duration),
        grace: Option<Duration>,
    ) {
        let Ticket { lane, position, .. } = *ticket;
        let grace_ns = Some(grace.map_or(0, nanos));
        let due = Due { at_ns, lane, position, allowed_ns: nanos(allowed), of_run: false, grace_ns };
        self.look_at(std::iter::once(due));
    }

    fn look_at(&self, due: impl Iterator<Item = Due>) {
        let mut queue = self.deadlines.queue();
        queue.heap.extend(due.map(Reverse));
        let full = queue.heap.len() > queue.full;
        let first = queue.first_ns();
        let before = self.deadlines.note_next(&queue);
        drop(queue);
        if first < before {
            // The watcher sleeps until later than that.
            self.commons.host.bell.ring();
        }
        if full {
            self.forget_ended();
        }
    }

    /// Has `waker` called at `at_ns` of the monotonic clock, or when the runtime is shut down, in place of `old`. None if
    /// it was shut down already.
    pub(crate) fn set_alarm(&self, old: Option<Alarm>, at_ns: u64, waker: &Waker) -> Option<Alarm> {
        let mut queue = self.deadlines.queue();
        let replaced = old.and_then(|old| queue.alarms.remove(&old));
        // Looked at under the lock: `wake_alarms` wakes all that were set before it took the lock.
        if self.is_closed() {
            return None;
        }
        queue.alarm_count += 1;
        let alarm = Alarm { at_ns, id: queue.alarm_count };
        queue.alarms.insert(alarm, waker.clone());
        let before = self.deadlines.note_next(&queue);
        drop(queue);
        // With the lock released: a waker may run anything when it goes.
        drop(replaced);
        if at_ns < before {
            self.commons.host.bell.ring();
        }
        Some(alarm)
    }

    /// Nobody waits for the alarm any more.
    pub(crate) fn drop_alarm(&self, alarm: Alarm) {
        if self.is_foreign() {
            return;
        }
        let dropped = {
            let mut queue = self.deadlines.queue();
            let dropped = queue.alarms.remove(&alarm);
            self.deadlines.note_next(&queue);
            dropped
        };
        drop(dropped);
    }

    /// Wakes everybody who waits for a moment: the runtime is shut down.
    pub(crate) fn wake_alarms(&self) {
        let alarms = std::mem::take(&mut self.deadlines.queue().alarms);
        alarms.into_values().for_each(Waker::wake);
    }

    /// Throws out what is known of ended tasks, so that the queue is never much longer than there are tasks.
    fn forget_ended(&self) {
        let heap = std::mem::take(&mut self.deadlines.queue().heap);
        let open: Vec<_> =
            heap.into_iter().filter(|Reverse(due)| self.is_open(due.lane, due.position)).collect();
        let mut queue = self.deadlines.queue();
        queue.heap.extend(open);
        queue.full = (queue.heap.len() * 2).max(FULL_MIN);
        let first = queue.first_ns();
        let before = self.deadlines.note_next(&queue);
        drop(queue);
        if first < before {
            // The watcher may have looked while the entries were here, and gone to sleep without them.
            self.commons.host.bell.ring();
        }
    }

    /// Ends or condemns every task whose time is over; true if somebody was condemned.
    pub(crate) fn expire(&self) -> bool {
        let now = ticks::system_ns();
        if self.deadlines.next_ns().is_none_or(|next| next > now) {
            return false;
        }
        let (mut over, mut alarms) = (Vec::new(), Vec::new());
        {
            let mut queue = self.deadlines.queue();
            while queue.heap.peek().is_some_and(|Reverse(due)| due.at_ns <= now) {
                over.extend(queue.heap.pop().map(|Reverse(due)| due));
            }
            while queue.alarms.keys().next().is_some_and(|alarm| alarm.at_ns <= now) {
                alarms.extend(queue.alarms.pop_first().map(|(_, waker)| waker));
            }
            self.deadlines.note_next(&queue);
        }
        alarms.into_iter().for_each(Waker::wake);
        let later: Vec<Due> = over.into_iter().filter_map(|due| self.expire_one(due, now)).collect();
        if !later.is_empty() {
            self.look_at(later.into_iter());
        }
        self.deadlines.condemned().iter().any(|condemned| !condemned.signalled)
    }

    /// Ends one task whose time seems to be over; gives when to look again if it is not.
    fn expire_one(&self, due: Due, now: u64) -> Option<Due> {
        if !self.is_open(due.lane, due.position) {
            return None;
        }
        let (slot, lap) = self.slot(due.lane, due.position);
        let word = slot.word();
        if word.lap() != lap {
            return None;
        }
        match word.state() {
            State::Ready if due.of_run => {
                let pause = due.allowed_ns.max(READY_LOOK_NS_MIN);
                Some(Due { at_ns: now.saturating_add(pause), ..due })
            }
            State::Ready => {
                let ended = self.end_unstarted(due.lane, due.position, Status::TimedOut, due.allowed_ns);
                // Somebody has just started it.
                (!ended).then_some(due)
            }
            State::Running => {
                let was_asked = due.grace_ns.is_none();
                let left_ns = if due.of_run && !was_asked { self.left_of_run(&due, word.owner()) } else { 0 };
                if left_ns > 0 {
                    return Some(Due { at_ns: now.saturating_add(left_ns), ..due });
                }
                if let Some(grace_ns @ 1..) = due.grace_ns {
                    self.ask_to_stop(due.lane, due.position);
                    return Some(Due { at_ns: now.saturating_add(grace_ns), grace_ns: None, ..due });
                }
                self.condemn(due.lane, due.position, Status::TimedOut, due.allowed_ns);
                None
            }
            _ => None,
        }
    }

    /// How much of its time a running task has left.
    fn left_of_run(&self, due: &Due, owner: OwnerId) -> u64 {
        let Some((worker, depth)) = self.place_of(due.lane, due.position, owner) else {
            return due.allowed_ns;
        };
        // Claimed in this instant, and not begun.
        let Some(started) = worker.duty.started(depth) else { return due.allowed_ns };
        let ran = self.rate.duration(ticks::now().wrapping_sub(started));
        due.allowed_ns.saturating_sub(u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Takes from their workers what a dead one had started and would have waited for: its own tasks end with it.
    pub(crate) fn condemn_children_of(&self, record: u16) {
        let lane = self.commons.nested_lane(record);
        let children = orphan::running_for(&self.commons, record);
        let taken = children.into_iter().filter(|position| {
            let (slot, lap) = self.commons.lane(lane).slot(*position);
            self.condemn_at((slot, lap), (lane.0, *position), Status::Cancelled, 0)
        });
        if taken.count() > 0 {
            self.commons.host.bell.ring();
        }
    }

    /// Takes a running task from its worker for good; false if it is not running, or not in a process.
    pub(crate) fn condemn(&self, lane: u16, position: u64, status: Status, allowed_ns: u64) -> bool {
        self.condemn_at(self.slot(lane, position), (lane, position), status, allowed_ns)
    }

    fn condemn_at(
        &self,
        (slot, lap): (&Slot, u32),
        (lane, position): (u16, u64),
        status: Status,
        allowed_ns: u64,
    ) -> bool {
        let word = slot.word();
        let owner = word.owner();
        let Some(record) = owner.worker_index() else { return false };
        // Only a process says who it is, and only a process can be killed.
        let worker = self.commons.workers.get(usize::from(record)).filter(|worker| worker.tenant().is_some());
        let (State::Running, Some(worker)) = (word.state(), worker) else { return false };
        // Read before the exchange: if that succeeds, it is the life that runs the task.
        let birth = worker.birth();
        // Noted first: the worker may leave by itself as soon as its task is taken.
        let mut condemned = self.deadlines.condemned();
        let taken = slot.seize(lap, owner, self.me);
        if taken {
            condemned.push(Condemned { lane, position, record, birth, status, allowed_ns, signalled: false });
        }
        taken
    }

    /// [`Dispatcher::condemn`] for the task that a worker notes it is inside of, if that is still so.
    pub(crate) fn condemn_run_by(&self, record: u16, intent: Intent, status: Status, allowed: u64) -> bool {
        let position = intent.position_near(self.published(intent.lane));
        let owner = self.slot(intent.lane, position).0.word().owner();
        owner.worker_index() == Some(record)
            && self.is_open(intent.lane, position)
            && self.condemn(intent.lane, position, status, allowed)
    }

    /// Workers that were condemned since this was last asked: records, and which of their lives.
    pub(crate) fn to_be_killed(&self) -> Vec<(u16, u32)> {
        let mut condemned = self.deadlines.condemned();
        let fresh = condemned.iter_mut().filter(|condemned| !condemned.signalled);
        fresh
            .map(|condemned| {
                condemned.signalled = true;
                (condemned.record, condemned.birth)
            })
            .collect()
    }

    /// The thread of this worker is dead: what was taken from it ends now.
    pub(crate) fn end_condemned(&self, record: u16) {
        let ended: Vec<Condemned> = {
            let condemned = self.deadlines.condemned();
            condemned.iter().copied().filter(|condemned| condemned.record == record).collect()
        };
        let Some(dead) = OwnerId::worker(record) else { return };
        for Condemned { lane, position, status, allowed_ns, .. } in &ended {
            if *lane >= self.lane_count() {
                orphan::end_taken(&self.commons, *lane, *position, *status);
                continue;
            }
            let progress = self
                .place_of(*lane, *position, dead)
                .map_or_else(RangeProgress::default, |(worker, depth)| worker.duty.progress(depth));
            self.end_taken(*lane, *position, dead, *status, limit_payload(progress, *allowed_ns));
        }
        // Only now: until they have ended, a patrol must know whose they are.
        let is_ended = |one: &Condemned| {
            ended.iter().any(|other| (one.lane, one.position) == (other.lane, other.position))
        };
        self.deadlines.condemned().retain(|condemned| !is_ended(condemned));
    }

    /// True while the task was taken from a worker whose death is not certain yet.
    pub(crate) fn is_condemned(&self, lane: u16, position: u64) -> bool {
        self.deadlines
            .condemned()
            .iter()
            .any(|condemned| (condemned.lane, condemned.position) == (lane, position))
    }

    /// Where a worker is inside of a task.
    pub(crate) fn place_of(
        &self,
        lane: u16,
        position: u64,
        owner: OwnerId,
    ) -> Option<(&gorun_worker::wire::control::WorkerRecord, usize)> {
        let worker = self.commons.workers.get(usize::from(owner.worker_index()?))?;
        let task = Intent { lane, position }.to_word();
        let depth = (0..DEPTH_MAX).find(|depth| worker.duty.intent(*depth).to_word() == task)?;
        Some((worker, depth))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// What the slot of a task that ran out of time holds: how far a range had come, and the time it was given.
pub(crate) fn limit_payload(progress: RangeProgress, allowed_ns: u64) -> [u64; 4] {
    [u64::from(progress.started) << 32 | u64::from(progress.finished), progress.bytes, allowed_ns, 0]
}
