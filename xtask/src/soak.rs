//! `cargo xtask soak`: one kind of fault, very many times, in a release build; the program's own report is ours.

use crate::chaos::remains;
use crate::command::{cargo, must_succeed, succeeds};
use crate::trouble::{Result, Trouble};
use crate::workspace;
use std::process::Command;
use std::{env, fs};

const BUILD: &[&str] = &["build", "--release", "-p", "gorun-test-programs", "--bin", "soak"];

#[derive(clap::Args)]
pub(crate) struct SoakArguments {
    #[command(subcommand)]
    soak: Soak,
    /// Prints one JSON object as the last line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Soak {
    /// Kills workers from outside while tasks run; nothing may be left, nothing may grow.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
    },
    /// Runs tasks of which one in a hundred ends its worker, in eight ways; the others must be right.
    Fatal {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
    },
}

/// Builds, runs, and looks whether anything of it is left.
pub(crate) fn run(arguments: &SoakArguments) -> Result<bool> {
    must_succeed(&mut cargo(BUILD), "repair the compile errors above")?;
    let folder = env::temp_dir().join(format!("gorun-soak-{}", std::process::id()));
    let problem = |error| Trouble::new(format!("cannot make {}: {error}", folder.display()), "check TMPDIR");
    fs::create_dir_all(&folder).map_err(problem)?;
    let mut command = Command::new(workspace::target_folder().join("release/soak"));
    match &arguments.soak {
        Soak::Kills { count } => command.args(["kills", "--count", &count.to_string()]),
        Soak::Fatal { tasks } => command.args(["fatal", "--tasks", &tasks.to_string()]),
    };
    if arguments.json {
        command.arg("--json");
    }
    let success = succeeds(command.env("TMPDIR", &folder))?;
    let (_, left) = remains::await_none(&folder);
    // Only a folder with something in it cannot be removed, and then that is what is left.
    let files = fs::remove_dir(&folder).is_err();
    if !left.is_empty() || files {
        println!("left behind: processes {left:?}, files in {}: {files}", folder.display());
    }
    Ok(success && left.is_empty() && !files)
}
