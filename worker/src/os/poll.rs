//! Sleeping on several descriptors, and a descriptor that threads of this process use to wake such a sleeper.

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::time::Duration;

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

    /// One whose descriptor came from another process.
    #[must_use]
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
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

/// Sleeps until one of the descriptors is readable or ended; says which. At most `milliseconds`, if any are given.
///
/// # Errors
/// What the kernel said.
///
/// # Blocking
/// Until then.
pub fn wait(descriptors: &[BorrowedFd<'_>], milliseconds: Option<i64>) -> io::Result<Vec<bool>> {
    wait_within(descriptors, milliseconds.map(|limit| Duration::from_millis(limit.max(0).unsigned_abs())))
}

/// [`wait`] with a finer limit.
///
/// # Errors
/// What the kernel said.
///
/// # Blocking
/// Until one of them is ready, `limit` at most.
pub fn wait_within(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    let limit = limit.map(|limit| rustix::event::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        // The kernel looks at no more descriptors than `RLIMIT_NOFILE`, which somebody has lowered.
        Err(rustix::io::Errno::INVAL) => wait_one_by_one(&mut polled)?,
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|entry| !entry.revents().is_empty()).collect())
}

/// How often descriptors are looked at where they cannot be waited for together.
const ROUND_MS: i64 = 10;

fn wait_one_by_one(polled: &mut [PollFd<'_>]) -> io::Result<()> {
    let mut any = false;
    for entry in polled.iter_mut() {
        any |= poll(std::slice::from_mut(entry), Some(&timespec(0)))? > 0;
    }
    if let (false, Some(first)) = (any, polled.first_mut()) {
        poll(std::slice::from_mut(first), Some(&timespec(ROUND_MS)))?;
    }
    Ok(())
}

/// Sleeps until the descriptor is readable or ended, at most `milliseconds`; false if that passed.
#[must_use]
pub fn wait_one(descriptor: BorrowedFd<'_>, milliseconds: i64) -> bool {
    wait_for(descriptor, PollFlags::IN, milliseconds)
}

/// Sleeps until nobody has the descriptor's other end, at most `milliseconds`; false if that passed.
#[must_use]
pub fn wait_for_hang_up(descriptor: BorrowedFd<'_>, milliseconds: i64) -> bool {
    // Error and hang-up are reported whatever is asked for.
    wait_for(descriptor, PollFlags::empty(), milliseconds)
}

fn wait_for(descriptor: BorrowedFd<'_>, what: PollFlags, milliseconds: i64) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, what)];
    poll(&mut polled, Some(&timespec(milliseconds))).is_ok_and(|ready| ready > 0)
}

fn timespec(milliseconds: i64) -> rustix::event::Timespec {
    rustix::event::Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 }
}
