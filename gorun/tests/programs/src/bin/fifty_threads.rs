//! Has fifty threads running, some of them allocating all the time, before the runtime is first used.

use gorun::prelude::*;
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_test_programs::{Death, Watchdog, eventually};
use std::sync::Arc;

fn main() {
    let _watchdog = Watchdog::start("fifty_threads");
    let (running, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let threads: Vec<_> = (0..50_u32)
        .map(|n| {
            let (running, stop) = (Arc::clone(&running), Arc::clone(&stop));
            std::thread::spawn(move || {
                running.fetch_add(1, Ordering::SeqCst); // SeqCst: simplest, and not hot.
                while stop.load(Ordering::SeqCst) == 0 {
                    drop(std::hint::black_box(vec![0_u8; 1000]));
                    std::thread::park_timeout(std::time::Duration::from_micros(u64::from(n % 5) * 200));
                }
                go!(|n| n + 1).join()
            })
        })
        .collect();
    eventually(|| running.load(Ordering::SeqCst) == 50); // SeqCst: as above.
    let sum: u64 = go_map(0..1000_u64, |n| n).iter().map(|outcome| outcome.unwrap_or(0)).sum();
    let lost = go_parallel(|| -> u8 { Death::Kill.die() }).join().is_err();
    stop.store(1, Ordering::SeqCst); // SeqCst: as above.
    let right = threads.into_iter().zip(0_u32..).filter(|_| true);
    let right = right.map(|(thread, n)| thread.join().is_ok_and(|outcome| outcome == Ok(n + 1)));
    println!("sum {sum} lost {lost} threads {}", right.filter(|right| *right).count());
}
