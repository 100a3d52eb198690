//! The task API, each test on the default runtime unless it needs its own.

use gorun_runtime::{
    Runtime, SharedSlice, Task, TaskError, go, go_all, go_any, go_map, go_parallel, go_race,
};
use std::time::Duration;

#[test]
fn a_closure_runs_in_another_process() {
    let here = std::process::id();
    let there = go_parallel(std::process::id).join().unwrap();
    assert_ne!(here, there);
}

#[test]
fn named_variables_travel() {
    let (n, text) = (3_usize, String::from("ab"));
    assert_eq!(go!(|n, text| text.repeat(n)).join().unwrap(), "ababab");
}

#[test]
fn panic_arrives_with_message_and_location() {
    let outcome = go_parallel(|| -> u8 { panic!("no luck today") }).join();
    let Err(TaskError::Panicked { message, location }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(message, "no luck today");
    assert!(location.unwrap().contains("go.rs"));
}

#[test]
fn a_dead_worker_costs_its_task_only() {
    let tasks: Vec<_> = (0..50_u64)
        .map(|n| {
            Task::with(n, |n: u64| {
                if n == 25 {
                    std::process::abort();
                }
                n
            })
            .go()
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        match task.join() {
            Ok(value) => assert_eq!(value, n),
            Err(TaskError::WorkerLost { evidence }) => {
                assert_eq!((n, evidence.signal()), (25, Some(6)));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn large_values_travel_both_ways() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let back = Task::with(bytes.clone(), |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    });
    let mut back = back.go().join().unwrap();
    back.reverse();
    assert!(back == bytes);
}

#[test]
fn map_keeps_order() {
    let squares: Vec<u64> = go_map(0..20_000_u64, |n| n * n).collect().unwrap();
    assert!(squares.iter().zip(0_u64..).all(|(square, n)| *square == n * n));
    assert_eq!(squares.len(), 20_000);
}

#[test]
fn map_loses_exactly_the_items_that_crash() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let outcomes = runtime
        .map(0..2_000_u64, |n| {
            if n % 100 == 7 {
                std::process::exit(3);
            }
            n + 1
        })
        .outcomes();
    for (n, outcome) in (0..).zip(&outcomes) {
        match outcome {
            Ok(value) => assert_eq!(*value, n + 1),
            Err(TaskError::WorkerLost { evidence }) => {
                assert_eq!((n % 100, evidence.exit_code()), (7, Some(3)))
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 20);
}

#[test]
fn shared_slices_travel_as_handles() {
    let mut loan = SharedSlice::<u64>::loan(1 << 16).unwrap();
    loan.as_mut_slice().iter_mut().zip(0..).for_each(|(place, n)| *place = n);
    let slice = loan.publish().unwrap();
    let back = Task::with(slice.clone(), |slice: SharedSlice<u64>| slice).go().join().unwrap();
    assert_eq!(back.as_ptr(), slice.as_ptr());
    assert_eq!(back.iter().sum::<u64>(), (0..1_u64 << 16).sum());
}

#[test]
fn nested_tasks_work_on_one_worker() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let fib = runtime.task(10_u32, fib).join().unwrap();
    assert_eq!(fib, 55);
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let left = Task::with(n - 1, fib).go();
    let right = fib(n - 2);
    left.join().expect("a nested task ends") + right
}

#[test]
fn all_race_and_any() {
    assert_eq!(go_all([Task::with(1_u8, |n| n), Task::with(2, |n| n)]), [Ok(1), Ok(2)]);
    let endless: fn() -> u8 = || loop {
        std::thread::park();
    };
    let quick: fn() -> u8 = || 7;
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let stuck = runtime.go(endless);
    assert_eq!(runtime.go(quick).join().unwrap(), 7);
    assert!(stuck.join_timeout(Duration::from_millis(5)).is_err());
    let failing: fn() -> u8 = || panic!("not me");
    assert_eq!(go_any([failing, quick, failing]).unwrap(), 7);
    assert!(go_race([quick, quick]).is_ok());
}
