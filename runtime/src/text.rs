//! Text in shared memory: bytes that are known to be UTF-8.

use crate::block::{Block, ShareError, SharedSlice, SliceLoan};
use crate::runtime::Runtime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, RangeBounds};
use std::str::Utf8Error;

/// Text in shared memory that nobody writes any more. It travels as a [`SharedSlice`] does.
///
/// That the bytes are UTF-8 is checked when they are published, when they arrive in a process, and whenever they are looked
/// at as a `str`: a process that has gone wild may have written over them since, and a `str` that is none is undefined
/// behaviour. The look costs what reading the text costs; who needs the text often keeps the `&str`.
///
/// ```
/// use gorun_runtime::{SharedStr, Task};
/// use std::fmt::Write;
///
/// let mut loan = SharedStr::loan(100)?;
/// for n in 1..=3 {
///     write!(loan, "{n} ")?;
/// }
/// let text = loan.publish()?;
/// let words = Task::with(text, |text: SharedStr| text.split_whitespace().count());
/// assert_eq!(words.go().join()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SharedStr {
    bytes: Block,
}

/// Room for text in shared memory, which is written from its beginning. Dropped, it is given back.
pub struct StrLoan {
    loan: SliceLoan<u8>,
    written: usize,
}

impl SharedStr {
    /// Room for `bytes` bytes of text on the current runtime.
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn loan(bytes: usize) -> Result<StrLoan, ShareError> {
        Ok(StrLoan { loan: Block::loan(bytes)?, written: 0 })
    }

    /// Room for `bytes` bytes of text on `runtime`.
    ///
    /// # Errors
    /// As [`SharedSlice::loan_on`].
    pub fn loan_on(runtime: &Runtime, bytes: usize) -> Result<StrLoan, ShareError> {
        Ok(StrLoan { loan: Block::loan_on(runtime, bytes)?, written: 0 })
    }

    /// Copies `text` into shared memory of the current runtime: the one copy that there is.
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn copy_from(text: &str) -> Result<Self, ShareError> {
        Ok(Self { bytes: Block::copy_from(text.as_bytes())? })
    }

    /// The bytes as text, in the same memory.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_utf8(bytes: Block) -> Result<Self, Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self { bytes })
    }

    /// The text where it lies. Should another process have written over it, the part before the first byte that is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.as_slice();
        self.check().unwrap_or_else(|error| {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        })
    }

    /// The text where it lies.
    ///
    /// # Errors
    /// What is wrong with it, should another process have written over it.
    pub fn check(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.bytes)
    }

    /// The bytes in `range`, in the same memory; none if it reaches outside, or through a character.
    #[must_use]
    pub fn get_slice(&self, range: impl RangeBounds<usize>) -> Option<Self> {
        Self::from_utf8(self.bytes.get_slice(range)?).ok()
    }

    /// The bytes, in the same memory.
    #[must_use]
    pub fn into_bytes(self) -> Block {
        self.bytes
    }

    /// Where the text begins in the runtime's segment: see [`SharedSlice::segment_offset`].
    #[must_use]
    pub fn segment_offset(&self) -> Option<u64> {
        self.bytes.segment_offset()
    }
}

impl StrLoan {
    /// Appends `text` if there is room for all of it.
    ///
    /// # Errors
    /// [`NoRoom`] with what is left; nothing was written.
    pub fn push_str(&mut self, text: &str) -> Result<(), NoRoom> {
        let left = self.left();
        let place = self.loan.as_mut_slice().get_mut(self.written..).unwrap_or_default();
        let place = place.get_mut(..text.len()).ok_or(NoRoom { asked: text.len(), left })?;
        place.copy_from_slice(text.as_bytes());
        self.written += text.len();
        Ok(())
    }

    /// Bytes of text so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.written
    }

    /// True if nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.loan.as_slice().len() - self.written
    }

    /// Makes what was written readable for everybody it is sent to. Copies nothing.
    ///
    /// # Errors
    /// As [`SliceLoan::publish`].
    pub fn publish(mut self) -> Result<SharedStr, ShareError> {
        self.loan.truncate(self.written);
        Ok(SharedStr { bytes: self.loan.publish()? })
    }
}

/// A text does not fit what is left of a [`StrLoan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes of text do not fit the {left} that are left")]
pub struct NoRoom {
    /// Bytes of the text.
    pub asked: usize,
    /// Bytes left.
    pub left: usize,
}

impl fmt::Write for StrLoan {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for StrLoan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrLoan").field("written", &self.written).field("left", &self.left()).finish()
    }
}

impl Deref for SharedStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SharedStr {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Copies, as [`SharedStr::copy_from`].
impl TryFrom<&str> for SharedStr {
    type Error = ShareError;

    fn try_from(text: &str) -> Result<Self, ShareError> {
        Self::copy_from(text)
    }
}

/// Copies: a string lies in memory of this process only.
impl TryFrom<String> for SharedStr {
    type Error = ShareError;

    fn try_from(text: String) -> Result<Self, ShareError> {
        Self::copy_from(&text)
    }
}

impl TryFrom<SharedSlice<u8>> for SharedStr {
    type Error = Utf8Error;

    fn try_from(bytes: Block) -> Result<Self, Utf8Error> {
        Self::from_utf8(bytes)
    }
}

impl From<SharedStr> for Block {
    fn from(text: SharedStr) -> Self {
        text.into_bytes()
    }
}

impl fmt::Debug for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for SharedStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedStr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The bytes come from another process.
        Self::from_utf8(Block::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
