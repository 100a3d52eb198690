//! Bulk: the bytes of a shared slice: where they lie, and how they travel.
//!
//! They lie in a shared block and travel by its handle; or in memory of this process, where a runtime lets nobody share
//! any, and travel by value.
//!
//! ```text
//! encoded   number of the block among those the message carries                  the whole block
//!           number | PART, first byte, count of bytes                            a part of it
//!           COPY, count of bytes, the bytes                                      by value
//! ```

use crate::parcel;
use gorun_shm::blocks::{OwnedBlock, SharedBlock};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const PART: u32 = 1 << 31;
const COPY: u32 = u32::MAX;
const NAME_BYTES: usize = size_of::<u32>();
const PART_BYTES: usize = NAME_BYTES + 2 * size_of::<u64>();

/// Bytes that nobody writes any more. Cloning copies none of them.
#[derive(Clone)]
pub struct Bulk {
    place: Place,
    /// First byte, and count of bytes, within the place; checked when it was made.
    at: usize,
    bytes: usize,
}

#[derive(Clone)]
enum Place {
    Shared(SharedBlock),
    Own(Arc<Own>),
}

/// Bytes in memory of this process, aligned as blocks are.
#[derive(Debug)]
pub struct Own {
    lines: Vec<Line>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Room for bytes, to be filled.
#[derive(Debug)]
pub enum Room {
    /// In a block.
    Shared(OwnedBlock),
    /// In memory of this process.
    Own(Own),
}

impl Own {
    /// Zeroes; none if there is no memory for them.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Option<Self> {
        let lines = Line::new_vec_zeroed(bytes.div_ceil(size_of::<Line>())).ok()?;
        Some(Self { lines, bytes })
    }

    fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut own = Self::zeroed(bytes.len())?;
        own.as_mut_slice().copy_from_slice(bytes);
        Some(own)
    }

    fn as_slice(&self) -> &[u8] {
        &self.lines.as_bytes()[..self.bytes]
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.lines.as_mut_bytes()[..self.bytes]
    }
}

impl Room {
    /// The bytes, to read.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(block) => block.as_slice(),
            Self::Own(own) => own.as_slice(),
        }
    }

    /// The bytes, to write.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Shared(block) => block.as_mut_slice(),
            Self::Own(own) => own.as_mut_slice(),
        }
    }

    /// Drops all bytes but the first `bytes`.
    pub fn truncate(&mut self, bytes: usize) {
        match self {
            Self::Shared(block) if bytes < block.as_slice().len() => {
                // Cannot fail: a block has room for fewer bytes than it has in use.
                let _ = block.set_bytes(bytes);
            }
            Self::Shared(_) => {}
            Self::Own(own) => own.bytes = own.bytes.min(bytes),
        }
    }
}

impl Bulk {
    /// All bytes of a shared block.
    #[must_use]
    pub fn shared(block: SharedBlock) -> Self {
        let bytes = block.as_slice().len();
        Self { place: Place::Shared(block), at: 0, bytes }
    }

    /// Memory of this process.
    #[must_use]
    pub fn own(own: Own) -> Self {
        let bytes = own.bytes;
        Self { place: Place::Own(Arc::new(own)), at: 0, bytes }
    }

    /// The bytes where they lie.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let all = match &self.place {
            Place::Shared(block) => block.as_slice(),
            Place::Own(own) => own.as_slice(),
        };
        &all[self.at..self.at + self.bytes]
    }

    /// `bytes` of them from byte `at` on, in the same place; none if there are not so many.
    #[must_use]
    pub fn part(&self, at: usize, bytes: usize) -> Option<Self> {
        let end = at.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self { place: self.place.clone(), at: self.at + at, bytes })
    }

    /// Where they begin in the segment; none in memory of this process.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match &self.place {
            Place::Shared(block) => Some(block.handle().offset() + self.at as u64),
            Place::Own(_) => None,
        }
    }

    /// The block they lie in, if it travels.
    fn travelling(&self) -> Option<&SharedBlock> {
        match &self.place {
            Place::Shared(block) if !block.blocks().terms().by_value => Some(block),
            _ => None,
        }
    }
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").field("offset", &self.offset()).field("bytes", &self.bytes).finish()
    }
}

impl Serialize for Bulk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(block) = self.travelling() else { return self.serialize_bytes(serializer) };
        let is_whole = self.at == 0 && self.bytes == block.as_slice().len();
        let named_bytes = if is_whole { NAME_BYTES } else { PART_BYTES };
        let number = parcel::pack_block(block, named_bytes).map_err(S::Error::custom)?;
        if is_whole {
            let mut name = serializer.serialize_tuple(1)?;
            name.serialize_element(&number)?;
            return name.end();
        }
        let mut name = serializer.serialize_tuple(3)?;
        name.serialize_element(&(number | PART))?;
        name.serialize_element(&(self.at as u64))?;
        name.serialize_element(&(self.bytes as u64))?;
        name.end()
    }
}

impl Bulk {
    fn serialize_bytes<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::check_packing().map_err(S::Error::custom)?;
        let mut copy = serializer.serialize_tuple(2)?;
        copy.serialize_element(&COPY)?;
        copy.serialize_element(&Bytes(self.as_slice()))?;
        copy.end()
    }
}

impl<'de> Deserialize<'de> for Bulk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, Names)
    }
}

/// Bytes as serde sees them at once, instead of one by one.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Copied(Own);

impl<'de> Deserialize<'de> for Copied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Copies)
    }
}

struct Copies;

impl Visitor<'_> for Copies {
    type Value = Copied;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a slice")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Copied, E> {
        let own = Own::copy_of(bytes).ok_or_else(|| E::custom("no memory for the bytes of a slice"))?;
        Ok(Copied(own))
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Bulk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shared slice")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Bulk, A::Error> {
        let cut = || A::Error::custom("the name of a shared slice is cut off");
        let name: u32 = parts.next_element()?.ok_or_else(cut)?;
        if name == COPY {
            let Copied(own) = parts.next_element()?.ok_or_else(cut)?;
            return Ok(Bulk::own(own));
        }
        let named_bytes = if name & PART == 0 { NAME_BYTES } else { PART_BYTES };
        let block = parcel::unpack_block(name & !PART, named_bytes).map_err(A::Error::custom)?;
        let whole = Bulk::shared(block);
        if name & PART == 0 {
            return Ok(whole);
        }
        let mut number = || -> Result<Option<usize>, A::Error> {
            Ok(usize::try_from(parts.next_element::<u64>()?.ok_or_else(cut)?).ok())
        };
        let (at, bytes) = (number()?, number()?);
        let part = at.zip(bytes).and_then(|(at, bytes)| whole.part(at, bytes));
        part.ok_or_else(|| A::Error::custom("a part of a shared slice lies outside of it"))
    }
}
