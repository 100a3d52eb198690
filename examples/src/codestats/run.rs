//! The job itself: plan, runs, comparison, report.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use gorun::prelude::*;

use super::check::differences;
use super::count::{FileOutcome, count_file};
use super::measured::{Measured, SeatShare, merged, warm_up_all};
use super::options::{CodestatsError, Options};
use super::paint::Paint;
use super::plan::Plan;
use super::progress::Progress;
use super::report::{Check, Report};
use super::stopwatch::Stopwatch;
use super::tally::Verdict;
use super::text;

/// Does what the options ask for and writes the report to stdout.
///
/// Success means that the totals of all runs are equal and that exactly the planned files were lost.
///
/// # Errors
/// As `CodestatsError` says; nothing has been written to stdout then.
pub fn run(options: &Options) -> Result<ExitCode, CodestatsError> {
    let plan = Plan::new(options)?;
    warm_up_all(&plan.tasks);
    let main = on_workers(&plan, options.workers)?;
    let mut report = Report::new(&options.folder, &main, &plan.unreadable, options.top);
    report.crashes_planned = plan.crash_count();
    report = if options.compare { compared(report, &plan, &main)? } else { report.with_runs(&[&main]) };
    write(&report, options.json)?;
    Ok(if report.is_good(&main.tally) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the job on a plain thread and, if that is something else than the main run, on one worker.
fn compared(report: Report, plan: &Plan, main: &Measured) -> Result<Report, CodestatsError> {
    let thread = Measured::on_this_thread(&plan.peaceful_tasks());
    let single = if main.seats.len() > 1 { Some(on_workers(plan, Some(NonZeroUsize::MIN))?) } else { None };
    let mut runs = vec![&thread];
    runs.extend(&single);
    runs.push(main);
    let mut report = report.with_runs(&runs);
    report.check = check(&thread, &runs[1..]);
    Ok(report)
}

fn check(thread: &Measured, runs: &[&Measured]) -> Check {
    let told_of = |run: &&Measured| {
        let name = run.name.clone();
        differences(&thread.tally, &run.tally).into_iter().map(move |told| format!("{name}: {told}"))
    };
    let mut told: Vec<String> = runs.iter().flat_map(told_of).collect();
    if runs.iter().any(|run| !run.tally.is_lost_as_planned()) {
        told.push("not exactly the planned files were lost".to_owned());
    }
    if told.is_empty() { Check::Equal } else { Check::Differs(told) }
}

/// Runs the job on a fresh runtime; `None` leaves the number of workers to it.
fn on_workers(plan: &Plan, workers: Option<NonZeroUsize>) -> Result<Measured, CodestatsError> {
    let watch = Stopwatch::start();
    let runtime = started(workers)?;
    let start = watch.elapsed();
    let name = match runtime.workers() {
        1 => "1 worker".to_owned(),
        workers => format!("{workers} workers"),
    };
    let progress = Progress::new(&name, plan.tasks.len());
    let watch = Stopwatch::start();
    let outcomes = runtime
        .map(plan.tasks.iter().cloned(), count_file)
        .on_progress(|done, _| progress.set(done))
        .outcomes();
    let count = watch.elapsed();
    drop(progress);
    let seats = seats(&runtime.stats());
    let (tally, merge) = merged(&plan.tasks, outcomes.into_iter().map(verdict).collect());
    Ok(Measured { name, start, count, merge, tally, seats })
}

fn started(workers: Option<NonZeroUsize>) -> Result<Runtime, CodestatsError> {
    let builder = Runtime::builder();
    let builder = match workers {
        Some(workers) => builder.workers(workers.get()),
        None => builder,
    };
    builder.build().map_err(|error| CodestatsError::Runtime(Box::new(error)))
}

fn verdict(outcome: Result<FileOutcome, TaskError>) -> Verdict {
    match outcome {
        Ok(outcome) => Verdict::Done(outcome),
        // One line a file: the whole screen of evidence would bury the report.
        Err(TaskError::WorkerLost { evidence }) => {
            Verdict::Lost { reason: evidence.summary(), worker_died: true }
        }
        Err(error) => Verdict::Lost { reason: error.to_string(), worker_died: false },
    }
}

fn seats(stats: &Stats) -> Vec<SeatShare> {
    let share = |seat: &SeatStats| SeatShare {
        seat: seat.seat,
        cpu: seat.cpu,
        tasks: seat.tasks,
        busy: seat.busy,
        restarts: seat.restarts,
    };
    stats.seats.iter().map(share).collect()
}

fn write(report: &Report, json: bool) -> Result<(), CodestatsError> {
    let text = if json {
        let text =
            serde_json::to_string_pretty(report).map_err(|error| CodestatsError::Output(error.into()))?;
        text + "\n"
    } else {
        text::render(report, Paint::for_stdout())
    };
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough (`codestats … | head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CodestatsError::Output),
    }
}
