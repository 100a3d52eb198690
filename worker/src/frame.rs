//! Frame: what stands around the bytes of a message in a channel that compresses them or sums them up.
//!
//! ```text
//! in a block   byte  0  bytes before compression; 0: they were not compressed
//!                    8  checksum of all that follows; 0 in a channel without
//!                   16  the bytes
//! in a slot    the bytes, then their checksum in 8 bytes; never compressed
//! ```
//! A value is compressed only where its bytes are copied anyway, from the sender's memory into a block.
//!
//! Progress: wait-free but for memory.

use crate::codec::{self, Portable};
use crate::end::End;
use crate::message::{self, SealError, Sealed};
use crate::parcel;
use gorun_shm::blocks::OwnedBlock;
use gorun_shm::ring::mpmc::{Header, Terms};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;

/// Bit of a channel's terms: its messages carry a checksum.
pub const CHECKSUM: u64 = 1 << 3;
/// Bytes of a checksum.
pub(crate) const SUM_BYTES: usize = 8;
const HEAD_BYTES: usize = 16;
/// The best that the format can do: a byte stands for 255.
const RATIO_MAX: usize = 256;

/// True if messages of such a channel are framed.
#[inline]
#[must_use]
pub fn is_framed(terms: &Terms) -> bool {
    is_summed(terms) || terms.compress > 0
}

#[inline]
pub(crate) fn is_summed(terms: &Terms) -> bool {
    terms.terms & CHECKSUM != 0
}

/// Encodes `value` into this process's own memory, and puts into a block what `wrap` makes of the bytes. What is carried
/// beside them is refused unless `may_carry`.
///
/// # Errors
/// [`SealError`]; nothing stays allocated.
#[cold]
pub(crate) fn seal_wrapped<T: Portable>(
    value: &T,
    end: &End,
    may_carry: bool,
    wrap: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<Sealed, SealError> {
    let blocks = end.blocks();
    let limit = blocks.shape().largest_bytes().min(u64::from(u32::MAX));
    let packing = parcel::Packing::begin();
    let encoded = codec::encoded_bytes(value)?;
    if encoded > limit {
        return Err(SealError::TooLarge { bytes: encoded, limit });
    }
    packing.clear();
    let mut bytes = vec![0; usize::try_from(encoded).map_err(|_| SealError::Malformed)?];
    let used = codec::encode(value, &mut bytes)?.ok_or(SealError::Malformed)?;
    let parcels = packing.finish();
    if !may_carry && !parcels.is_empty() {
        return Err(SealError::NotCopied);
    }
    let wrapped = wrap(&bytes[..used]);
    let handles_at = wrapped.len().next_multiple_of(8);
    let no_memory = |cause| SealError::NoMemory { bytes: encoded, cause };
    let block =
        OwnedBlock::allocate(blocks, handles_at + message::handles_bytes(parcels.len()), end.me().owner());
    let mut block = block.map_err(no_memory)?;
    block.as_mut_slice()[..wrapped.len()].copy_from_slice(&wrapped);
    message::finish_block(block, wrapped.len(), parcels, blocks)
}

/// Puts `bytes` into a frame, compressed if they are long enough and it helps.
pub(crate) fn wrap(bytes: &[u8], terms: &Terms, header: &Header) -> Vec<u8> {
    let is_long = terms.compress > 0 && bytes.len() as u64 >= terms.compress;
    let compressed =
        is_long.then(|| lz4_flex::block::compress(bytes)).filter(|short| short.len() < bytes.len());
    if let Some(short) = &compressed {
        header.compressed_from.add_shared(bytes.len() as u64);
        header.compressed_to.add_shared(short.len() as u64);
    }
    let before = if compressed.is_some() { bytes.len() as u64 } else { 0 };
    let stored = compressed.as_deref().unwrap_or(bytes);
    let sum = if is_summed(terms) { xxh3_64(stored) } else { 0 };
    [[before, sum].as_bytes(), stored].concat()
}

/// Takes the bytes out of a frame.
///
/// # Errors
/// [`SealError::Checksum`] if they are not what was put in, [`SealError::Malformed`] if they cannot be.
pub(crate) fn unwrap<'a>(frame: &'a [u8], terms: &Terms, limit: usize) -> Result<Cow<'a, [u8]>, SealError> {
    let (head, stored) = frame.split_at_checked(HEAD_BYTES).ok_or(SealError::Malformed)?;
    let (before, sum) = (word(&head[..8])?, word(&head[8..])?);
    if is_summed(terms) && xxh3_64(stored) != sum {
        return Err(SealError::Checksum);
    }
    if before == 0 {
        return Ok(Cow::Borrowed(stored));
    }
    let before = usize::try_from(before).map_err(|_| SealError::Malformed)?;
    // What another process wrote is no allocation size.
    if before > limit || before / RATIO_MAX > stored.len() {
        return Err(SealError::Malformed);
    }
    let bytes = lz4_flex::block::decompress(stored, before).map_err(|_| SealError::Malformed)?;
    if bytes.len() == before { Ok(Cow::Owned(bytes)) } else { Err(SealError::Malformed) }
}

