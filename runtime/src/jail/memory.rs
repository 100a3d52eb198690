//! Memory: the segment of one cell, as the host sees it. Everything in it may have been written by hostile code.
//!
//! The host publishes one task at a time and reads one outcome back. It follows no address, count or name from here
//! further than to bytes that it copies.

use super::state::Order;
use crate::book::Outcome;
use crate::error::{Place, Rejection, ResultRefusal, TaskError};
use gorun_shm::blocks::{OwnedBlock, PoolTerms};
use gorun_shm::os::ticks;
use gorun_shm::slots::{Descriptor, State, Word};
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_shm::{OwnerId, Segment, SegmentError};
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::function;
use gorun_worker::message;
use gorun_worker::wire::black_box::LastWords;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::control::Intent;
use gorun_worker::wire::ids::LaneId;
use gorun_worker::wire::map::{Map, Shape};
use gorun_worker::wire::status::{MARK_HANDLES, MARK_IN_BLOCK, Status};
use std::os::fd::BorrowedFd;

/// Slots of the lane. One task stands in it at a time.
const LANE_SLOTS: u32 = 64;
/// Slots of the lane for tasks that the task starts itself.
const NESTED_SLOTS: u32 = 256;
/// Words of the notice ring, of which nobody reads.
const NOTICE_SLOTS: u32 = 64;
/// The only worker's record, lane and owner.
const WORKER: u16 = 0;
const LANE: LaneId = LaneId(0);

/// See the module's head.
#[derive(Debug)]
pub(super) struct Memory {
    commons: Commons,
}

/// What came out of a cell.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) outcome: Outcome,
    /// False if the worker wrote what no honest one writes: it gets no other task.
    pub(super) is_clean: bool,
}

impl Memory {
    /// A fresh segment, and in it a record for the worker to move into.
    pub(super) fn open(
        message_bytes_max: u64,
        by_value: bool,
        spin_ticks: u64,
    ) -> Result<Self, SegmentError> {
        let shape = Shape {
            seats: 1,
            records: 1,
            lane_slots: LANE_SLOTS,
            nested_slots: NESTED_SLOTS,
            notice_slots: NOTICE_SLOTS,
            block_bytes_max: message_bytes_max,
            pool_bytes: 0,
            reserve_bytes: 0,
        };
        let map = Map::plan(shape);
        let refused =
            |cause: String| SegmentError::Refused { bytes: map.bytes, cause: std::io::Error::other(cause) };
        let segment = Segment::create("gorun-jail", usize::try_from(map.bytes).unwrap_or(usize::MAX))?;
        map.format(&segment, function::build_identity()).map_err(|error| refused(error.to_string()))?;
        let commons = Commons::open(segment, map.clone()).map_err(|error| refused(error.to_string()))?;
        commons.blocks.set_terms(&PoolTerms { by_value, ..PoolTerms::default() });
        let host = &commons.host;
        // Relaxed, both: the worker is forked later.
        host.spin_ticks.store(spin_ticks, Ordering::Relaxed);
        host.start_ticks.store(ticks::now(), Ordering::Relaxed);
        commons.workers[usize::from(WORKER)].prepare(0, CpuSet::default());
        Ok(Self { commons })
    }

