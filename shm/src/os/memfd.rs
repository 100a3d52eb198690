//! Memory without a name: a sealed memfd that vanishes with its last descriptor and mapping.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::io;

/// Creates a memfd of `bytes` (sparse: a page costs memory when it is first touched) and seals its size.
///
/// A peer can neither shrink it, which would kill readers with SIGBUS, nor grow it past what was checked.
///
/// # Errors
/// What the kernel said: no descriptors left, no memory, memfd refused by a policy.
pub fn create(name: &str, bytes: u64) -> io::Result<OwnedFd> {
    let fd = create_unsealed(name)?;
    rustix::fs::ftruncate(&fd, bytes)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

fn create_unsealed(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Ok(fd) => Ok(fd),
        // Kernels before 6.3 do not know NOEXEC_SEAL.
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        Err(errno) => Err(errno.into()),
    }
}

/// The size of the file behind `fd` in bytes.
///
/// # Errors
/// What the kernel said of the descriptor.
pub fn bytes(fd: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstat(fd)?;
    u64::try_from(stat.st_size).map_err(io::Error::other)
}

/// Memory behind the file, in bytes, what was swapped out included.
///
/// # Errors
/// What the kernel said of the descriptor.
pub fn resident_bytes(fd: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstat(fd)?;
    // Blocks of 512 bytes, whatever the page size.
    u64::try_from(stat.st_blocks).map(|blocks| blocks * 512).map_err(io::Error::other)
}

/// Where the first page without memory begins, at `offset` or behind it; the end of the file if there is none.
///
/// # Errors
/// What the kernel said of the descriptor.
pub fn next_hole(fd: impl AsFd, offset: u64) -> io::Result<u64> {
    Ok(rustix::fs::seek(fd, rustix::fs::SeekFrom::Hole(offset))?)
}

/// True if the file can no longer shrink under its readers.
///
/// # Errors
/// What the kernel said: `fd` is not a memfd.
pub fn is_sealed(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_get_seals(fd)?.contains(SealFlags::SHRINK))
}

/// A second descriptor of the same file through which nobody can write: the kernel refuses a writable mapping of it.
///
/// Other users cannot open the file again for writing afterwards; processes of this user could, by way of /proc.
///
/// # Errors
/// What the kernel said: no descriptors left, or no /proc.
pub fn read_only(fd: impl AsFd) -> io::Result<OwnedFd> {
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
