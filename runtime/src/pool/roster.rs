//! Roster: who sits where. Pure: news in, actions out; no clock, no system call.
//!
//! A record's life: Vacant -> Forking -> Alive -> Dying -> Vacant. Dying begins with the first sign of death
//! (the death word, within microseconds) and fills the seat again at once; it ends when the process is known
//! to be gone, and only then is the record's memory reclaimed and the record used again.

use gorun_worker::exit;
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
    /// The seat will have none, but others can serve its lane.
    Abandon { seat: u16 },
    /// The process is gone: end what it was running, reclaim what it held.
    Bury { record: u16, worker: WorkerId, pid: i32, end: ProcessEnd },
    /// No process can be had for the seat: serve it by a thread.
    Degrade { seat: u16 },
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
    },
    Dying {
        pid: i32,
        worker: WorkerId,
        mother: u32,
    },
    /// A thread of the host serves here for good.
    Thread,
}

#[derive(Debug, Clone, Copy, Default)]
struct SeatState {
    record: Option<u16>,
    generation: u32,
    /// Workers that failed in gorun's own start-up code, in a row.
    failed_starts: u32,
}

/// [`Life::Alive`]'s mother, if it is no zygote that the host still talks to.
const ORPHAN: u32 = u32::MAX;
/// Seat number of a worker that never had one, in evidence.
const SPARE_SEAT: Seat = Seat(u16::MAX);
/// Failed starts in a row after which a seat gives up on processes.
const FAILED_STARTS_MAX: u32 = 3;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Roster {
    records: Vec<Life>,
    seats: Vec<SeatState>,
    spares_wanted: usize,
    /// Zygotes so far, less one.
    zygote: u32,
    closed: bool,
    /// No zygote can be had any more: seats go to threads.
    without_zygote: bool,
}

impl Roster {
    pub(crate) fn new(seats: u16, records: u16, spares: u16) -> Self {
        Self {
            records: vec![Life::Vacant; usize::from(records)],
            seats: vec![SeatState::default(); usize::from(seats)],
            spares_wanted: usize::from(spares),
            zygote: 0,
            closed: false,
            without_zygote: false,
        }
    }

    /// Fills every seat, then the spares' bench.
    pub(crate) fn open(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for seat in 0..self.seat_count() {
            self.fill(seat, &mut actions);
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
        self.numbered()
            .filter(|(_, life)| matches!(life, Life::Forking { .. }))
            .map(|(record, _)| record)
            .collect()
    }

    /// Records whose death word is worth watching.
    pub(crate) fn watched(&self) -> Vec<u16> {
        let watched = |life: &Life| matches!(life, Life::Forking { .. } | Life::Alive { .. });
        self.numbered().filter(|(_, life)| watched(life)).map(|(record, _)| record).collect()
    }

    /// The seat of a record and the generation in it, for publication.
    pub(crate) fn seat_of(&self, record: u16) -> Option<(u16, u32, i32)> {
        match self.records.get(usize::from(record))? {
            Life::Alive { pid, seat: Some(seat), generation, .. } => Some((*seat, *generation, *pid)),
            _ => None,
        }
    }

    /// True if a zygote was lost: it may have left workers that nobody has told of.
    pub(crate) fn has_orphans(&self) -> bool {
        self.zygote > 0 || self.without_zygote
    }

    /// Another zygote serves from now on.
    pub(crate) fn new_zygote(&mut self) {
        self.zygote += 1;
    }

    /// Every worker that is not confirmed dead, and its process.
    pub(crate) fn processes(&self) -> Vec<(u16, i32)> {
        let process = |(record, life): (u16, &Life)| match life {
            Life::Alive { pid, .. } | Life::Dying { pid, .. } => Some((record, *pid)),
            _ => None,
        };
        self.numbered().filter_map(process).collect()
    }

    /// True if the zygote of today forked the worker, and will tell how it ended.
    pub(crate) fn is_child_of_current_zygote(&self, record: u16) -> bool {
        matches!(self.life(record), Some(Life::Alive { mother, .. } | Life::Dying { mother, .. }) if mother == self.zygote)
    }

    /// A worker was forked.
    pub(crate) fn forked(&mut self, record: u16, pid: i32) -> Vec<Action> {
        if let Some(Life::Forking { seat }) = self.life(record) {
            let generation = seat.map_or(0, |seat| self.next_generation(seat));
            self.set(record, Life::Alive { pid, seat, generation, mother: self.zygote });
        }
        Vec::new()
    }

    /// A worker that no zygote has announced, or another than it has, lives in the record.
    pub(crate) fn adopted(&mut self, record: u16, pid: i32) {
        let (seat, generation) = match self.life(record) {
            Some(Life::Forking { seat }) => (seat, seat.map_or(0, |seat| self.next_generation(seat))),
            Some(Life::Alive { seat, generation, .. }) => (seat, generation),
            _ => return,
        };
        self.set(record, Life::Alive { pid, seat, generation, mother: ORPHAN });
    }

    /// A fork was refused.
    pub(crate) fn refused(&mut self, record: u16) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(Life::Forking { seat }) = self.life(record) {
            self.set(record, Life::Vacant);
            match seat {
                Some(seat) => self.give_up(seat, &mut actions),
                None => self.spares_wanted = 0,
            }
        }
        actions
    }

