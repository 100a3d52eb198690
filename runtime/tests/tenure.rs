//! Workers make room for fresh ones, and are killed when they grow too large: nobody's task is lost by it.

use gorun_runtime::{Runtime, TaskError};
use gorun_test_programs::{Watchdog, eventually};
use std::collections::HashSet;
use std::hint::black_box;
use std::time::Duration;

#[test]
fn a_worker_leaves_after_its_last_task_and_the_next_goes_on() {
    let _watchdog = Watchdog::start("a_worker_leaves_after_its_last_task_and_the_next_goes_on");
    let runtime = Runtime::builder().workers(1).max_tasks_per_worker(10).build().expect("build a runtime");
    let tasks: Vec<_> = (0..205_u64).map(|n| runtime.task(n, |n| (n, std::process::id()))).collect();
    let mut workers = HashSet::new();
    for (n, task) in (0..).zip(tasks) {
        let (value, pid) = task.join().expect("a value");
        assert_eq!(value, n);
        workers.insert(pid);
    }
    assert!(workers.len() >= 20, "{} workers", workers.len());
    eventually(|| runtime.stats().recycled >= 20);
    let stats = runtime.stats();
    assert_eq!((stats.lost, stats.seats[0].deaths, stats.finished), (0, 0, 205));
    assert!(!runtime.is_degraded());
}

#[test]
fn items_of_a_map_count_as_tasks() {
    let _watchdog = Watchdog::start("items_of_a_map_count_as_tasks");
    let runtime = Runtime::builder().workers(2).max_tasks_per_worker(100).build().expect("build a runtime");
    let values: Vec<u64> = runtime.map(0..5_000, |n: u64| n + 1).grain(50).collect().expect("values");
    assert_eq!(values, (1..5_001).collect::<Vec<u64>>());
    // Each leaves after two ranges of fifty.
    eventually(|| runtime.stats().recycled >= 49);
    assert_eq!(runtime.stats().lost, 0);
}

#[test]
fn an_old_worker_leaves_while_it_is_idle() {
    let _watchdog = Watchdog::start("an_old_worker_leaves_while_it_is_idle");
    let age = Duration::from_millis(20);
    let runtime = Runtime::builder().workers(1).max_worker_age(age).build().expect("build a runtime");
    let first = runtime.go(std::process::id).join();
    eventually(|| runtime.go(std::process::id).join() != first);
    assert_eq!(runtime.stats().seats[0].deaths, 0);
}

fn grow(mebibytes: usize) -> usize {
    let bytes = vec![1_u8; mebibytes << 20];
    let touched = black_box(&bytes).iter().map(|byte| usize::from(*byte)).sum();
    // Kept, as a leak in a library would be.
    std::mem::forget(bytes);
    touched
}

#[test]
fn a_worker_that_leaks_is_replaced_before_it_is_too_large() {
    let _watchdog = Watchdog::start("a_worker_that_leaks_is_replaced_before_it_is_too_large");
    let runtime = Runtime::builder().workers(1).memory_soft(64 << 20).build().expect("build a runtime");
    for _ in 0..20 {
        assert_eq!(runtime.task(16, grow).join(), Ok(16 << 20));
        // A look every five milliseconds: tasks in between are what a program has anyway.
        std::thread::park_timeout(Duration::from_millis(6));
    }
    eventually(|| runtime.stats().recycled >= 2);
    assert_eq!((runtime.stats().lost, runtime.stats().seats[0].deaths), (0, 0));
}

#[test]
fn a_memory_bomb_is_killed_and_told_and_costs_one_task() {
    let _watchdog = Watchdog::start("a_memory_bomb_is_killed_and_told_and_costs_one_task");
    let limit = 128 << 20;
    let runtime = Runtime::builder().workers(2).memory_max(limit).build().expect("build a runtime");
    let bomb = |_: u8| -> usize {
        loop {
            black_box(grow(8));
        }
    };
    for _ in 0..3 {
        let bomb = runtime.task(0, bomb);
        let others: Vec<_> = (0..100_u32).map(|n| runtime.task(n, |n| n + 1)).collect();
        assert_eq!(bomb.join(), Err(TaskError::OutOfMemory { limit }));
        for (n, task) in (0..).zip(others) {
            assert_eq!(task.join(), Ok(n + 1));
        }
    }
    assert_eq!((runtime.stats().lost, runtime.stats().failed), (0, 3));
}

#[test]
fn limits_out_of_range_are_refused_with_the_range() {
    for builder in [
        Runtime::builder().max_tasks_per_worker(0),
        Runtime::builder().memory_soft(1),
        Runtime::builder().memory_max(1),
        Runtime::builder().max_worker_age(Duration::ZERO),
    ] {
        let refusal = builder.workers(1).build().expect_err("out of range").to_string();
        assert!(refusal.contains("is out of range; allowed: "), "{refusal}");
    }
}
