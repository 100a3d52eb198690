//! Uses the default runtime, whose settings come from the environment.

use gorun::prelude::*;
use gorun_test_programs::Watchdog;

fn main() {
    let _watchdog = Watchdog::start("settings");
    match go_parallel(|| 1_u8).join() {
        Ok(value) => {
            println!("value {value} workers {}", Runtime::current().map_or(0, |runtime| runtime.workers()))
        }
        Err(error) => println!("error: {error}"),
    }
    match go_map([1_u8], |n| n).collect::<Vec<u8>>() {
        Ok(_) => println!("map right"),
        Err(error) => println!("map error: {error}"),
    }
}
