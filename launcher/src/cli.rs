//! The command line: which subcommands there are, and what their help says beside the flags.

use crate::channels::ChannelsArguments;
use crate::completions::CompletionsArguments;
use crate::exit;
use crate::run::RunArguments;
use crate::topo::TopoArguments;
use clap::{Parser, Subcommand};

/// Runs programs that use gorun, and says what their workers did.
#[derive(Debug, Parser)]
#[command(name = "gorun", version, arg_required_else_help = true, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program with gorun settings, and summarise its runtimes when it has ended
    #[command(after_help = exit::HELP)]
    Run(Box<RunArguments>),
    /// Show this machine's processors, and where the workers of a runtime would run
    Topo(TopoArguments),
    /// List the channels that programs have bound to names
    Channels(ChannelsArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
