//! Range writer: several items of one function, encoded one behind the other into one block.

use crate::codec::{self, Portable};
use crate::message::{self, SealError, Sealed};
use crate::parcel::{self, Carried};
use crate::run::RANGE_PREFIX_BYTES;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{Blocks, OwnedBlock};
use std::sync::Arc;

/// Bytes before each item: how many it has, so that it can be passed over without being decoded.
const LENGTH_BYTES: usize = 4;

/// Takes the next item's bytes off the front.
#[inline]
pub fn next_item<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let (item, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
    *bytes = rest;
    Some(item)
}

/// The items of a range's input, each as its encoded bytes. Ends at the first that makes no sense.
pub fn items(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut bytes = input.get(RANGE_PREFIX_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || next_item(&mut bytes))
}

/// A range being filled.
#[derive(Debug)]
pub struct RangeWriter {
    block: OwnedBlock,
    used: usize,
    count: u32,
    /// Where items must end, so that the handles of what they carry fit behind.
    room: usize,
    /// Blocks carried so far.
    parcels: Vec<Carried>,
    /// Bytes of items so far that hold values, instead of naming blocks.
    copied: u64,
    /// Where the last item begins, how many blocks were carried before it, and its bytes that hold values.
    last: (usize, usize, u64),
}

impl RangeWriter {
    /// A writer into a block of at least `bytes` bytes.
    ///
    /// # Errors
    /// [`SealError::NoMemory`].
    pub fn with_room(blocks: &Arc<Blocks>, owner: OwnerId, bytes: usize) -> Result<Self, SealError> {
        let asked = bytes.max(RANGE_PREFIX_BYTES);
        let no_memory = |cause| SealError::NoMemory { bytes: asked as u64, cause };
        let mut block = OwnedBlock::allocate_in_time(blocks, asked, owner).map_err(no_memory)?;
        // The whole class may be used; what is left over is cut off at the end.
        let _ = block.set_bytes(block.capacity().min(asked.next_power_of_two()));
        let room = block.as_slice().len();
        Ok(Self {
            block,
            used: RANGE_PREFIX_BYTES,
            count: 0,
            room,
            parcels: Vec::new(),
            copied: 0,
            last: (0, 0, 0),
        })
    }

    /// Items so far.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The encoded bytes of the last item.
    #[must_use]
    pub fn last_item(&self) -> &[u8] {
        let (start, ..) = self.last;
        self.block.as_slice().get(start + LENGTH_BYTES..self.used).unwrap_or_default()
    }

    /// Takes the last item out again; once for each [`RangeWriter::push`].
    pub fn take_back(&mut self) {
        let (start, carried, copied) = self.last;
        self.copied -= copied;
        self.used = start;
        self.parcels.truncate(carried);
        self.count -= 1;
    }

    /// Appends an item; false if it does not fit any more.
    ///
    /// # Errors
    /// [`SealError::Codec`] if its `Serialize` refuses.
    #[inline]
    pub fn push<A: Portable>(&mut self, item: &A) -> Result<bool, SealError> {
        let room = self.room;
        let place = self.block.as_mut_slice().get_mut(self.used..room);
        let Some((length, place)) = place.and_then(<[u8]>::split_first_chunk_mut::<LENGTH_BYTES>) else {
            return Ok(false);
        };
        self.last = (self.used, self.parcels.len(), 0);
        if codec::is_number::<A>() {
            let Some(bytes) = codec::encode_next(item, place)? else { return Ok(false) };
            *length = u32::try_from(bytes).map_err(|_| SealError::Malformed)?.to_ne_bytes();
            self.used += LENGTH_BYTES + bytes;
            self.count += 1;
            self.count_last(bytes);
            return Ok(true);
        }
        let packing = parcel::Packing::begin_after(self.parcels.len());
        let Some(bytes) = codec::encode_next(item, place)? else { return Ok(false) };
        *length = u32::try_from(bytes).map_err(|_| SealError::Malformed)?.to_ne_bytes();
        let own_bytes = bytes.saturating_sub(packing.named_bytes());
        let bytes = LENGTH_BYTES + bytes;
        if !packing.is_empty() && !self.take_in(packing.finish(), self.used + bytes) {
            return Ok(false);
        }
        self.used += bytes;
        self.count += 1;
        self.count_last(own_bytes);
        Ok(true)
    }

    #[inline]
    fn count_last(&mut self, bytes: usize) {
        self.last.2 = bytes as u64;
        self.copied += bytes as u64;
    }

    /// The item carries blocks: room for their handles comes off what is left. False if there is too little.
    #[cold]
    fn take_in(&mut self, new: Vec<Carried>, used: usize) -> bool {
        let tail = message::handles_bytes(self.parcels.len() + new.len());
        let bytes = self.block.as_slice().len();
        if used.next_multiple_of(8) + tail > bytes {
            return false;
        }
        self.parcels.extend(new);
        self.room = bytes.saturating_sub(tail + 8);
        true
    }

    /// Ends the range.
    ///
    /// # Errors
    /// [`SealError::ForeignBlock`] if an item carries a block of another runtime.
    pub fn finish(mut self, blocks: &Arc<Blocks>) -> Result<Sealed, SealError> {
        write_prefix(&mut self.block, self.count, 0);
        blocks.record().count_copied(self.block.owner(), self.copied);
        message::finish_block(self.block, self.used, self.parcels, blocks)
    }
}

/// Bytes that a range with this one item needs.
///
/// # Errors
/// [`SealError::Codec`] if its `Serialize` refuses.
pub fn bytes_of_one<A: Portable>(item: &A) -> Result<usize, SealError> {
    let packing = parcel::Packing::begin();
    let mut sink = codec::Measure::default();
    codec::measure_next(item, &mut sink)?;
    let carried = packing.count();
    Ok((RANGE_PREFIX_BYTES + LENGTH_BYTES + sink.bytes()).next_multiple_of(8)
        + message::handles_bytes(carried))
}

/// Writes how many items a range's block holds and how many of them to skip.
pub fn write_prefix(block: &mut OwnedBlock, count: u32, skip: u32) {
    if let Some((prefix, _)) = block.as_mut_slice().split_first_chunk_mut::<RANGE_PREFIX_BYTES>() {
        prefix[..8].copy_from_slice(&u64::from(count).to_ne_bytes());
        prefix[8..].copy_from_slice(&u64::from(skip).to_ne_bytes());
    }
}
