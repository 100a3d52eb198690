//! What does a jail cost: to start a worker in one, for a task in a warm one, and for a task that gets its own?
//!
//! Measured, each from `go` to the value: the first task of a profile that no worker has yet, so that a segment is made,
//! a process forked and its jail put on; a task in a worker that served the one before; a task of a profile with `fresh`,
//! whose worker was started ahead while the one before ran. Peers: an ordinary worker that leaves after each task, without
//! a spare and with one; and an ordinary task. A jail is for safety, so it has no aim but to be seen.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, call_ns, interleave, spin_for, time_ns};
use gorun_benches::report::{Better, Row};
use std::time::Duration;

/// In which a worker ahead is started, and the dead are torn down.
const PAUSE: Duration = Duration::from_millis(3);

fn main() {
    let effort = Effort::from_args();
    let (starts, calls) = (effort.pick(40, 10), effort.pick(4_000, 400));
    let jailing = Runtime::builder().workers(1).jailed_workers(1).build().expect("the runtime starts");
    let leaving = |spares| {
        let builder = Runtime::builder().workers(1).spares(spares).max_tasks_per_worker(1);
        builder.build().expect("the runtime starts")
    };
    let (bare, spared) = (leaving(0), leaving(1));
    // The zygote of jailed workers is not what is asked about.
    assert_eq!(jailed(&jailing, Jail::compute()), 42);
    let mut profile = 1 << 30;
    let mut new_profile = || {
        profile += 1 << 20;
        Jail::compute().memory(profile)
    };
    let paused = |call: &mut dyn FnMut()| {
        let one = |_| {
            spin_for(PAUSE);
            time_ns(&mut *call) / 1e3
        };
        Sample::of((0..starts).map(one).collect()).median
    };
    let ordinary = |runtime: &Runtime| assert_eq!(runtime.go(|| 42_u64).join(), Ok(42));
    let [jailed_start, bare_start, fresh, spared_task, warm, plain] = interleave(
        effort.runs(),
        [
            &mut || paused(&mut || assert_eq!(jailed(&jailing, new_profile()), 42)),
            &mut || paused(&mut || ordinary(&bare)),
            &mut || paused(&mut || assert_eq!(jailed(&jailing, Jail::compute().fresh()), 42)),
            &mut || paused(&mut || ordinary(&spared)),
            &mut || call_ns(calls, || assert_eq!(jailed(&jailing, Jail::compute()), 42)) / 1e3,
            &mut || {
                let runtime = &jailing;
                call_ns(calls, || ordinary(runtime)) / 1e3
            },
        ],
    );
    let rows = [
        ("first task of a new jail", jailed_start, "worker forked for the task", bare_start),
        ("task in a fresh jail, started ahead", fresh, "worker forked ahead for the task", spared_task),
        ("task in a warm jail, one by one", warm, "ordinary task", plain),
    ];
    for (metric, ours, peer, reference) in rows {
        Row { metric, unit: "us", ours, peer, reference, better: Better::Lower, reach: None }.print();
    }
}

fn jailed(runtime: &Runtime, jail: Jail) -> u64 {
    Task::new(|| 42_u64).jail(jail).go_on(runtime).join().expect("the kernel has what a jail needs")
}
