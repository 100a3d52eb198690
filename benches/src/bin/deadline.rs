//! How late is a task killed whose deadline has passed?
//!
//! Measured: the time from the deadline of a task that never ends to the return of its `join` with `TimedOut`, and the
//! same for a task in foreign code that blocks in the kernel. Peer: a limit of 2 ms. The figure holds the wake-up of the
//! supervisor, the kill, the end of the process and the wake-up of whoever joins.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, spin_for, time_ns};
use gorun_benches::report::{Better, Row};
use std::time::Duration;

const LIMIT_US: f64 = 2_000.0;
const ALLOWED: Duration = Duration::from_millis(5);

fn main() {
    let effort = Effort::from_args();
    let kills = effort.pick(40, 10);
    let runtime = Runtime::builder().workers(1).build().expect("the runtime starts");
    let late = |task: fn()| Sample::of((0..kills).map(|_| late_us(&runtime, task)).collect()).median;
    let [looping, blocked] = interleave(effort.runs(), [&mut || late(endless), &mut || late(asleep)]);
    for (what, ours) in [("an endless loop", looping), ("a blocked system call", blocked)] {
        let metric = &format!("deadline to TimedOut, {what}");
        let (reference, reach) = (Sample::constant(LIMIT_US), Some(1.0));
        Row { metric, unit: "us", ours, peer: "limit", reference, better: Better::Lower, reach }.print();
    }
}

/// How long after its deadline one task was over.
fn late_us(runtime: &Runtime, task: fn()) -> f64 {
    // A spare is forked meanwhile, so that the next task starts at once.
    spin_for(Duration::from_millis(5));
    let spent = time_ns(|| {
        let outcome = Task::new(task).deadline(ALLOWED).go_on(runtime).join();
        assert_eq!(outcome, Err(TaskError::TimedOut { after: ALLOWED }), "the task never ends");
    });
    spent / 1e3 - ALLOWED.as_secs_f64() * 1e6
}

fn endless() {
    loop {
        std::hint::spin_loop();
    }
}

#[expect(clippy::disallowed_methods, reason = "a task that sleeps in the kernel is what is measured")]
fn asleep() {
    std::thread::sleep(Duration::from_secs(1_000));
}
