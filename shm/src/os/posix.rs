//! Memory with a name: a POSIX shared memory object, as programs in any language open it.
//!
//! Unlike a memfd it outlives its makers, and nothing keeps whoever may write it from shrinking it under its readers.
// UNSAFETY: the crate's mapping is a raw address without a promise on threads.
#![expect(unsafe_code, reason = "a mapping may be used from any thread, and its crate does not say so")]

use rustix::io::Errno;
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::ptr::NonNull;

/// Where Linux keeps the names.
const FOLDER: &str = "/dev/shm";

/// A mapped object. Dropping it unmaps it; the name stays.
pub struct PosixMemory(Shmem);

// SAFETY: `Shmem` holds an address, a length, a descriptor and strings; none of them is bound to a thread.
unsafe impl Send for PosixMemory {}
// SAFETY: nothing here reads or writes the mapping; who may touch which byte is settled by the views above it.
unsafe impl Sync for PosixMemory {}

impl PosixMemory {
    /// Makes an object of `bytes` zeroes under `name` ("/" and one word), for this user only.
    ///
    /// # Errors
    /// What the kernel said; `AlreadyExists` if the name is taken.
    pub fn create(name: &str, bytes: usize) -> io::Result<Self> {
        Self::kept(ShmemConf::new().os_id(name).size(bytes).create())
    }

    /// Maps the object `name`, all of it.
    ///
    /// # Errors
    /// What the kernel said: `NotFound`, `PermissionDenied`; `InvalidInput` for one without a size.
    pub fn open(name: &str) -> io::Result<Self> {
        Self::kept(ShmemConf::new().os_id(name).open())
    }

    fn kept(memory: Result<Shmem, ShmemError>) -> io::Result<Self> {
        let mut memory = memory.map_err(cause_of)?;
        // The name is the business of who called.
        memory.set_owner(false);
        Ok(Self(memory))
    }

    /// First byte and length.
    pub(super) fn place(&self) -> Option<(NonNull<u8>, usize)> {
        NonNull::new(self.0.as_ptr()).map(|first| (first, self.0.len()))
    }
}

impl fmt::Debug for PosixMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PosixMemory").field("name", &self.0.get_os_id()).finish_non_exhaustive()
    }
}

fn cause_of(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MappingIdExists => Errno::EXIST.into(),
        ShmemError::MapSizeZero => Errno::INVAL.into(),
        ShmemError::MapCreateFailed(errno)
        | ShmemError::MapOpenFailed(errno)
        | ShmemError::UnknownOsError(errno) => io::Error::from_raw_os_error(errno.cast_signed()),
        other => io::Error::other(other),
    }
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name.trim_start_matches('/'))
}

/// What stands behind a name now: another object has another identity. None if there is none.
#[must_use]
pub fn identity(name: &str) -> Option<(u64, u64)> {
    std::fs::metadata(path_of(name)).ok().map(|found| (found.dev(), found.ino()))
}

/// Takes the name away. Mappings stay.
///
/// # Errors
/// What the kernel said; `NotFound` if there is none.
pub fn unlink(name: &str) -> io::Result<()> {
    std::fs::remove_file(path_of(name))
}
