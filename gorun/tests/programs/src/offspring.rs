//! Offspring: processes that a task leaves in its worker's care, in every way in which one can be made.
// UNSAFETY: forking is what is tested.
#![expect(unsafe_code, reason = "fork has no safe form")]

use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

/// How a process is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Birth {
    /// Started, and not waited for.
    Started,
    /// Forked without a new program.
    Forked,
    /// Started by one that was started and has ended.
    Grandchild,
    /// As a daemon makes itself: forked, in a session of its own, forked again, without descriptors.
    Daemon,
}

impl Birth {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Started, Self::Forked, Self::Grandchild, Self::Daemon];
}

/// Makes one process in each way with the `begets` program, for a task; gives their ids.
///
/// # Panics
/// If one cannot be made.
#[must_use]
pub fn beget(begets: String) -> Vec<i32> {
    Birth::ALL.into_iter().map(|birth| beget_one(&begets, birth)).collect()
}

fn beget_one(begets: &str, birth: Birth) -> i32 {
    let told = |role: &str| {
        let mut command = Command::new(begets);
        // Not a pipe: what it leaves behind would hold that open.
        let command = command.arg(role).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().expect("run the program");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a process id")
    };
    match birth {
        Birth::Started => started(begets),
        Birth::Forked => fork_and_linger(),
        Birth::Grandchild => told("grandchild"),
        Birth::Daemon => told("daemon"),
    }
}

/// Starts one that lingers; gives its id.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn started(begets: &str) -> i32 {
    let mut command = Command::new(begets);
    let quiet = command.arg("linger").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("start a child").id().cast_signed()
}

/// Lives until it is killed, without using the processor.
pub fn linger() -> ! {
    loop {
        std::thread::park();
    }
}

/// Makes a daemon and gives its id.
#[must_use]
pub fn daemonise() -> i32 {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: this program has one thread; the child only makes system calls and ends.
    if unsafe { libc::fork() } == 0 {
        rustix::process::setsid().expect("a session of its own");
        // SAFETY: as above.
        let daemon = unsafe { libc::fork() };
        if daemon == 0 {
            // SAFETY: nothing of this process uses them any more.
            unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
            linger();
        }
        let _ = rustix::io::write(&writer, &daemon.to_le_bytes());
        std::process::exit(0);
    }
    let mut pid = [0; 4];
    rustix::io::read(&reader, &mut pid).expect("the daemon's id");
    i32::from_le_bytes(pid)
}

fn fork_and_linger() -> i32 {
    // SAFETY: a worker has one thread unless its tasks start some, and these start none.
    match unsafe { libc::fork() } {
        0 => linger(),
        pid => pid,
    }
}
