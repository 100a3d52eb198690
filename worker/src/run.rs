//! Run: the typed shims, one per shape of function. Their addresses travel beside the user's function.
//!
//! A range is many calls of one function in one slot: results are appended one behind the other, each with a
//! tag, and the progress is noted before and after each item, so that a death costs exactly the item that ran.

use crate::call::{Call, append_item};
use crate::codec::{self, Portable};
use crate::context::contain;
use crate::function;
use crate::message::{self, SealError, Sealed};
use crate::parcel;
use crate::range::next_item;
use crate::wire::control::RangeProgress;
use crate::wire::status::{PanicReport, Status};
use gorun_shm::blocks::{BlockHandle, OwnedBlock};

/// Tag of an item that finished.
pub const ITEM_FINISHED: u8 = 0;
/// Tag of an item that panicked; its value is a [`PanicReport`].
pub const ITEM_PANICKED: u8 = 1;
/// Bytes before the items of a range's input: how many there are, and how many to skip, 8 bytes each.
pub const RANGE_PREFIX_BYTES: usize = 16;

/// Shim of `fn() -> R`.
pub fn run_thunk<R: Portable>(call: &mut Call<'_>) {
    let descriptor = call.descriptor;
    let Some(thunk) = function::thunk::<R>(&descriptor) else { return call.end(Status::UnknownFunction) };
    match contain(thunk) {
        Ok(value) => call.reply(&value),
        Err(report) => call.panicked(&report),
    }
}

/// Shim of `fn(A) -> R`.
pub fn run_function<A: Portable, R: Portable>(call: &mut Call<'_>) {
    let descriptor = call.descriptor;
    let Some(user) = function::typed::<A, R>(&descriptor) else { return call.end(Status::UnknownFunction) };
    let Some(input) = call.take_input::<A>() else { return };
    match contain(|| user(input)) {
        Ok(value) => call.reply(&value),
        Err(report) => call.panicked(&report),
    }
}

/// Shim of `fn(A) -> R` over a range of items.
pub fn run_range<A: Portable, R: Portable>(call: &mut Call<'_>) {
    let descriptor = call.descriptor;
    call.items = 0;
    let Some(user) = function::typed::<A, R>(&descriptor) else { return call.end(Status::UnknownFunction) };
    let [_, _, low, high] = descriptor.payload;
    let output = BlockHandle::from_words([low, high]);
    let output = OwnedBlock::adopt(&call.commons.blocks, output, call.sender, call.owner);
    let (Ok(mut arrival), Ok(mut output)) = (call.input(), output) else {
        return call.end(Status::InputUndecodable);
    };
    {
        let unpacking = arrival.unpack();
        let mut bytes = arrival.bytes();
        let Some((count, skip)) = read_prefix(&mut bytes) else { return call.end(Status::InputUndecodable) };
        let mut range = Range {
            call,
            output: output.as_mut_slice(),
            count,
            done: 0,
            read: 0,
            written: 0,
            item_start: 0,
            last_tag: ITEM_FINISHED,
        };
        range.run(user, bytes, skip);
        let copied = (range.read + range.written).saturating_sub(unpacking.named_bytes());
        call.commons.blocks.record().count_copied(call.owner, copied as u64);
    }
    // Both blocks go back: the results lie in one, and what is left to do in the other.
    output.give_back(call.sender);
    if let Some(input) = arrival.take_block() {
        input.give_back(call.sender);
    }
}

/// Why a range ends before its last item, or with a result that is not among the others.
enum Stop {
    /// What follows is no item.
    Undecodable,
    /// The last result lies in a message of its own.
    Aside(Sealed),
    /// The last result could not travel.
    Refused(SealError),
}

struct Range<'c, 'a, 'o> {
    call: &'c mut Call<'a>,
    output: &'o mut [u8],
    count: u32,
    /// Items behind us, skipped ones included.
    done: u32,
    /// Bytes of the items that were decoded.
    read: usize,
    written: usize,
    /// Where the results of the item that runs begin.
    item_start: usize,
    /// Tag of the item whose result lies in a message of its own.
    last_tag: u8,
}

