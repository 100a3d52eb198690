//! Records in the segment: what host and workers tell each other beside tasks.

use super::black_box::BlackBox;
use super::quarantine::QuarantineList;
use super::recorder::Recorder;
use crate::cpu_set::{self, CpuSet};
use gorun_macros::Shared;
use gorun_shm::counters::Counter;
use gorun_shm::doorbell::Doorbell;
use gorun_shm::histogram::Histogram;
use gorun_shm::seqlock::SeqLock;
use gorun_shm::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// How many tasks inside one another a record has places for. Deeper ones share the last place, and a recoverer
/// then looks at every task instead.
pub const DEPTH_MAX: usize = 64;

/// Seat number in [`WorkerRecord::seat`] that means "spare: no seat yet".
pub const NO_SEAT: u32 = u32::MAX;

/// What the host wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Take a seat, or wait for one.
    Work,
    /// Finish the running task and leave.
    Stop,
}

/// Why a worker left by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It had served enough.
    Tenure,
    /// There was nothing to do.
    Rest,
}

/// One process's record. It is reused only after the death of its last worker was confirmed.
#[repr(C, align(128))]
#[derive(Debug, Default, Shared)]
pub struct WorkerRecord {
    /// Rung when there may be work, a seat or a command.
    pub bell: Doorbell,
    /// [`Command`] as a number. Written by the host, read by the worker when its bell rings and between tasks.
    command: AtomicU32,
    /// Seat assigned plus one, 0 while none was ever written; [`NO_SEAT`] for a spare. Written by the host.
    seat: AtomicU32,
    /// Processors to pin to, as the words of a set; none where the kernel decides. Written by the host before `seat`.
    cpus: [AtomicU64; cpu_set::WORDS],
    /// 1 while the task that runs here waits for others: what stands in line behind it is for other workers.
    blocked: AtomicU32,
    /// Which worker lives here: birth 63..32 | process id 31..0, 0 while nobody has moved in. The host writes the
    /// birth, one process adds its id.
    tenant: AtomicU64,
    /// The bytes of the robust mutex that the worker's thread holds for life: see `os::death_word`.
    pub death_word: DeathWord,
    /// 1 once the worker has decided to leave by itself, having served enough; 2 because there was nothing to do.
    leaving: AtomicU32,
    /// For each depth, the task there that was asked to stop, as an intent's word plus one. Written by the host.
    asked: Asked,
    /// What it said of its own end.
    pub black_box: BlackBox,
    /// Its last tasks.
    pub recorder: Recorder,
    /// What the worker is doing.
    pub duty: DutyLine,
}

/// See [`WorkerRecord::ask_to_stop`].
#[repr(C)]
#[derive(Debug, Shared)]
struct Asked {
    tasks: [AtomicU64; DEPTH_MAX],
}

impl Default for Asked {
    fn default() -> Self {
        Self { tasks: [const { AtomicU64::new(0) }; DEPTH_MAX] }
    }
}

/// Room for a `pthread_mutex_t`, written by the C library and the kernel.
#[repr(C, align(64))]
#[derive(Debug, Default, Shared)]
pub struct DeathWord {
    /// Opaque, but for the first 32 bits, which are the futex.
    pub words: [AtomicU64; 8],
}

/// Written by the worker only; read by the host after its death.
#[repr(C, align(128))]
#[derive(Debug, Shared)]
pub struct DutyLine {
    /// How many tasks the worker is inside of, nested ones included.
    depth: AtomicU32,
    /// 1 once the worker serves; before that an exit is a failed start.
    stage: AtomicU32,
    /// For each depth, the task the worker last tried to claim there.
    intents: [AtomicU64; DEPTH_MAX],
    /// For each depth, how far a range has come: items started 63..32, items finished 31..0. 0 whenever no range runs
    /// there, for a worker may die between its claim of a range and its first item.
    progress: [AtomicU64; DEPTH_MAX],
    /// For each depth, bytes of results written so far by a range.
    written: [AtomicU64; DEPTH_MAX],
    /// For each depth, the ticks at which a task that may be killed began; 0 while there is none.
    started: [AtomicU64; DEPTH_MAX],
}

impl Default for DutyLine {
    fn default() -> Self {
        Self {
            depth: AtomicU32::new(0),
            stage: AtomicU32::new(0),
            intents: [const { AtomicU64::new(0) }; DEPTH_MAX],
            progress: [const { AtomicU64::new(0) }; DEPTH_MAX],
            written: [const { AtomicU64::new(0) }; DEPTH_MAX],
            started: [const { AtomicU64::new(0) }; DEPTH_MAX],
        }
    }
}

