//! Bulk data in shared memory: built in place, read in place, sent as a 16-byte handle.
//!
//! A [`SliceLoan`] is filled by one process; publishing it makes a [`SharedSlice`], immutable and held by as many
//! processes as it reaches. The memory is free again when the last holder, alive or dead, is gone.

use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::blocks::{AllocateError, HandleError, OwnedBlock};
use gorun_worker::bulk::{Bulk, Own, Room};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, DerefMut, RangeBounds};
use thiserror::Error;
use zerocopy::FromBytes;

/// Why no shared memory could be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShareError {
    /// No block of this size is free.
    #[error(
        "no shared memory is free for {bytes} bytes; drop what is no longer needed, or ask for less at once"
    )]
    NoMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// No block is that large.
    #[error(
        "{bytes} bytes asked for, but the largest block has {largest}; raise `message_bytes_max` or the pool's size"
    )]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes of the largest block.
        largest: u64,
    },
    /// The default runtime could not start.
    #[error(transparent)]
    NoRuntime(Rejection),
    /// Another process has overwritten the allocator's words.
    #[error("the block's words were overwritten by another process: {0}")]
    Corrupt(HandleError),
}

/// Room for `len` values in shared memory, to be filled and then published. Dropped, it is given back.
pub struct SliceLoan<T: Plain> {
    room: Room,
    values: PhantomData<T>,
}

/// Values in shared memory that nobody writes any more.
///
/// Sending one to a task sends 16 bytes, whatever its length; cloning it, or taking a part of it, copies nothing.
///
/// ```
/// use gorun_runtime::{SharedSlice, Task};
///
/// let mut loan = SharedSlice::<u64>::loan(1000)?;
/// for (number, place) in (1..).zip(loan.as_mut_slice()) {
///     *place = number;
/// }
/// let numbers = loan.publish()?;
/// let sum = Task::with(numbers.clone(), |numbers: SharedSlice<u64>| numbers.iter().sum::<u64>());
/// assert_eq!(sum.go().join()?, 500_500);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
///
/// In a runtime whose [`SharedMemoryConfig`](crate::SharedMemoryConfig) says that nothing is shared, the values lie in
/// memory of each process, and travel by value: the same program runs, and copies.
pub struct SharedSlice<T: Plain> {
    bulk: Bulk,
    values: PhantomData<T>,
}

/// Plain bytes in shared memory: a [`SharedSlice`] of bytes.
pub type Block = SharedSlice<u8>;

impl<T: Plain> SharedSlice<T> {
    /// Room for `len` values on the current runtime: the default one, or the one whose task this is.
    ///
    /// The values are whatever an earlier task of the runtime left there.
    ///
    /// # Errors
    /// [`ShareError`] if there is no memory, or no runtime.
    ///
    /// # Blocking
    /// While the pool is full, if its [`OnFull`](crate::OnFull) says so.
    pub fn loan(len: usize) -> Result<SliceLoan<T>, ShareError> {
        Self::loan_on(&Runtime::current().map_err(ShareError::NoRuntime)?, len)
    }

