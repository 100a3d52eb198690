//! What the process shows of itself to others: its name, its standard input.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::io;

/// Sets the name that process listings show, at most 15 bytes.
pub fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        // A name is a courtesy; a kernel that refuses costs nothing.
        let _ = rustix::thread::set_name(&name);
    }
}

/// The name of the worker in a record, within the 15 bytes that the kernel keeps.
#[must_use]
pub fn worker_name(record: u16) -> String {
    format!("gorun-worker{record}")
}

/// The record in a worker's name.
#[must_use]
pub fn record_of(name: &str) -> Option<u16> {
    name.strip_prefix("gorun-worker")?.parse().ok()
}

/// The name of a jailed worker, likewise.
#[must_use]
pub fn jailed_name(cell: u16) -> String {
    format!("gorun-jailed{cell}")
}

/// The name of another process; none if it is gone, or cannot be asked.
#[must_use]
pub fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// True if a signal has stopped the process with this id. A debugger's stop is another one.
#[must_use]
pub fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in round brackets and may hold any character; the state follows.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// True unless no process has this id. One that was recycled counts.
#[must_use]
pub fn exists(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Kills the process with this id, which the caller has made sure of.
pub fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        // One that is gone already is what the caller wants.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Moves standard input to a descriptor of its own and puts `/dev/null` in its place.
///
/// # Errors
/// What the kernel said.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let moved = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    Ok(moved)
}

/// A descriptor that reads as empty and forgets what is written.
///
/// # Errors
/// What the kernel said.
pub fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// True if standard input is a socket, as a zygote's is.
#[must_use]
pub fn stdin_is_socket() -> bool {
    rustix::fs::fstat(io::stdin().as_fd())
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket)
}

/// The id of this process.
#[must_use]
pub fn pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// A number nobody can guess.
///
/// # Errors
/// What the kernel said.
pub fn random_token() -> io::Result<u128> {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    let source = rustix::fs::open("/dev/urandom", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    while filled < bytes.len() {
        filled += rustix::io::read(&source, &mut bytes[filled..])?;
    }
    Ok(u128::from_ne_bytes(bytes))
}
