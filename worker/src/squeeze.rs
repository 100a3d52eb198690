//! Squeeze: messages in blocks, compressed where a runtime asks for it.
//!
//! ```text
//! word 0     0, or how many bytes the value has when it is decompressed
//! byte 8..   the encoded value, or what LZ4 made of it
//! ```
//! Only messages of such a runtime begin with the word. Both sides read from the pool's record whether theirs is one.

use crate::codec::{self, CodecError, Portable};
use crate::message::SealError;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{Blocks, OwnedBlock};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes before the value.
pub(crate) const WORD_BYTES: usize = 8;
/// No byte of LZ4 stands for more than so many.
const RATIO_MAX: usize = 255;

/// A value as it will stand in its block.
pub(crate) struct Squeezed {
    word: u64,
    bytes: Vec<u8>,
    /// Bytes before compression.
    pub(crate) encoded: usize,
}

impl Squeezed {
    /// Encodes `value`, which takes `encoded` bytes, and compresses it if it has at least `from` and shrinks.
    pub(crate) fn of<T: Portable>(value: &T, encoded: usize, from: u64) -> Result<Self, SealError> {
        let mut bytes = vec![0; encoded];
        let encoded = codec::encode(value, &mut bytes)?.ok_or(SealError::Malformed)?;
        bytes.truncate(encoded);
        if encoded as u64 >= from {
            let small = lz4_flex::block::compress(&bytes);
            if small.len() < encoded {
                return Ok(Self { word: encoded as u64, bytes: small, encoded });
            }
        }
        Ok(Self { word: 0, bytes, encoded })
    }

    /// Bytes in the block.
    pub(crate) fn stored(&self) -> usize {
        WORD_BYTES + self.bytes.len()
    }

    /// Puts it at the beginning of a block that is large enough.
    pub(crate) fn put(&self, block: &mut OwnedBlock) -> Result<(), SealError> {
        let place = block.as_mut_slice().get_mut(..self.stored()).ok_or(SealError::Malformed)?;
        let (word, rest) = place.split_first_chunk_mut::<WORD_BYTES>().ok_or(SealError::Malformed)?;
        *word = self.word.to_ne_bytes();
        rest.copy_from_slice(&self.bytes);
        Ok(())
    }

    /// Counts what was copied, and what compression spared.
    pub(crate) fn count(&self, blocks: &Arc<Blocks>, owner: OwnerId) {
        blocks.record().count_copied(owner, self.encoded as u64);
        blocks.record().count_spared(self.encoded.saturating_sub(self.bytes.len()) as u64);
    }
}

/// The encoded value of a message of such a runtime. The bytes come from another process.
pub(crate) fn unsqueezed<'a>(bytes: &'a [u8], blocks: &Blocks) -> Result<Cow<'a, [u8]>, CodecError> {
    let refused = |what: String| CodecError::Decode {
        bytes: bytes.len(),
        cause: Box::new(bincode::ErrorKind::Custom(what)),
    };
    let Some((word, rest)) = bytes.split_first_chunk::<WORD_BYTES>() else {
        return Err(refused("the message is cut off".to_owned()));
    };
    let encoded = usize::try_from(u64::from_ne_bytes(*word)).unwrap_or(usize::MAX);
    if encoded == 0 {
        return Ok(Cow::Borrowed(rest));
    }
    // A length from elsewhere is no allocation size: no more than LZ4 can have made it from, and than a message may have.
    let most = rest.len().saturating_mul(RATIO_MAX).saturating_add(RATIO_MAX);
    if encoded > most || encoded as u64 > blocks.shape().largest_bytes() {
        return Err(refused(format!("{encoded} bytes cannot come out of {}", rest.len())));
    }
    let decompressed =
        lz4_flex::block::decompress(rest, encoded).map_err(|error| refused(error.to_string()))?;
    Ok(Cow::Owned(decompressed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun_shm::blocks::Limits;

    fn blocks() -> Arc<Blocks> {
        Blocks::private(&Limits::FULL.divided_by(64).cut_at(1 << 20)).unwrap()
    }

    fn put(value: &Vec<u8>, from: u64) -> (OwnedBlock, usize) {
        let squeezed = Squeezed::of(value, value.len(), from).unwrap();
        let mut block = OwnedBlock::allocate(&blocks(), squeezed.stored(), OwnerId::HOST).unwrap();
        squeezed.put(&mut block).unwrap();
        (block, squeezed.stored())
    }

    #[test]
    fn what_shrinks_is_compressed_and_comes_back() {
        let value = vec![7_u8; 100_000];
        let (block, stored) = put(&value, 1000);
        assert!(stored < 1000);
        assert_eq!(unsqueezed(&block.as_slice()[..stored], block.blocks()).unwrap(), value);
    }

    #[test]
    fn what_is_small_or_does_not_shrink_stays_as_it_is() {
        let mut seed = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .take(10_000)
        .collect();
        for (value, from) in [(vec![1_u8; 500], 1000), (noise, 1000)] {
            let (block, stored) = put(&value, from);
            assert_eq!(stored, WORD_BYTES + value.len());
            assert_eq!(unsqueezed(&block.as_slice()[..stored], block.blocks()).unwrap(), value);
        }
    }

    #[test]
    fn hostile_bytes_are_refused_and_allocate_little() {
        let blocks = blocks();
        let with_word = |word: u64, rest: &[u8]| [&word.to_ne_bytes()[..], rest].concat();
        assert!(unsqueezed(&[1, 2, 3], &blocks).is_err());
        assert!(unsqueezed(&with_word(u64::MAX, &[0; 100]), &blocks).is_err());
        assert!(unsqueezed(&with_word(1 << 30, &[0; 100]), &blocks).is_err());
        assert!(unsqueezed(&with_word(2 << 20, &[0xFF; 100_000]), &blocks).is_err());
        let honest = lz4_flex::block::compress(&[5; 1000]);
        for flipped in 0..honest.len() {
            let mut bent = honest.clone();
            bent[flipped] ^= 0xFF;
            // Refused, or other bytes; never more than said.
            assert!(unsqueezed(&with_word(1000, &bent), &blocks).map_or(true, |bytes| bytes.len() <= 1000));
        }
        for word in [1, 999, 1001] {
            let bent = with_word(word, &honest);
            let found = unsqueezed(&bent, &blocks);
            assert!(found.is_err() || word > 1000, "{word}");
        }
    }
}
