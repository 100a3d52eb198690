//! A segment: the bytes that several processes share, and typed views into them.
//!
//! Invariant: a view is only made of types that hold nothing but atomics ([`Shared`]), so two processes (or
//! a hostile one) may write the same bytes at any time without undefined behaviour here.
// UNSAFETY: views turn an offset in the mapping into a reference.
#![expect(unsafe_code, reason = "typed views of mapped bytes need a pointer cast")]

use crate::os::{memfd, mmap::Mapping};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use thiserror::Error;

/// A type that may be viewed in shared memory in place.
///
/// # Safety
/// - `#[repr(C)]` (or one atomic), with no padding that matters and no pointer inside;
/// - every field is an atomic or itself `Shared`, so any process may write it at any time;
/// - every bit pattern, all zeroes included, is a valid value.
pub unsafe trait Shared: Sync + 'static {}

// SAFETY: one atomic; every bit pattern is a number.
unsafe impl Shared for crate::sync::AtomicU32 {}
// SAFETY: one atomic; every bit pattern is a number.
unsafe impl Shared for crate::sync::AtomicU64 {}

// SAFETY: an array of `Shared` has no bytes beside its elements.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Why a segment could not be had.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The kernel refused the file or the mapping.
    #[error(
        "map a segment of {bytes} bytes (raise RLIMIT_AS or RLIMIT_NOFILE, or ask for a smaller segment)"
    )]
    Refused {
        /// Size asked for.
        bytes: u64,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The file is smaller than its user says, or can still shrink under its readers.
    #[error("segment file has {found} bytes and seal {sealed}, expected {expected} bytes and a sealed size")]
    NotASegment {
        /// Size of the file.
        found: u64,
        /// Size expected.
        expected: u64,
        /// Whether the size is sealed.
        sealed: bool,
    },
}

/// A view reaches outside the segment, or is misaligned for its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("view of {count} x {each} bytes at offset {offset} does not fit a segment of {bytes} bytes")]
pub struct OutOfSegment {
    /// Offset asked for, in bytes.
    pub offset: u64,
    /// Elements asked for.
    pub count: usize,
    /// Size of one element in bytes.
    pub each: usize,
    /// Size of the segment in bytes.
    pub bytes: usize,
}

/// Bytes shared between processes, or between threads where no process can be had.
pub struct Segment {
    mapping: Mapping,
    file: Option<OwnedFd>,
}

impl Segment {
    /// A fresh segment of `bytes` zeroes behind a sealed memfd. Sparse: memory is used page by page.
    ///
    /// # Errors
    /// [`SegmentError::Refused`] with what the kernel said.
    pub fn create(name: &str, bytes: usize) -> Result<Arc<Self>, SegmentError> {
        let refused = |cause| SegmentError::Refused { bytes: bytes as u64, cause };
        let file = memfd::create(name, bytes as u64).map_err(refused)?;
        let mapping = Mapping::shared(&file, bytes).map_err(refused)?;
        Ok(Arc::new(Self { mapping, file: Some(file) }))
    }

    /// Maps a segment that another process created.
    ///
    /// # Errors
    /// [`SegmentError::NotASegment`] if the file is short or unsealed, [`SegmentError::Refused`] if the kernel
    /// refuses the mapping.
    pub fn attach(file: OwnedFd, bytes: usize) -> Result<Arc<Self>, SegmentError> {
        Self::check(file.as_fd(), bytes)?;
        let refused = |cause| SegmentError::Refused { bytes: bytes as u64, cause };
        let mapping = Mapping::shared(&file, bytes).map_err(refused)?;
        Ok(Arc::new(Self { mapping, file: Some(file) }))
    }

    /// Maps another program's segment for looking only. Views of it must not be written: a store would fault.
    ///
    /// # Errors
    /// As [`Segment::attach`].
    pub fn observe(file: OwnedFd, bytes: usize) -> Result<Arc<Self>, SegmentError> {
        Self::check(file.as_fd(), bytes)?;
        let refused = |cause| SegmentError::Refused { bytes: bytes as u64, cause };
        let mapping = Mapping::shared_read_only(&file, bytes).map_err(refused)?;
        Ok(Arc::new(Self { mapping, file: Some(file) }))
    }

