//! `cargo xtask test`: every test of the workspace, with whatever runner the machine has.
//!
//! The last line is always `N passed, N failed`. A stage that breaks before it reports a verdict (it did
//! not compile, say) counts as one failed test, so that "0 failed" cannot hide it.

mod tally;

use crate::command::{answers, cargo, teed};
use crate::trouble::Result;
use crate::workspace;
use std::env;
use std::process::Command;
use tally::{Tally, tally};

/// Preemptions loom explores per execution unless the environment says otherwise; 3 finds what is known to
/// go wrong in protocols of this kind and ends in minutes.
const LOOM_PREEMPTIONS: &str = "3";
const SCOPE: &[&str] = &["--workspace", "--exclude", "gorun-benches"];
/// The crates whose protocols are modelled: folder and package.
const MODELLED: &[(&str, &str)] = &[("shm", "gorun-shm"), ("runtime", "gorun-runtime")];

#[derive(clap::Args, Default)]
pub(crate) struct TestArguments {
    /// Leaves out what needs a build of its own: the loom models and the link-time-optimised program.
    #[arg(long)]
    pub(crate) quick: bool,
}

struct Stage {
    name: String,
    command: Command,
}

struct StageResult {
    name: String,
    success: bool,
    tally: Tally,
}

pub(crate) fn run(arguments: &TestArguments) -> Result<bool> {
    let mut stages = vec![runner(arguments.quick), documentation()];
    if !arguments.quick {
        stages.extend(loom()?);
    }
    let results = stages.into_iter().map(run_stage).collect::<Result<Vec<_>>>()?;
    Ok(summarise(&results))
}

/// nextest where it is installed; the plain runner needs nothing but the toolchain.
fn runner(quick: bool) -> Stage {
    if answers(&mut cargo(&["nextest", "--version"])) {
        let mut command = cargo(&["nextest", "run", "--no-fail-fast", "--no-tests=pass"]);
        command.args(SCOPE).envs(quick.then_some(("GORUN_QUICK", "1")));
        return Stage { name: "tests (nextest)".to_owned(), command };
    }
    let mut command = cargo(&["test", "--no-fail-fast", "--all-targets"]);
    command.args(SCOPE).envs(quick.then_some(("GORUN_QUICK", "1")));
    Stage { name: "tests".to_owned(), command }
}

fn documentation() -> Stage {
    let mut command = cargo(&["test", "--doc", "--no-fail-fast"]);
    command.args(SCOPE);
    Stage { name: "documentation".to_owned(), command }
}

/// One stage per crate that has files `tests/loom_*.rs`.
fn loom() -> Result<Vec<Stage>> {
    let files = workspace::files(&[".rs"])?;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let stages = MODELLED.iter().map(|(folder, package)| (package, models(&paths, folder)));
    Ok(stages
        .filter(|(_, models)| !models.is_empty())
        .map(|(package, models)| loom_stage(package, &models))
        .collect())
}

/// The names of the loom test files of the crate in `folder`.
fn models(paths: &[&str], folder: &str) -> Vec<String> {
    let in_folder = paths.iter().filter_map(|path| path.strip_prefix(&format!("{folder}/tests/")));
    let names = in_folder.filter_map(|name| name.strip_suffix(".rs"));
    names.filter(|name| name.starts_with("loom_") && !name.contains('/')).map(str::to_owned).collect()
}

fn loom_stage(package: &str, models: &[String]) -> Stage {
    let flags = format!("{} --cfg loom", env::var("RUSTFLAGS").unwrap_or_default());
    let preemptions = env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| LOOM_PREEMPTIONS.to_owned());
    let mut command = cargo(&["test", "-p", package, "--release", "--no-fail-fast"]);
    for model in models {
        command.args(["--test", model]);
    }
    // Its own folder: the flag would otherwise rebuild every dependency of the ordinary tests, twice per run.
    command.env("CARGO_TARGET_DIR", workspace::target_folder().join("loom"));
    command.env("RUSTFLAGS", flags.trim()).env("LOOM_MAX_PREEMPTIONS", preemptions);
    Stage { name: format!("loom models of {package}"), command }
}

fn run_stage(mut stage: Stage) -> Result<StageResult> {
    println!("\n== {}", stage.name);
    let printed = teed(&mut stage.command)?;
    Ok(StageResult {
        name: stage.name,
        success: printed.success,
        tally: verdict(printed.success, &printed.text),
    })
}

/// The stage's tally, with one failure for a stage that failed without naming any.
fn verdict(success: bool, text: &str) -> Tally {
    let mut tally = tally(text);
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

fn summarise(results: &[StageResult]) -> bool {
    println!();
    let mut sum = Tally::default();
    for StageResult { name, success, tally } in results {
        let verdict = if *success { "ok" } else { "FAILED" };
        println!("{name}: {verdict}, {} passed, {} failed", tally.passed, tally.failed);
        sum += *tally;
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    results.iter().all(|result| result.success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_does_not_compile_counts_as_one_failure() {
        assert_eq!(verdict(false, "error[E0308]: mismatched types"), Tally { passed: 0, failed: 1 });
        assert_eq!(verdict(true, ""), Tally::default());
    }

    #[test]
    fn loom_files_are_found_by_name() {
        let paths = [
            "shm/tests/loom_ring.rs",
            "shm/tests/crash.rs",
            "runtime/tests/loom_state.rs",
            "shm/src/loom_x.rs",
        ];
        assert_eq!(models(&paths, "shm"), ["loom_ring"]);
        assert_eq!(models(&paths, "worker"), Vec::<String>::new());
    }
}
