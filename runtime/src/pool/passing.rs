//! Passing: why a worker is gone, read from what it left in shared memory. The roster decides by it what follows.

use super::roster::{Cause, Passing};
use super::{Pool, PoolState};
use gorun_worker::wire::control::Departure;

impl Pool {
    /// Why the record's worker is gone. Asked when it is dead, or as good as dead.
    pub(super) fn passing(&self, state: &PoolState, record: u16) -> Passing {
        let Some(worker) = self.commons.workers.get(usize::from(record)) else {
            return Passing { cause: Cause::FailedStart, was_productive: false };
        };
        let cause = match worker.departure() {
            _ if state.killed.contains_key(&record) => Cause::Killed,
            _ if !worker.duty.has_begun() => Cause::FailedStart,
            Some(Departure::Tenure) => Cause::Tenure,
            Some(Departure::Rest) => Cause::Rest,
            None if worker.duty.depth() > 0 || self.innermost_of(record).is_some() => Cause::InTask,
            None => Cause::BetweenTasks,
        };
        Passing { cause, was_productive: self.has_finished_tasks(state, record) }
    }

    /// Takes down what the seat's books say before its next worker writes there.
    pub(super) fn note_tasks(&self, state: &mut PoolState, seat: u16) {
        let tasks = self.commons.seats.get(usize::from(seat)).map_or(0, |seat| seat.tasks.get());
        if let Some(before) = state.tasks_before.get_mut(usize::from(seat)) {
            *before = tasks;
        }
    }

    /// Tasks that the seat's worker of today has finished.
    pub(super) fn tasks_of(&self, state: &PoolState, seat: u16) -> u64 {
        let tasks = self.commons.seats.get(usize::from(seat)).map_or(0, |seat| seat.tasks.get());
        tasks.saturating_sub(state.tasks_before.get(usize::from(seat)).copied().unwrap_or(0))
    }

    fn has_finished_tasks(&self, state: &PoolState, record: u16) -> bool {
        state.roster.seat_of(record).is_some_and(|(seat, ..)| self.tasks_of(state, seat) > 0)
    }
}