    /// Memory of this process only, with the same face: what thread mode and tests use.
    ///
    /// # Errors
    /// [`SegmentError::Refused`] with what the kernel said.
    pub fn private(bytes: usize) -> Result<Arc<Self>, SegmentError> {
        let refused = |cause| SegmentError::Refused { bytes: bytes as u64, cause };
        let mapping = Mapping::anonymous(bytes).map_err(refused)?;
        Ok(Arc::new(Self { mapping, file: None }))
    }

    /// The memory of a POSIX object, all of it. Its size is not sealed: whoever may write it may also shrink it.
    ///
    /// # Errors
    /// [`SegmentError::Refused`] if it is mapped nowhere.
    #[cfg(feature = "shared_memory")]
    pub fn of_posix(memory: crate::os::posix::PosixMemory) -> Result<Arc<Self>, SegmentError> {
        let mapping = Mapping::lent(memory).map_err(|cause| SegmentError::Refused { bytes: 0, cause })?;
        Ok(Arc::new(Self { mapping, file: None }))
    }

    /// Copies bytes out, each read once, in any state: others may write them meanwhile.
    ///
    /// # Errors
    /// [`OutOfSegment`] if there are not as many.
    #[cfg(feature = "shared_memory")]
    pub fn copy_out(&self, offset: u64, into: &mut [u8]) -> Result<(), OutOfSegment> {
        let first = self.place::<u8>(offset, into.len())?.as_ptr();
        // Whole words where there are any: eight times as fast.
        let words = if first.cast::<u64>().is_aligned() { into.len() / 8 } else { 0 };
        let (wordwise, bytewise) = into.split_at_mut(words * 8);
        for (at, word) in wordwise.chunks_exact_mut(8).enumerate() {
            // SAFETY: valid for reads: `place` checked all bytes, and the mapping lives as long as `self`; aligned: looked at
            // above. Volatile, because another process may write it meanwhile.
            let found = unsafe { first.cast::<u64>().wrapping_add(at).read_volatile() };
            word.copy_from_slice(&found.to_ne_bytes());
        }
        for (at, byte) in bytewise.iter_mut().enumerate() {
            // SAFETY: as above; a byte has no alignment.
            *byte = unsafe { first.wrapping_add(words * 8 + at).read_volatile() };
        }
        Ok(())
    }

    /// Copies bytes in; others may see some of them sooner than others.
    ///
    /// # Errors
    /// As [`Segment::copy_out`].
    #[cfg(feature = "shared_memory")]
    pub fn copy_in(&self, offset: u64, from: &[u8]) -> Result<(), OutOfSegment> {
        let first = self.place::<u8>(offset, from.len())?.as_ptr();
        let words = if first.cast::<u64>().is_aligned() { from.len() / 8 } else { 0 };
        let (wordwise, bytewise) = from.split_at(words * 8);
        for (at, word) in wordwise.chunks_exact(8).enumerate() {
            let word = word.try_into().map_or(0, u64::from_ne_bytes);
            // SAFETY: in place and aligned as in `copy_out`; the mapping of a segment that is not only observed can be
            // written. No reference to plain bytes of it exists: views are of atomics, and whoever races with them does so
            // word by word, as another process does.
            unsafe { first.cast::<u64>().wrapping_add(at).write_volatile(word) };
        }
        for (at, byte) in bytewise.iter().enumerate() {
            // SAFETY: as above; a byte has no alignment.
            unsafe { first.wrapping_add(words * 8 + at).write_volatile(*byte) };
        }
        Ok(())
    }

    fn check(file: BorrowedFd<'_>, expected_bytes: usize) -> Result<(), SegmentError> {
        let expected = expected_bytes as u64;
        let refused = |cause| SegmentError::Refused { bytes: expected, cause };
        let found = memfd::bytes(file).map_err(refused)?;
        let sealed = memfd::is_sealed(file).unwrap_or(false);
        if found < expected || !sealed {
            return Err(SegmentError::NotASegment { found, expected, sealed });
        }
        Ok(())
    }

