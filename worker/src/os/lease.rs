//! Lease: the host holds the write end of a pipe; when it dies, the kernel kills whoever leased the read end.
//!
//! `F_SETSIG` with SIGKILL makes the kernel deliver the kill when the last write end closes, so a worker dies
//! with its host even in an endless loop, needs no watching thread, and outlives a dead zygote, which a
//! parent-death signal would not allow.
// UNSAFETY: fcntl's F_SETSIG has no safe form.
#![expect(unsafe_code, reason = "fcntl(F_SETSIG) is not offered by the safe crates")]

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io;

/// Not named by the libc crate for this target; from the kernel's fcntl.h.
const F_SETSIG: libc::c_int = 10;

/// A lease held by this process; it must live as long as the process.
#[derive(Debug)]
pub struct Lease(#[expect(dead_code, reason = "keeps the description open")] OwnedFd);

/// A pipe whose write end stands for the host's life.
///
/// # Errors
/// What the kernel said: no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Makes this process die when the last write end of `read_end`'s pipe closes.
///
/// # Errors
/// What the kernel said, or `BrokenPipe` if the host is dead already.
pub fn take(read_end: impl AsFd) -> io::Result<Lease> {
    // Owner and signal belong to the open file description, which forks share: each process opens its own.
    let path = format!("/proc/self/fd/{}", read_end.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::fs::open(path, flags, Mode::empty())?;
    let raw = own.as_raw_fd();
    // SAFETY: F_SETSIG takes a signal number; `raw` is open.
    check(unsafe { libc::fcntl(raw, F_SETSIG, libc::SIGKILL) })?;
    let process = super::identity::pid();
    // SAFETY: F_SETOWN takes a process id; `raw` is open.
    check(unsafe { libc::fcntl(raw, libc::F_SETOWN, process) })?;
    rustix::fs::fcntl_setfl(
        &own,
        OFlags::NONBLOCK | OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned()),
    )?;
    // The host may have died before the signal was armed; a pipe without writers reads as end of file.
    match rustix::io::read(&own, &mut [0_u8; 1]) {
        Ok(_) => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        Err(rustix::io::Errno::AGAIN) => Ok(Lease(own)),
        Err(errno) => Err(errno.into()),
    }
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