/// How far a range had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RangeProgress {
    /// Items whose run began.
    pub started: u32,
    /// Items whose result is written.
    pub finished: u32,
    /// Bytes of results written.
    pub bytes: u64,
}

/// A task named by lane and position, packed into one word: lane 63..48, low bits of the position 47..0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Which lane.
    pub lane: u16,
    /// Position in it, modulo 2^48.
    pub position: u64,
}

impl Intent {
    const POSITION_BITS: u32 = 48;
    const POSITION_MASK: u64 = (1 << Self::POSITION_BITS) - 1;

    /// The word, as it stands in a record or a notice.
    #[inline]
    #[must_use]
    pub fn to_word(self) -> u64 {
        u64::from(self.lane) << Self::POSITION_BITS | self.position & Self::POSITION_MASK
    }

    /// The word taken apart.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        Self { lane: (word >> Self::POSITION_BITS) as u16, position: word & Self::POSITION_MASK }
    }

    /// The full position, given one that is less than 2^47 away, such as the lane's tail.
    #[must_use]
    pub fn position_near(self, near: u64) -> u64 {
        let half = 1_u64 << (Self::POSITION_BITS - 1);
        let ahead = self.position.wrapping_sub(near) & Self::POSITION_MASK;
        if ahead < half { near.wrapping_add(ahead) } else { near.wrapping_add(ahead).wrapping_sub(half << 1) }
    }
}

impl WorkerRecord {
    /// Gives the record its first words before the worker is forked, and a birth that no earlier one had. Only
    /// after the last worker's death was confirmed.
    pub fn prepare(&self, seat: u32, cpus: CpuSet) {
        self.black_box.clear();
        self.recorder.clear();
        // Relaxed: the fork (or the thread start) that follows orders these before the worker's reads.
        self.command.store(0, Ordering::Relaxed);
        self.leaving.store(0, Ordering::Relaxed); // Relaxed: as above.
        self.blocked.store(0, Ordering::Relaxed); // Relaxed: as above.
        self.duty.depth.store(0, Ordering::Relaxed);
        self.duty.stage.store(0, Ordering::Relaxed);
        for started in &self.duty.started {
            started.store(0, Ordering::Relaxed); // Relaxed: as above.
        }
        // The last worker may have died inside of a range, and this one may before it has begun its first.
        for depth in 0..DEPTH_MAX {
            self.duty.note_progress(depth, RangeProgress::default());
        }
        self.assign(seat, cpus);
        let birth = self.birth().wrapping_add(1);
        // Release: pairs with the exchange in `move_in`, for a worker of an earlier fork that comes late.
        self.tenant.store(u64::from(birth) << 32, Ordering::Release);
    }

    /// Which life of the record this is, for the order to fork.
    #[must_use]
    pub fn birth(&self) -> u32 {
        (self.tenant.load(Ordering::Relaxed) >> 32) as u32 // Relaxed: read back by the host that wrote it.
    }

