//! `cargo xtask demo`: the release binaries, at work on a folder that every Rust machine has.

use crate::command::{cargo, must_succeed, shown};
use crate::trouble::{Result, Trouble};
use crate::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUILD: &[&str] =
    &["build", "--release", "-p", "gorun-launcher", "-p", "gorun-examples", "--bins", "--examples"];

#[derive(clap::Args, Default)]
pub(crate) struct DemoArguments {
    /// The folder whose code is counted; by default the package sources that cargo downloaded.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Lets a worker crash at every N-th file, to show that nothing else is lost.
    #[arg(long, value_name = "N")]
    pub(crate) crash_every: Option<u64>,
    /// How many worker processes to use; by default one per usable core.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u32>,
    /// Further arguments for the example itself.
    #[arg(last = true)]
    pub(crate) extra: Vec<String>,
}

/// Builds, then becomes the demo: its exit code is ours. Returns only when that was impossible.
pub(crate) fn run(arguments: &DemoArguments) -> Result<bool> {
    use std::os::unix::process::CommandExt;
    build()?;
    let mut command = prepare(arguments)?;
    println!("$ {}", shown(&command));
    let error = command.exec();
    let fix = "run `cargo build --release -p gorun-launcher` and read its errors";
    Err(Trouble::new(format!("cannot start `{}`: {error}", shown(&command)), fix))
}

/// Builds the launcher and the examples.
pub(crate) fn build() -> Result<()> {
    must_succeed(&mut cargo(BUILD), "repair the compile errors above")
}

/// The command of the demo, for a caller that wants to wait for it.
pub(crate) fn prepare(arguments: &DemoArguments) -> Result<Command> {
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => downloaded_sources()?,
    };
    let release = workspace::target_folder().join("release");
    let mut command = Command::new(release.join("gorun"));
    command.arg("run");
    if let Some(workers) = arguments.workers {
        command.arg("--workers").arg(workers.to_string());
    }
    command.arg("--").arg(release.join("examples/codestats")).arg(folder);
    if let Some(every) = arguments.crash_every {
        command.arg("--crash-every").arg(every.to_string());
    }
    command.args(&arguments.extra);
    Ok(command)
}

/// The sources of cargo's registry; fetched first where a clean machine has none.
fn downloaded_sources() -> Result<PathBuf> {
    let folder = workspace::cargo_home()?.join("registry/src");
    if is_empty(&folder) {
        must_succeed(&mut cargo(&["fetch"]), "go online once, or name a folder with --folder")?;
    }
    if is_empty(&folder) {
        let problem = format!("{} is still empty after `cargo fetch`", folder.display());
        return Err(Trouble::new(problem, "name a folder of source code with --folder"));
    }
    Ok(folder)
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().map_or(true, |mut entries| entries.next().is_none())
}
