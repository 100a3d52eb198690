//! Roster: who sits where. Pure: news and the time in, actions out; no clock, no system call.
//!
//! A record's life: Vacant -> Forking -> Alive -> Dying -> Vacant. Dying begins with the first sign of death
//! (the death word, within microseconds) and fills the seat again at once; it ends when the process is known
//! to be gone, and only then is the record's memory reclaimed and the record used again.
//!
//! **What counts against a seat** (see `breaker`): deaths that no task explains, which are those between tasks and those
//! before the worker served. A death inside a task is that task's doing and costs the seat nothing: tasks may crash on
//! purpose, a hundred in a row or one in a hundred of a million, and the next one finds a worker at once. Counting such
//! deaths even where a worker had finished nothing yet would slow that down: at one per cent, every hundredth death is a
//! worker's first task. Nor count departures that were planned: tenure, rest, and kills by the host.
//!
//! **Degradation.** A seat whose breaker is open is left to the others, which take its tasks. If nobody is left, no seat
//! waits longer than [`ALONE_NS`] for its next probe; and only if no process can be had at all (refused forks, workers
//! that fail before they serve, no zygote) a thread serves. A storm of deaths alone never costs the isolation. Once a
//! process has proven that there are some again, the threads are recalled, each when its task has ended.

#[cfg(test)]
mod cases;
mod filling;
mod mothers;

use super::breaker::{Breaker, Intensity};
use crate::health::WorkerState;
use crate::supervise::BreakerState;
use crate::supervision::Restart;
use gorun_worker::wire::ids::{Seat, WorkerId};
use gorun_worker::zygote::protocol::ProcessEnd;

/// What the pool must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Have a worker forked for the record; for this seat, or as a spare.
    Fork { record: u16, seat: Option<u16> },
    /// Put the spare of the record into the seat.
    Assign { record: u16, seat: u16 },
    /// The seat has no worker now.
    Vacate { record: u16, seat: u16 },
    /// The seat will have none for a while, but others can serve its lane.
    Abandon { seat: u16 },
    /// A seat has none because none was needed: fill it if a task waits.
    Rest,
    /// The process is gone: end what it was running, reclaim what it held.
    Bury { record: u16, worker: WorkerId, pid: i32, end: ProcessEnd },
    /// No process can be had for the seat: serve it by a thread.
    Degrade { seat: u16 },
    /// Processes can be had again: the thread is to leave once its task has ended.
    Recall { record: u16 },
    /// Start another zygote.
    StartZygote,
    /// No seat will ever have a worker again: nothing can run.
    Exhaust,
}

/// Why a worker is gone, as far as its seat is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It left by itself: it had served enough.
    Tenure,
    /// It left by itself: there was nothing to do.
    Rest,
    /// The host killed it.
    Killed,
    /// It died inside of a task.
    InTask,
    /// It died between two tasks.
    BetweenTasks,
    /// It died before it served.
    FailedStart,
}

/// A worker's passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) cause: Cause,
    /// True if it had finished a task in its seat.
    pub(crate) was_productive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Vacant,
    Forking {
        seat: Option<u16>,
    },
    /// `mother` counts zygotes: only the one that forked it can tell how it ended.
    Alive {
        pid: i32,
        seat: Option<u16>,
        generation: u32,
        mother: u32,
        born_ns: u64,
    },
    Dying {
        pid: i32,
        worker: WorkerId,
        mother: u32,
    },
    /// A thread of the host serves here; once recalled it leaves after its task.
    Thread {
        seat: u16,
        recalled: bool,
    },
}

#[derive(Debug, Clone)]
struct SeatState {
    record: Option<u16>,
    generation: u32,
    breaker: Breaker,
    /// Workers that died before they served, in a row.
    failed_starts: u32,
    /// The last fork was refused.
    refused: bool,
    /// By its restart policy it is never filled again.
    retired: bool,
    /// Its worker left because there was nothing to do.
    resting: bool,
}

