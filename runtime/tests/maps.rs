//! `go_map`, `go_all`, `go_race`, `go_any`: order, bounds, failures, and items of every size.

use gorun_runtime::{
    Rejection, ResultRefusal, Runtime, SharedSlice, SliceLoan, Task, TaskError, go_any, go_map, go_race,
};
use gorun_shm::sync::{AtomicBool, Ordering};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate, processes};
use std::time::Duration;

const LIMIT: u64 = 1 << 16;
/// Maps during which workers are killed again and again, and their items.
const KILLED_ROUNDS: u64 = 40;
const KILLED_ITEMS: u64 = 5_000;

fn free_blocks(runtime: &Runtime, bytes: usize) -> usize {
    let loans = std::iter::from_fn(|| SharedSlice::<u8>::loan_on(runtime, bytes).ok());
    loans.collect::<Vec<SliceLoan<u8>>>().len()
}

#[test]
fn an_iterator_dropped_early_stops_and_frees_everything() {
    let _watchdog = Watchdog::start("an_iterator_dropped_early_stops_and_frees_everything");
    let runtime = Runtime::builder().workers(2).message_bytes_max(LIMIT).build().unwrap();
    let bytes = usize::try_from(LIMIT).unwrap();
    let at_start = free_blocks(&runtime, bytes);
    for taken in [0, 1, 10, 1000] {
        let handed_out = std::cell::Cell::new(0_u64);
        let items = (0..1_000_000_u64).inspect(|n| handed_out.set(n + 1));
        let first: Vec<_> =
            runtime.map(items, |n| vec![1_u8; usize::from(n < 5) * 40_000]).iter().take(taken).collect();
        assert_eq!(first.len(), taken);
        assert!(handed_out.get() < 1_000_000, "items are handed out as they are needed");
    }
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    eventually(|| free_blocks(&runtime, bytes) == at_start);
}