    /// The first sign that a worker is dead: fill its seat.
    pub(crate) fn dying(&mut self, record: u16) -> Vec<Action> {
        let mut actions = Vec::new();
        let (pid, seat, generation, mother) = match self.life(record) {
            Some(Life::Alive { pid, seat, generation, mother }) => (pid, seat, generation, mother),
            _ => return actions,
        };
        let worker = WorkerId { seat: seat.map_or(SPARE_SEAT, Seat), generation };
        self.set(record, Life::Dying { pid, worker, mother });
        if let Some(seat) = seat {
            self.seats[usize::from(seat)].record = None;
            actions.push(Action::Vacate { record, seat });
            if !self.closed && self.seats[usize::from(seat)].failed_starts < FAILED_STARTS_MAX {
                self.fill(seat, &mut actions);
            }
        }
        self.top_up_spares(&mut actions);
        actions
    }

    /// The process is gone, and this is how it ended. `began` is true if it came as far as serving: then an exit
    /// code is the task's, whatever its number.
    pub(crate) fn ended(&mut self, record: u16, pid: i32, end: ProcessEnd, began: bool) -> Vec<Action> {
        if !matches!(self.life(record), Some(Life::Alive { pid: known, .. } | Life::Dying { pid: known, .. }) if known == pid)
        {
            // A second try at the same worker, which found the record taken.
            return Vec::new();
        }
        self.note_start(record, end, began);
        let mut actions = self.dying(record);
        if let Some(Life::Dying { worker, .. }) = self.life(record) {
            self.set(record, Life::Vacant);
            actions.insert(0, Action::Bury { record, worker, pid, end });
            self.retry_empty_seats(&mut actions);
        }
        actions
    }

    /// No zygote can be had: every seat without a worker is served by a thread.
    pub(crate) fn no_zygote(&mut self) -> Vec<Action> {
        self.spares_wanted = 0;
        self.without_zygote = true;
        for record in self.unborn() {
            let Some(Life::Forking { seat }) = self.life(record) else { continue };
            self.set(record, Life::Vacant);
            if let Some(seat) = seat {
                self.seats[usize::from(seat)].record = None;
            }
        }
        let empty: Vec<u16> =
            (0..self.seat_count()).filter(|seat| self.seats[usize::from(*seat)].record.is_none()).collect();
        empty.into_iter().map(|seat| Action::Degrade { seat }).collect()
    }

