//! One kind of fault, very many times, with a report at the end; fails if anything was lost, left or grown.
//!
//! `TMPDIR` must name an empty folder of its own: it tells the processes of this run from those of others.

use clap::{Parser, Subcommand};
use gorun_test_programs::soak::flat::Point;
use gorun_test_programs::soak::{fatal, kills};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    soak: Soak,
    /// Worker processes.
    #[arg(long, default_value_t = 2, global = true)]
    workers: usize,
    /// Prints one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Soak {
    /// Workers are killed while tasks run.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
    },
    /// One task in a hundred ends its worker.
    Fatal {
        /// How many tasks.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let complaints = match arguments.soak {
        Soak::Kills { count } => {
            let report = kills::run(count, arguments.workers);
            say(arguments.json, &report, || print_kills(&report));
            report.complaints
        }
        Soak::Fatal { tasks } => {
            let report = fatal::run(tasks, arguments.workers);
            say(arguments.json, &report, || print_fatal(&report));
            report.complaints
        }
    };
    complaints.iter().for_each(|complaint| eprintln!("wrong: {complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(json: bool, report: &impl Serialize, text: impl Fn()) {
    if json {
        println!("{}", serde_json::to_string(report).expect("numbers and texts are JSON"));
    } else {
        text();
    }
}

fn print_kills(report: &kills::Report) {
    println!(
        "{} workers killed in {:.1} s; seat refilled after p50 {} us, p99 {} us",
        report.kills, report.seconds, report.refilled_p50_us, report.refilled_p99_us
    );
    println!(
        "{} tasks: {} right, {} lost with a killed worker, availability {:.5}",
        report.tasks, report.right, report.lost, report.availability
    );
    print_curve(&report.curve);
}

fn print_fatal(report: &fatal::Report) {
    let fatal: u64 = report.fatal.values().sum();
    println!(
        "{} tasks in {:.1} s: {} right, {fatal} fatal, {} wrong",
        report.tasks,
        report.seconds,
        report.right,
        report.tasks - report.right - fatal
    );
    for (how, count) in &report.fatal {
        println!(
            "  {count:>8} {how}, {:.2} % of the fatal ones",
            100.0 * *count as f64 / fatal.max(1) as f64
        );
    }
    let loss = 100.0 * (1.0 - report.throughput / report.throughput_without);
    println!(
        "{:.0} tasks/s, {:.0} without faults: {loss:.1} % less",
        report.throughput, report.throughput_without
    );
    print_curve(&report.curve);
}

/// A tenth of the looks.
fn print_curve(curve: &[Point]) {
    println!("{:>10} {:>10} {:>12} {:>12}", "faults", "own KiB", "segment KiB", "descriptors");
    let step = (curve.len() / 10).max(1);
    for point in curve.iter().step_by(step).chain(curve.last()) {
        println!(
            "{:>10} {:>10} {:>12} {:>12}",
            point.faults, point.anonymous_kib, point.segment_kib, point.descriptors
        );
    }
}