impl SeatState {
    /// Why nobody sits here; none if somebody does.
    fn without_worker(&self) -> Option<WorkerState> {
        match self.record {
            Some(_) => None,
            None if self.retired => Some(WorkerState::Retired),
            None if self.resting => Some(WorkerState::Resting),
            None if self.breaker.state() == BreakerState::Open => Some(WorkerState::Shut),
            None => Some(WorkerState::Dead),
        }
    }
}

/// [`Life::Alive`]'s mother, if it is no zygote that the host still talks to.
const ORPHAN: u32 = u32::MAX;
/// Seat number of a worker that never had one, in evidence.
const SPARE_SEAT: Seat = Seat(u16::MAX);
/// Failed starts in a row after which a seat's workers are said to be unable to start.
const FAILED_STARTS_MAX: u32 = 3;
/// Longest wait for the next probe while nobody serves, in nanoseconds.
pub(crate) const ALONE_NS: u64 = 1_000_000_000;

/// What a roster is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) seats: u16,
    pub(crate) records: u16,
    pub(crate) spares: u16,
    pub(crate) intensity: Intensity,
    pub(crate) restart: Restart,
    /// Where jitter begins.
    pub(crate) seed: u64,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Roster {
    records: Vec<Life>,
    seats: Vec<SeatState>,
    restart: Restart,
    spares: usize,
    /// The spares' own breaker: those that die unseated.
    bench: Breaker,
    /// The zygote's own breaker.
    nursery: Breaker,
    /// Zygotes so far, less one.
    zygote: u32,
    /// Zygotes that ended before they were ready, in a row.
    failed_zygotes: u32,
    /// No zygote can be had: seats go to threads.
    without_zygote: bool,
    /// When a seat last went to a thread: only a worker born later shows that there are processes again.
    degraded_ns: u64,
    closed: bool,
    exhausted: bool,
    random: u64,
}

impl Roster {
    pub(crate) fn new(terms: Terms) -> Self {
        let breaker = Breaker::new(terms.intensity);
        let seat = SeatState {
            record: None,
            generation: 0,
            breaker: breaker.clone(),
            failed_starts: 0,
            refused: false,
            retired: false,
            resting: false,
        };
        Self {
            records: vec![Life::Vacant; usize::from(terms.records)],
            seats: vec![seat; usize::from(terms.seats)],
            restart: terms.restart,
            // A seat that is never filled again has no use for one.
            spares: if terms.restart == Restart::Temporary { 0 } else { usize::from(terms.spares) },
            bench: breaker.clone(),
            nursery: breaker,
            zygote: 0,
            failed_zygotes: 0,
            without_zygote: false,
            degraded_ns: 0,
            closed: false,
            exhausted: false,
            random: terms.seed,
        }
    }

    /// Fills every seat, then the spares' bench.
    pub(crate) fn open(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for seat in 0..self.seat_count() {
            self.fill(seat, 0, &mut actions);
        }
        self.top_up_spares(&mut actions);
        actions
    }

    /// Nothing is filled any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// True once [`Roster::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Records whose fork was asked of a zygote that died.
    pub(crate) fn unborn(&self) -> Vec<u16> {
        self.records_where(|life| matches!(life, Life::Forking { .. }))
    }

    /// Records whose death word is worth watching.
    pub(crate) fn watched(&self) -> Vec<u16> {
        self.records_where(|life| matches!(life, Life::Forking { .. } | Life::Alive { .. }))
    }

    /// The seat of a record and the generation in it, for publication.
    pub(crate) fn seat_of(&self, record: u16) -> Option<(u16, u32, i32)> {
        match self.life(record)? {
            Life::Alive { pid, seat: Some(seat), generation, .. } => Some((seat, generation, pid)),
            _ => None,
        }
    }

    /// Every worker that is not confirmed dead, and its process.
    pub(crate) fn processes(&self) -> Vec<(u16, i32)> {
        let process = |(record, life): (u16, &Life)| match life {
            Life::Alive { pid, .. } | Life::Dying { pid, .. } => Some((record, *pid)),
            _ => None,
        };
        self.numbered().filter_map(process).collect()
    }

    /// Workers that wait for a seat.
    pub(crate) fn spare_count(&self) -> usize {
        self.records.iter().filter(|life| matches!(life, Life::Alive { seat: None, .. })).count()
    }