    /// A thread serves the seat now; gives the record it lives in.
    pub(crate) fn degraded(&mut self, seat: u16) -> Option<u16> {
        let record = self.vacant()?;
        self.set(record, Life::Thread);
        self.seats[usize::from(seat)].record = Some(record);
        Some(record)
    }

    fn fill(&mut self, seat: u16, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        if let Some(spare) = self.ready_spare() {
            let Some(Life::Alive { pid, mother, .. }) = self.life(spare) else { return };
            let generation = self.next_generation(seat);
            self.set(spare, Life::Alive { pid, seat: Some(seat), generation, mother });
            self.seats[usize::from(seat)].record = Some(spare);
            actions.push(Action::Assign { record: spare, seat });
        } else if self.without_zygote {
            actions.push(Action::Degrade { seat });
        } else if let Some(record) = self.vacant() {
            self.set(record, Life::Forking { seat: Some(seat) });
            self.seats[usize::from(seat)].record = Some(record);
            actions.push(Action::Fork { record, seat: Some(seat) });
        }
        // Without a vacant record the seat stays empty until a burial frees one.
    }

    fn retry_empty_seats(&mut self, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        for seat in 0..self.seat_count() {
            let state = self.seats[usize::from(seat)];
            if state.record.is_none() && state.failed_starts < FAILED_STARTS_MAX {
                self.fill(seat, actions);
            } else if state.record.is_none() {
                self.give_up(seat, actions);
            }
        }
        self.top_up_spares(actions);
    }

    fn top_up_spares(&mut self, actions: &mut Vec<Action>) {
        let is_spare =
            |life: &Life| matches!(life, Life::Forking { seat: None } | Life::Alive { seat: None, .. });
        while !self.closed && self.records.iter().filter(|life| is_spare(life)).count() < self.spares_wanted {
            let Some(record) = self.vacant() else { break };
            self.set(record, Life::Forking { seat: None });
            actions.push(Action::Fork { record, seat: None });
        }
    }

    /// The seat gets no process: others steal its tasks, or, if there are none, a thread serves it.
    fn give_up(&mut self, seat: u16, actions: &mut Vec<Action>) {
        self.seats[usize::from(seat)].record = None;
        let others = self.records.iter().any(|life| {
            matches!(life, Life::Thread | Life::Alive { seat: Some(_), .. } | Life::Forking { seat: Some(_) })
        });
        if !others && !self.closed {
            actions.push(Action::Degrade { seat });
        } else {
            actions.push(Action::Abandon { seat });
        }
    }

    fn note_start(&mut self, record: u16, end: ProcessEnd, began: bool) {
        let seat = match self.life(record) {
            Some(Life::Alive { seat: Some(seat), .. }) => seat,
            Some(Life::Dying { worker, .. }) if usize::from(worker.seat.0) < self.seats.len() => {
                worker.seat.0
            }
            _ => return,
        };
        let failed = !began && matches!(end, ProcessEnd::Exited { code } if exit::meaning(code).is_some());
        let state = &mut self.seats[usize::from(seat)];
        state.failed_starts = if failed { state.failed_starts + 1 } else { 0 };
    }

    fn next_generation(&mut self, seat: u16) -> u32 {
        let state = &mut self.seats[usize::from(seat)];
        state.generation += 1;
        state.generation
    }

