//! The workspace's own commands: demo, test, check, chaos, soak, peers, bench, tidy, features.
//!
//! Everything that continuous integration does is one of these, so that it can be repeated on any machine.

mod bench;
mod chaos;
mod check;
mod clock;
mod command;
mod demo;
mod features;
mod peers;
mod soak;
mod table;
mod test;
mod tidy;
mod trouble;
mod workspace;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the release binaries and counts the code of a folder with them.
    Demo(demo::DemoArguments),
    /// Runs every test: unit, integration, documentation and the loom models.
    Test(test::TestArguments),
    /// Runs the whole continuous integration.
    Check(check::CheckArguments),
    /// Kills workers, zygotes and hosts at random under a random load, and demands a cause for every loss.
    Chaos(chaos::ChaosArguments),
    /// Brings about one kind of fault very many times, and demands that nothing is lost, left or grown.
    Soak(soak::SoakArguments),
    /// Runs the same scripted faults on gorun and on other pools, and prints what became of each.
    Peers(peers::PeersArguments),
    /// Runs the benchmarks and prints each figure beside its peer and its goal.
    Bench(bench::BenchArguments),
    /// Checks the rules of the house that the compiler does not know.
    Tidy,
    /// Checks the feature list and that every proof it names exists.
    Features,
}

fn main() -> ExitCode {
    let verdict = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Check(arguments) => check::run(&arguments),
        Task::Chaos(arguments) => chaos::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Peers(arguments) => peers::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Features => features::run(),
    };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// The names a user can type after `cargo xtask`; the feature list may cite no others.
fn subcommand_names() -> Vec<String> {
    Arguments::command().get_subcommands().map(|task| task.get_name().to_owned()).collect()
}
