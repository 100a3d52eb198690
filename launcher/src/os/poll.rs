//! Sleeping on several descriptors.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// Sleeps until one of the descriptors is readable or ended, or a signal came.
///
/// # Blocking
/// Until then.
pub(crate) fn wait(descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