    /// True while a thread serves a seat.
    pub(crate) fn has_threads(&self) -> bool {
        self.records.iter().any(|life| matches!(life, Life::Thread { .. }))
    }

    /// True while nobody serves any seat, or is about to.
    pub(crate) fn is_alone(&self) -> bool {
        !self.records.iter().any(|life| {
            matches!(
                life,
                Life::Thread { .. } | Life::Alive { seat: Some(_), .. } | Life::Forking { seat: Some(_) }
            )
        })
    }

    /// True if by its restart policy the seat is never filled again.
    pub(crate) fn is_retired(&self, seat: u16) -> bool {
        self.seats.get(usize::from(seat)).is_some_and(|seat| seat.retired)
    }

    /// What sits in a seat, for people and programs that look at the pool.
    pub(crate) fn sitting(&self, seat: u16) -> Sitting {
        let Some(state) = self.seats.get(usize::from(seat)) else { return Sitting::default() };
        let (mut sitting, record) = (Sitting::default(), state.record);
        sitting.record = record;
        sitting.breaker = Some(state.breaker.state());
        sitting.without_worker = state.without_worker();
        match record.and_then(|record| self.life(record)) {
            Some(Life::Alive { pid, generation, born_ns, .. }) => {
                (sitting.pid, sitting.generation, sitting.born_ns) = (Some(pid), generation, Some(born_ns));
            }
            Some(Life::Thread { .. }) => sitting.is_thread = true,
            _ => {}
        }
        sitting
    }

    /// A worker was forked.
    pub(crate) fn forked(&mut self, record: u16, pid: i32, now_ns: u64) {
        if let Some(Life::Forking { seat }) = self.life(record) {
            self.born(record, (pid, self.zygote), seat, now_ns);
        }
    }

    /// A worker that no zygote has announced, or another than it has, lives in the record.
    pub(crate) fn adopted(&mut self, record: u16, pid: i32, now_ns: u64) {
        match self.life(record) {
            Some(Life::Forking { seat }) => self.born(record, (pid, ORPHAN), seat, now_ns),
            Some(Life::Alive { seat, generation, born_ns, .. }) => {
                self.set(record, Life::Alive { pid, seat, generation, mother: ORPHAN, born_ns });
            }
            _ => {}
        }
    }

    fn born(&mut self, record: u16, (pid, mother): (i32, u32), seat: Option<u16>, now_ns: u64) {
        let generation = seat.map_or(0, |seat| self.next_generation(seat));
        self.set(record, Life::Alive { pid, seat, generation, mother, born_ns: now_ns });
        match seat {
            Some(seat) => {
                let state = &mut self.seats[usize::from(seat)];
                state.refused = false;
                state.breaker.filled(now_ns);
            }
            None => self.bench.filled(now_ns),
        }
    }

    /// A fork was refused.
    pub(crate) fn refused(&mut self, record: u16, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(Life::Forking { seat }) = self.life(record) else { return actions };
        self.set(record, Life::Vacant);
        let random = self.next_random();
        match seat {
            Some(seat) => {
                let state = &mut self.seats[usize::from(seat)];
                state.record = None;
                state.refused = true;
                state.breaker.trip(now_ns, random);
                self.shut(seat, now_ns, &mut actions);
            }
            None => self.bench.trip(now_ns, random),
        }
        actions
    }

    /// The first sign that a worker is dead: fill its seat, unless something speaks against it.
    pub(crate) fn dying(&mut self, record: u16, passing: Passing, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(Life::Alive { pid, seat, generation, mother, .. }) = self.life(record) else {
            return actions;
        };
        let worker = WorkerId { seat: seat.map_or(SPARE_SEAT, Seat), generation };
        self.set(record, Life::Dying { pid, worker, mother });
        match seat {
            Some(seat) => {
                self.seats[usize::from(seat)].record = None;
                actions.push(Action::Vacate { record, seat });
                self.account(seat, passing, now_ns);
                self.refill(seat, now_ns, &mut actions);
            }
            None if is_crash(passing.cause) => {
                let random = self.next_random();
                self.bench.crash(now_ns, random);
            }
            None => self.bench.emptied(),
        }
        self.top_up_spares(&mut actions);
        actions
    }

