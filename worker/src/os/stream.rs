//! Streams: a pipe in place of a worker's standard error, and the host's end of it.
// UNSAFETY: exit handlers have no safe form.
#![expect(unsafe_code, reason = "atexit is not offered by the safe crates")]

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use std::io;

/// A pipe whose read end never waits and whose write end does: reader, writer.
///
/// # Errors
/// What the kernel said: no descriptors left.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}

/// Reads what is there; how many bytes, 0 if there is nothing.
pub fn read(reader: impl AsFd, bytes: &mut [u8]) -> usize {
    loop {
        match rustix::io::read(&reader, &mut *bytes) {
            Ok(count) => return count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 0,
        }
    }
}

/// Puts `writer` in the place of this process's standard error.
pub fn become_stderr(writer: OwnedFd) {
    // Fails only for a bad descriptor; then the worker writes where the host does.
    let _ = rustix::stdio::dup2_stderr(writer);
}

/// Has `handler` called when this process exits by itself.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of the program, there to its end. It fails only without memory.
    unsafe { libc::atexit(handler) };
}
