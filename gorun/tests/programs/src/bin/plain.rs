//! The smallest program: a task, a map, a crash, and a normal end.

use gorun::prelude::*;
use gorun_test_programs::{Death, Watchdog};

fn main() -> Result<(), TaskError> {
    let _watchdog = Watchdog::start("plain");
    println!("{}", go_parallel(|| 6 * 7).join()?);
    println!("{}", go_map(0..1000_u64, |n| n).collect::<Vec<u64>>()?.into_iter().sum::<u64>());
    if let Err(error) = go_parallel(|| -> u8 { Death::Segfault.die() }).join() {
        println!("{error}");
    }
    println!("{}", go_parallel(|| String::from("after")).join()?);
    Ok(())
}
