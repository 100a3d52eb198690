//! One mapping of shared bytes: base and length, unmapped on drop.
//!
//! Progress: mapping and unmapping are system calls; everything else is a field read.
// UNSAFETY: mapping memory is a raw system call, and the result is a raw address.
#![expect(unsafe_code, reason = "mmap, munmap and madvise take and return raw addresses")]

use rustix::fd::AsFd;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::io;
use std::ptr::NonNull;

/// A readable and writable mapping that this value owns.
pub struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    #[cfg(feature = "shared_memory")]
    lender: Option<super::posix::PosixMemory>,
}

// SAFETY: the mapping is process-wide memory; who may touch which byte is settled by the views above it.
unsafe impl Send for Mapping {}
// SAFETY: `Mapping` itself only hands out its address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` of `fd`, shared with every other mapping of it.
    ///
    /// # Errors
    /// What the kernel said, for example that `RLIMIT_AS` leaves no room.
    pub fn shared(fd: impl AsFd, bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null address lets the kernel choose a free range, so no existing mapping is replaced.
        let base =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, 0) }?;
        Self::own(base, bytes)
    }

    fn own(base: *mut std::ffi::c_void, bytes: usize) -> io::Result<Self> {
        Ok(Self {
            base: non_null(base)?,
            bytes,
            #[cfg(feature = "shared_memory")]
            lender: None,
        })
    }

    /// The mapping of a POSIX object, which unmaps it.
    ///
    /// # Errors
    /// If it is mapped nowhere.
    #[cfg(feature = "shared_memory")]
    pub fn lent(memory: super::posix::PosixMemory) -> io::Result<Self> {
        let (base, bytes) = memory.place().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { base, bytes, lender: Some(memory) })
    }

    /// Maps the first `bytes` of `fd` for reading only: what an observer of another program uses.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn shared_read_only(fd: impl AsFd, bytes: usize) -> io::Result<Self> {
        // SAFETY: a null address lets the kernel choose a free range, so no existing mapping is replaced.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, fd, 0)
        }?;
        Self::own(base, bytes)
    }

    /// Maps `bytes` of fresh zeroed memory that only this process and its forks see.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn anonymous(bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null address lets the kernel choose a free range, so no existing mapping is replaced.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags) }?;
        Self::own(base, bytes)
    }

    /// First byte of the mapping.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Asks the kernel to back `bytes` from `offset` now, so that the first write does not pay a page fault.
    ///
    /// # Errors
    /// Out of memory or out of the memory limit: found here instead of as a SIGBUS later.
    pub fn populate(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.advise(offset, bytes, Advice::LinuxPopulateWrite)
    }

    /// Gives the pages of the range back; they read as zero afterwards.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn give_back(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.advise(offset, bytes, Advice::LinuxRemove)
    }

    /// Asks the kernel to take the range's memory from this node while it has some. Holds for all who map the same file.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn prefer_node(&self, offset: usize, bytes: usize, node: u32) -> io::Result<()> {
        const WORDS: usize = 16;
        const BITS: u32 = libc::c_ulong::BITS;
        let mut mask: [libc::c_ulong; WORDS] = [0; WORDS];
        let word = mask.get_mut((node / BITS) as usize).ok_or(io::ErrorKind::InvalidInput)?;
        *word = 1 << (node % BITS);
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let start = self.base.as_ptr().wrapping_add(offset);
        let bits: libc::c_ulong = (WORDS as libc::c_ulong) * libc::c_ulong::from(BITS);
        // SAFETY: mbind reads `bits` bits of the mask, which has as many, and changes no byte of the range, which lies in
        // this mapping (checked above): only where its pages will come from.
        let bound = unsafe {
            libc::syscall(libc::SYS_mbind, start, bytes, libc::MPOL_PREFERRED, mask.as_ptr(), bits, 0)
        };
        if bound == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn advise(&self, offset: usize, bytes: usize, advice: Advice) -> io::Result<()> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        if end.is_none() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let start = self.base.as_ptr().wrapping_add(offset);
        // SAFETY: the range lies in this mapping (checked above), and neither advice unmaps it.
        unsafe { rustix::mm::madvise(start.cast(), bytes, advice) }?;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[cfg(feature = "shared_memory")]
        if self.lender.is_some() {
            return;
        }
        // SAFETY: the range was mapped by this value, and every view of it keeps the owner alive.
        // An error here can only mean a wrong range, which the constructor excludes.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("base", &self.base).field("bytes", &self.bytes).finish()
    }
}

fn non_null(base: *mut std::ffi::c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(base.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}