    fn ready_spare(&self) -> Option<u16> {
        self.numbered()
            .find(|(_, life)| matches!(life, Life::Alive { seat: None, .. }))
            .map(|(record, _)| record)
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

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: ProcessEnd = ProcessEnd::Signalled { signal: 9, dumped: false };

    fn open(seats: u16, spares: u16) -> Roster {
        let mut roster = Roster::new(seats, seats * 2 + spares, spares);
        for (index, action) in roster.open().into_iter().enumerate() {
            let Action::Fork { record, .. } = action else { panic!("expected a fork, got {action:?}") };
            roster.forked(record, 100 + i32::try_from(index).unwrap());
        }
        roster
    }

    #[test]
    fn opening_fills_every_seat_and_the_bench() {
        let actions = Roster::new(2, 5, 1).open();
        assert_eq!(
            actions,
            [
                Action::Fork { record: 0, seat: Some(0) },
                Action::Fork { record: 1, seat: Some(1) },
                Action::Fork { record: 2, seat: None }
            ]
        );
    }

    #[test]
    fn a_death_hands_the_seat_to_the_spare_and_asks_for_another() {
        let mut roster = open(2, 1);
        let actions = roster.dying(1);
        assert_eq!(
            actions,
            [
                Action::Vacate { record: 1, seat: 1 },
                Action::Assign { record: 2, seat: 1 },
                Action::Fork { record: 3, seat: None }
            ]
        );
        assert_eq!(roster.seat_of(2), Some((1, 2, 102)));
    }

    #[test]
    fn the_end_buries_once_whichever_sign_came_first() {
        let mut roster = open(1, 0);
        roster.dying(0);
        let worker = WorkerId { seat: Seat(0), generation: 1 };
        let actions = roster.ended(0, 100, KILLED, true);
        assert_eq!(actions[0], Action::Bury { record: 0, worker, pid: 100, end: KILLED });
        assert_eq!(roster.ended(0, 100, KILLED, true), []);
    }

    #[test]
    fn an_end_without_a_sign_fills_the_seat_too() {
        let mut roster = open(1, 0);
        let actions = roster.ended(0, 100, KILLED, true);
        assert!(matches!(actions[0], Action::Bury { record: 0, .. }));
        assert!(actions.contains(&Action::Fork { record: 1, seat: Some(0) }));
    }

    #[test]
    fn a_dying_record_is_not_used_again_before_its_burial() {
        let mut roster = open(1, 0);
        for action in roster.dying(0) {
            assert!(!matches!(action, Action::Fork { record: 0, .. }), "{action:?}");
        }
    }

    #[test]
    fn refused_forks_degrade_only_when_nobody_is_left() {
        let mut roster = Roster::new(2, 4, 0);
        roster.open();
        assert_eq!(roster.refused(0), [Action::Abandon { seat: 0 }]);
        assert_eq!(roster.refused(1), [Action::Degrade { seat: 1 }]);
    }

    #[test]
    fn workers_that_cannot_start_are_not_forked_for_ever() {
        let mut roster = open(1, 0);
        let mut record = 0;
        let mut pid = 100;
        for _ in 0..10 {
            let actions = roster.ended(record, pid, ProcessEnd::Exited { code: exit::LEASE }, false);
            let fork = actions.iter().find_map(|action| match action {
                Action::Fork { record, .. } => Some(*record),
                _ => None,
            });
            let Some(next) = fork else {
                assert!(actions.contains(&Action::Degrade { seat: 0 }));
                return;
            };
            (record, pid) = (next, pid + 1);
            roster.forked(record, pid);
        }
        panic!("still forking after ten failed starts");
    }

    #[test]
    fn a_second_try_at_a_worker_ends_without_harm_to_the_first() {
        let mut roster = Roster::new(1, 3, 0);
        roster.open();
        roster.forked(0, 200);
        roster.adopted(0, 100);
        assert_eq!(roster.ended(0, 200, ProcessEnd::Exited { code: exit::RECORD_TAKEN }, false), []);
        assert_eq!((roster.seat_of(0), roster.processes()), (Some((0, 1, 100)), vec![(0, 100)]));
        assert!(!roster.is_child_of_current_zygote(0));
        assert!(matches!(roster.ended(0, 100, KILLED, true)[0], Action::Bury { pid: 100, .. }));
    }

    #[test]
    fn a_closed_roster_fills_nothing() {
        let mut roster = open(2, 1);
        roster.close();
        assert_eq!(roster.dying(0), [Action::Vacate { record: 0, seat: 0 }]);
    }
}
