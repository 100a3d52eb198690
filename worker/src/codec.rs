//! Codec: how inputs and results become bytes between processes of one build.
//!
//! bincode 1.3.3 with fixed-width integers, the fastest serde codec for small values, always bounded by the
//! length of the bytes at hand and by the stack that decoding may take. Top-level `Vec<u8>`, `String` and vectors of numbers are copied whole,
//! because serde would move a `Vec<u8>` byte by byte.

use crate::reader::Reader;
use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Write};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

/// A value that can travel to another process.
///
/// Implemented for everything that serde can serialise and deserialise without borrowing.
///
/// ```
/// fn travels<T: gorun_worker::codec::Portable>() {}
/// travels::<(u64, String, Vec<Option<f64>>)>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "this value would have to travel to a worker process",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it",
    note = "pass an owned value instead of a reference, `Arc`'s content instead of an `Rc`, a path instead of an open `File`"
)]
pub trait Portable: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Portable for T {}

/// A value could not become bytes, or bytes were not a value.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The value's own `Serialize` refused, or it does not fit where it was measured to fit.
    #[error("encode the value: {0}")]
    Encode(#[source] bincode::Error),
    /// The bytes are not a value of this type.
    #[error("decode {bytes} bytes: {cause}")]
    Decode {
        /// How many bytes there were.
        bytes: usize,
        /// What was wrong with them.
        #[source]
        cause: bincode::Error,
    },
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().allow_trailing_bytes()
}

/// Bytes that `value` takes when encoded.
///
/// # Errors
/// [`CodecError::Encode`] if its `Serialize` refuses.
pub fn encoded_bytes<T: Portable>(value: &T) -> Result<u64, CodecError> {
    if let Some(bytes) = whole::bytes_of(value) {
        return Ok(bytes.len() as u64);
    }
    options().serialized_size(value).map_err(CodecError::Encode)
}

/// Encodes `value` into `place`; returns the bytes used. `Ok(None)` if it does not fit.
///
/// # Errors
/// [`CodecError::Encode`] if its `Serialize` refuses.
#[inline]
pub fn encode<T: Portable>(value: &T, place: &mut [u8]) -> Result<Option<usize>, CodecError> {
    if let Some(bytes) = whole::bytes_of(value) {
        let Some(target) = place.get_mut(..bytes.len()) else { return Ok(None) };
        target.copy_from_slice(bytes);
        return Ok(Some(bytes.len()));
    }
    encode_next(value, place)
}

/// True for numbers, whose bytes are known without serde, and which carry nothing beside them.
#[inline]
#[must_use]
pub fn is_number<T: 'static>() -> bool {
    number::is::<T>()
}

/// True for types that are copied whole instead of being encoded by serde, if they are a whole message.
#[must_use]
pub fn is_copied_whole<T: 'static>() -> bool {
    whole::is_one::<T>()
}

/// Decodes a whole message.
///
/// # Errors
/// [`CodecError::Decode`] if the bytes are not a `T`.
#[inline]
pub fn decode<T: Portable>(bytes: &[u8]) -> Result<T, CodecError> {
    if let Some(value) = whole::from_bytes(bytes) {
        return Ok(value);
    }
    if let Some(value) = number::decode(bytes) {
        return Ok(value);
    }
    let bounded = options().with_limit(bytes.len() as u64);
    let decoded = bounded.deserialize_from_custom(&mut Reader::new(bytes));
    decoded.map_err(|cause| CodecError::Decode { bytes: bytes.len(), cause })
}

/// Encodes one of several values that stand one behind the other, as in a range.
///
/// # Errors
/// [`CodecError::Encode`] if its `Serialize` refuses.
#[inline]
pub fn encode_next<T: Portable>(value: &T, place: &mut [u8]) -> Result<Option<usize>, CodecError> {
    if let Some(used) = number::encode(value, place) {
        return Ok(used);
    }
    let mut cursor = Cursor { place, used: 0, overflowed: false };
    match options().serialize_into(&mut cursor, value) {
        Ok(()) => Ok(Some(cursor.used)),
        Err(_) if cursor.overflowed => Ok(None),
        Err(cause) => Err(CodecError::Encode(cause)),
    }
}

