//! Files, lines and the commonest identifiers of all sources below a folder, counted in worker processes.
//!
//! `cargo run --release -p gorun-examples --example codestats -- <FOLDER>`; add `--crash-every 100` to see that a
//! crash costs one file and nothing else.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gorun_examples::codestats::{self, Options};

/// Counts files, lines and identifiers of source code, every file in a worker process.
///
/// Exit code 0: the totals of all runs are equal and exactly the planned files were lost; 1: they are not; 2: the call
/// has to be changed.
#[derive(Parser)]
#[command(name = "codestats")]
struct Arguments {
    /// The folder to look through; symbolic links below it are not followed
    folder: PathBuf,
    /// Worker processes [default: one per usable core]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<NonZeroUsize>,
    /// Let every N-th file crash its worker with a real segmentation fault
    #[arg(long, value_name = "N", value_parser = crash_every)]
    crash_every: Option<NonZeroU64>,
    /// Write one JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// How many of the commonest identifiers to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Run once, on all workers, without the check against a plain thread
    #[arg(long)]
    no_compare: bool,
}

fn main() -> ExitCode {
    let Arguments { folder, workers, crash_every, json, top, no_compare } = Arguments::parse();
    let options = Options { folder, workers, crash_every, json, top, compare: !no_compare };
    codestats::run(&options).unwrap_or_else(|error| {
        eprintln!("codestats: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let fix = "give 1 or more, or leave --workers out for one worker per usable core";
    text.parse().map_err(|error| format!("{error}; {fix}"))
}

fn crash_every(text: &str) -> Result<NonZeroU64, String> {
    let fix = "give 1 or more, or leave --crash-every out to crash none";
    text.parse().map_err(|error| format!("{error}; {fix}"))
}
