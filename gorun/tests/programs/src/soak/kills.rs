//! Kills: workers that have a seat are killed from outside, one after the other, while tasks run.

use super::flat::{self, Point};
use super::{bar, quantile};
use crate::chaos::numbers::{Numbers, mix};
use crate::chaos::vitals::Vitals;
use crate::processes;
use gorun::{Runtime, TaskError};
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicBool, AtomicU64, Ordering};
use rustix::process::{Signal, pidfd_send_signal};
use serde::Serialize;
use std::collections::VecDeque;

/// Looks at the host in all.
const LOOKS: u64 = 100;
/// Tasks that are under way at once.
const WINDOW: usize = 64;
/// Longest time without a worker in a seat.
const PATIENCE_NS: u64 = 20_000_000_000;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Workers killed.
    pub kills: u64,
    /// Tasks handed over meanwhile.
    pub tasks: u64,
    /// Tasks with the right value.
    pub right: u64,
    /// Tasks lost with a killed worker: at most one a kill.
    pub lost: u64,
    /// `right / tasks`.
    pub availability: f64,
    /// Seconds.
    pub seconds: f64,
    /// Kill to the next worker in the seat, in microseconds: half were sooner.
    pub refilled_p50_us: u64,
    /// 99 in 100 were sooner.
    pub refilled_p99_us: u64,
    /// The host at a hundred instants.
    pub curve: Vec<Point>,
    /// What was wrong; must be empty.
    pub complaints: Vec<String>,
}

/// Kills `count` workers.
///
/// # Panics
/// If the runtime cannot be built.
#[must_use]
pub fn run(count: u64, workers: usize) -> Report {
    let before = Vitals::take();
    let runtime = Runtime::builder().workers(workers).build().expect("build a runtime");
    let _ = processes::await_family(&runtime, 1);
    let (since_ns, is_over) = (system_ns(), AtomicBool::new(false));
    let killed = AtomicU64::new(0);
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let submitter = scope.spawn(|| submit(&runtime, &is_over, &killed));
        hunt(&runtime, count, &killed, &mut report);
        is_over.store(true, Ordering::Release); // Release: pairs with the Acquire in `submit`.
        let seen = submitter.join().expect("the submitter does not panic");
        (report.tasks, report.right, report.lost) = (seen.tasks, seen.right, seen.lost);
        report.complaints.extend(seen.complaint);
    });
    report.seconds = (system_ns() - since_ns) as f64 / 1e9;
    report.availability = report.right as f64 / report.tasks.max(1) as f64;
    if report.lost > report.kills {
        report.complaints.push(format!("{} kills cost {} tasks", report.kills, report.lost));
    }
    drop(runtime);
    report.complaints.extend(flat::complaints(&report.curve));
    let (left, after) = (processes::of_this_run(), Vitals::take());
    if !left.is_empty() {
        report.complaints.push(format!("processes are left: {left:?}"));
    }
    if after.descriptors != before.descriptors {
        report
            .complaints
            .push(format!("descriptors: {:?}, before {:?}", after.descriptors, before.descriptors));
    }
    report
}

fn hunt(runtime: &Runtime, count: u64, killed: &AtomicU64, report: &mut Report) {
    let (bar, mut numbers, mut refilled) = (bar(count, "kills"), Numbers::new(1, 0), Vec::new());
    let seats = runtime.workers() as u64;
    while report.kills < count {
        let seat = usize::try_from(numbers.draw() % seats).unwrap_or(0);
        let Some(microseconds) = kill(runtime, seat) else {
            std::thread::yield_now();
            continue;
        };
        report.kills += 1;
        killed.store(report.kills, Ordering::Relaxed); // Relaxed: a count for people.
        match microseconds {
            Some(microseconds) => refilled.push(microseconds),
            None => {
                report.complaints.push(format!("seat {seat} stayed empty"));
                return;
            }
        }
        if report.kills.is_multiple_of((count / LOOKS).max(1)) {
            report.curve.push(flat::look(report.kills));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.refilled_p50_us = quantile(&mut refilled, 0.5);
    report.refilled_p99_us = quantile(&mut refilled, 0.99);
}

/// None if nobody sat there; else how long the seat was without the killed one's successor, none if for ever.
fn kill(runtime: &Runtime, seat: usize) -> Option<Option<u64>> {
    let in_seat = || runtime.stats().seats[seat].pid;
    let pid = in_seat()?;
    let pidfd = processes::open(pid.cast_signed())?;
    // Still there after the descriptor was opened: it is ours.
    if in_seat() != Some(pid) || pidfd_send_signal(&pidfd, Signal::KILL).is_err() {
        return None;
    }
    let since_ns = system_ns();
    loop {
        let passed_ns = system_ns() - since_ns;
        if in_seat().is_some_and(|now| now != pid) {
            return Some(Some(passed_ns / 1000));
        }
        if passed_ns > PATIENCE_NS {
            return Some(None);
        }
        std::thread::yield_now();
    }
}

#[derive(Debug, Default)]
struct Seen {
    tasks: u64,
    right: u64,
    lost: u64,
    complaint: Option<String>,
}

fn submit(runtime: &Runtime, is_over: &AtomicBool, killed: &AtomicU64) -> Seen {
    let (mut seen, mut pending) = (Seen::default(), VecDeque::new());
    // Acquire: pairs with the Release of whoever ends the soak.
    while !is_over.load(Ordering::Acquire) || !pending.is_empty() {
        let is_full = pending.len() >= WINDOW;
        // Acquire: as above.
        if !is_full && !is_over.load(Ordering::Acquire) {
            pending.push_back((seen.tasks, runtime.task(seen.tasks, mix)));
            seen.tasks += 1;
            continue;
        }
        let Some((n, task)) = pending.pop_front() else { continue };
        match task.join() {
            Ok(value) if value == mix(n) => seen.right += 1,
            Err(TaskError::WorkerLost { evidence }) if evidence.signal() == Some(9) => seen.lost += 1,
            other => {
                let kills = killed.load(Ordering::Relaxed); // Relaxed: a count for people.
                seen.complaint = Some(format!("task {n}, after {kills} kills: {other:?}"));
            }
        }
    }
    seen
}
