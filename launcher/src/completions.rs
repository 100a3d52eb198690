//! `gorun completions`: a script that lets a shell complete this command line.

use crate::cli::Cli;
use crate::{complain, exit};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell that is to complete
    shell: Shell,
}

pub(crate) fn run(arguments: &CompletionsArguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "gorun", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => exit::SUCCESS,
        Err(cause) => {
            complain(format_args!("cannot print the script: {cause}"));
            exit::OWN_FAILURE
        }
    }
}
