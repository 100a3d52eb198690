//! Find: where a worker looks for its next task, and in which order.
//!
//! Its seat's lane, the lane of tasks it published itself, then the others' seats, nearest first, and their
//! nested lanes. Each look is a claim that either succeeds or costs one or two cache lines.

use crate::wire::commons::Commons;
use crate::wire::control::WorkerRecord;
use crate::wire::ids::LaneId;
use gorun_shm::OwnerId;
use gorun_shm::slots::Descriptor;
use gorun_shm::sync::Ordering;

/// A claimed task.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Where it was published.
    pub lane: LaneId,
    /// Its position there.
    pub position: u64,
    /// The task.
    pub descriptor: Descriptor,
    /// True if the lane is another worker's.
    pub stolen: bool,
}

/// The order of looking, for one worker.
#[derive(Debug)]
pub struct Finder {
    nested: LaneId,
}

impl Finder {
    /// A finder for the worker whose own tasks go to `nested`.
    #[must_use]
    #[inline]
    pub fn new(nested: LaneId) -> Self {
        Self { nested }
    }

    /// Claims the first task found for `owner`; `intent` is told before each attempt.
    #[inline]
    pub fn find(
        &self,
        commons: &Commons,
        seat: Option<u16>,
        owner: OwnerId,
        intent: impl Fn(LaneId, u64),
    ) -> Option<Found> {
        let claim = |lane: LaneId, stolen| {
            let (position, descriptor) =
                commons.lane(lane).claim(owner, |position| intent(lane, position))?;
            Some(Found { lane, position, descriptor, stolen })
        };
        seat.and_then(|seat| claim(LaneId(seat), false))
            .or_else(|| claim(self.nested, false))
            .or_else(|| self.others(commons, seat).find_map(|lane| claim(lane, true)))
    }

    /// Claims the first task that the worker published itself.
    pub fn find_own(&self, commons: &Commons, owner: OwnerId, intent: impl Fn(LaneId, u64)) -> Option<Found> {
        let lane = self.nested;
        let (position, descriptor) = commons.lane(lane).claim(owner, |position| intent(lane, position))?;
        Some(Found { lane, position, descriptor, stolen: false })
    }

    /// True if [`Finder::find`] would probably find something.
    #[must_use]
    #[inline]
    pub fn any_ready(&self, commons: &Commons, seat: Option<u16>) -> bool {
        let own = seat.map(LaneId).into_iter().chain([self.nested]);
        own.chain(self.others(commons, seat)).any(|lane| commons.lane(lane).has_ready())
    }

    /// The lanes that tasks may be taken from: all, or where stealing is off those that nobody serves.
    #[inline]
    fn others(&self, commons: &Commons, seat: Option<u16>) -> impl Iterator<Item = LaneId> {
        // Relaxed: written before the fork.
        let all = commons.host.stealing.load(Ordering::Relaxed) != 0;
        self.neighbours(commons, seat).filter(move |lane| all || is_unserved(commons, *lane))
    }

    #[inline]
    fn neighbours(&self, commons: &Commons, seat: Option<u16>) -> impl Iterator<Item = LaneId> + use<> {
        let seats = commons.map.shape.seats;
        let (first, nested) = (seat.unwrap_or(0), self.nested.0);
        let neighbours = (1..=seats).map(move |step| (first + step) % seats);
        let nested_lanes = seats..commons.map.shape.lanes();
        neighbours
            .filter(move |lane| Some(*lane) != seat)
            .chain(nested_lanes.filter(move |lane| *lane != nested))
            .map(LaneId)
    }
}

/// True of a seat's lane whose worker is not there, or waits for other tasks inside of one: nobody comes to what is in it.
#[cold]
fn is_unserved(commons: &Commons, lane: LaneId) -> bool {
    let Some(seat) = commons.seats.get(usize::from(lane.0)) else { return false };
    let assignment = seat.assignment().filter(|assignment| assignment.pid != 0);
    let worker =
        assignment.and_then(|assignment| commons.workers.get(usize::try_from(assignment.record).ok()?));
    worker.is_none_or(WorkerRecord::is_blocked)
}