    /// The worker's first act: it may live here if nobody else has moved in since the order was given. A zygote
    /// that was killed between fork and announcement leaves a worker nobody knows of, and its order is repeated.
    #[must_use]
    pub fn move_in(&self, birth: u32, pid: i32) -> bool {
        let empty = u64::from(birth) << 32;
        let taken = empty | u64::from(pid.cast_unsigned());
        // AcqRel: pairs with `prepare` and `tenant`. Relaxed on failure: the caller leaves at once.
        self.tenant.compare_exchange(empty, taken, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Process id of the worker that moved in, as it says itself.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes the low half")]
    pub fn tenant(&self) -> Option<i32> {
        // Acquire: pairs with the exchange in `move_in`.
        let pid = (self.tenant.load(Ordering::Acquire) as u32).cast_signed();
        (pid > 0).then_some(pid)
    }

    /// Nobody may move in any more; gives who has.
    pub fn shut(&self) -> Option<i32> {
        let empty = u64::from(self.birth()) << 32;
        let shut = u64::from(self.birth().wrapping_add(1)) << 32;
        // AcqRel: pairs with the exchange in `move_in`, of which at most one succeeds. Acquire on failure: as in `tenant`.
        match self.tenant.compare_exchange(empty, shut, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => None,
            Err(_) => self.tenant(),
        }
    }

    /// Puts the worker in `seat`; the caller rings the bell.
    pub fn assign(&self, seat: u32, cpus: CpuSet) {
        for (place, word) in self.cpus.iter().zip(cpus.words()) {
            place.store(*word, Ordering::Relaxed); // Relaxed: published by `seat`.
        }
        // Release: pairs with the Acquire in `seat`; publishes `cpus`.
        self.seat.store(seat, Ordering::Release);
    }

    /// The seat and the processors that go with it; none for a spare.
    #[inline]
    #[must_use]
    pub fn seat(&self) -> Option<(u16, CpuSet)> {
        // Acquire: pairs with the Release in `assign`.
        let seat = self.seat.load(Ordering::Acquire);
        // Relaxed: ordered by the load above.
        let cpus = || CpuSet::from_words(std::array::from_fn(|word| self.cpus[word].load(Ordering::Relaxed)));
        u16::try_from(seat).ok().map(|seat| (seat, cpus()))
    }

    /// Asks the task that is run at `depth` to stop. Another that is there by then does not take it for its own.
    pub fn ask_to_stop(&self, depth: usize, task: Intent) {
        let word = task.to_word().wrapping_add(1);
        self.asked.tasks[place(depth)].store(word, Ordering::Release); // Release: pairs with `is_asked_to_stop`.
    }

    /// True if the task that is run at `depth` was asked to stop. Called by its worker.
    #[inline]
    #[must_use]
    pub fn is_asked_to_stop(&self, depth: usize) -> bool {
        let asked = self.asked.tasks[place(depth)].load(Ordering::Acquire); // Acquire: pairs with `ask_to_stop`.
        asked != 0 && asked == self.duty.intent(depth).to_word().wrapping_add(1)
    }

    /// The worker says that it leaves by itself: its end is no death.
    pub fn leave(&self, why: Departure) {
        let word = match why {
            Departure::Tenure => 1,
            Departure::Rest => 2,
        };
        self.leaving.store(word, Ordering::Release); // Release: pairs with `departure`.
    }

    /// Why the worker left, if it did so by itself.
    #[must_use]
    pub fn departure(&self) -> Option<Departure> {
        // Acquire: pairs with `leave`.
        match self.leaving.load(Ordering::Acquire) {
            0 => None,
            2 => Some(Departure::Rest),
            _ => Some(Departure::Tenure),
        }
    }

    /// True if the worker left by itself.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.departure().is_some()
    }

    /// The task that runs here begins or ends to wait. The caller looks at the lanes afterwards.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(u32::from(blocked), Ordering::Relaxed); // Relaxed: a fence follows, see `is_blocked`.
        // SeqCst: pairs with the fence of a producer between publishing a task and `is_blocked`: it sees the mark, or
        // the caller sees the task.
        fence(Ordering::SeqCst);
    }

    /// True while the worker will not come to its next task by itself. The caller has fenced after publishing one.
    #[inline]
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0 // Relaxed: ordered by the caller's fence.
    }

    /// Tells the worker to leave; the caller rings the bell.
    pub fn stop(&self) {
        self.command.store(1, Ordering::Release); // Release: pairs with the Acquire in `command`.
    }

    /// What the host wants.
    #[inline]
    #[must_use]
    pub fn command(&self) -> Command {
        // Acquire: pairs with the Release in `stop`.
        if self.command.load(Ordering::Acquire) == 0 { Command::Work } else { Command::Stop }
    }
}

