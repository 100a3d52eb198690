//! Starts the runtime on a thread that ends at once, and uses it from others for long after.

use gorun::prelude::*;
use gorun_test_programs::{Death, Watchdog};

fn main() {
    let _watchdog = Watchdog::start("short_lived_thread");
    let first = std::thread::spawn(|| go_parallel(|| 1_u8).join());
    assert_eq!(first.join().ok(), Some(Ok(1)));
    let other = std::thread::spawn(|| {
        let values: Result<Vec<u32>, _> = go_map(0..1000_u32, |n| n + 1).collect();
        values.map(|values| values.len())
    });
    assert_eq!(other.join().ok(), Some(Ok(1000)));
    for death in Death::QUICK {
        assert!(Task::with(death, |death: Death| -> u8 { death.die() }).go().join().is_err());
    }
    println!("{:?}", go_parallel(|| 2_u8).join());
}
