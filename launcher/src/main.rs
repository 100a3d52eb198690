//! The `gorun` command: runs a program that uses gorun, and says afterwards what its workers did.
//!
//! Each subcommand has a folder or a file of its own, which holds its arguments and a `run` that returns the exit
//! code. The launcher has one thread: the kernel ends the program when that thread dies, see `os::child`.

mod channels;
mod cli;
mod completions;
mod exit;
mod limit;
mod os;
mod run;
mod summary;
mod topo;

use clap::Parser;
use cli::{Cli, Command};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Topo(arguments) => topo::run(&arguments),
        Command::Channels(arguments) => channels::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    ExitCode::from(code)
}

/// Says what went wrong. Unlike `eprintln!` it does not panic where nobody reads: that would end the program too.
fn complain(message: impl Display) {
    let _ = writeln!(std::io::stderr(), "gorun: {message}");
}
