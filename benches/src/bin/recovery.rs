//! How soon after a kill does the dead worker's seat give results again?
//!
//! Measured: the median time from `kill -9` of the only worker, with a spare waiting, to the result of a task that another
//! process computed; once with a small worker and once with one that holds 256 MiB, which the kernel needs long to tear
//! down. Peer: a limit of 150 µs whatever the size.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, spin_until, time_ns};
use gorun_benches::report::{Better, Row};
use rustix::process::{Pid, Signal, kill_process};

const LIMIT_US: f64 = 150.0;
const MIB: usize = 1 << 20;

fn main() {
    let effort = Effort::from_args();
    let kills = effort.pick(20, 5);
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().expect("the runtime starts");
    for mib in effort.pick(&[0, 256][..], &[0]) {
        let median_us = || Sample::of((0..kills).map(|_| recovery_us(&runtime, *mib)).collect()).median;
        let [ours] = interleave(effort.runs(), [&mut { median_us }]);
        let (metric, peer) = (&format!("kill -9 to the next result, worker of {mib} MiB"), "limit");
        let (reference, reach) = (Sample::constant(LIMIT_US), Some(1.0));
        Row { metric, unit: "us", ours, peer, reference, better: Better::Lower, reach }.print();
    }
}

/// Kills the worker once and waits for its successor's first result.
fn recovery_us(runtime: &Runtime, mib: usize) -> f64 {
    let mut victim = 0;
    spin_until(|| {
        // The seat of the last round may still be without its spare; let it be filled again before the next kill.
        victim = runtime.stats().seats[0].pid.unwrap_or(0);
        victim != 0 && settle(runtime, mib) == victim
    });
    let process = i32::try_from(victim).ok().and_then(Pid::from_raw).expect("a pid is a positive i32");
    time_ns(|| {
        kill_process(process, Signal::KILL).expect("the worker can be killed");
        // A result of the victim's last microseconds, or its loss, is not yet the recovery.
        while runtime.go(std::process::id).join().is_ok_and(|pid| pid == victim) {}
        let successor = runtime.go(std::process::id).join().expect("the task ends");
        assert_ne!(successor, victim, "another process took the seat");
    }) / 1e3
}

/// Lets the worker hold `mib` MiB, waits as long as a spare needs to be forked, and gives the worker's pid.
fn settle(runtime: &Runtime, mib: usize) -> u32 {
    gorun_benches::measure::spin_for(std::time::Duration::from_millis(20));
    let hold = |mib: usize| {
        std::mem::forget(vec![1_u8; mib * MIB]);
        std::process::id()
    };
    runtime.task(mib, hold).join().expect("the task ends")
}
