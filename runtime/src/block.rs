//! Bulk data in shared memory: built in place, read in place, sent as a 16-byte handle.
//!
//! A [`SliceLoan`] is filled by one process; publishing it makes a [`SharedSlice`], immutable and held by as many
//! processes as it reaches. The memory is free again when the last holder, alive or dead, is gone.

use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::blocks::{HandleError, OwnedBlock, SharedBlock};
use gorun_worker::parcel::Parcel;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
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
    /// The default runtime could not start.
    #[error(transparent)]
    NoRuntime(Rejection),
    /// Another process has overwritten the allocator's words.
    #[error("the block's words were overwritten by another process: {0}")]
    Corrupt(HandleError),
}

/// Room for `len` values in shared memory, to be filled and then published. Dropped, it is given back.
pub struct SliceLoan<T: Plain> {
    block: OwnedBlock,
    values: PhantomData<T>,
}

/// Values in shared memory that nobody writes any more.
///
/// Sending one to a task sends 16 bytes, whatever its length; cloning it copies nothing.
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
pub struct SharedSlice<T: Plain> {
    parcel: Parcel,
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
    pub fn loan(len: usize) -> Result<SliceLoan<T>, ShareError> {
        Self::loan_on(&Runtime::current().map_err(ShareError::NoRuntime)?, len)
    }

    /// Room for `len` values on `runtime`.
    ///
    /// # Errors
    /// [`ShareError::NoMemory`].
    pub fn loan_on(runtime: &Runtime, len: usize) -> Result<SliceLoan<T>, ShareError> {
        const { assert!(align_of::<T>() <= 64, "blocks are aligned to 64 bytes") };
        let no_memory = || ShareError::NoMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(no_memory)?;
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ShareError::NoRuntime(Rejection::ForkedHost));
        }
        let block = OwnedBlock::allocate(&dispatcher.commons.blocks, bytes, dispatcher.me);
        Ok(SliceLoan { block: block.map_err(|_| no_memory())?, values: PhantomData })
    }

    /// Copies `values` into shared memory of the current runtime.
    ///
    /// # Errors
    /// As [`SharedSlice::loan`].
    pub fn copy_from(values: &[T]) -> Result<Self, ShareError> {
        let mut loan = Self::loan(values.len())?;
        loan.as_mut_slice().copy_from_slice(values);
        loan.publish()
    }

    /// The values where they lie.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        // Another process may have sent a handle whose length is no multiple of the value's: then the part that
        // is. Blocks are aligned, so only the length can be wrong.
        let bytes = self.parcel.0.as_slice();
        let whole = bytes.len() - bytes.len() % size_of::<T>().max(1);
        <[T]>::ref_from_bytes(&bytes[..whole]).unwrap_or(&[])
    }

    fn of(block: SharedBlock) -> Self {
        Self { parcel: Parcel(block), values: PhantomData }
    }
}

impl<T: Plain> SliceLoan<T> {
    /// The room, to fill.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        <[T]>::mut_from_bytes(self.block.as_mut_slice()).unwrap_or(&mut [])
    }

    /// Makes the values readable for everybody it is sent to. Copies nothing.
    ///
    /// # Errors
    /// [`ShareError::Corrupt`] if another process has overwritten the allocator's words for this block.
    pub fn publish(self) -> Result<SharedSlice<T>, ShareError> {
        self.block.share().map(SharedSlice::of).map_err(ShareError::Corrupt)
    }
}

impl<T: Plain> Deref for SharedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Plain> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self { parcel: self.parcel.clone(), values: PhantomData }
    }
}

impl<T: Plain> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parcel.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parcel::deserialize(deserializer).map(|parcel| Self { parcel, values: PhantomData })
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<T: Plain> fmt::Debug for SliceLoan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceLoan").field("block", &self.block).finish()
    }
}
