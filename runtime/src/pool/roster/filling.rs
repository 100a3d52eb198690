//! Filling: which seat gets a worker, when, and what is done where none can be had. Part of the pure roster.

use super::super::breaker::PROOF_NS;
use super::{ALONE_NS, Action, Cause, FAILED_STARTS_MAX, Life, Passing, Roster, is_crash};
use crate::supervision::Restart;

impl Roster {
    /// Lets time pass: pauses end, probes prove themselves, threads make room for processes.
    pub(crate) fn look(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.closed {
            return actions;
        }
        for seat in 0..self.seat_count() {
            let state = &mut self.seats[usize::from(seat)];
            if state.breaker.look(now_ns) && state.record.is_none() && !state.retired && !state.resting {
                self.fill(seat, now_ns, &mut actions);
            }
        }
        self.bench.look(now_ns);
        self.look_at_nursery(now_ns, &mut actions);
        self.recall_threads(now_ns, &mut actions);
        self.top_up_spares(&mut actions);
        // Last: it is told of every worker that is to be by then.
        if let Some(place) = actions.iter().position(|action| *action == Action::StartZygote) {
            actions[place..].rotate_left(1);
        }
        actions
    }

    /// When [`Roster::look`] has something to do at the earliest.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        if self.closed {
            return None;
        }
        let seats = self.seats.iter().filter_map(|seat| seat.breaker.due_ns());
        let places = seats.chain(self.bench.due_ns()).chain(self.nursery.due_ns());
        places.chain(self.recall_due_ns()).min()
    }

    /// A task waits and no worker is awake for it: a resting seat gets one, the first of them unless `seat` rests.
    pub(crate) fn rouse(&mut self, seat: u16, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let rests = |seat: &u16| self.seats.get(usize::from(*seat)).is_some_and(|state| state.resting);
        let Some(seat) = Some(seat).filter(rests).or_else(|| (0..self.seat_count()).find(rests)) else {
            return actions;
        };
        self.seats[usize::from(seat)].resting = false;
        self.refill(seat, now_ns, &mut actions);
        self.top_up_spares(&mut actions);
        actions
    }

    /// Seats that have no worker because there was nothing to do.
    pub(crate) fn resting(&self) -> u32 {
        self.seats.iter().map(|seat| u32::from(seat.resting)).sum()
    }

    /// What a passing means for the seat it left empty.
    pub(super) fn account(&mut self, seat: u16, passing: Passing, now_ns: u64) {
        let random = self.next_random();
        let state = &mut self.seats[usize::from(seat)];
        if passing.was_productive {
            state.breaker.prove();
        }
        let failed = passing.cause == Cause::FailedStart;
        state.failed_starts = if failed { state.failed_starts + 1 } else { 0 };
        if is_crash(passing.cause) {
            state.breaker.crash(now_ns, random);
        } else {
            state.breaker.emptied();
        }
        state.resting = passing.cause == Cause::Rest;
        state.retired = match self.restart {
            Restart::Permanent => false,
            Restart::Transient => passing.cause == Cause::Tenure,
            Restart::Temporary => passing.cause != Cause::Rest,
        };
    }

    /// A seat has become empty: fills it, or says what else is to be done about it.
    pub(super) fn refill(&mut self, seat: u16, now_ns: u64, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        let state = &self.seats[usize::from(seat)];
        if state.retired {
            self.hurry_if_alone(now_ns);
            actions.push(Action::Abandon { seat });
            if !self.exhausted && self.seats.iter().all(|seat| seat.retired) {
                self.exhausted = true;
                actions.push(Action::Exhaust);
            }
        } else if state.resting {
            actions.push(Action::Rest);
        } else if state.breaker.lets_in() {
            self.fill(seat, now_ns, actions);
        } else {
            self.shut(seat, now_ns, actions);
        }
    }

    /// The seat stays empty for now: others take its tasks, or, if no process can be had, a thread does.
    pub(super) fn shut(&mut self, seat: u16, now_ns: u64, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        if self.is_alone() && self.cannot_start() {
            return actions.push(Action::Degrade { seat });
        }
        self.hurry_if_alone(now_ns);
        actions.push(Action::Abandon { seat });
    }

    /// While nobody serves, no seat waits for long.
    fn hurry_if_alone(&mut self, now_ns: u64) {
        if self.is_alone() {
            let until_max_ns = now_ns.saturating_add(ALONE_NS);
            self.seats.iter_mut().for_each(|seat| seat.breaker.hurry(until_max_ns));
        }
    }

    /// True if the last that was heard of every seat is that its worker could not be had or could not start.
    fn cannot_start(&self) -> bool {
        let mut wanted = self.seats.iter().filter(|seat| !seat.retired && !seat.resting);
        self.ready_spare().is_none()
            && wanted.all(|seat| seat.refused || seat.failed_starts >= FAILED_STARTS_MAX)
    }

    pub(super) fn fill(&mut self, seat: u16, now_ns: u64, actions: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        if let Some(spare) = self.ready_spare() {
            let Some(Life::Alive { pid, mother, born_ns, .. }) = self.life(spare) else { return };
            let generation = self.next_generation(seat);
            self.set(spare, Life::Alive { pid, seat: Some(seat), generation, mother, born_ns });
            let state = &mut self.seats[usize::from(seat)];
            state.record = Some(spare);
            state.refused = false;
            state.breaker.filled(now_ns);
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

    /// A record is free again: seats that had to wait for one get it.
    pub(super) fn retry_empty_seats(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        for seat in 0..self.seat_count() {
            let state = &self.seats[usize::from(seat)];
            let is_asked_for = actions
                .iter()
                .any(|action| matches!(action, Action::Degrade { seat: other } if *other == seat));
            let wants = state.record.is_none() && !state.retired && !state.resting && state.breaker.lets_in();
            if wants && !is_asked_for {
                self.fill(seat, now_ns, actions);
            }
        }
        self.top_up_spares(actions);
    }

    /// While threads serve, at least one spare: the process that is to prove that there are some again.
    pub(super) fn top_up_spares(&mut self, actions: &mut Vec<Action>) {
        let wanted = if self.has_threads() { self.spares.max(1) } else { self.spares };
        let is_spare =
            |life: &Life| matches!(life, Life::Forking { seat: None } | Life::Alive { seat: None, .. });
        let may = !self.closed && !self.without_zygote && self.bench.lets_in();
        while may && self.records.iter().filter(|life| is_spare(life)).count() < wanted {
            let Some(record) = self.vacant() else { break };
            self.set(record, Life::Forking { seat: None });
            actions.push(Action::Fork { record, seat: None });
        }
    }

    fn recall_threads(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        if self.recall_due_ns().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        for (record, life) in (0..=u16::MAX).zip(&mut self.records) {
            if let Life::Thread { recalled, .. } = life
                && !*recalled
            {
                *recalled = true;
                actions.push(Action::Recall { record });
            }
        }
    }

    /// When a process has lived long enough to be believed, if there are threads to be recalled then.
    fn recall_due_ns(&self) -> Option<u64> {
        let is_serving = |life: &Life| matches!(life, Life::Thread { recalled: false, .. });
        if self.without_zygote || !self.records.iter().any(is_serving) {
            return None;
        }
        let born = self.records.iter().filter_map(|life| match life {
            Life::Alive { born_ns, .. } if *born_ns >= self.degraded_ns => {
                Some(born_ns.saturating_add(PROOF_NS))
            }
            _ => None,
        });
        born.min()
    }

    fn ready_spare(&self) -> Option<u16> {
        self.numbered()
            .find(|(_, life)| matches!(life, Life::Alive { seat: None, .. }))
            .map(|(record, _)| record)
    }
}
