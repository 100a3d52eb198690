//! Offspring: what a worker's tasks have forked and started, found and killed when the worker is gone.
//!
//! Every worker leads a session and a process group of its own, and adopts what its offspring leaves behind, as the
//! zygote does for its workers. So a daemon of a task stays below its worker, and falls to the zygote when that dies;
//! whatever the zygote has not forked itself is of a dead worker. Where a zygote was killed, its workers' offspring falls
//! to init instead, and is known by a mark in the environment it was started with.

use crate::os::{identity, pidfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal};
use std::collections::HashMap;
use std::fs;
use std::io;

/// Names the runtime in the environment of its zygotes, workers and whatever these start.
pub const VARIABLE: &str = "GORUN_FAMILY";

/// A look for strays is repeated as long as it finds some: what is killed may have forked just before.
const LOOKS_MAX: u32 = 8;
/// How long the kernel may take to end a killed process before the next look.
const END_MS_MAX: i64 = 100;

/// From now on this process adopts what its descendants leave behind, instead of init.
///
/// # Errors
/// What the kernel said.
pub fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Makes this process the leader of a session and a group of its own. A group in the zygote's session would not do: the
/// kernel ends the stopped members of one whose last relative outside of it, the zygote, dies.
///
/// # Errors
/// What the kernel said.
pub fn lead() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Kills every process in the group that `leader` leads or led. The caller has not reaped it, so that the number is
/// nobody else's.
pub fn kill_group(leader: i32) {
    if let Some(leader) = Pid::from_raw(leader) {
        // There is none left, or there never was one.
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

/// Kills every living child of this process but those that `is_own`, each with its group; gives how many there were.
/// The calling process has one thread.
pub fn kill_adopted(is_own: impl Fn(i32) -> bool) -> usize {
    children().into_iter().filter(|pid| !is_own(*pid)).filter(|pid| kill_with_group(*pid)).count()
}

/// True if the process could be signalled. Not reaped by anybody else, or found by its mark just now.
fn kill_with_group(pid: i32) -> bool {
    let Some(process) = Pid::from_raw(pid) else { return false };
    if let Ok(group) = rustix::process::getpgid(Some(process))
        && group != rustix::process::getpgrp()
    {
        // In one blow, so that none of it is forking meanwhile.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    rustix::process::kill_process(process, Signal::KILL).is_ok()
}

/// Children of this process that have not ended.
fn children() -> Vec<i32> {
    let own = identity::pid();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => {
            let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.filter(|pid| read(*pid).is_some()).collect()
        }
        // A kernel built without that list.
        Err(_) => {
            all().into_iter().filter(|relative| relative.parent == own).map(|child| child.pid).collect()
        }
    }
}

/// A living process and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

/// Kills every process that carries the mark `family` and belongs to nobody who `is_alive`: not one of these, not a
/// descendant of one, and not this process.
///
/// # Blocking
/// Until they have ended, a fraction of a second at most for each look.
pub fn kill_strays(family: &str, is_alive: impl Fn(&Relative) -> bool) {
    for _ in 0..LOOKS_MAX {
        let strays = strays(family, &is_alive);
        if strays.is_empty() {
            return;
        }
        // Opened before the kill, so that what is waited for is what was killed.
        let ends: Vec<OwnedFd> = strays.iter().filter_map(|pid| pidfd::open(*pid).ok()).collect();
        strays.iter().for_each(|pid| {
            kill_with_group(*pid);
        });
        for end in ends {
            let _ = poll::wait_one(end.as_fd(), END_MS_MAX);
        }
    }
}

fn strays(family: &str, is_alive: impl Fn(&Relative) -> bool) -> Vec<i32> {
    let relatives: HashMap<i32, Relative> =
        all().into_iter().map(|relative| (relative.pid, relative)).collect();
    let mark = format!("{VARIABLE}={family}");
    let own = identity::pid();
    let belongs = |pid: i32| {
        let line = std::iter::successors(relatives.get(&pid), |child| relatives.get(&child.parent));
        // A list that changed while it was read may go in circles.
        line.take(relatives.len()).any(|relative| relative.pid == own || is_alive(relative))
    };
    let marked = relatives.keys().copied().filter(|pid| has_in_environment(*pid, &mark));
    marked.filter(|pid| !belongs(*pid)).collect()
}

fn all() -> Vec<Relative> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

/// The process, unless it has ended.
fn read(pid: i32) -> Option<Relative> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, stat: &str) -> Option<Relative> {
    // The name stands in round brackets and may hold any character.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    (!is_zombie).then_some(Relative { pid, parent, name })
}

fn has_in_environment(pid: i32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let found = parse(7, "7 (a) b (c) S 3 7 7 0 -1");
        assert_eq!(found, Some(Relative { pid: 7, parent: 3, name: "a) b (c".to_owned() }));
        assert_eq!(parse(7, "7 (a) Z 3 7"), None);
        assert_eq!(parse(7, "nonsense"), None);
    }

    #[test]
    fn this_process_is_found_and_has_its_environment() {
        let own = identity::pid();
        assert!(all().iter().any(|relative| relative.pid == own));
        let path = std::env::var("PATH").unwrap_or_default();
        assert!(has_in_environment(own, &format!("PATH={path}")));
        assert!(!has_in_environment(own, "GORUN_FAMILY=nobody's"));
    }
}
