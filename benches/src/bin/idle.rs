//! What does a runtime that has nothing to do cost?
//!
//! Measured: the proportional set size of an idle worker, and the CPU time that host, zygote, spares and workers use
//! together during two seconds of idleness, in clock ticks. Peers: a limit of 0.25 MiB; no tick at all.
#![expect(clippy::disallowed_methods, reason = "doing nothing for a while is what is measured")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample};
use gorun_benches::report::{Better, Row};

const LIMIT_MIB: f64 = 0.25;

fn main() {
    let effort = Effort::from_args();
    let runtime = Runtime::builder().build().expect("the runtime starts");
    let used = runtime.map(0..10_000_u64, |item| item + 1).grain(1).collect::<Vec<u64>>();
    assert_eq!(used.map(|results| results.len()).ok(), Some(10_000));
    // Long enough for everyone to have given up spinning.
    std::thread::sleep(Duration::from_millis(200));

    let pids = runtime.stats().seats.iter().filter_map(|seat| seat.pid).collect::<Vec<_>>();
    assert!(!pids.is_empty(), "there are workers");
    let (metric, peer) = ("memory of an idle worker (PSS)", "limit");
    let (ours, reference) =
        (Sample::of(pids.into_iter().map(pss_mib).collect()), Sample::constant(LIMIT_MIB));
    Row { metric, unit: "MiB", ours, peer, reference, better: Better::Lower, reach: Some(1.0) }.print();

    let seconds = effort.pick(2, 1);
    let before = family_ticks();
    std::thread::sleep(Duration::from_secs(seconds));
    let ticks = family_ticks().saturating_sub(before);
    let (metric, peer) = (&format!("CPU used in {seconds} s of idleness"), "one tick");
    let (ours, reference) = (Sample::constant(ticks as f64), Sample::constant(1.0));
    Row { metric, unit: "ticks", ours, peer, reference, better: Better::Lower, reach: Some(0.0) }.print();
}

/// Proportional set size of a process in MiB.
fn pss_mib(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the worker is alive");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("the kernel reports Pss");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    kib.expect("Pss is a number of kB") / 1024.0
}

/// CPU time so far of all processes that run this program, in clock ticks: the host and everything it started.
fn family_ticks() -> u64 {
    let own = fs::read_link("/proc/self/exe").expect("this program has a path");
    let runs_it = |process: &PathBuf| fs::read_link(process.join("exe")).is_ok_and(|exe| exe == own);
    let processes =
        fs::read_dir("/proc").expect("/proc is there").filter_map(Result::ok).map(|entry| entry.path());
    processes.filter(runs_it).filter_map(|process| ticks(&process)).sum()
}

/// User and system time of one process; `None` if it has ended.
fn ticks(process: &std::path::Path) -> Option<u64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // Fields are counted behind the name, which may hold spaces: state is the first, utime the 12th, stime the 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}