impl DutyLine {
    /// How many tasks the worker is inside of; may be more than [`DEPTH_MAX`], and anything if it was overwritten.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        // Acquire: pairs with the Release in `set_depth`, for a host that looks while the worker lives.
        self.depth.load(Ordering::Acquire) as usize
    }

    /// The worker serves now.
    pub fn begin(&self) {
        self.stage.store(1, Ordering::Release); // Release: pairs with the Acquire in `has_begun`.
    }

    /// True once the worker served.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.stage.load(Ordering::Acquire) != 0 // Acquire: pairs with the Release in `begin`.
    }

    /// Enters or leaves a task.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a stack has no room for 2^32 tasks")]
    pub fn set_depth(&self, depth: usize) {
        self.depth.store(depth as u32, Ordering::Release); // Release: pairs with `depth`.
    }

    /// Notes what is about to be claimed at `depth`, before the claim.
    #[inline]
    pub fn note_intent(&self, depth: usize, lane: u16, position: u64) {
        let intent = Intent { lane, position }.to_word();
        // Release: the claim's exchange follows; a recoverer that finds the slot claimed finds this too,
        // since both were made by one thread and that thread is dead by then.
        self.intents[place(depth)].store(intent, Ordering::Release);
    }

    /// What was last noted at `depth`.
    #[inline]
    #[must_use]
    pub fn intent(&self, depth: usize) -> Intent {
        Intent::from_word(self.intents[place(depth)].load(Ordering::Acquire)) // Acquire: pairs with `note_intent`.
    }

    /// Notes when the task at `depth` began, 0 that it ended.
    #[inline]
    pub fn note_start(&self, depth: usize, ticks: u64) {
        self.started[place(depth)].store(ticks, Ordering::Release); // Release: pairs with `started`.
    }

    /// When the task at `depth` began, in ticks, if it is one that may be killed and has come as far.
    #[must_use]
    pub fn started(&self, depth: usize) -> Option<u64> {
        let ticks = self.started[place(depth)].load(Ordering::Acquire); // Acquire: pairs with `note_start`.
        (ticks != 0).then_some(ticks)
    }

    /// Says how far the range at `depth` has come.
    #[inline]
    pub fn note_progress(&self, depth: usize, progress: RangeProgress) {
        // Release, both: pairs with `progress`; the results they count were written before.
        self.written[place(depth)].store(progress.bytes, Ordering::Release);
        let counts = u64::from(progress.started) << 32 | u64::from(progress.finished);
        self.progress[place(depth)].store(counts, Ordering::Release);
    }

    /// How far the range at `depth` had come. Consistent once its worker is dead.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes halves out of the word")]
    pub fn progress(&self, depth: usize) -> RangeProgress {
        // Acquire, both: pair with `note_progress`.
        let counts = self.progress[place(depth)].load(Ordering::Acquire);
        let bytes = self.written[place(depth)].load(Ordering::Acquire);
        RangeProgress { started: (counts >> 32) as u32, finished: counts as u32, bytes }
    }
}

fn place(depth: usize) -> usize {
    depth.min(DEPTH_MAX - 1)
}

/// A seat's assignment as outsiders read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Record of the worker in the seat.
    pub record: u64,
    /// Its generation, counted from 1.
    pub generation: u64,
    /// Its process id, 0 while the seat is empty.
    pub pid: u64,
    /// Its processors; none if the kernel decides.
    pub cpus: CpuSet,
}

const ASSIGNMENT_WORDS: usize = 3 + cpu_set::WORDS;

/// A seat's books: who sits there, and counters that survive its workers.
#[repr(C, align(128))]
#[derive(Debug, Shared)]
pub struct SeatRecord {
    /// Written by the host at each change, read by anybody.
    assignment: SeqLock<ASSIGNMENT_WORDS>,
    /// Tasks run to their end, items of ranges included. Written by the seat's worker.
    pub tasks: Counter,
    /// Of those, how many panicked. Written by the seat's worker.
    pub panics: Counter,
    /// Ticks spent in tasks. Written by the seat's worker.
    pub busy_ticks: Counter,
    /// Tasks taken from other lanes. Written by the seat's worker.
    pub steals: Counter,
    /// How often the worker went to sleep. Written by the seat's worker.
    pub parks: Counter,
    /// Workers that died in the seat. Written by the host.
    pub deaths: Counter,
    /// Workers that took the seat after its first. Written by the host.
    pub restarts: Counter,
    /// Run times of tasks in ticks. Written by the seat's worker.
    pub run_ticks: Histogram,
    /// Tasks that went through the seat's lane. Written by the host, under the lane's lock.
    pub ledger: Ledger,
}

/// What the host knows of a lane's tasks.
#[repr(C, align(128))]
#[derive(Debug, Shared)]
pub struct Ledger {
    /// Tasks accepted, items of ranges included.
    pub submitted: Counter,
    /// Tasks whose value the host has seen.
    pub finished: Counter,
    /// Panicked tasks.
    pub panicked: Counter,
    /// Tasks lost with their worker.
    pub lost: Counter,
    /// Tasks that ended before they started.
    pub cancelled: Counter,
    /// Tasks whose time was over.
    pub timed_out: Counter,
    /// Tasks that failed in another way.
    pub failed: Counter,
}

impl SeatRecord {
    /// Publishes who sits here. Only the host.
    pub fn assign(&self, assignment: Assignment) {
        let Assignment { record, generation, pid, cpus } = assignment;
        let mut words = [0; ASSIGNMENT_WORDS];
        let (who, where_to) = words.split_at_mut(3);
        who.copy_from_slice(&[record, generation, pid]);
        where_to.copy_from_slice(cpus.words());
        self.assignment.write(&words);
    }

