//! What does a tiny task cost when there are a million of them?
//!
//! Measured: nanoseconds per task, one `go` each and then all joined, with one worker and with one per core; and
//! nanoseconds per item of `go_map`, at grain 1 and in pieces of 1 000. Peers, with as many threads: `rayon::spawn` with a
//! counter, tokio's `spawn` with its handles awaited, boxed closures in a channel, and rayon's `par_iter` at the same
//! grain, collecting as we do. Rates, so that more is better.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::rayon_pool::Pool;
use gorun_benches::rivals::{channel_pool, tokio_pool};

/// Items in one piece of the long map, for both sides.
const GRAIN: usize = 1_000;

fn main() {
    let effort = Effort::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    one_by_one(effort, 1);
    if cores > 1 {
        one_by_one(effort, cores);
    }
    at_grain_one(effort, cores);
    long_map(effort, cores);
}

fn one_by_one(effort: Effort, workers: usize) {
    let tasks = effort.pick(1_000_000, 100_000);
    let runtime = Runtime::builder().workers(workers).build().expect("the runtime starts");
    let (rayon, tokio) = (Pool::new(workers), tokio_pool::runtime(workers));
    let [ours, rayon, tokio, channel] = interleave(
        effort.runs(),
        [
            &mut || rate(go_ns(&runtime, tasks)),
            &mut || rate(rayon.spawn_ns(tasks)),
            &mut || rate(tokio_pool::spawn_ns(&tokio, tasks)),
            &mut || rate(channel_pool::task_ns(tasks)),
        ],
    );
    let metric = &format!("tiny tasks one by one, {workers} worker(s)");
    row(metric, ours, "rayon::spawn with a counter", rayon, Some(4.0));
    row(metric, ours, "tokio::spawn with handles", tokio, None);
    row(metric, ours, "boxed closures in a channel, 1 thread", channel, None);
}

fn at_grain_one(effort: Effort, workers: usize) {
    let items = effort.pick(1_000_000, 100_000);
    let runtime = Runtime::builder().workers(workers).build().expect("the runtime starts");
    let rayon = Pool::new(workers);
    let [ours, spawn, par_iter] = interleave(
        effort.runs(),
        [&mut || rate(map_ns(&runtime, items, 1)), &mut || rate(rayon.spawn_ns(items as u64)), &mut || {
            rate(rayon.map_ns(items, 1, plus_one))
        }],
    );
    let metric = "go_map at grain 1";
    row(metric, ours, "rayon::spawn with a counter", spawn, Some(15.0));
    row(metric, ours, "rayon par_iter at grain 1", par_iter, Some(1.0));
}

fn long_map(effort: Effort, workers: usize) {
    let items = effort.pick(10_000_000, 1_000_000);
    let runtime = Runtime::builder().workers(workers).build().expect("the runtime starts");
    let rayon = Pool::new(workers);
    let [ours, par_iter] = interleave(
        effort.runs(),
        [&mut || rate(map_ns(&runtime, items, GRAIN)), &mut || rate(rayon.map_ns(items, GRAIN, plus_one))],
    );
    row(&format!("go_map at grain {GRAIN}"), ours, "rayon par_iter at the same grain", par_iter, Some(1.0));
}

fn go_ns(runtime: &Runtime, tasks: u64) -> f64 {
    let mut sum = 0;
    let ns = time_ns(|| {
        let handles: Vec<_> = (0..tasks).map(|_| runtime.go(|| 1_u64)).collect();
        sum = handles.into_iter().map(|handle| handle.join().expect("the task ends")).sum();
    });
    assert_eq!(sum, tasks, "every task has one result");
    ns / tasks as f64
}

fn map_ns(runtime: &Runtime, items: usize, grain: usize) -> f64 {
    let mut results = Vec::new();
    let ns = time_ns(|| {
        let mapped = runtime.map(0..items as u64, plus_one).grain(grain).collect::<Vec<u64>>();
        results = mapped.expect("every task ends");
    });
    let items = items as u64;
    assert_eq!(results.iter().sum::<u64>(), items * (items + 1) / 2, "every item has its result");
    ns / items as f64
}

fn plus_one(item: u64) -> u64 {
    item + 1
}

/// Nanoseconds each as millions a second.
fn rate(ns: f64) -> f64 {
    1e3 / ns
}

fn row(metric: &str, ours: Sample, peer: &str, reference: Sample, reach: Option<f64>) {
    Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach }.print();
}
