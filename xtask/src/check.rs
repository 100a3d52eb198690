//! `cargo xtask check`: the whole continuous integration, in the order in which mistakes are cheapest to find.
//!
//! A stage that fails does not stop the others: one run shows all there is to repair.

use crate::chaos::{self, ChaosArguments};
use crate::clock::{Stopwatch, human};
use crate::command::{cargo, must_succeed, succeeds};
use crate::demo::{self, DemoArguments};
use crate::test::{self, TestArguments};
use crate::trouble::Result;
use crate::{features, table, tidy, workspace};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How often the smoke run of the demo kills a worker.
const CRASH_EVERY: u64 = 7;
/// How long workers are killed at random.
const CHAOS_SECONDS: u64 = 60;

#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// Only what ends in a minute or two: no documentation, no loom models, no benches, no release build, no chaos.
    #[arg(long)]
    pub(crate) fast: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Format,
    Clippy,
    Tidy,
    Features,
    Documentation,
    Test,
    Demo,
    CrashingDemo,
    Chaos,
}

struct StageResult {
    stage: Stage,
    success: bool,
    took: Duration,
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<bool> {
    let results: Vec<StageResult> =
        stages(arguments.fast).iter().map(|stage| timed(*stage, arguments.fast)).collect();
    println!("\n{}", render(&results));
    Ok(results.iter().all(|result| result.success))
}

fn stages(fast: bool) -> Vec<Stage> {
    use Stage::{Chaos, Clippy, CrashingDemo, Demo, Documentation, Features, Format, Test, Tidy};
    if fast {
        return vec![Format, Tidy, Features, Clippy, Test];
    }
    vec![Format, Tidy, Features, Clippy, Documentation, Test, Demo, CrashingDemo, Chaos]
}

/// Runs one stage. An error inside it is a failed stage, not the end of the run.
fn timed(stage: Stage, fast: bool) -> StageResult {
    println!("\n=== {}", stage.name());
    let stopwatch = Stopwatch::start();
    let success = stage.run(fast).unwrap_or_else(|trouble| {
        eprintln!("error: {trouble}");
        false
    });
    StageResult { stage, success, took: stopwatch.elapsed() }
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Features => "features",
            Self::Documentation => "documentation",
            Self::Test => "test",
            Self::Demo => "demo",
            Self::CrashingDemo => "demo with crashes",
            Self::Chaos => "chaos",
        }
    }

    fn run(self, fast: bool) -> Result<bool> {
        match self {
            Self::Format => succeeds(&mut cargo(&["fmt", "--all", "--check"])),
            Self::Clippy => clippy(fast),
            Self::Tidy => tidy::run(),
            Self::Features => features::run(),
            Self::Documentation => documentation(),
            Self::Test => test::run(&TestArguments { quick: fast }),
            Self::Demo => smoke(None),
            Self::CrashingDemo => smoke(Some(CRASH_EVERY)),
            Self::Chaos => chaos::run(&ChaosArguments { minutes: 0, seconds: CHAOS_SECONDS, seed: None }),
        }
    }
}

fn clippy(fast: bool) -> Result<bool> {
    let mut command = cargo(&["clippy", "--workspace", "--all-targets"]);
    if fast {
        // The rivals that the benches measure take longer to build than all the rest.
        command.args(["--exclude", "gorun-benches", "--exclude", "gorun-peers"]);
    }
    succeeds(command.args(["--", "-D", "warnings"]))
}

fn documentation() -> Result<bool> {
    let mut command =
        cargo(&["doc", "--workspace", "--no-deps", "--exclude", "gorun-benches", "--exclude", "gorun-peers"]);
    succeeds(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs the demo on a copy of our own sources: small, always there, and free of build output.
fn smoke(crash_every: Option<u64>) -> Result<bool> {
    demo::build()?;
    let arguments = DemoArguments { folder: Some(own_sources()?), crash_every, ..DemoArguments::default() };
    must_succeed(&mut demo::prepare(&arguments)?, "run the command above by itself and read what it prints")?;
    Ok(true)
}

fn own_sources() -> Result<PathBuf> {
    let folder = workspace::target_folder().join("xtask/sources");
    // A missing folder is what we want; anything else shows when the files are written.
    let _ = fs::remove_dir_all(&folder);
    for file in workspace::files(&[".rs", ".toml", ".md"])? {
        workspace::write(&folder.join(&file.path), &file.text)?;
    }
    Ok(folder)
}

fn render(results: &[StageResult]) -> String {
    let row = |result: &StageResult| {
        let verdict = if result.success { "ok" } else { "FAILED" };
        vec![result.stage.name().to_owned(), verdict.to_owned(), human(result.took)]
    };
    table::render(&["stage", "verdict", "time"], &results.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_failed_stage() {
        let results = [
            StageResult { stage: Stage::Format, success: true, took: Duration::from_secs(1) },
            StageResult { stage: Stage::CrashingDemo, success: false, took: Duration::from_secs(130) },
        ];
        let text = render(&results);
        assert!(text.contains("format             ok"), "{text}");
        assert!(text.contains("demo with crashes  FAILED"), "{text}");
    }

    #[test]
    fn fast_is_a_part_of_the_whole() {
        let whole = stages(false);
        assert!(stages(true).iter().all(|stage| whole.contains(stage)));
    }
}