    /// Who sits here; none while the host is changing it or died doing so.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        let words = self.assignment.read().ok()?;
        let [record, generation, pid, cpus @ ..] = words;
        Some(Assignment { record, generation, pid, cpus: CpuSet::from_words(cpus) })
    }
}

/// When a worker makes room for a fresh one; 0 is never. Written by the host before the first worker.
#[repr(C)]
#[derive(Debug, Default, Shared)]
pub struct TenureTerms {
    /// Tasks after which it leaves.
    pub tasks: AtomicU64,
    /// Age in ticks at which it leaves.
    pub age_ticks: AtomicU64,
    /// Resident bytes above which it leaves.
    pub memory_bytes: AtomicU64,
    /// Ticks without a task after which it leaves, if its seat is not among the first `seats_min`.
    pub rest_ticks: AtomicU64,
    /// Seats whose workers stay however little there is to do.
    pub seats_min: AtomicU32,
    /// Pause between two looks at the memory, in ticks.
    pub look_ticks: AtomicU64,
    /// How many have left so. Added to by workers.
    pub left: Counter,
    /// How many have left because there was nothing to do. Added to by workers.
    pub rested: Counter,
}

/// The host's own books. Written by the host, read by anybody.
#[repr(C, align(128))]
#[derive(Debug, Shared)]
pub struct HostRecord {
    /// Rung by workers when an awaited task is done.
    pub bell: Doorbell,
    /// Process id of the host.
    pub pid: AtomicU32,
    /// How long an idle worker spins before it parks, in ticks. Written before the first worker.
    pub spin_ticks: AtomicU64,
    /// Run time of a task below which taking it from another lane costs more than it saves, in ticks. As above.
    pub steal_ticks: AtomicU64,
    /// 1 if idle workers take tasks that wait for others. As above.
    pub stealing: AtomicU32,
    /// When workers make room for fresh ones.
    pub tenure: TenureTerms,
    /// What is quarantined.
    pub quarantine: QuarantineList,
    /// Notices that found their ring full: the host then looks at every awaited task.
    pub notices_dropped: Counter,
    /// Ticks when the runtime started.
    pub start_ticks: AtomicU64,
    /// Nanoseconds of the monotonic clock when the runtime started.
    pub start_ns: AtomicU64,
    /// Nanoseconds of the monotonic clock when the runtime stopped, 0 while it runs.
    pub stop_ns: AtomicU64,
    /// Ticks when the runtime stopped.
    pub stop_ticks: AtomicU64,
    /// Zygotes that had to be replaced.
    pub zygote_restarts: Counter,
    /// 1 while the runtime runs tasks on threads because no process can be had.
    pub degraded: AtomicU32,
    /// Tasks that were found to run for very long. Written by the host, as the next two.
    pub stuck: Counter,
    /// Workers that were found stopped by a signal, and killed.
    pub stopped: Counter,
    /// Workers that were found not to take what stood in their lane.
    pub searching: Counter,
    /// How often a seat was left empty for a while, because of crashes or because no worker could be had.
    pub seats_shut: Counter,
    /// Seats that have no worker because there was nothing to do. Written by the host.
    pub resting: AtomicU32,
    /// 1 once somebody has a task for which no worker is awake while seats rest. Cleared by the host.
    called: AtomicU32,
}

impl HostRecord {
    /// A task waits and nobody sleeps who could be woken for it: if a seat rests, the host is to fill it. Called after a
    /// fence that follows the task's publication.
    #[inline]
    pub fn call_for_workers(&self) {
        // Relaxed: a host that counts a seat as resting in this instant looks at every lane after that, under the
        // producers' locks.
        if self.resting.load(Ordering::Relaxed) > 0 {
            self.call();
        }
    }

    #[cold]
    fn call(&self) {
        // Relaxed, the look: spares the line. AcqRel: pairs with `take_call`. A call under way has its own ring.
        if self.called.load(Ordering::Relaxed) == 0 && self.called.swap(1, Ordering::AcqRel) == 0 {
            self.bell.ring();
        }
    }

    /// True if somebody called since this was last asked.
    #[must_use]
    pub fn take_call(&self) -> bool {
        // Acquire: pairs with `call`; what was published before it is seen. The load spares the line.
        self.called.load(Ordering::Acquire) != 0 && self.called.swap(0, Ordering::AcqRel) != 0 // AcqRel: as above.
    }
}