/// Decodes the next of several values and moves `bytes` behind it.
///
/// # Errors
/// [`CodecError::Decode`] if the bytes do not begin with a `T`.
#[inline]
pub fn decode_next<T: Portable>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    if let Some(value) = number::decode(bytes) {
        *bytes = &bytes[size_of::<T>()..];
        return Ok(value);
    }
    let length = bytes.len();
    let bounded = options().with_limit(length as u64);
    let mut reader = Reader::new(bytes);
    let decoded = bounded.deserialize_from_custom(&mut reader);
    *bytes = reader.rest();
    decoded.map_err(|cause| CodecError::Decode { bytes: length, cause })
}

/// Counts bytes instead of writing them.
#[derive(Debug, Default)]
pub(crate) struct Measure(usize);

impl Measure {
    pub(crate) fn bytes(&self) -> usize {
        self.0
    }
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Measures what [`encode_next`] would write.
pub(crate) fn measure_next<T: Portable>(value: &T, sink: &mut Measure) -> Result<(), CodecError> {
    options().serialize_into(sink, value).map_err(CodecError::Encode)
}

/// A writer into a fixed place that remembers whether it ran over.
struct Cursor<'a> {
    place: &'a mut [u8],
    used: usize,
    overflowed: bool,
}

impl Write for Cursor<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.used + bytes.len();
        let Some(target) = self.place.get_mut(self.used..end) else {
            self.overflowed = true;
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        };
        target.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Values that are copied whole. The type tests are on type identity and vanish at compile time.
mod whole {
    use super::{FromBytes, IntoBytes};
    use castaway::cast;

    macro_rules! numbers {
        ($run:ident) => {
            $run!(i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64)
        };
    }

    #[inline]
    pub(super) fn bytes_of<T: 'static>(value: &T) -> Option<&[u8]> {
        macro_rules! try_each {
            ($($number:ty)*) => {
                $(if let Ok(vector) = cast!(value, &Vec<$number>) { return Some(vector.as_bytes()); })*
            };
        }
        numbers!(try_each);
        if let Ok(vector) = cast!(value, &Vec<u8>) {
            return Some(vector);
        }
        cast!(value, &String).ok().map(|text| text.as_bytes())
    }

    #[inline]
    pub(super) fn from_bytes<T: 'static>(bytes: &[u8]) -> Option<T> {
        macro_rules! try_each {
            ($($number:ty)*) => {
                $(if is::<T, Vec<$number>>() { return cast!(numbers::<$number>(bytes)?, T).ok(); })*
            };
        }
        numbers!(try_each);
        if is::<T, Vec<u8>>() {
            return cast!(bytes.to_vec(), T).ok();
        }
        if is::<T, String>() {
            // Invalid UTF-8 falls through to serde, which reports it.
            return cast!(String::from_utf8(bytes.to_vec()).ok()?, T).ok();
        }
        None
    }

    pub(super) fn is_one<T: 'static>() -> bool {
        macro_rules! try_each {
            ($($number:ty)*) => { false $(|| is::<T, Vec<$number>>())* };
        }
        numbers!(try_each) || is::<T, Vec<u8>>() || is::<T, String>()
    }

    fn is<T: 'static, U: 'static>() -> bool {
        std::any::TypeId::of::<T>() == std::any::TypeId::of::<U>()
    }

    fn numbers<N: FromBytes + IntoBytes>(bytes: &[u8]) -> Option<Vec<N>> {
        let count = bytes.len() / size_of::<N>();
        if count * size_of::<N>() != bytes.len() {
            return None;
        }
        let mut vector = N::new_vec_zeroed(count).ok()?;
        vector.as_mut_bytes().copy_from_slice(bytes);
        Some(vector)
    }
}

/// Numbers, in the bytes that bincode would give them. The type tests are on type identity and vanish at compile time.
mod number {
    use castaway::cast;

    macro_rules! numbers {
        ($run:ident) => {
            $run!(u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64)
        };
    }

