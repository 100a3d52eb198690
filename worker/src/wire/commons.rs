//! Commons: a mapped segment with a view of every region, as host, zygote, workers and observers use it.

use super::control::{HostRecord, SeatRecord, WorkerRecord};
use super::ids::LaneId;
use super::map::{AttachError, BREAKERS, Map};
use super::profile::{FUNCTIONS, FunctionRecord, STAMP_EVERY};
use gorun_shm::OwnerId;
use gorun_shm::blocks::Blocks;
use gorun_shm::breaker::BreakerWords;
use gorun_shm::ring::spmc::{Lane, LaneHeader};
use gorun_shm::ring::spsc::RingHeader;
use gorun_shm::segment::{OutOfSegment, Segment, View, ViewSlice};
use gorun_shm::slots::Slot;
use gorun_shm::sync::AtomicU64;
use std::sync::Arc;

/// Every region of a segment, typed.
#[derive(Debug)]
pub struct Commons {
    /// The map the views follow.
    pub map: Map,
    /// The host's books.
    pub host: View<HostRecord>,
    /// One per seat.
    pub seats: ViewSlice<SeatRecord>,
    /// One per worker process.
    pub workers: ViewSlice<WorkerRecord>,
    /// The block allocator.
    pub blocks: Arc<Blocks>,
    /// Circuit breakers that all processes share; those with a name come first.
    pub breakers: ViewSlice<BreakerWords>,
    profiles: ViewSlice<FunctionRecord>,
    stamps: ViewSlice<AtomicU64>,
    lanes: ViewSlice<LaneHeader>,
    slots: ViewSlice<Slot>,
    nested: ViewSlice<Slot>,
    segment: Arc<Segment>,
}

impl Commons {
    /// Views `segment` as `map` says.
    ///
    /// # Errors
    /// [`AttachError::Short`] if a region reaches outside.
    #[inline]
    pub fn open(segment: Arc<Segment>, map: Map) -> Result<Self, AttachError> {
        let short = AttachError::Short { found: segment.bytes() as u64, expected: map.bytes };
        Self::views(segment, map).map_err(|_| short)
    }

    #[inline]
    fn views(segment: Arc<Segment>, map: Map) -> Result<Self, OutOfSegment> {
        let shape = map.shape;
        let (seats, records) = (usize::from(shape.seats), usize::from(shape.records));
        Ok(Self {
            host: segment.view(map.host)?,
            seats: segment.view_slice(map.seats, seats)?,
            workers: segment.view_slice(map.workers, records)?,
            lanes: segment.view_slice(map.lanes, seats + records)?,
            slots: segment.view_slice(map.slots, seats * shape.lane_slots as usize)?,
            nested: segment.view_slice(map.nested, records * shape.nested_slots as usize)?,
            breakers: segment.view_slice(map.breakers, BREAKERS)?,
            profiles: segment.view_slice(map.profiles, seats * FUNCTIONS)?,
            stamps: segment.view_slice(map.stamps, seats * shape.stamps())?,
            blocks: Blocks::new(Arc::clone(&segment), map.blocks)?,
            map,
            segment,
        })
    }

    /// The lane with this id: a seat's, or the nested lane of a worker record.
    ///
    /// # Panics
    /// If there is no such lane; ids from other processes are checked with [`Commons::has_lane`] first.
    #[inline]
    #[must_use]
    pub fn lane(&self, id: LaneId) -> Lane<'_> {
        let (index, seats) = (usize::from(id.0), self.seats.len());
        let (slots, each, place) = if index < seats {
            (&self.slots, self.map.shape.lane_slots as usize, index)
        } else {
            (&self.nested, self.map.shape.nested_slots as usize, index - seats)
        };
        Lane::new(&self.lanes[index], &slots[place * each..(place + 1) * each])
    }

    /// The table of functions of a seat.
    ///
    /// # Panics
    /// If there is no such seat.
    #[inline]
    #[must_use]
    pub fn profile(&self, seat: u16) -> &[FunctionRecord] {
        let first = usize::from(seat) * FUNCTIONS;
        &self.profiles[first..first + FUNCTIONS]
    }

    /// Where the time stands at which the task at this position of a seat's lane was published; most have none.
    #[inline]
    #[must_use]
    pub fn stamp(&self, lane: LaneId, position: u64) -> Option<&AtomicU64> {
        let (seat, each) = (usize::from(lane.0), self.map.shape.stamps());
        if !position.is_multiple_of(STAMP_EVERY) || seat >= self.seats.len() {
            return None;
        }
        let place = (position / STAMP_EVERY % each as u64) as usize;
        self.stamps.get(seat * each + place)
    }

    /// True if a lane has this id.
    #[must_use]
    #[inline]
    pub fn has_lane(&self, id: LaneId) -> bool {
        usize::from(id.0) < self.lanes.len()
    }

    /// The lane that the worker in `record` fills with tasks of its own.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "seats come from a u16")]
    #[inline]
    pub fn nested_lane(&self, record: u16) -> LaneId {
        LaneId(self.seats.len() as u16 + record)
    }

    /// Which process publishes into the lane.
    #[must_use]
    #[inline]
    pub fn producer(&self, id: LaneId) -> OwnerId {
        let record = id.0.checked_sub(self.map.shape.seats);
        record.and_then(OwnerId::worker).unwrap_or(OwnerId::HOST)
    }

    /// Header and words of the ring through which the worker in `record` tells of awaited completions.
    #[must_use]
    #[inline]
    pub fn notices(&self, record: u16) -> Option<(View<RingHeader>, ViewSlice<AtomicU64>)> {
        let (index, each) = (u64::from(record), u64::from(self.map.shape.notice_slots));
        let header = self.map.notice_headers + index * size_of::<RingHeader>() as u64;
        let words = self.map.notice_words + index * each * 8;
        if index >= u64::from(self.map.shape.records) {
            return None;
        }
        Some((
            self.segment.view(header).ok()?,
            self.segment.view_slice(words, usize::try_from(each).ok()?).ok()?,
        ))
    }

    /// The segment beneath.
    #[must_use]
    #[inline]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}