    /// Room for `len` values on `runtime`.
    ///
    /// # Errors
    /// [`ShareError::NoMemory`], [`ShareError::TooLarge`].
    ///
    /// # Blocking
    /// As [`SharedSlice::loan`].
    pub fn loan_on(runtime: &Runtime, len: usize) -> Result<SliceLoan<T>, ShareError> {
        const { assert!(align_of::<T>() <= 64, "blocks are aligned to 64 bytes") };
        let no_memory = || ShareError::NoMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(no_memory)?;
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ShareError::NoRuntime(Rejection::ForkedHost));
        }
        let blocks = &dispatcher.commons.blocks;
        if blocks.terms().by_value {
            let own = Own::zeroed(bytes).ok_or_else(no_memory)?;
            return Ok(SliceLoan { room: Room::Own(own), values: PhantomData });
        }
        let block = OwnedBlock::allocate_in_time(blocks, bytes, dispatcher.me);
        let block = block.map_err(|error| match error {
            AllocateError::TooLarge { asked, largest } => ShareError::TooLarge { bytes: asked, largest },
            _ => no_memory(),
        })?;
        Ok(SliceLoan { room: Room::Shared(block), values: PhantomData })
    }

    /// Copies `values` into shared memory of the current runtime: the one copy that there is.
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn copy_from(values: &[T]) -> Result<Self, ShareError> {
        Self::copy_on(&Runtime::current().map_err(ShareError::NoRuntime)?, values)
    }

    /// Copies `values` into shared memory of `runtime`.
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn copy_on(runtime: &Runtime, values: &[T]) -> Result<Self, ShareError> {
        let mut loan = Self::loan_on(runtime, values.len())?;
        loan.copy_from_slice(values);
        let dispatcher = runtime.dispatcher();
        dispatcher.commons.blocks.record().count_copied(dispatcher.me, size_of_val(values) as u64);
        loan.publish()
    }

    /// Writes what `values` gives into shared memory of the current runtime, as it comes: nothing is copied.
    ///
    /// An iterator that ends before its [`len`](ExactSizeIterator::len) makes a shorter slice, and what it has beyond that is
    /// not asked for.
    ///
    /// ```
    /// use gorun_runtime::SharedSlice;
    ///
    /// let squares = SharedSlice::<u64>::from_values((0..10).map(|n: u32| u64::from(n * n)))?;
    /// assert_eq!(squares[9], 81);
    /// # Ok::<(), gorun_runtime::ShareError>(())
    /// ```
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn from_values<I>(values: I) -> Result<Self, ShareError>
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        let values = values.into_iter();
        let mut loan = Self::loan(values.len())?;
        let mut written = 0;
        for (place, value) in loan.as_mut_slice().iter_mut().zip(values) {
            *place = value;
            written += 1;
        }
        loan.truncate(written);
        loan.publish()
    }

    /// The values where they lie.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        // Place and length are multiples of the value's: checked when it arrived, and kept by every part.
        <[T]>::ref_from_bytes(self.bulk.as_slice()).unwrap_or(&[])
    }

    /// The values in `range`, in the same memory, which stays in use for as long as any part of it is held.
    ///
    /// ```
    /// use gorun_runtime::{SharedSlice, Task};
    ///
    /// let numbers = SharedSlice::copy_from(&[1_u32, 2, 3, 4])?;
    /// let halves = [numbers.slice(..2), numbers.slice(2..)];
    /// let sums = halves.map(|half| Task::with(half, |half: SharedSlice<u32>| half.iter().sum::<u32>()).go());
    /// assert_eq!(sums.map(|sum| sum.join()), [Ok(3), Ok(7)]);
    /// # Ok::<(), gorun_runtime::ShareError>(())
    /// ```
    ///
    /// # Panics
    /// If the range reaches outside, as indexing does.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let (first, end) = (first_of(&range), end_of(&range, self.len()));
        match self.get_slice(range) {
            Some(part) => part,
            None => panic!("range {first}..{end} is out of a slice of {}", self.len()),
        }
    }

    /// The values in `range`; none if it reaches outside.
    #[must_use]
    pub fn get_slice(&self, range: impl RangeBounds<usize>) -> Option<Self> {
        let (first, end) = (first_of(&range), end_of(&range, self.len()));
        let len = end.checked_sub(first)?;
        let at = first.checked_mul(size_of::<T>())?;
        let bulk = self.bulk.part(at, len.checked_mul(size_of::<T>())?)?;
        Some(Self { bulk, values: PhantomData })
    }

    /// Where the values begin in the runtime's segment, the same number in every process that holds them; none in a runtime
    /// that shares nothing.
    #[must_use]
    pub fn segment_offset(&self) -> Option<u64> {
        self.bulk.offset()
    }

    /// The same bytes as a slice of bytes.
    #[must_use]
    pub fn into_bytes(self) -> Block {
        SharedSlice { bulk: self.bulk, values: PhantomData }
    }
}

fn first_of(range: &impl RangeBounds<usize>) -> usize {
    match range.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

fn end_of(range: &impl RangeBounds<usize>, len: usize) -> usize {
    match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => len,
    }
}

impl<T: Plain> SliceLoan<T> {
    /// The room, to fill.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        <[T]>::mut_from_bytes(self.room.as_mut_slice()).unwrap_or(&mut [])
    }

    /// What is in the room.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        <[T]>::ref_from_bytes(self.room.as_slice()).unwrap_or(&[])
    }

    /// Gives up all values but the first `len`; nothing if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        if let Some(bytes) = len.checked_mul(size_of::<T>()) {
            self.room.truncate(bytes);
        }
    }

    /// Makes the values readable for everybody it is sent to. Copies nothing.
    ///
    /// # Errors
    /// [`ShareError::Corrupt`] if another process has overwritten the allocator's words for this block.
    pub fn publish(self) -> Result<SharedSlice<T>, ShareError> {
        let bulk = match self.room {
            Room::Shared(block) => block.share().map(Bulk::shared).map_err(ShareError::Corrupt)?,
            Room::Own(own) => Bulk::own(own),
        };
        Ok(SharedSlice { bulk, values: PhantomData })
    }
}

impl<T: Plain> Deref for SliceLoan<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Plain> DerefMut for SliceLoan<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: Plain> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Plain> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Plain> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self { bulk: self.bulk.clone(), values: PhantomData }
    }
}

/// Copies, as [`SharedSlice::copy_from`].
impl<T: Plain> TryFrom<&[T]> for SharedSlice<T> {
    type Error = ShareError;

    fn try_from(values: &[T]) -> Result<Self, ShareError> {
        Self::copy_from(values)
    }
}

/// Copies: a vector lies in memory of this process only.
impl<T: Plain> TryFrom<Vec<T>> for SharedSlice<T> {
    type Error = ShareError;

    fn try_from(values: Vec<T>) -> Result<Self, ShareError> {
        Self::copy_from(&values)
    }
}

impl<'a, T: Plain> IntoIterator for &'a SharedSlice<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

impl<T: Plain + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Plain + Eq> Eq for SharedSlice<T> {}

impl<T: Plain> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bulk.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bulk = Bulk::deserialize(deserializer)?;
        // The name comes from another process.
        if <[T]>::ref_from_bytes(bulk.as_slice()).is_err() {
            let (each, bytes) = (size_of::<T>(), bulk.as_slice().len());
            return Err(D::Error::custom(format_args!("{bytes} bytes there are no values of {each} bytes")));
        }
        Ok(Self { bulk, values: PhantomData })
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<T: Plain> fmt::Debug for SliceLoan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceLoan").field("room", &self.room).finish()
    }
}