    #[inline]
    pub(super) fn is<T: 'static>() -> bool {
        let id = std::any::TypeId::of::<T>();
        macro_rules! try_each {
            ($($number:ty)*) => { [$(std::any::TypeId::of::<$number>()),*].contains(&id) };
        }
        numbers!(try_each)
    }

    /// None if `T` is no number; none inside if it does not fit.
    #[inline]
    pub(super) fn encode<T: 'static>(value: &T, place: &mut [u8]) -> Option<Option<usize>> {
        macro_rules! try_each {
            ($($number:ty)*) => {
                $(if let Ok(number) = cast!(value, &$number) {
                    let bytes = number.to_le_bytes();
                    let Some(target) = place.first_chunk_mut() else { return Some(None) };
                    *target = bytes;
                    return Some(Some(bytes.len()));
                })*
            };
        }
        numbers!(try_each);
        None
    }

    /// None if `T` is no number, or there are too few bytes, which serde then reports.
    #[inline]
    pub(super) fn decode<T: 'static>(bytes: &[u8]) -> Option<T> {
        macro_rules! try_each {
            ($($number:ty)*) => {
                $(if std::any::TypeId::of::<T>() == std::any::TypeId::of::<$number>() {
                    return cast!(<$number>::from_le_bytes(*bytes.first_chunk()?), T).ok();
                })*
            };
        }
        numbers!(try_each);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_bincode_has_it<T: Portable + PartialEq + std::fmt::Debug>(value: &T) {
        let mut place = [0_u8; 32];
        let used = encode_next(value, &mut place).unwrap().unwrap();
        let expected = options().serialize(value).unwrap();
        assert_eq!(&place[..used], expected, "{value:?}");
        let mut bytes = &place[..];
        assert_eq!(&decode_next::<T>(&mut bytes).unwrap(), value);
        assert_eq!(bytes.len(), place.len() - used);
        assert_eq!(encode_next(value, &mut place[..used - 1]).unwrap(), None);
        assert!(decode::<T>(&place[..used - 1]).is_err());
    }

    /// A list as nobody should write it.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    enum List {
        End,
        More(Box<List>),
    }

    #[test]
    fn a_value_nested_without_end_is_refused() {
        // More, More, More ...: one tag of four bytes each.
        let hostile = 1_u32.to_le_bytes().repeat(10_000_000);
        for decoded in [decode::<List>(&hostile), decode_next::<List>(&mut &hostile[..])] {
            let refusal = decoded.unwrap_err().to_string();
            assert!(refusal.contains("nested too deep"), "{refusal}");
        }
        let mut honest = 1_u32.to_le_bytes().repeat(1000);
        honest.extend(0_u32.to_le_bytes());
        let (mut list, mut length) = (decode::<List>(&honest).unwrap(), 0);
        while let List::More(rest) = list {
            (list, length) = (*rest, length + 1);
        }
        assert_eq!(length, 1000);
    }

    #[test]
    fn a_length_from_elsewhere_is_no_allocation_size() {
        let mut hostile = u64::MAX.to_le_bytes().to_vec();
        hostile.extend([1; 100]);
        assert!(decode::<Vec<(u8, u16)>>(&hostile).is_err());
        assert!(decode::<(String, u8)>(&hostile).is_err());
        assert!(decode::<std::collections::HashMap<u8, u8>>(&hostile).is_err());
    }

    #[test]
    fn numbers_have_the_bytes_of_bincode() {
        as_bincode_has_it(&7_u8);
        as_bincode_has_it(&-7_i8);
        as_bincode_has_it(&0xFEDC_u16);
        as_bincode_has_it(&i32::MIN);
        as_bincode_has_it(&0x0123_4567_89AB_CDEF_u64);
        as_bincode_has_it(&-1_i64);
        as_bincode_has_it(&u128::MAX);
        as_bincode_has_it(&1.5_f32);
        as_bincode_has_it(&-0.25_f64);
        // Not among the numbers, and the same to their users.
        as_bincode_has_it(&77_usize);
        as_bincode_has_it(&'x');
    }
}