#[test]
fn items_that_panic_fail_alone() {
    let _watchdog = Watchdog::start("items_that_panic_fail_alone");
    let outcomes = go_map(0..10_000_u64, |n| {
        assert!(n % 97 != 5, "unlucky {n}");
        n
    });
    for (n, outcome) in (0..).zip(outcomes.outcomes()) {
        match outcome {
            Ok(value) => assert_eq!((value, n % 97 == 5), (n, false)),
            Err(TaskError::Panicked { message, location }) => {
                assert_eq!(message, format!("unlucky {n}"));
                assert!(location.unwrap().contains("maps.rs"));
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
}

#[test]
fn collect_gives_the_first_error_in_order() {
    let _watchdog = Watchdog::start("collect_gives_the_first_error_in_order");
    let collected: Result<Vec<u64>, _> = go_map(0..1000_u64, |n| {
        assert!(n < 500, "too far: {n}");
        n
    })
    .collect();
    assert!(matches!(collected, Err(TaskError::Panicked { message, .. }) if message == "too far: 500"));
}

#[test]
fn an_empty_map_gives_nothing() {
    let _watchdog = Watchdog::start("an_empty_map_gives_nothing");
    assert_eq!(go_map(std::iter::empty::<u8>(), |n| n).outcomes(), []);
}

#[test]
fn items_over_the_inline_size_come_back_in_order() {
    let _watchdog = Watchdog::start("items_over_the_inline_size_come_back_in_order");
    let items = (0..3000_usize).map(|n| format!("{n} ").repeat(n % 40));
    let back: Vec<String> = go_map(items, |text: String| text + "!").collect().unwrap();
    for (n, text) in back.iter().enumerate() {
        assert_eq!(*text, format!("{n} ").repeat(n % 40) + "!");
    }
}

#[test]
fn results_that_overflow_their_block_come_back_in_order() {
    let _watchdog = Watchdog::start("results_that_overflow_their_block_come_back_in_order");
    let large: Vec<Vec<u8>> =
        go_map(0..300_u32, |n| vec![u8::try_from(n % 200).unwrap(); 100 << 10]).collect().unwrap();
    assert_eq!(large.len(), 300);
    for (n, bytes) in (0_u32..).zip(large) {
        assert!(bytes.len() == 100 << 10 && bytes.iter().all(|byte| u32::from(*byte) == n % 200), "item {n}");
    }
}

#[test]
fn small_and_large_results_mixed_come_back_in_order() {
    let _watchdog = Watchdog::start("small_and_large_results_mixed_come_back_in_order");
    let length = |n: usize| if n % 50 == 49 { 700_000 } else { n % 100 };
    let outcomes = go_map(0..1000_usize, |n| vec![n; if n % 50 == 49 { 700_000 } else { n % 100 }]);
    for (n, outcome) in outcomes.iter().enumerate() {
        let numbers = outcome.unwrap();
        assert!(numbers.len() == length(n) && numbers.iter().all(|number| *number == n), "item {n}");
    }
}

#[test]
fn large_items_come_back_in_order() {
    let _watchdog = Watchdog::start("large_items_come_back_in_order");
    let items = (0..40_u8).map(|n| vec![n; 1 << 20]);
    let sums: Vec<(u8, usize)> =
        go_map(items, |bytes: Vec<u8>| (bytes[bytes.len() - 1], bytes.len())).collect().unwrap();
    assert_eq!(sums, (0..40).map(|n| (n, 1 << 20)).collect::<Vec<_>>());
}

#[test]
fn items_over_the_limit_are_rejected_and_their_neighbours_are_not() {
    let _watchdog = Watchdog::start("items_over_the_limit_are_rejected_and_their_neighbours_are_not");
    let runtime = Runtime::builder().workers(2).message_bytes_max(LIMIT).build().unwrap();
    let items = (0..60_usize).map(|n| vec![1_u8; if n % 20 == 7 { 100_000 } else { n }]);
    for (n, outcome) in runtime.map(items, |bytes: Vec<u8>| bytes.len()).iter().enumerate() {
        match outcome {
            Ok(length) => assert_eq!(length, n),
            Err(TaskError::Rejected { reason: Rejection::InputTooLarge { bytes, limit } }) => {
                assert!(n % 20 == 7 && bytes >= 100_000 && limit == LIMIT, "item {n}: {bytes}");
            }
            Err(other) => panic!("item {n}: {other}"),
        }
    }
}

#[test]
fn results_over_the_limit_are_refused_and_their_neighbours_are_not() {
    let _watchdog = Watchdog::start("results_over_the_limit_are_refused_and_their_neighbours_are_not");
    let runtime = Runtime::builder().workers(2).message_bytes_max(LIMIT).build().unwrap();
    let outcomes = runtime.map(0..60_usize, |n| vec![1_u8; if n % 20 == 7 { 100_000 } else { n }]);
    for (n, outcome) in outcomes.grain(8).iter().enumerate() {
        match outcome {
            Ok(bytes) => assert_eq!(bytes.len(), n),
            Err(TaskError::ResultRefused { reason: ResultRefusal::TooLarge { bytes, limit } }) => {
                assert_eq!((n % 20, limit), (7, LIMIT));
                assert!(bytes >= 100_000, "item {n} is said to have {bytes} bytes");
            }
            Err(other) => panic!("item {n}: {other}"),
        }
    }
}

#[test]
fn slices_travel_as_items_without_a_copy() {
    let _watchdog = Watchdog::start("slices_travel_as_items_without_a_copy");
    let slices: Vec<SharedSlice<u32>> =
        (0..200).map(|n| SharedSlice::copy_from(&[n; 5000]).unwrap()).collect();
    let outcomes = go_map(slices.clone(), |slice: SharedSlice<u32>| slice).outcomes();
    for (n, (there, back)) in slices.iter().zip(outcomes).enumerate() {
        assert_eq!(back.unwrap().as_ptr(), there.as_ptr(), "item {n}");
    }
}

#[test]
fn slices_travel_as_results_of_items() {
    let _watchdog = Watchdog::start("slices_travel_as_results_of_items");
    let slices: Vec<SharedSlice<u64>> =
        go_map(0..300_u64, |n| SharedSlice::copy_from(&[n; 1000]).unwrap()).collect().unwrap();
    for (n, slice) in (0..).zip(&slices) {
        assert!(slice.len() == 1000 && slice.iter().all(|value| *value == n), "item {n}");
    }
}

#[test]
fn slices_as_results_survive_the_death_of_their_worker() {
    let _watchdog = Watchdog::start("slices_as_results_survive_the_death_of_their_worker");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let outcomes = runtime.map(0..300_u64, |n| {
        if n % 30 == 29 {
            Death::Kill.die();
        }
        SharedSlice::copy_from(&[n; 1000]).unwrap()
    });
    for (n, outcome) in (0..).zip(outcomes.outcomes()) {
        match outcome {
            Ok(slice) => assert!(slice.len() == 1000 && slice.iter().all(|value| *value == n), "item {n}"),
            Err(TaskError::WorkerLost { .. }) => assert_eq!(n % 30, 29),
            Err(other) => panic!("item {n}: {other}"),
        }
    }
}

#[test]
fn large_results_before_a_death_in_their_range_are_kept() {
    let _watchdog = Watchdog::start("large_results_before_a_death_in_their_range_are_kept");
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().unwrap();
    let outcomes = runtime.map(0..200_u64, |n| {
        if n % 20 == 19 {
            Death::Segfault.die();
        }
        vec![n; 2000]
    });
    for (n, outcome) in (0..).zip(outcomes.grain(10).outcomes()) {
        match outcome {
            Ok(values) => assert_eq!(values, vec![n; 2000]),
            Err(TaskError::WorkerLost { .. }) => assert_eq!(n % 20, 19),
            Err(other) => panic!("item {n}: {other}"),
        }
    }
}

#[test]
fn a_worker_killed_before_the_first_item_of_its_range_gives_none_of_an_earlier_one() {
    let _watchdog =
        Watchdog::start("a_worker_killed_before_the_first_item_of_its_range_gives_none_of_an_earlier_one");
    let runtime = Runtime::builder().workers(2).quarantine_after(0).build().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Short ranges, so that a kill often comes between the claim of one and its first item.
        let maps = scope.spawn(|| {
            let mut wrong = Vec::new();
            for round in 0..KILLED_ROUNDS {
                let (first, last) = (round * KILLED_ITEMS, (round + 1) * KILLED_ITEMS);
                let outcomes = runtime.map(first..last, |n| n ^ u64::MAX).grain(8).iter();
                let is_wrong = |(n, outcome): &(u64, Result<u64, TaskError>)| {
                    !matches!(outcome, Ok(value) if *value == n ^ u64::MAX)
                        && !matches!(outcome, Err(TaskError::WorkerLost { .. }))
                };
                wrong.extend((first..).zip(outcomes).filter(is_wrong));
            }
            is_over.store(true, Ordering::SeqCst); // SeqCst: simplest, and not hot.
            wrong
        });
        while !is_over.load(Ordering::SeqCst) {
            let seats = runtime.stats().seats;
            seats.iter().filter_map(|seat| seat.pid).for_each(|pid| processes::kill(pid.cast_signed()));
            std::thread::park_timeout(Duration::from_micros(500));
        }
        assert_eq!(maps.join().unwrap(), []);
    });
}

#[test]
fn progress_grows_to_the_total() {
    let _watchdog = Watchdog::start("progress_grows_to_the_total");
    let mut reports = Vec::new();
    go_map(0..5000_u64, |n| n).on_progress(|done, total| reports.push((done, total))).outcomes();
    assert!(reports.is_sorted() && reports.iter().all(|(_, total)| *total == Some(5000)), "{reports:?}");
    assert_eq!(reports.last(), Some(&(5000, Some(5000))));
}

#[test]
fn two_maps_at_once_keep_their_items_apart() {
    let _watchdog = Watchdog::start("two_maps_at_once_keep_their_items_apart");
    let mut left = go_map(0..20_000_u64, |n| n * 2).iter();
    let mut right = go_map(0..20_000_u64, |n| n * 3).iter();
    for n in 0..20_000_u64 {
        assert_eq!((left.next(), right.next()), (Some(Ok(n * 2)), Some(Ok(n * 3))));
    }
}

#[test]
fn a_race_gives_the_first_outcome_and_cancels_queued_losers() {
    let _watchdog = Watchdog::start("a_race_gives_the_first_outcome_and_cancels_queued_losers");
    let gate = Gate::new();
    // More losers than there are workers: most of them never start.
    let tasks: Vec<_> = std::iter::once(Task::with(String::new(), gate::wait))
        .chain((0..200).map(|_| Task::with(gate.name(), gate::wait)))
        .collect();
    assert_eq!(go_race(tasks), Ok(()));
    let before = Runtime::current().unwrap().stats();
    assert!(
        before.cancelled >= 200 - u64::try_from(before.seats.len()).unwrap(),
        "cancelled {}",
        before.cancelled
    );
}

#[test]
fn a_race_of_nobody_is_cancelled() {
    let _watchdog = Watchdog::start("a_race_of_nobody_is_cancelled");
    assert_eq!(go_race(Vec::<Task<u8, u8>>::new()), Err(TaskError::Cancelled));
}

#[test]
fn any_skips_failures_and_gives_the_first_value() {
    let _watchdog = Watchdog::start("any_skips_failures_and_gives_the_first_value");
    let tasks = (0..20_u32).map(|n| {
        Task::with(n, |n| {
            assert!(n == 13, "not {n}");
            n
        })
    });
    assert_eq!(go_any(tasks), Ok(13));
}

#[test]
fn any_of_crashes_and_one_value_gives_the_value() {
    let _watchdog = Watchdog::start("any_of_crashes_and_one_value_gives_the_value");
    let tasks = (0..12_u32).map(|n| {
        Task::with(n, |n| {
            if n != 7 {
                Death::Abort.die();
            }
            n
        })
    });
    assert_eq!(go_any(tasks), Ok(7));
}

#[test]
fn any_of_failures_gives_an_error() {
    let _watchdog = Watchdog::start("any_of_failures_gives_an_error");
    let outcome = go_any((0..5_u32).map(|n| Task::with(n, |n| -> u32 { panic!("not {n}") })));
    assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
}
