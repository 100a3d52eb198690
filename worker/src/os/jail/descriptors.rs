//! Descriptors of a jailed process: standard ones that lead nowhere, and the few it needs.
// UNSAFETY: closing ranges of numbers, and moving numbers that no value owns, have no safe form.
#![expect(unsafe_code, reason = "descriptors are closed and moved by number")]

use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// First number behind the standard descriptors.
const FIRST: RawFd = 3;

/// What is left open in a process that is being jailed.
#[derive(Debug)]
pub struct Held {
    /// What it keeps for gorun's own needs, from 3 on in the order given. Never closed.
    pub kept: Vec<OwnedFd>,
    /// Closed once the jail is on.
    pub passing: OwnedFd,
}

impl Held {
    /// First number that is free for tasks.
    pub(super) fn end(&self) -> u32 {
        FIRST.cast_unsigned() + u32::try_from(self.kept.len()).unwrap_or(0)
    }
}

/// Closes every descriptor of this process but the standard ones, `kept`, which are moved to 3 and up, and `passing`,
/// which is moved behind them.
///
/// Whoever owns one of the others must not use it again, nor drop it.
///
/// # Errors
/// What the kernel said; the process must leave then.
pub fn hold_only(kept: Vec<OwnedFd>, passing: OwnedFd) -> io::Result<Held> {
    let count = RawFd::try_from(kept.len()).unwrap_or(RawFd::MAX - FIRST - 1);
    // Out of the way of each other and of their new numbers first.
    let high = FIRST + count + 1;
    let mut parked = Vec::with_capacity(kept.len() + 1);
    for one in kept.into_iter().chain([passing]) {
        parked.push(rustix::io::fcntl_dupfd_cloexec(&one, high)?);
        // Its number is closed, or taken by another, below.
        std::mem::forget(one);
    }
    let mut moved = Vec::with_capacity(parked.len());
    for (number, one) in (FIRST..).zip(parked) {
        // SAFETY: both are plain numbers; whatever had the second is given up, as the caller allows.
        if unsafe { libc::dup3(one.as_raw_fd(), number, libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the number was just made to name a descriptor that nobody else owns.
        moved.push(unsafe { OwnedFd::from_raw_fd(number) });
        // Closed below, with all others.
        std::mem::forget(one);
    }
    let first = high.cast_unsigned();
    // SAFETY: plain numbers; nothing from `first` on is used any more, as the caller allows.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let passing = moved.pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(Held { kept: moved, passing })
}

/// Puts `/dev/null` in the place of standard input, output and error.
pub(super) fn silence_output() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