    /// The file to pass to other processes; none for a private segment.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.mapping.bytes()
    }

    /// The mapping beneath, for the rooms that hand out plain bytes.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Backs `bytes` from `offset` with memory now, so that first writes do not fault.
    ///
    /// # Errors
    /// Out of memory, found here instead of as a SIGBUS later.
    pub fn populate(&self, offset: u64, bytes: usize) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.mapping.populate(offset, bytes)
    }

    /// Memory behind the segment now, in bytes; none for a private one.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        memfd::resident_bytes(self.file.as_ref()?).ok()
    }

    /// True if every page of the range is backed with memory; false where that cannot be told.
    pub(crate) fn is_backed(&self, offset: u64, bytes: u64) -> bool {
        let hole = self.file.as_ref().and_then(|file| memfd::next_hole(file, offset).ok());
        hole.is_some_and(|hole| hole >= offset + bytes)
    }

    /// A view of one `T` at `offset` that keeps the segment alive.
    ///
    /// # Errors
    /// [`OutOfSegment`] if it does not fit or is misaligned.
    pub fn view<T: Shared>(self: &Arc<Self>, offset: u64) -> Result<View<T>, OutOfSegment> {
        let first = self.place::<T>(offset, 1)?;
        Ok(View { first, segment: Arc::clone(self) })
    }

    /// A view of `count` consecutive `T` from `offset` that keeps the segment alive.
    ///
    /// # Errors
    /// [`OutOfSegment`] if they do not fit or are misaligned.
    pub fn view_slice<T: Shared>(
        self: &Arc<Self>,
        offset: u64,
        count: usize,
    ) -> Result<ViewSlice<T>, OutOfSegment> {
        let first = self.place::<T>(offset, count)?;
        Ok(ViewSlice { first, count, segment: Arc::clone(self) })
    }

    fn place<T>(&self, offset: u64, count: usize) -> Result<NonNull<T>, OutOfSegment> {
        let each = size_of::<T>();
        let refusal = OutOfSegment { offset, count, each, bytes: self.bytes() };
        let start = usize::try_from(offset).map_err(|_| refusal)?;
        let end = each.checked_mul(count).and_then(|bytes| start.checked_add(bytes)).ok_or(refusal)?;
        let first = self.mapping.base().as_ptr().wrapping_add(start).cast::<T>();
        if end > self.bytes() || !first.is_aligned() {
            return Err(refusal);
        }
        NonNull::new(first).ok_or(refusal)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("bytes", &self.bytes()).field("file", &self.file).finish()
    }
}

/// One `T` in a segment. Cloning shares the segment, it does not copy the value.
pub struct View<T: Shared> {
    first: NonNull<T>,
    segment: Arc<Segment>,
}

/// Consecutive `T`s in a segment. Cloning shares the segment, it does not copy the values.
pub struct ViewSlice<T: Shared> {
    first: NonNull<T>,
    count: usize,
    segment: Arc<Segment>,
}

// SAFETY: `T: Shared` holds only atomics, so references to it may be used from any thread.
unsafe impl<T: Shared> Send for View<T> {}
// SAFETY: as for Send.
unsafe impl<T: Shared> Sync for View<T> {}
// SAFETY: as for View.
unsafe impl<T: Shared> Send for ViewSlice<T> {}
// SAFETY: as for View.
unsafe impl<T: Shared> Sync for ViewSlice<T> {}

impl<T: Shared> Deref for View<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `place` checked bounds and alignment, `segment` keeps the mapping alive, and `T: Shared`
        // allows any bytes and concurrent writers.
        unsafe { self.first.as_ref() }
    }
}

impl<T: Shared> Deref for ViewSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: as for `View`; `place` checked all `count` elements.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T: Shared> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, segment: Arc::clone(&self.segment) }
    }
}

impl<T: Shared> Clone for ViewSlice<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, count: self.count, segment: Arc::clone(&self.segment) }
    }
}

impl<T: Shared> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("segment", &self.segment).finish_non_exhaustive()
    }
}

impl<T: Shared> fmt::Debug for ViewSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewSlice").field("count", &self.count).finish_non_exhaustive()
    }
}