    /// What the worker maps.
    pub(super) fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.commons.segment().file()?, self.commons.segment().bytes() as u64))
    }

    /// Publishes a task at `position` and wakes the worker for it.
    ///
    /// # Errors
    /// If its input finds no room.
    pub(super) fn put(&self, position: u64, order: &Order) -> Result<(), TaskError> {
        let mut descriptor = order.descriptor;
        if let Some(input) = &order.input {
            let bytes = input.len() as u64;
            let no_memory = |_| TaskError::Rejected { reason: Rejection::NoMemory { bytes } };
            let block = OwnedBlock::allocate(&self.commons.blocks, input.len(), OwnerId::HOST);
            let mut block = block.map_err(no_memory)?;
            block.as_mut_slice().copy_from_slice(input);
            let payload = message::payload_of(block.into_handle());
            descriptor = Descriptor { payload, marks: descriptor.marks | MARK_IN_BLOCK, ..descriptor };
        }
        self.commons.lane(LANE).publish(position, &descriptor);
        self.commons.workers[usize::from(WORKER)].bell.notify();
        Ok(())
    }

    /// True once the task at `position` does not run any more, as far as its slot says.
    pub(super) fn has_ended(&self, position: u64) -> bool {
        let (slot, lap) = self.commons.lane(LANE).slot(position);
        let word = slot.word();
        word.lap() != lap || !matches!(word.state(), State::Ready | State::Running)
    }

    /// Asks for the cell's bell to be rung at the task's end; false if it has ended.
    pub(super) fn ask_for_bell(&self, position: u64) -> bool {
        let (slot, lap) = self.commons.lane(LANE).slot(position);
        slot.set_flag(lap, Word::NOTICE).is_ok()
    }

    /// The futex word that changes at the task's end, and what it holds until then; none if it has ended.
    pub(super) fn ask_for_wake(&self, position: u64) -> Option<(&AtomicU32, u32)> {
        let (slot, lap) = self.commons.lane(LANE).slot(position);
        let word = slot.set_flag(lap, Word::SLEEPER).ok()?;
        Some((slot.futex(), word.low_half()))
    }

    /// Asks the task to stop, if it looks.
    pub(super) fn ask_to_stop(&self, position: u64) {
        let task = Intent { lane: LANE.0, position };
        self.commons.workers[usize::from(WORKER)].ask_to_stop(0, task);
    }

    /// Copies the outcome of an ended task out.
    pub(super) fn take(&self, position: u64, attempt: u8) -> Taken {
        let (slot, lap) = self.commons.lane(LANE).slot(position);
        let word = slot.word();
        if word.lap() != lap || word.state() != State::Done {
            return Taken { outcome: Outcome::Broken(Place::Slot), is_clean: false };
        }
        let completion = slot.completion();
        let status = Status::from_byte(completion.status);
        let outcome = match status {
            Some(status @ (Status::Finished | Status::Panicked)) if completion.marks & MARK_IN_BLOCK == 0 => {
                Outcome::Inline { status, bytes: completion.result_bytes, payload: completion.payload }
            }
            Some(Status::Finished | Status::Panicked) if completion.marks & MARK_HANDLES != 0 => {
                let error = TaskError::ResultRefused { reason: ResultRefusal::Blocks };
                Outcome::Failed(Box::new(error))
            }
            Some(status @ (Status::Finished | Status::Panicked)) => {
                let copied = self.copy_out(completion.payload, completion.result_bytes);
                copied.map_or(Outcome::Broken(Place::Result), |bytes| Outcome::Private { status, bytes })
            }
            // The rest is for the host to say, not for a worker.
            Some(
                status @ (Status::InputUndecodable
                | Status::ResultTooLarge
                | Status::UnknownFunction
                | Status::NoMemory
                | Status::ResultUnencodable),
            ) => Outcome::Bare { status, attempt, payload: completion.payload },
            _ => Outcome::Broken(Place::Slot),
        };
        let is_clean = !matches!(outcome, Outcome::Broken(_));
        Taken { outcome, is_clean }
    }

    /// The bytes of a result in a block, which is free again afterwards.
    fn copy_out(&self, payload: [u64; 4], bytes: u32) -> Option<Vec<u8>> {
        let worker = OwnerId::worker(WORKER)?;
        let handle = message::handle_of(payload);
        let block = OwnedBlock::adopt(&self.commons.blocks, handle, worker, OwnerId::HOST).ok()?;
        let bytes = usize::try_from(bytes).ok()?;
        let copy = block.copy_out(bytes);
        (copy.len() == bytes).then_some(copy)
    }

    /// True if the worker came as far as serving.
    pub(super) fn has_begun(&self) -> bool {
        self.commons.workers[usize::from(WORKER)].duty.has_begun()
    }

    /// What the worker wrote down about its own end, and how many tasks it was inside of.
    pub(super) fn last_words(&self) -> (Option<LastWords>, usize) {
        let worker = &self.commons.workers[usize::from(WORKER)];
        (worker.black_box.read(), worker.duty.depth())
    }
}
