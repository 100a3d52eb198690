//! Sleeping on several descriptors, and a descriptor that threads of this process use to wake such a sleeper.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// Wakes a thread that sleeps in [`wait`].
#[derive(Debug)]
pub struct WakeUp(OwnedFd);

impl WakeUp {
    /// A fresh one.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes the sleeper, or the next one.
    pub fn wake(&self) {
        // Fails only if the counter is full, and then the sleeper is awake anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Takes the wake-ups that have come.
    pub fn clear(&self) {
        // Fails only if there were none.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for WakeUp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until one of the descriptors is readable or ended; says which.
///
/// # Errors
/// What the kernel said.
///
/// # Blocking
/// Until then.
pub fn wait(descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|entry| !entry.revents().is_empty()).collect())
}

/// Sleeps until the descriptor is readable or ended, at most `milliseconds`; false if that passed.
#[must_use]
pub fn wait_one(descriptor: BorrowedFd<'_>, milliseconds: i64) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let limit =
        rustix::event::Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    poll(&mut polled, Some(&limit)).is_ok_and(|ready| ready > 0)
}
