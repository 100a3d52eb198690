//! The zygote's view of its children: told of deaths by a descriptor, reaped without blocking.

use super::offspring;
use crate::zygote::protocol::ProcessEnd;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;

/// A descriptor that becomes readable when a child ends.
#[derive(Debug)]
pub struct Deaths(SignalFd);

/// What woke the zygote.
#[derive(Debug, Clone, Copy)]
pub struct Woken {
    /// The socket has something, or its peer is gone.
    pub socket: bool,
    /// Some child may have ended.
    pub children: bool,
}

impl Deaths {
    /// Turns SIGCHLD of this process into a readable descriptor.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn watch() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Sleeps until the socket or a child has news.
    ///
    /// # Errors
    /// What the kernel said.
    ///
    /// # Blocking
    /// Until then.
    pub fn wait(&mut self, socket: BorrowedFd<'_>) -> io::Result<Woken> {
        let mut polled =
            [PollFd::new(&socket, PollFlags::IN), PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [socket, children] = polled.map(|entry| !entry.revents().is_empty());
        if children {
            self.clear();
        }
        Ok(Woken { socket, children })
    }

    /// Sleeps until a child has ended, at most `milliseconds`; false if that passed.
    ///
    /// # Errors
    /// What the kernel said.
    ///
    /// # Blocking
    /// Until then.
    pub fn wait_for_child(&mut self, milliseconds: i64) -> io::Result<bool> {
        let limit = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
        let ended = match poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)], Some(&limit)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => true,
            Err(errno) => return Err(errno.into()),
        };
        self.clear();
        Ok(ended)
    }

    /// One signal may stand for many deaths, so the reaping loop asks until there is none.
    fn clear(&mut self) {
        while matches!(self.0.read_signal(), Ok(Some(_))) {}
    }
}

/// Reaps one ended child, if there is one, and kills before that what is left of the group that it led.
#[must_use]
pub fn reap() -> Option<(i32, ProcessEnd)> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let ended = waitid(Id::All, look).ok()?.pid()?;
    offspring::kill_group(ended.as_raw());
    match waitpid(ended, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid.as_raw(), ProcessEnd::Exited { code })),
        Ok(WaitStatus::Signaled(pid, signal, dumped)) => {
            Some((pid.as_raw(), ProcessEnd::Signalled { signal: signal as i32, dumped }))
        }
        _ => None,
    }
}
