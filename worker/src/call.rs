//! Call: one attempt at a task, from the claimed descriptor to the completion.

use crate::codec::{self, CodecError, Portable};
use crate::message::{self, Arrival, SealError};
use crate::wire::commons::Commons;
use crate::wire::control::{DutyLine, RangeProgress};
use crate::wire::status::{MARK_IN_BLOCK, PanicReport, Status};
use gorun_shm::OwnerId;
use gorun_shm::slots::{Completion, Descriptor};
use std::sync::Arc;

/// Everything a shim needs: the input, and a place for the outcome.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) commons: &'a Arc<Commons>,
    pub(crate) duty: &'a DutyLine,
    pub(crate) descriptor: Descriptor,
    /// Who runs the task: this process.
    pub(crate) owner: OwnerId,
    /// Who published it.
    pub(crate) sender: OwnerId,
    /// How many tasks this one is inside of.
    pub(crate) depth: usize,
    pub(crate) completion: Completion,
    /// Items beyond the first that a range ran, for the books.
    pub(crate) items: u64,
    /// How many of them panicked.
    pub(crate) panics: u64,
}

impl<'a> Call<'a> {
    #[inline]
    pub(crate) fn new(
        commons: &'a Arc<Commons>,
        duty: &'a DutyLine,
        descriptor: Descriptor,
        parties: (OwnerId, OwnerId),
        depth: usize,
    ) -> Self {
        let completion = Completion { attempt: descriptor.attempt, ..Completion::default() };
        let (owner, sender) = parties;
        Self { commons, duty, descriptor, owner, sender, depth, completion, items: 1, panics: 0 }
    }

    /// The input as it arrived.
    #[inline]
    pub(crate) fn input(&self) -> Result<Arrival, SealError> {
        let Descriptor { payload, input_bytes, marks, .. } = self.descriptor;
        message::open(&self.commons.blocks, self.sender, self.owner, payload, input_bytes, marks)
    }

    /// Decodes the input; on failure notes why and returns nothing.
    #[inline]
    pub(crate) fn take_input<A: Portable>(&mut self) -> Option<A> {
        let decoded = self.input().and_then(|arrival| Ok(arrival.decode::<A>()?));
        match decoded {
            Ok(input) => Some(input),
            Err(_) => {
                self.end(Status::InputUndecodable);
                None
            }
        }
    }

    /// Ends the call with `value`.
    #[inline]
    pub(crate) fn reply<R: Portable>(&mut self, value: &R) {
        self.seal_as(Status::Finished, value);
    }

    /// Ends the call with a panic.
    #[inline]
    pub(crate) fn panicked(&mut self, report: &PanicReport) {
        self.panics += 1;
        if self.completion.marks & MARK_IN_BLOCK != 0 {
            // The value was sealed, and its drop panicked: nobody will take it over.
            let _ = self.commons.blocks.free(message::handle_of(self.completion.payload), self.owner);
        }
        self.completion.marks = 0;
        self.seal_as(Status::Panicked, report);
    }

    /// Ends the call with a bare status.
    #[inline]
    pub(crate) fn end(&mut self, status: Status) {
        self.completion.status = status as u8;
    }

    #[inline]
    fn seal_as<T: Portable>(&mut self, status: Status, value: &T) {
        match message::seal_inline(value) {
            Ok(Some((payload, bytes))) => {
                self.completion.status = status as u8;
                self.completion.result_bytes = bytes;
                self.completion.payload = payload;
            }
            Ok(None) => self.seal_in_block_as(status, value),
            Err(error) => self.refuse(&error),
        }
    }

    #[cold]
    fn seal_in_block_as<T: Portable>(&mut self, status: Status, value: &T) {
        let limit = self.commons.map.shape.block_bytes_max;
        match message::seal_in_block(value, &self.commons.blocks, self.owner, limit) {
            Ok(sealed) => {
                self.completion.status = status as u8;
                self.completion.result_bytes = sealed.bytes;
                self.completion.marks = sealed.marks;
                self.completion.payload = sealed.hand_over_result();
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Notes why a result could not travel.
    #[inline]
    pub(crate) fn refuse(&mut self, error: &SealError) {
        let (status, bytes) = match error {
            SealError::TooLarge { bytes, .. } => (Status::ResultTooLarge, *bytes),
            SealError::NoMemory { bytes, .. } => (Status::NoMemory, *bytes),
            _ => (Status::ResultUnencodable, 0),
        };
        self.end(status);
        self.completion.payload[1] = bytes;
    }

    /// Ends a range: `done` items are finished, their results take `bytes`; `last` holds one more message if
    /// the last item's result did not fit or carries blocks.
    #[inline]
    pub(crate) fn end_range(&mut self, status: Status, done: u32, bytes: u64, last: Option<message::Sealed>) {
        self.completion.status = status as u8;
        self.completion.payload = [u64::from(done), bytes, 0, 0];
        if let Some(sealed) = last {
            self.completion.result_bytes = sealed.bytes;
            self.completion.marks = sealed.marks;
            debug_assert!(sealed.marks & MARK_IN_BLOCK != 0, "the last message of a range lies in a block");
            let [handle, rest, ..] = sealed.hand_over_result();
            self.completion.payload[2] = handle;
            self.completion.payload[3] = rest;
        }
    }

    /// Says how far the range has come, where the host finds it if this process dies.
    #[inline]
    pub(crate) fn note_progress(&self, progress: RangeProgress) {
        self.duty.note_progress(self.depth, progress);
    }
}

impl From<CodecError> for SealError {
    #[inline]
    fn from(error: CodecError) -> Self {
        SealError::Codec(error)
    }
}

/// Encodes one item's result behind `used` bytes of `place`: a tag byte, then the value.
///
/// Returns the bytes used afterwards; none if it does not fit.
#[inline]
pub(crate) fn append_item<T: Portable>(
    tag: u8,
    value: &T,
    place: &mut [u8],
    used: usize,
) -> Result<Option<usize>, CodecError> {
    let Some((first, rest)) = place.get_mut(used..).and_then(<[u8]>::split_first_mut) else {
        return Ok(None);
    };
    *first = tag;
    Ok(codec::encode_next(value, rest)?.map(|bytes| used + 1 + bytes))
}
