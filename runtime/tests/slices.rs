//! Bulk data by handle: nothing is copied, and memory is free again when the last holder is gone.

use gorun_runtime::{Rejection, Runtime, ShareError, SharedSlice, SliceLoan, Task, TaskError};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use serde::{Deserialize, Serialize};

const BLOCK: usize = 4096;

fn small() -> Runtime {
    Runtime::builder()
        .workers(2)
        .quarantine_after(0)
        .message_bytes_max(BLOCK as u64)
        .build()
        .expect("build a runtime")
}

fn free_blocks(runtime: &Runtime) -> usize {
    let loans = std::iter::from_fn(|| SharedSlice::<u8>::loan_on(runtime, BLOCK).ok());
    loans.collect::<Vec<SliceLoan<u8>>>().len()
}

fn slice_on(runtime: &Runtime, byte: u8) -> SharedSlice<u8> {
    let mut loan = SharedSlice::loan_on(runtime, BLOCK).expect("borrow a block");
    loan.as_mut_slice().fill(byte);
    loan.publish().expect("publish the block")
}

#[test]
fn a_quarter_gibibyte_goes_and_comes_back_without_a_copy() {
    let _watchdog = Watchdog::start("a_quarter_gibibyte_goes_and_comes_back_without_a_copy");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let mut loan = SharedSlice::<u64>::loan_on(&runtime, 32 << 20).unwrap();
    // A few pages are enough to tell whether the same memory came back.
    let marks = [0, 1 << 20, (32 << 20) - 1];
    marks.iter().for_each(|place| loan.as_mut_slice()[*place] = *place as u64 + 1);
    let slice = loan.publish().unwrap();
    let back = runtime.task(slice.clone(), |slice: SharedSlice<u64>| slice).join().unwrap();
    assert_eq!((back.as_ptr(), back.len()), (slice.as_ptr(), 32 << 20));
    assert!(marks.iter().all(|place| back[*place] == *place as u64 + 1));
}

#[test]
fn an_empty_slice_travels() {
    let _watchdog = Watchdog::start("an_empty_slice_travels");
    let empty = SharedSlice::<u32>::copy_from(&[]).unwrap();
    let back = Task::with(empty, |slice: SharedSlice<u32>| slice).go().join().unwrap();
    assert!(back.is_empty());
}

