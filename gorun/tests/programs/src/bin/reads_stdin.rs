//! Reads all of standard input while tasks run: no process of the runtime may take any of it.

use gorun::prelude::*;
use gorun_test_programs::Watchdog;
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _watchdog = Watchdog::start("reads_stdin");
    let mut first = [0_u8; 1];
    std::io::stdin().read_exact(&mut first)?;
    // A task that reads standard input finds it at its end.
    let read_by_task = go_parallel(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_or(usize::MAX, |bytes| bytes)
    });
    println!("a task read {}", read_by_task.join()?);
    let mut rest = String::new();
    std::io::stdin().read_to_string(&mut rest)?;
    println!("the program read {}", rest.len() + 1);
    Ok(())
}