impl Range<'_, '_, '_> {
    fn run<A: Portable, R: Portable>(&mut self, user: fn(A) -> R, mut bytes: &[u8], skip: u32) {
        while self.done < skip.min(self.count) {
            if next_item(&mut bytes).is_none() {
                return self.end(Status::InputUndecodable, None);
            }
            self.done += 1;
        }
        loop {
            // One net for many items: only a panic makes a new one necessary.
            let stop = contain(|| self.run_items::<A, R>(user, &mut bytes)).unwrap_or_else(|report| {
                self.call.panics += 1;
                // What the item had written before it panicked, in the drop of its value, is taken back.
                self.written = self.item_start;
                let appended = self.append::<PanicReport>(ITEM_PANICKED, &report);
                self.pass(appended)
            });
            match stop {
                Some(stop) => return self.stop(stop),
                None if self.done == self.count => {
                    self.note(0);
                    return self.end(Status::Finished, None);
                }
                None => {}
            }
        }
    }

    /// Runs items until one panics, which unwinds through this, or something else ends the range; none at its end.
    fn run_items<A: Portable, R: Portable>(&mut self, user: fn(A) -> R, bytes: &mut &[u8]) -> Option<Stop> {
        while self.done < self.count {
            let Some(item) = next_item(bytes) else { return Some(Stop::Undecodable) };
            self.note(1);
            self.read += item.len();
            self.item_start = self.written;
            let appended = self.run_item::<A, R>(user, item);
            let stop = self.pass(appended);
            if stop.is_some() {
                return stop;
            }
        }
        None
    }

    /// An item is behind us. The range ends with it if its result is not among the others.
    #[inline]
    fn pass(&mut self, appended: Result<Option<Sealed>, SealError>) -> Option<Stop> {
        self.call.items += 1;
        self.done += 1;
        match appended {
            Ok(None) => None,
            Ok(Some(sealed)) => Some(Stop::Aside(sealed)),
            Err(error) => Some(Stop::Refused(error)),
        }
    }

    #[cold]
    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Undecodable => self.end(Status::InputUndecodable, None),
            Stop::Aside(sealed) => {
                self.end(Status::RangePartial, Some(sealed));
                self.call.completion.marks |= last_is(self.last_tag);
            }
            Stop::Refused(error) => {
                self.end(Status::RangePartial, None);
                // The last item's value could not travel; the status of that is told in its place.
                self.call.completion.payload[2] = bytes_of(&error);
                self.call.completion.marks |= last_refused_as(&error);
            }
        }
    }

    #[inline]
    fn run_item<A: Portable, R: Portable>(
        &mut self,
        user: fn(A) -> R,
        mut item: &[u8],
    ) -> Result<Option<Sealed>, SealError> {
        match codec::decode_next::<A>(&mut item) {
            Ok(input) => self.append(ITEM_FINISHED, &user(input)),
            Err(_) => Err(SealError::Malformed),
        }
    }

    /// Puts a result behind the others, or, if it does not fit or carries blocks, into a message of its own.
    #[inline]
    fn append<T: Portable>(&mut self, tag: u8, value: &T) -> Result<Option<Sealed>, SealError> {
        if codec::is_number::<T>()
            && let Some(used) = append_item(tag, value, self.output, self.written)?
        {
            self.written = used;
            return Ok(None);
        }
        let packing = parcel::Packing::begin();
        if let Some(used) = append_item(tag, value, self.output, self.written)?
            && packing.is_empty()
        {
            self.written = used;
            return Ok(None);
        }
        drop(packing);
        let limit = self.call.commons.map.shape.block_bytes_max;
        self.last_tag = tag;
        message::seal_in_block(value, &self.call.commons.blocks, self.call.owner, limit).map(Some)
    }

    #[inline]
    fn note(&self, started: u32) {
        let finished = self.done;
        let bytes = self.written as u64;
        self.call.note_progress(RangeProgress { started: finished + started, finished, bytes });
    }

    fn end(&mut self, status: Status, last: Option<Sealed>) {
        self.call.end_range(status, self.done, self.written as u64, last);
    }
}

/// What became of the last item of a partial range, whose result is not among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastItem {
    /// Its result lies in a message of its own.
    Finished,
    /// Its panic report lies in a message of its own.
    Panicked,
    /// Its result could not travel.
    Refused(Status),
}

const LAST_SHIFT: u32 = 4;

fn last_is(tag: u8) -> u8 {
    if tag == ITEM_PANICKED { (Status::Panicked as u8) << LAST_SHIFT } else { 0 }
}

fn last_refused_as(error: &SealError) -> u8 {
    let status = match error {
        SealError::TooLarge { .. } => Status::ResultTooLarge,
        SealError::NoMemory { .. } => Status::NoMemory,
        SealError::Malformed => Status::InputUndecodable,
        _ => Status::ResultUnencodable,
    };
    (status as u8) << LAST_SHIFT
}

/// Bytes that could not travel, for the error.
fn bytes_of(error: &SealError) -> u64 {
    match error {
        SealError::TooLarge { bytes, .. } | SealError::NoMemory { bytes, .. } => *bytes,
        _ => 0,
    }
}

/// Reads from the marks of a [`Status::RangePartial`] completion what became of its last item.
#[must_use]
pub fn last_item(marks: u8) -> LastItem {
    match Status::from_byte(marks >> LAST_SHIFT) {
        Some(Status::Finished) => LastItem::Finished,
        Some(Status::Panicked) => LastItem::Panicked,
        Some(status) => LastItem::Refused(status),
        None => LastItem::Refused(Status::ResultUnencodable),
    }
}

fn read_prefix(bytes: &mut &[u8]) -> Option<(u32, u32)> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let (skip, rest) = rest.split_first_chunk::<8>()?;
    *bytes = rest;
    let count = u32::try_from(u64::from_ne_bytes(*count)).ok()?;
    let skip = u32::try_from(u64::from_ne_bytes(*skip)).ok()?;
    Some((count, skip))
}
