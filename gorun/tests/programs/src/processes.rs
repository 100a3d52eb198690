//! Processes as the kernel lists them: a program's workers and zygotes, whoever their parent is.

use gorun::Runtime;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::path::{Path, PathBuf};

/// A process, as it was when looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// True if it has ended and was not reaped.
    pub is_zombie: bool,
}

/// The processes of one runtime.
#[derive(Debug, Clone)]
pub struct Family {
    /// Its zygote.
    pub zygote: i32,
    /// Workers that have a seat.
    pub seated: Vec<i32>,
    /// Workers that wait for one.
    pub spares: Vec<i32>,
}

/// The process with this id, if there is one.
#[must_use]
pub fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in round brackets and may hold any character.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    Some(Process { pid, parent: fields.next()?.parse().ok()?, name, is_zombie })
}

/// All processes.
#[must_use]
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

/// Living zygotes and workers of the program at `executable`.
#[must_use]
pub fn of_program(executable: &Path) -> Vec<Process> {
    let gorun = all().into_iter().filter(|process| process.name.starts_with("gorun-") && !process.is_zombie);
    gorun.filter(|process| executable_of(process.pid).as_deref() == Some(executable)).collect()
}

/// Living zygotes and workers of this run of this program: those that have its folder for temporary files too. A
/// test runner may run the same program for another test at the same time.
///
/// # Panics
/// If this program's own path is not known.
#[must_use]
pub fn of_this_run() -> Vec<Process> {
    let folder = std::env::temp_dir();
    let mark = format!("TMPDIR={}", folder.display());
    let own = of_program(&std::env::current_exe().expect("know this program"));
    own.into_iter().filter(|process| has_in_environment(process.pid, &mark)).collect()
}

fn has_in_environment(pid: i32, entry: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
}

/// True while the process runs; a zombie does not.
#[must_use]
pub fn lives(pid: i32) -> bool {
    read(pid).is_some_and(|process| !process.is_zombie)
}

/// The processes of `runtime`; none while it is starting or replacing some of them.
#[must_use]
pub fn family(runtime: &Runtime) -> Option<Family> {
    let seats = runtime.stats().seats;
    let seated: Option<Vec<i32>> = seats.iter().map(|seat| i32::try_from(seat.pid?).ok()).collect();
    let seated = seated?;
    let zygote = read(read(*seated.first()?)?.parent)?;
    let children = all().into_iter().filter(|process| process.parent == zygote.pid && !process.is_zombie);
    let spares = children.map(|child| child.pid).filter(|pid| !seated.contains(pid)).collect();
    (zygote.name == "gorun-zygote").then_some(Family { zygote: zygote.pid, seated, spares })
}

/// Waits until every seat of `runtime` has a worker, and its bench as many as it wants.
///
/// # Blocking
/// Until then.
#[must_use]
pub fn await_family(runtime: &Runtime, spares: usize) -> Family {
    let mut found = None;
    super::eventually(|| {
        found = family(runtime).filter(|family| family.spares.len() == spares);
        found.is_some()
    });
    match found {
        Some(family) => family,
        None => unreachable!("the wait above ends with one"),
    }
}

/// Sends a signal. A process that is gone is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends SIGKILL.
pub fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// Sends SIGSTOP.
pub fn stop(pid: i32) {
    signal(pid, Signal::STOP);
}

/// A descriptor of a living process; none if it is gone.
#[must_use]
pub fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Waits until the process behind the descriptor has ended.
///
/// # Blocking
/// Until then.
pub fn await_end(pidfd: &OwnedFd) {
    while !gorun_worker::os::pidfd::has_ended(pidfd) {
        let _ = gorun_worker::os::poll::wait_one(rustix::fd::AsFd::as_fd(pidfd), 1000);
    }
}

fn executable_of(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}
