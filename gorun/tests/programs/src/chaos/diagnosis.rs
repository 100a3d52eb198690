//! Diagnosis: what every thread of this run is doing, for the moment when one of them hangs.

use crate::processes;
use std::fmt::Write;
use std::fs;

/// One line a thread: process, thread, name, state, where in the kernel it waits, its system call.
#[must_use]
pub fn of_this_run() -> String {
    let mut pids: Vec<i32> = vec![std::process::id().cast_signed()];
    pids.extend(processes::of_this_run().into_iter().map(|process| process.pid));
    let mut text = String::new();
    for pid in pids {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let read = |name: &str| {
                fs::read_to_string(thread.path().join(name)).unwrap_or_default().trim().to_owned()
            };
            let stat = read("stat");
            let state = stat.rsplit_once(") ").map_or("?", |(_, rest)| rest.get(..1).unwrap_or("?"));
            let _ = writeln!(
                text,
                "process {pid} thread {} {} {state} wchan {} syscall {}",
                thread.file_name().to_string_lossy(),
                read("comm"),
                read("wchan"),
                read("syscall"),
            );
        }
    }
    text
}
