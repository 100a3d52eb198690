//! Parses arguments with a required flag: the zygote is started without it and must not get that far.

use clap::Parser;
use gorun::prelude::*;
use gorun_test_programs::Watchdog;

#[derive(Parser)]
struct Arguments {
    /// Whom to greet.
    #[arg(long)]
    name: String,
}

fn main() -> Result<(), TaskError> {
    let _watchdog = Watchdog::start("flags");
    let name = Arguments::parse().name;
    println!("{}", go!(|name| format!("hello {name}")).join()?);
    Ok(())
}
