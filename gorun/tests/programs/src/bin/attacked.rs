//! Runs tasks while somebody else scribbles over its segment; every handle must resolve.
//!
//! Started with a launcher's socket in its environment; ends when standard input does.

use gorun::prelude::*;
use gorun_test_programs::Watchdog;
use std::io::Read;
use std::time::Duration;

/// A slot that was turned into one that runs for nobody can only time out.
const PATIENCE: Duration = Duration::from_millis(50);
/// Slots of each queue. A queue whose slots were made to run for nobody stays full for ever, so no more tasks are
/// started than fit.
const SLOTS: usize = 65_536;

fn main() {
    let _watchdog = Watchdog::start("attacked");
    let runtime = Runtime::builder().workers(2).queue_slots(SLOTS).build().expect("build a runtime");
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    println!("started");
    let ended = std::thread::spawn(|| std::io::stdin().read(&mut [0_u8; 1]));
    let (mut resolved, mut late) = (0_u64, 0_u64);
    let mut left = SLOTS / 20 - 1;
    while !ended.is_finished() {
        if left == 0 {
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        }
        left -= 1;
        let small = (0..16_u64).map(|n| runtime.task(n, |n| n.wrapping_mul(3)));
        let handles: Vec<_> = small.collect();
        let large: Vec<_> = (0..4_u8).map(|n| runtime.task(vec![n; 5000], |bytes: Vec<u8>| bytes)).collect();
        handles.into_iter().for_each(|task| count(task.join_timeout(PATIENCE), &mut resolved, &mut late));
        large.into_iter().for_each(|task| count(task.join_timeout(PATIENCE), &mut resolved, &mut late));
        let stats = runtime.stats();
        std::hint::black_box((stats.utilisation(), format!("{stats:?}")));
    }
    println!("resolved {resolved} late {}", late > 0);
    drop(runtime);
    println!("dropped");
}

fn count<R>(outcome: Result<Result<R, TaskError>, gorun::TaskHandle<R>>, resolved: &mut u64, late: &mut u64) {
    match outcome {
        Ok(_) => *resolved += 1,
        Err(_) => *late += 1,
    }
}
