//! A block as it is named to another process: 16 plain bytes, believed only after a check.
//!
//! ```text
//! byte  0  offset      of the block's first byte in the segment
//!       8  bytes       in use, 0..= size of the class
//!      12  generation  which life of the block
//!      14  class       index of the size class
//!      15  tag         0, or the sender's: see `BlockHandle::tagged`
//! ```

use super::class::Class;
use super::table::{BlockId, Stale};
use super::word::{BlockState, Word};
use crate::owner::OwnerId;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Names one life of a block in every process. Any 16 bytes are one; see `Blocks::check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct BlockHandle {
    offset: u64,
    bytes: u32,
    generation: u16,
    class: u8,
    tag: u8,
}

const _: () = assert!(size_of::<BlockHandle>() == 16 && align_of::<BlockHandle>() == 8);
const _: () = assert!(Class::LARGEST_BYTES <= u32::MAX as u64);

impl BlockHandle {
    pub(super) fn new(offset: u64, bytes: u32, generation: u16, class: Class) -> Self {
        Self { offset, bytes, generation, class: class.index(), tag: 0 }
    }

    /// The handle with a number beside it. It is no handle until the number is taken off again.
    #[must_use]
    pub fn tagged(self, tag: u8) -> Self {
        Self { tag, ..self }
    }

    /// The handle, and the number that [`BlockHandle::tagged`] put beside it.
    #[must_use]
    pub fn untagged(self) -> (Self, u8) {
        (Self { tag: 0, ..self }, self.tag)
    }

    /// Takes the handle out of two words, as a slot carries it.
    #[must_use]
    pub fn from_words(words: [u64; 2]) -> Self {
        zerocopy::transmute!(words)
    }

    /// The handle as two words.
    #[must_use]
    pub fn words(self) -> [u64; 2] {
        zerocopy::transmute!(self)
    }

    /// Offset of the first byte in the segment, as the handle says.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Bytes in use, as the handle says.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.bytes
    }

    /// Which life of the block, as the handle says.
    #[must_use]
    pub fn generation(self) -> u16 {
        self.generation
    }

    /// The size class, if the handle names one.
    #[must_use]
    #[inline]
    pub fn class(self) -> Option<Class> {
        Class::new(self.class).filter(|_| self.tag == 0)
    }

    pub(super) fn class_bits(self) -> u8 {
        self.class
    }
}

/// A handle that was checked: its block exists and is in the life the handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// Size class.
    pub class: Class,
    /// Which block of the class, which life of it.
    pub id: BlockId,
    /// Bytes in use, at most the class's.
    pub bytes: u32,
    /// Who had it when it was checked.
    pub state: BlockState,
}

/// Why a handle was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandleError {
    /// There are no such blocks.
    #[error("no block class {class}")]
    NoSuchClass {
        /// What the handle says.
        class: u8,
    },
    /// No block of the class begins there.
    #[error("no block of {class_bytes} bytes begins at offset {offset}")]
    OutOfPlace {
        /// What the handle says.
        offset: u64,
        /// Bytes of a block of its class.
        class_bytes: u64,
    },
    /// More bytes in use than the block has.
    #[error("{bytes} bytes do not fit a block of {class_bytes} bytes")]
    TooLong {
        /// What the handle says.
        bytes: u64,
        /// Bytes of a block of its class.
        class_bytes: u64,
    },
    /// That life of the block is over, or it is somebody else's, or not in the state the call is for.
    #[error("block of generation {generation} is {found:?} now")]
    Stale {
        /// What the handle says.
        generation: u16,
        /// What the block's word says.
        found: Word,
    },
    /// The owner is neither a worker nor the host.
    #[error("{owner:?} cannot have blocks")]
    NotAnOwner {
        /// The owner given.
        owner: OwnerId,
    },
}

impl HandleError {
    pub(super) fn stale(id: BlockId, stale: Stale) -> Self {
        Self::Stale { generation: id.generation, found: stale.found }
    }
}
