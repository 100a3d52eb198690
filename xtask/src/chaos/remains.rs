//! Remains: processes of a host that is gone, known by its folder for temporary files in their environment.

use crate::clock::Stopwatch;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How soon nothing of a killed host may be left.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked. There is nobody to tell: whoever is left is no child of ours.
const LOOK: Duration = Duration::from_millis(2);

/// Living processes that were started with this `TMPDIR`. Those that have ended have no environment.
pub(crate) fn living(folder: &Path) -> Vec<u32> {
    let mark = format!("TMPDIR={}", folder.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_in_environment(*pid, &mark)).collect()
}

/// Waits until none lives, at most a second; gives how long that took and who is left.
///
/// # Blocking
/// Until then.
pub(crate) fn await_none(folder: &Path) -> (Duration, Vec<u32>) {
    let stopwatch = Stopwatch::start();
    loop {
        let left = living(folder);
        let passed = stopwatch.elapsed();
        if left.is_empty() || passed > GRACE {
            return (passed, left);
        }
        thread::park_timeout(LOOK);
    }
}

fn has_in_environment(pid: u32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_with_the_mark_is_found_until_it_ends() {
        let folder = std::env::temp_dir().join(format!("gorun-xtask-remains-{}", std::process::id()));
        let mut child = Command::new("cat").env("TMPDIR", &folder).stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(living(&folder), [child.id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(await_none(&folder).1.is_empty());
    }
}