/// Puts the checksum of the first `used` bytes behind them; none if there is no room.
pub(crate) fn sum_up(place: &mut [u8], used: usize) -> Option<usize> {
    let (bytes, rest) = place.split_at_mut_checked(used)?;
    rest.get_mut(..SUM_BYTES)?.copy_from_slice(&xxh3_64(bytes).to_ne_bytes());
    Some(used + SUM_BYTES)
}

/// The bytes before their checksum.
///
/// # Errors
/// [`SealError::Checksum`] if it is another's.
pub(crate) fn summed(bytes: &[u8]) -> Result<&[u8], SealError> {
    let (bytes, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(SealError::Malformed)?;
    if xxh3_64(bytes) == u64::from_ne_bytes(*sum) { Ok(bytes) } else { Err(SealError::Checksum) }
}

fn word(bytes: &[u8]) -> Result<u64, SealError> {
    bytes.try_into().map(u64::from_ne_bytes).map_err(|_| SealError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn terms(compress: u64) -> Terms {
        Terms { terms: CHECKSUM, compress, ..Terms::default() }
    }

    #[test]
    fn long_bytes_are_compressed_and_come_back() {
        let (header, bytes) = (Header::default(), vec![7; 10_000]);
        let frame = wrap(&bytes, &terms(1000), &header);
        assert!(frame.len() < 200);
        assert_eq!(header.compressed_from.get(), 10_000);
        assert_eq!(header.compressed_to.get(), frame.len() as u64 - 16);
        assert_eq!(unwrap(&frame, &terms(1000), LIMIT).unwrap(), bytes);
    }

    #[test]
    fn short_bytes_and_noise_stay_as_they_are() {
        let header = Header::default();
        let noise: Vec<u8> = (0..1000_u64).map(|n| xxh3_64(&n.to_ne_bytes()).to_ne_bytes()[0]).collect();
        for bytes in [&noise[..], &[7; 999]] {
            let frame = wrap(bytes, &terms(1000), &header);
            assert_eq!(frame.len(), bytes.len() + 16);
            assert_eq!(unwrap(&frame, &terms(1000), LIMIT).unwrap(), bytes);
        }
        assert_eq!(header.compressed_from.get(), 0);
    }

    #[test]
    fn every_flipped_bit_behind_the_head_is_found() {
        let frame = wrap(&[7; 2000], &terms(1000), &Header::default());
        for bit in 64..frame.len() * 8 {
            let mut scribbled = frame.clone();
            scribbled[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(unwrap(&scribbled, &terms(1000), LIMIT), Err(SealError::Checksum)), "bit {bit}");
        }
    }

    #[test]
    fn a_length_from_elsewhere_is_no_allocation_size() {
        let mut frame = wrap(&[7; 2000], &terms(1000), &Header::default());
        for length in [u64::MAX, 1 << 40, LIMIT as u64 + 1, 1 << 19] {
            frame[..8].copy_from_slice(&length.to_ne_bytes());
            assert!(matches!(unwrap(&frame, &terms(1000), LIMIT), Err(SealError::Malformed)), "{length}");
        }
    }
}
