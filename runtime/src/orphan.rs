//! Lanes whose producer is a worker: what the host does for them when a worker dies.

use gorun_shm::OwnerId;
use gorun_shm::os::futex;
use gorun_shm::slots::{Completion, State, Word};
use gorun_worker::message;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::ids::LaneId;
use gorun_worker::wire::status::{MARK_IN_BLOCK, Status};

/// Ends a nested task that a dead worker was running for another one, and wakes that one.
pub(crate) fn end_lost(
    commons: &Commons,
    lane: u16,
    near: impl Fn(u64) -> u64,
    dead: OwnerId,
    payload: [u64; 4],
) {
    if !commons.has_lane(LaneId(lane)) {
        return;
    }
    let ring = commons.lane(LaneId(lane));
    let position = near(ring.published());
    let (slot, lap) = ring.slot(position);
    if !slot.seize(lap, dead, OwnerId::HOST) {
        return;
    }
    let attempt = slot.completion().attempt;
    let completion = Completion { status: Status::Lost as u8, attempt, payload, ..Completion::default() };
    if slot.finish(lap, OwnerId::HOST, &completion).is_ok_and(|flags| flags & Word::SLEEPER != 0) {
        futex::wake(slot.futex(), u32::MAX >> 1);
    }
}

/// Ends every nested task that a dead worker was running for others.
pub(crate) fn end_all_lost(commons: &Commons, dead: OwnerId, payload: [u64; 4]) {
    for record in 0..commons.map.shape.records {
        let lane = commons.nested_lane(record);
        let published = commons.lane(lane).published();
        for position in published.saturating_sub(commons.lane(lane).capacity())..published {
            end_lost(commons, lane.0, |_| position, dead, payload);
        }
    }
}

/// Leaves a dead worker's results to the workers that wait for them, before its memory is reclaimed.
pub(crate) fn keep_results(commons: &Commons, dead: OwnerId) {
    for record in 0..commons.map.shape.records {
        let Some(producer) = OwnerId::worker(record) else { continue };
        let ring = commons.lane(commons.nested_lane(record));
        let published = ring.published();
        for position in published.saturating_sub(ring.capacity())..published {
            let (slot, lap) = ring.slot(position);
            let word = slot.word();
            let completion = slot.completion();
            let is_result = word.lap() == lap && word.state() == State::Done && word.owner() == dead;
            if is_result
                && completion.marks & MARK_IN_BLOCK != 0
                && completion.status != Status::RangePartial as u8
            {
                // Fails if the producer has taken it over already.
                let _ = commons.blocks.adopt(message::handle_of(completion.payload), dead, producer);
            }
        }
    }
}

/// Tasks that a dead worker had published, that run, and that somebody would have waited for: by their positions. A task
/// whose handle was dropped is run for its effects, and runs on.
pub(crate) fn running_for(commons: &Commons, record: u16) -> Vec<u64> {
    let ring = commons.lane(commons.nested_lane(record));
    let published = ring.published();
    let is_awaited = |position: &u64| {
        let (slot, lap) = ring.slot(*position);
        let word = slot.word();
        let by_another = word.owner().worker_index().is_some_and(|owner| owner != record);
        let awaited = word.flags() & Word::UNWANTED == 0;
        word.lap() == lap && word.state() == State::Running && by_another && awaited
    };
    (published.saturating_sub(ring.capacity())..published).filter(is_awaited).collect()
}

/// Ends a nested task that was taken from a worker that is dead now. Its producer is dead too, so nobody is told.
pub(crate) fn end_taken(commons: &Commons, lane: u16, position: u64, status: Status) {
    let ring = commons.lane(LaneId(lane));
    let completion = Completion { status: status as u8, ..Completion::default() };
    // Fails only over a word that somebody scribbled on.
    let _ = ring.finish(position, OwnerId::HOST, &completion);
}

/// Ends the tasks that a dead worker had published and nobody had started: nobody waits for them any more.
pub(crate) fn close_nested(commons: &Commons, record: u16) {
    let ring = commons.lane(commons.nested_lane(record));
    while let Some((position, descriptor)) = ring.claim(OwnerId::HOST, |_| {}) {
        let attempt = descriptor.attempt;
        let completion = Completion { status: Status::Closed as u8, attempt, ..Completion::default() };
        // Fails only over a word that somebody scribbled on.
        let _ = ring.finish(position, OwnerId::HOST, &completion);
    }
}
