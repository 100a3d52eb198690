//! The summary: what the runtimes of a program did, read from their counters after its end.
//!
//! Pure: counters in, text out. The numbers come from another program's memory, so they may be anything.

mod function;
mod json;
mod table;
mod text;
mod units;

use crate::exit::End;
use function::FunctionView;
use gorun::{Profile, SeatStats, Stats};
use serde::Serialize;

pub(crate) use text::Paint;

/// What is told of a program.
#[derive(Debug)]
pub(crate) struct Summary<Runtime = (Stats, Profile)> {
    /// Its process id.
    pub(crate) program: i32,
    pub(crate) end: End,
    /// In the order in which they started.
    pub(crate) runtimes: Vec<Runtime>,
    /// Reports that were not taken, and why.
    pub(crate) refused: Vec<String>,
    /// Runtimes beyond those that can be listed.
    pub(crate) unlisted: u64,
}

impl Summary {
    /// For a person.
    pub(crate) fn text(&self, paint: Paint) -> String {
        text::render(&self.view(), paint)
    }

    /// For a program: one line.
    pub(crate) fn json(&self) -> String {
        json::render(&self.view())
    }

    fn view(&self) -> Summary<RuntimeView> {
        Summary {
            program: self.program,
            end: self.end,
            runtimes: self.runtimes.iter().map(RuntimeView::of).collect(),
            refused: self.refused.clone(),
            unlisted: self.unlisted,
        }
    }
}

/// A runtime in the units in which it is told.
#[derive(Debug, Clone, Default, Serialize)]
struct RuntimeView {
    pid: u32,
    uptime_s: f64,
    utilisation: f64,
    degraded: bool,
    submitted: u64,
    finished: u64,
    panicked: u64,
    lost: u64,
    cancelled: u64,
    timed_out: u64,
    failed: u64,
    /// Accepted and not ended: the program ended first.
    unfinished: u64,
    zygote_restarts: u64,
    seats: Vec<SeatView>,
    /// The busiest first.
    functions: Vec<FunctionView>,
}

/// A seat in the units in which it is told.
#[derive(Debug, Clone, Default, Serialize)]
struct SeatView {
    seat: usize,
    worker_pid: Option<u32>,
    /// Its processor, if it is pinned to one.
    cpu: Option<usize>,
    /// Processors it is pinned to, as a list; empty if the kernel decides.
    cpus: String,
    generation: u64,
    tasks: u64,
    panics: u64,
    busy_s: f64,
    /// Busy time in uptime, 0..=1 but for the error of two clocks.
    busy_share: f64,
    steals: u64,
    parks: u64,
    deaths: u64,
    restarts: u64,
    run_p50_s: f64,
    run_p99_s: f64,
}

impl RuntimeView {
    fn of((stats, profile): &(Stats, Profile)) -> Self {
        let ended =
            [stats.finished, stats.panicked, stats.lost, stats.cancelled, stats.timed_out, stats.failed];
        let unfinished = ended.iter().fold(stats.submitted, |left, ended| left.saturating_sub(*ended));
        let uptime_s = stats.uptime.as_secs_f64();
        Self {
            pid: stats.pid,
            uptime_s,
            utilisation: stats.utilisation(),
            degraded: stats.degraded,
            submitted: stats.submitted,
            finished: stats.finished,
            panicked: stats.panicked,
            lost: stats.lost,
            cancelled: stats.cancelled,
            timed_out: stats.timed_out,
            failed: stats.failed,
            unfinished,
            zygote_restarts: stats.zygote_restarts,
            seats: stats.seats.iter().map(|seat| SeatView::of(seat, uptime_s)).collect(),
            functions: profile.functions.iter().map(FunctionView::of).collect(),
        }
    }
}

impl SeatView {
    fn of(seat: &SeatStats, uptime_s: f64) -> Self {
        let busy_s = seat.busy.as_secs_f64();
        Self {
            seat: seat.seat,
            worker_pid: seat.pid,
            cpu: seat.cpu,
            cpus: seat.cpus.to_string(),
            generation: seat.generation,
            tasks: seat.tasks,
            panics: seat.panics,
            busy_s,
            busy_share: if uptime_s > 0.0 { busy_s / uptime_s } else { 0.0 },
            steals: seat.steals,
            parks: seat.parks,
            deaths: seat.deaths,
            restarts: seat.restarts,
            run_p50_s: seat.run_p50.as_secs_f64(),
            run_p99_s: seat.run_p99.as_secs_f64(),
        }
    }
}

/// A summary that shows something in every place.
#[cfg(test)]
fn sample() -> Summary<RuntimeView> {
    let seat = SeatView {
        worker_pid: Some(4243),
        cpus: "0".to_owned(),
        generation: 1,
        tasks: 700,
        panics: 1,
        busy_s: 1.2,
        busy_share: 0.96,
        steals: 12,
        run_p50_s: 0.0012,
        run_p99_s: 0.034,
        ..SeatView::default()
    };
    let vacant =
        SeatView { seat: 1, tasks: 290, busy_share: 0.5, deaths: 2, restarts: 2, ..SeatView::default() };
    let runtime = RuntimeView {
        pid: 4242,
        uptime_s: 1.25,
        utilisation: 0.73,
        submitted: 1000,
        finished: 987,
        panicked: 1,
        lost: 2,
        unfinished: 10,
        zygote_restarts: 1,
        seats: vec![seat, vacant],
        functions: vec![FunctionView {
            function: "demo::square".to_owned(),
            tasks: 990,
            busy_s: 1.8,
            ..Default::default()
        }],
        ..RuntimeView::default()
    };
    Summary { program: 4242, end: End::Killed(9), runtimes: vec![runtime], refused: Vec::new(), unlisted: 0 }
}
