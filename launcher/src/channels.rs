//! `gorun channels`: the names that programs have bound.

use crate::{complain, exit};
use gorun::BoundName;
use serde_json::json;
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct ChannelsArguments {
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ChannelsArguments) -> u8 {
    let names = match gorun::bound_names() {
        Ok(names) => names,
        Err(cause) => {
            complain(format_args!("cannot list the kernel's sockets: {cause}"));
            return exit::OWN_FAILURE;
        }
    };
    let text = if arguments.json { document(&names) } else { lines(&names) };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => exit::SUCCESS,
        Err(cause) => {
            complain(format_args!("cannot print the names: {cause}"));
            exit::OWN_FAILURE
        }
    }
}

/// The user's id, then the name, one to a line.
fn lines(names: &[BoundName]) -> String {
    names.iter().map(|bound| format!("{}\t{}\n", bound.user, bound.name)).collect()
}

fn document(names: &[BoundName]) -> String {
    let channels: Vec<_> =
        names.iter().map(|bound| json!({ "user": bound.user, "name": bound.name })).collect();
    format!("{}\n", json!({ "channels": channels }))
}
