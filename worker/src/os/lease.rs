//! Lease: the host holds the write end of a pipe; when it dies, the kernel kills whoever leased the read end.
//!
//! `F_SETSIG` with SIGKILL makes the kernel deliver the kill when the last write end closes, so a worker dies
//! with its host even in an endless loop, needs no watching thread, and outlives a dead zygote, which a
//! parent-death signal would not allow. The kill goes to the holder's process group, and what the holder starts inherits
//! the descriptor, so that its group dies with the host also if the worker died before.
// UNSAFETY: fcntl's F_SETSIG has no safe form.
#![expect(unsafe_code, reason = "fcntl(F_SETSIG) is not offered by the safe crates")]

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io;

/// Not named by the libc crate for this target; from the kernel's fcntl.h.
const F_SETSIG: libc::c_int = 10;

/// A lease held by this process; it must live as long as the process.
#[derive(Debug)]
pub struct Lease(OwnedFd);

/// A pipe whose write end stands for the host's life.
///
/// # Errors
/// What the kernel said: no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Makes the group that this process leads die when the last write end of `read_end`'s pipe closes.
///
/// # Errors
/// What the kernel said, or `BrokenPipe` if the host is dead already.
pub fn take(read_end: impl AsFd) -> io::Result<Lease> {
    // Owner and signal belong to the open file description, which forks share: each process opens its own.
    let path = format!("/proc/self/fd/{}", read_end.as_fd().as_raw_fd());
    // Inherited by programs that tasks start: it is alive as long as any member of the group.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let own = rustix::fs::open(path, flags, Mode::empty())?;
    let raw = own.as_raw_fd();
    // SAFETY: F_SETSIG takes a signal number; `raw` is open.
    check(unsafe { libc::fcntl(raw, F_SETSIG, libc::SIGKILL) })?;
    let process = super::identity::pid();
    // SAFETY: F_SETOWN takes a group's id, negated; `raw` is open.
    check(unsafe { libc::fcntl(raw, libc::F_SETOWN, -process) })?;
    rustix::fs::fcntl_setfl(
        &own,
        OFlags::NONBLOCK | OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned()),
    )?;
    // The host may have died, or have taken the lease back, before the signal was armed. Asked of the inherited
    // description, because a pipe does not report a hang-up to one that was opened after it; and by a look, not a
    // read, because the byte that takes the lease back is meant for everybody.
    if super::poll::wait_one(read_end.as_fd(), 0) {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(Lease(own))
}

impl Lease {
    /// The descriptor, for whoever keeps it open from now on.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

/// Takes the lease back: the kernel kills every holder, and whoever comes later finds it gone.
pub fn revoke(write_end: impl AsFd) {
    // Fails only if nobody holds a read end.
    let _ = rustix::io::write(write_end, &[0]);
}

/// Waits until no process has the read end any more, at most `milliseconds`; false if that passed. The caller has
/// closed its own.
///
/// # Blocking
/// Until then.
#[must_use]
pub fn await_release(write_end: impl AsFd, milliseconds: i64) -> bool {
    super::poll::wait_for_hang_up(write_end.as_fd(), milliseconds)
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
