//! Resting: seats without a worker because there was nothing to do, and how a task gets one there again.
//!
//! A worker that has been idle for long enough leaves (`worker::tenure`), and its seat rests. Nobody polls: a producer
//! that finds nobody to wake for its task calls the host (`HostRecord::call_for_workers`), and the watching thread fills
//! a seat. No task is overlooked: before a seat rests the host publishes that it does and then looks at every lane
//! under its lock, so that a producer either was seen or sees.

use super::{Pool, PoolState};
use gorun_shm::os::ticks;
use gorun_shm::sync::Ordering;

impl Pool {
    /// A worker has left because there was nothing to do.
    pub(super) fn rest(&self, state: &mut PoolState) {
        self.note_resting(state);
        self.rouse(state);
    }

    /// Fills resting seats for which tasks wait; true if there were any.
    pub(super) fn rouse_waiting(&self) -> bool {
        let mut state = self.lock();
        self.rouse(&mut state)
    }

    /// Publishes how many seats rest.
    pub(super) fn note_resting(&self, state: &PoolState) {
        let resting = state.roster.resting();
        // Relaxed: ordered by the lanes' locks, see above, and by the fence before a producer's look.
        self.commons.host.resting.store(resting, Ordering::Relaxed);
    }

    /// [`Pool::rouse_waiting`] for a caller that holds the lock.
    pub(super) fn rouse(&self, state: &mut PoolState) -> bool {
        let mut any = false;
        for lane in 0..self.dispatcher.lane_count() {
            if state.roster.resting() == 0 {
                break;
            }
            any |= self.dispatcher.has_waiting(lane) && self.fill_resting(state, lane);
        }
        let nested = 0..self.commons.map.shape.records;
        let has_nested = |record| self.commons.lane(self.commons.nested_lane(record)).has_ready();
        if !any && nested.into_iter().any(has_nested) {
            any = self.fill_resting(state, 0);
        }
        any
    }

    fn fill_resting(&self, state: &mut PoolState, seat: u16) -> bool {
        let actions = state.roster.rouse(seat, ticks::system_ns());
        let any = !actions.is_empty();
        self.carry_out(state, actions);
        any
    }
}