    /// The process is gone, and this is how it ended.
    pub(crate) fn ended(
        &mut self,
        record: u16,
        (pid, end): (i32, ProcessEnd),
        passing: Passing,
        now_ns: u64,
    ) -> Vec<Action> {
        if !matches!(self.life(record), Some(Life::Alive { pid: known, .. } | Life::Dying { pid: known, .. }) if known == pid)
        {
            // A second try at the same worker, which found the record taken.
            return Vec::new();
        }
        let mut actions = self.dying(record, passing, now_ns);
        if let Some(Life::Dying { worker, .. }) = self.life(record) {
            self.set(record, Life::Vacant);
            // Behind the vacating, which counts the death: whoever hears of the task's end finds it counted.
            let place = usize::from(matches!(actions.first(), Some(Action::Vacate { .. })));
            actions.insert(place, Action::Bury { record, worker, pid, end });
            self.retry_empty_seats(now_ns, &mut actions);
        }
        actions
    }

    /// A thread serves the seat now; gives the record it lives in.
    pub(crate) fn degraded(&mut self, seat: u16, now_ns: u64) -> Option<u16> {
        let record = self.vacant()?;
        self.degraded_ns = now_ns;
        self.set(record, Life::Thread { seat, recalled: false });
        self.seats[usize::from(seat)].record = Some(record);
        Some(record)
    }

    /// A thread has left its seat.
    pub(crate) fn thread_left(&mut self, record: u16, now_ns: u64) -> Vec<Action> {
        let Some(Life::Thread { seat, recalled }) = self.life(record) else { return Vec::new() };
        self.set(record, Life::Vacant);
        let worker = WorkerId { seat: Seat(seat), generation: self.next_generation(seat) };
        let random = self.next_random();
        let state = &mut self.seats[usize::from(seat)];
        (state.record, state.refused, state.failed_starts) = (None, false, 0);
        if recalled {
            state.breaker = Breaker::new(state.breaker.intensity());
        } else {
            // Nobody asked it to: it failed.
            state.breaker.trip(now_ns, random);
        }
        let end = ProcessEnd::Exited { code: 0 };
        let mut actions = vec![Action::Bury { record, worker, pid: 0, end }, Action::Vacate { record, seat }];
        self.refill(seat, now_ns, &mut actions);
        self.top_up_spares(&mut actions);
        actions
    }

    fn next_generation(&mut self, seat: u16) -> u32 {
        let state = &mut self.seats[usize::from(seat)];
        state.generation += 1;
        state.generation
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): spread enough for jitter, and the same for the same seed.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.random ^ self.random >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn records_where(&self, holds: impl Fn(&Life) -> bool) -> Vec<u16> {
        self.numbered().filter(|(_, life)| holds(life)).map(|(record, _)| record).collect()
    }

    fn vacant(&self) -> Option<u16> {
        self.numbered().find(|(_, life)| matches!(life, Life::Vacant)).map(|(record, _)| record)
    }

    fn numbered(&self) -> impl Iterator<Item = (u16, &Life)> {
        (0..=u16::MAX).zip(&self.records)
    }

    fn life(&self, record: u16) -> Option<Life> {
        self.records.get(usize::from(record)).copied()
    }

    fn set(&mut self, record: u16, life: Life) {
        if let Some(place) = self.records.get_mut(usize::from(record)) {
            *place = life;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "made from a u16")]
    fn seat_count(&self) -> u16 {
        self.seats.len() as u16
    }
}

/// What sits in a seat.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sitting {
    pub(crate) record: Option<u16>,
    pub(crate) pid: Option<i32>,
    pub(crate) generation: u32,
    pub(crate) born_ns: Option<u64>,
    pub(crate) is_thread: bool,
    pub(crate) breaker: Option<BreakerState>,
    /// Why nobody does.
    pub(crate) without_worker: Option<WorkerState>,
}

/// True for a death that no task and no plan explains.
fn is_crash(cause: Cause) -> bool {
    matches!(cause, Cause::BetweenTasks | Cause::FailedStart)
}
