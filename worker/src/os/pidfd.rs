//! Processes by descriptor: a pidfd never names another process, as a recycled pid could.
// UNSAFETY: signals to a descriptor's process group have no safe form.
#![expect(unsafe_code, reason = "pidfd_send_signal with flags is not offered by the safe crates")]

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::io;

/// Opens a descriptor for the process `pid`, which must not have been reaped.
///
/// # Errors
/// What the kernel said.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Kills the process behind the descriptor. A process that is gone already counts as killed.
///
/// # Errors
/// What the kernel said.
pub fn kill(pidfd: impl AsFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// From the kernel's pidfd.h, since Linux 6.9.
const PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Kills the group that the process behind the descriptor leads or led, also if that one is gone. Does nothing on kernels
/// before Linux 6.9.
pub fn kill_group(pidfd: impl AsFd) {
    let (raw, nothing) = (pidfd.as_fd().as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: takes an open descriptor, a signal, no record of it, and flags that the kernel checks.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, raw, libc::SIGKILL, nothing, PROCESS_GROUP) };
}

/// True once the process has ended and its memory is gone.
#[must_use]
pub fn has_ended(pidfd: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}