#[test]
fn slices_travel_inside_other_values() {
    #[derive(Serialize, Deserialize)]
    struct Picture {
        name: String,
        planes: Vec<SharedSlice<u8>>,
        mask: Option<SharedSlice<u16>>,
    }
    let _watchdog = Watchdog::start("slices_travel_inside_other_values");
    let picture = Picture {
        name: "three planes".to_owned(),
        planes: (1..=3).map(|n| SharedSlice::copy_from(&[n; 1000]).unwrap()).collect(),
        mask: Some(SharedSlice::copy_from(&[9; 10]).unwrap()),
    };
    let turned = Task::with(picture, |mut picture: Picture| {
        picture.planes.reverse();
        picture.name += ", turned";
        picture
    });
    let turned = turned.go().join().unwrap();
    assert_eq!(turned.name, "three planes, turned");
    assert_eq!(turned.planes.iter().map(|plane| plane[999]).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(*turned.mask.unwrap(), [9; 10]);
}

#[test]
fn memory_is_free_again_when_all_holders_are_gone() {
    let _watchdog = Watchdog::start("memory_is_free_again_when_all_holders_are_gone");
    let runtime = small();
    let at_start = free_blocks(&runtime);
    let slices: Vec<_> = (0..50).map(|n| slice_on(&runtime, n)).collect();
    let tasks: Vec<_> =
        slices.iter().map(|slice| runtime.task(slice.clone(), |slice: SharedSlice<u8>| slice)).collect();
    let back: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    assert_eq!(free_blocks(&runtime), at_start - 50);
    drop(slices);
    assert_eq!(back.iter().map(|slice| slice[BLOCK - 1]).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    drop(back);
    // A worker lets go of what it sent when it next has nothing to do.
    eventually(|| free_blocks(&runtime) == at_start);
}

#[test]
fn memory_held_by_a_worker_that_dies_is_free_again() {
    let _watchdog = Watchdog::start("memory_held_by_a_worker_that_dies_is_free_again");
    let runtime = small();
    let at_start = free_blocks(&runtime);
    for n in 0..20 {
        let dying = runtime.task(slice_on(&runtime, n), |slice: SharedSlice<u8>| -> u8 {
            let _own = SharedSlice::copy_from(&slice[..100]).unwrap();
            Death::Kill.die()
        });
        assert!(matches!(dying.join(), Err(TaskError::WorkerLost { .. })));
    }
    eventually(|| free_blocks(&runtime) == at_start);
}

#[test]
fn a_slice_whose_sender_died_stays_readable() {
    let _watchdog = Watchdog::start("a_slice_whose_sender_died_stays_readable");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let slice = runtime.go(|| SharedSlice::copy_from(&[5_u8; 3000]).unwrap()).join().unwrap();
    assert!(runtime.go(|| -> u8 { Death::Kill.die() }).join().is_err());
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    let fresh: Vec<_> = (0..100).map(|_| SharedSlice::<u8>::loan_on(&runtime, 3000).unwrap()).collect();
    assert!(slice.iter().all(|byte| *byte == 5));
    drop(fresh);
}

#[test]
fn a_slice_of_another_runtime_is_rejected() {
    let _watchdog = Watchdog::start("a_slice_of_another_runtime_is_rejected");
    let (one, other) = (small(), small());
    let outcome = other.task(slice_on(&one, 1), |slice: SharedSlice<u8>| slice.len()).join();
    assert_eq!(outcome, Err(TaskError::Rejected { reason: Rejection::ForeignBlock }));
    assert_eq!(other.go(|| 1_u8).join(), Ok(1));
}

#[test]
fn more_than_there_is_gives_no_memory_with_the_size() {
    let _watchdog = Watchdog::start("more_than_there_is_gives_no_memory_with_the_size");
    let runtime = small();
    let refused = SharedSlice::<u64>::loan_on(&runtime, BLOCK).err();
    let too_large = ShareError::TooLarge { bytes: 8 * BLOCK as u64, largest: BLOCK as u64 };
    assert_eq!(refused, Some(too_large));
    let all: Vec<_> = std::iter::from_fn(|| SharedSlice::<u8>::loan_on(&runtime, BLOCK).ok()).collect();
    let full = SharedSlice::<u8>::loan_on(&runtime, BLOCK).err();
    assert_eq!(full, Some(ShareError::NoMemory { bytes: BLOCK as u64 }));
    drop(all);
    assert!(SharedSlice::<u64>::loan_on(&runtime, usize::MAX).is_err());
}

#[test]
fn a_slice_is_no_value_for_other_formats() {
    let _watchdog = Watchdog::start("a_slice_is_no_value_for_other_formats");
    let slice = SharedSlice::copy_from(&[1_u8]).unwrap();
    assert!(serde_json::to_string(&slice).is_err_and(|error| error.to_string().contains("shared block")));
}

#[test]
fn a_slice_outlives_its_runtime() {
    let _watchdog = Watchdog::start("a_slice_outlives_its_runtime");
    let runtime = small();
    let slice = slice_on(&runtime, 3);
    drop(runtime);
    assert!(slice.iter().all(|byte| *byte == 3));
}

#[test]
fn an_input_slice_dropped_by_the_host_stays_until_the_task_has_ended() {
    let _watchdog = Watchdog::start("an_input_slice_dropped_by_the_host_stays_until_the_task_has_ended");
    let runtime = Runtime::builder().workers(1).message_bytes_max(BLOCK as u64).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued =
        runtime.task(slice_on(&runtime, 8), |slice: SharedSlice<u8>| slice.iter().all(|byte| *byte == 8));
    let others: Vec<_> = (0..500).map(|_| slice_on(&runtime, 1)).collect();
    drop(standing);
    assert_eq!(queued.join(), Ok(true));
    busy.join().unwrap();
    drop(others);
}
