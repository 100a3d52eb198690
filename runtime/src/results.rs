//! Results of a range: reading one block of items, each with a tag, and what is left to do.

use crate::book::RangeOutcome;
use crate::error::{Place, TaskError};
use crate::handle::{bare_error, panicked};
use crate::obituary;
use gorun_shm::blocks::OwnedBlock;
use gorun_worker::codec::{self, Portable};
use gorun_worker::run::{ITEM_FINISHED, ITEM_PANICKED, LastItem};
use gorun_worker::wire::status::{PanicReport, Status};

/// What came after the items that could be read.
#[derive(Debug)]
pub(crate) enum Step {
    /// All items are behind us.
    Complete,
    /// `done` items are; the rest must be run, or run again, from this input.
    GoOn { done: u32, input: Option<OwnedBlock> },
    /// `done` items are; the rest have failed with this error.
    Failed { done: u32, error: TaskError },
}

/// The results of one range, decoded one by one as they are asked for.
#[derive(Debug)]
pub(crate) struct RangeReader {
    outcome: RangeOutcome,
    /// Items up to the end of this round.
    count: u32,
    /// Items behind us, those of earlier rounds included.
    done: u32,
    /// Items whose results the worker says it wrote, skipped ones included; believed only as far as they decode.
    written: u32,
    /// Where the next result begins in the output block, and where results end.
    at: usize,
    end: usize,
    limit: u64,
    broken: bool,
    /// Which item ran when the worker died.
    interrupted: Option<u32>,
}

impl RangeReader {
    /// Of a round over the first `count` items of a range, of which earlier rounds have finished `skip`.
    pub(crate) fn new(outcome: RangeOutcome, count: u32, skip: u32, limit: u64) -> Self {
        let last = u32::from(outcome.last.is_some());
        // The last item of a partial range is counted as done, but its result lies elsewhere.
        let written = outcome.done.saturating_sub(last).clamp(skip, count);
        let room = outcome.output.as_ref().map_or(0, |output| output.as_slice().len());
        let end = usize::try_from(outcome.bytes).unwrap_or(usize::MAX).min(room);
        Self { outcome, count, done: skip, written, at: 0, end, limit, broken: false, interrupted: None }
    }

    /// The next item's outcome; none when there are no more to read.
    #[inline]
    pub(crate) fn next_item<R: Portable>(&mut self) -> Option<Result<R, TaskError>> {
        if self.done < self.written {
            return self.next_written();
        }
        self.next_unwritten()
    }

    #[inline]
    fn next_written<R: Portable>(&mut self) -> Option<Result<R, TaskError>> {
        let output = self.outcome.output.as_ref()?;
        let before = output.as_slice().get(self.at..self.end).unwrap_or(&[]);
        let mut bytes = before;
        let Some(item) = read_item(&mut bytes) else {
            self.broken = true;
            self.written = self.done;
            return None;
        };
        self.at += before.len() - bytes.len();
        self.done += 1;
        Some(item)
    }

    /// The item whose result did not fit the block, or the one that ran when the worker died.
    #[cold]
    fn next_unwritten<R: Portable>(&mut self) -> Option<Result<R, TaskError>> {
        if self.broken || self.done >= self.count {
            return None;
        }
        if let Some((item, arrival)) = self.outcome.last.take() {
            self.done += 1;
            let refused_bytes = self.outcome.payload[2];
            return Some(last_result(item, arrival, (refused_bytes, self.limit)));
        }
        if self.outcome.status == Status::Lost && self.outcome.interrupted > 0 {
            self.outcome.interrupted = 0;
            self.interrupted = Some(self.done);
            self.done += 1;
            let evidence = Box::new(obituary::unpack(self.outcome.payload, 1));
            return Some(Err(TaskError::WorkerLost { evidence }));
        }
        None
    }

    /// The item that ran when the worker died: its index, the range's input, and the death as an obituary packs it.
    pub(crate) fn interrupted(&self) -> Option<(u32, &[u8], [u64; 4])> {
        let input = self.outcome.input.as_ref()?;
        Some((self.interrupted?, input.as_slice(), self.outcome.payload))
    }

    /// What is left of `total` items, once [`RangeReader::next_item`] has nothing more.
    pub(crate) fn finish(self, total: u32) -> Step {
        let (done, status) = (self.done, self.outcome.status);
        if let Some(output) = &self.outcome.output {
            output.blocks().record().count_copied(output.owner(), self.at as u64);
        }
        if self.broken {
            Step::Failed { done, error: TaskError::Decode { place: Place::Result } }
        } else if done >= total {
            Step::Complete
        } else if done >= self.count || matches!(status, Status::RangePartial | Status::Lost) {
            Step::GoOn { done, input: self.outcome.input }
        } else {
            Step::Failed { done, error: bare_error(status, 1, self.outcome.payload, self.limit) }
        }
    }
}

#[inline]
fn read_item<R: Portable>(bytes: &mut &[u8]) -> Option<Result<R, TaskError>> {
    let (tag, rest) = bytes.split_first()?;
    *bytes = rest;
    match *tag {
        ITEM_FINISHED => codec::decode_next(bytes).ok().map(Ok),
        ITEM_PANICKED => codec::decode_next::<PanicReport>(bytes).ok().map(|report| Err(panicked(report))),
        _ => None,
    }
}

#[cold]
fn last_result<R: Portable>(
    item: LastItem,
    arrival: Option<gorun_worker::message::Arrival>,
    (refused_bytes, limit): (u64, u64),
) -> Result<R, TaskError> {
    let undecodable = TaskError::Decode { place: Place::Result };
    match (item, arrival) {
        (LastItem::Finished, Some(arrival)) => arrival.decode().map_err(|_| undecodable),
        (LastItem::Panicked, Some(arrival)) => match arrival.decode() {
            Ok(report) => Err(panicked(report)),
            Err(_) => Err(undecodable),
        },
        (LastItem::Refused(status), _) => Err(bare_error(status, 1, [0, refused_bytes, 0, 0], limit)),
        (_, None) => Err(undecodable),
    }
}
