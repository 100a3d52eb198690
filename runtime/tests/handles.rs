//! What a handle can do besides `join`: time out, be asked, cancel, be dropped.

use gorun_runtime::{Runtime, SharedSlice, SliceLoan, Task, TaskError};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use std::time::Duration;

/// A runtime whose largest blocks are small enough to use them all up.
fn with_small_blocks(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).message_bytes_max(4096).build().expect("build a runtime")
}

/// How many blocks of the largest size are free.
fn free_blocks(runtime: &Runtime) -> usize {
    let loans = std::iter::from_fn(|| SharedSlice::<u8>::loan_on(runtime, 4096).ok());
    loans.collect::<Vec<SliceLoan<u8>>>().len()
}

#[test]
fn dropping_handles_unread_frees_their_results() {
    let _watchdog = Watchdog::start("dropping_handles_unread_frees_their_results");
    let runtime = with_small_blocks(1);
    let at_start = free_blocks(&runtime);
    for _ in 0..1000 {
        drop(runtime.go(|| vec![7_u8; 4000]));
    }
    eventually(|| runtime.stats().seats[0].tasks == 1000);
    eventually(|| free_blocks(&runtime) == at_start);
}

#[test]
fn dropping_a_finished_handle_frees_its_result_at_once() {
    let _watchdog = Watchdog::start("dropping_a_finished_handle_frees_its_result_at_once");
    let runtime = with_small_blocks(1);
    let at_start = free_blocks(&runtime);
    let handles: Vec<_> = (0..100).map(|_| runtime.go(|| vec![7_u8; 4000])).collect();
    eventually(|| handles.iter().all(|handle| handle.is_finished()));
    assert_eq!(free_blocks(&runtime), at_start - 100);
    drop(handles);
    assert_eq!(free_blocks(&runtime), at_start);
}

#[test]
fn dropping_a_queued_handle_runs_the_task_all_the_same() {
    let _watchdog = Watchdog::start("dropping_a_queued_handle_runs_the_task_all_the_same");
    let runtime = with_small_blocks(1);
    let (first, second) = (Gate::new(), Gate::new());
    let busy = runtime.task(first.name(), gate::wait);
    let standing = first.await_task();
    drop(runtime.task(second.name(), gate::wait));
    drop(standing);
    busy.join().unwrap();
    let _ = second.await_task();
}

#[test]
fn dropping_handles_with_inputs_in_blocks_frees_the_inputs() {
    let _watchdog = Watchdog::start("dropping_handles_with_inputs_in_blocks_frees_the_inputs");
    let runtime = with_small_blocks(1);
    let at_start = free_blocks(&runtime);
    for _ in 0..500 {
        drop(runtime.task(vec![1_u8; 3000], |bytes: Vec<u8>| bytes.len()));
    }
    eventually(|| runtime.stats().seats[0].tasks == 500);
    eventually(|| free_blocks(&runtime) == at_start);
}

#[test]
fn join_timeout_gives_the_handle_back_and_later_the_value() {
    let _watchdog = Watchdog::start("join_timeout_gives_the_handle_back_and_later_the_value");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let task = runtime.task(gate.name(), |name: String| {
        gate::stand_at(&name);
        99_u8
    });
    let standing = gate.await_task();
    let task = task.join_timeout(Duration::from_millis(1)).expect_err("it waits at the gate");
    let task = task.join_timeout(Duration::ZERO).expect_err("it waits at the gate");
    drop(standing);
    assert_eq!(task.join_timeout(Duration::from_secs(100)).unwrap(), Ok(99));
}

#[test]
fn join_timeout_of_the_longest_duration_waits_for_the_value() {
    let _watchdog = Watchdog::start("join_timeout_of_the_longest_duration_waits_for_the_value");
    let runtime = Runtime::builder().workers(1).spin(Duration::ZERO).build().unwrap();
    let gate = Gate::new();
    let task = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let waiter = std::thread::spawn(move || task.join_timeout(Duration::MAX).unwrap());
    drop(standing);
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn is_finished_turns_true_when_the_task_has_ended_and_stays_so() {
    let _watchdog = Watchdog::start("is_finished_turns_true_when_the_task_has_ended_and_stays_so");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let task = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    assert!(!task.is_finished());
    drop(standing);
    eventually(|| task.is_finished());
    assert!(task.is_finished());
    task.join().unwrap();
}

#[test]
fn is_finished_holds_after_the_slot_was_used_again() {
    let _watchdog = Watchdog::start("is_finished_holds_after_the_slot_was_used_again");
    let runtime = Runtime::builder().workers(1).queue_slots(64).build().unwrap();
    let early: Vec<_> = (0..10_u64).map(|n| runtime.task(n, |n| n * 3)).collect();
    for n in 0..1000_u64 {
        assert_eq!(runtime.task(n, |n: u64| n).join(), Ok(n));
    }
    assert!(early.iter().all(|task| task.is_finished()));
    for (n, task) in (0..).zip(early) {
        assert_eq!(task.join(), Ok(n * 3));
    }
}

#[test]
fn cancelling_a_queued_task_ends_it_as_cancelled() {
    let _watchdog = Watchdog::start("cancelling_a_queued_task_ends_it_as_cancelled");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued = runtime.go(|| 1_u8);
    assert!(queued.cancel());
    assert!(queued.is_finished());
    assert_eq!(queued.join(), Err(TaskError::Cancelled));
    drop(standing);
    busy.join().unwrap();
    assert_eq!(runtime.go(|| 2_u8).join(), Ok(2));
    // The busy one and the last: a worker counts a task after it has given its outcome.
    eventually(|| runtime.stats().seats[0].tasks >= 2);
    assert_eq!(runtime.stats().seats[0].tasks, 2, "the cancelled task did not run");
}

#[test]
fn cancelling_twice_works_once() {
    let _watchdog = Watchdog::start("cancelling_twice_works_once");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued = runtime.go(|| 1_u8);
    assert_eq!((queued.cancel(), queued.cancel()), (true, false));
    drop(standing);
    busy.join().unwrap();
}

#[test]
fn cancelling_a_running_or_finished_task_does_nothing() {
    let _watchdog = Watchdog::start("cancelling_a_running_or_finished_task_does_nothing");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    assert!(!busy.cancel());
    drop(standing);
    eventually(|| busy.is_finished());
    assert!(!busy.cancel());
    busy.join().unwrap();
}

#[test]
fn cancelling_wakes_a_thread_that_joins() {
    let _watchdog = Watchdog::start("cancelling_wakes_a_thread_that_joins");
    let runtime = Runtime::builder().workers(1).spin(Duration::ZERO).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let queued = runtime.task(7_u8, |n: u8| n);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| eventually(|| queued.is_finished()));
        assert!(queued.cancel());
        waits.join().unwrap();
    });
    assert_eq!(queued.join(), Err(TaskError::Cancelled));
    drop(standing);
    busy.join().unwrap();
}

#[test]
fn cancelled_inputs_are_freed() {
    let _watchdog = Watchdog::start("cancelled_inputs_are_freed");
    let runtime = with_small_blocks(1);
    let at_start = free_blocks(&runtime);
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    for _ in 0..100 {
        let queued = runtime.task(vec![1_u8; 3000], |bytes: Vec<u8>| bytes.len());
        assert!(queued.cancel());
        assert_eq!(queued.join(), Err(TaskError::Cancelled));
    }
    drop(standing);
    busy.join().unwrap();
    assert_eq!(free_blocks(&runtime), at_start);
}

#[test]
fn dropping_the_runtime_closes_queued_tasks_and_ends_running_ones() {
    let _watchdog = Watchdog::start("dropping_the_runtime_closes_queued_tasks_and_ends_running_ones");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let gate = Gate::new();
    let running: Vec<_> = (0..2).map(|_| runtime.task(gate.name(), gate::wait)).collect();
    let _standing = [gate.await_task(), gate.await_task()];
    let queued: Vec<_> = (0..1000_u64).map(|n| runtime.task(n, |n| n)).collect();
    drop(runtime);
    for task in running {
        assert_eq!(task.join(), Err(TaskError::Closed));
    }
    for task in queued {
        assert_eq!(task.join(), Err(TaskError::Closed));
    }
}

#[test]
fn dropping_the_runtime_wakes_threads_that_join() {
    let _watchdog = Watchdog::start("dropping_the_runtime_wakes_threads_that_join");
    let runtime = Runtime::builder().workers(1).spin(Duration::ZERO).build().unwrap();
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let _standing = gate.await_task();
    let queued = Task::with(5_u8, |n: u8| n).go_on(&runtime);
    let joins =
        [std::thread::spawn(move || running.join().err()), std::thread::spawn(move || queued.join().err())];
    drop(runtime);
    for join in joins {
        assert_eq!(join.join().unwrap(), Some(TaskError::Closed));
    }
}

#[test]
fn a_finished_result_outlives_its_runtime() {
    let _watchdog = Watchdog::start("a_finished_result_outlives_its_runtime");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let small = runtime.go(|| 5_u8);
    let large = runtime.go(|| vec![3_u8; 100_000]);
    eventually(|| small.is_finished() && large.is_finished());
    drop(runtime);
    assert_eq!(small.join(), Ok(5));
    assert_eq!(large.join(), Ok(vec![3; 100_000]));
}

#[test]
fn a_running_task_that_looks_ends_when_it_is_cancelled() {
    let _watchdog = Watchdog::start("a_running_task_that_looks_ends_when_it_is_cancelled");
    let runtime = Runtime::builder().workers(1).build().expect("build a runtime");
    for _ in 0..20 {
        let gate = Gate::new();
        let task = runtime.task(gate.name(), |name: String| {
            gate::pass(&name);
            let mut looks = 0_u64;
            while !gorun_runtime::is_cancelled() {
                looks += 1;
                std::hint::spin_loop();
            }
            looks > 0 || gorun_runtime::is_cancelled()
        });
        let _passed = gate.await_task();
        assert!(!task.cancel(), "it runs");
        assert_eq!(task.join(), Ok(true));
        // The next task in the same place was not asked.
        assert_eq!(runtime.go(gorun_runtime::is_cancelled).join(), Ok(false));
    }
    assert_eq!(runtime.stats().seats[0].deaths, 0);
    assert!(!gorun_runtime::is_cancelled(), "nobody asks the host");
}

#[test]
fn a_nested_task_is_asked_and_the_one_around_it_is_not() {
    let _watchdog = Watchdog::start("a_nested_task_is_asked_and_the_one_around_it_is_not");
    let runtime = Runtime::builder().workers(2).build().expect("build a runtime");
    let outer = runtime.go(|| {
        let inner = gorun_runtime::go_parallel(|| {
            while !gorun_runtime::is_cancelled() {
                std::hint::spin_loop();
            }
            true
        });
        while !inner.is_finished() {
            // Until the other worker has it, and then until it has seen that it was asked.
            if inner.cancel() {
                return (true, false);
            }
        }
        (inner.join() == Ok(true), gorun_runtime::is_cancelled())
    });
    assert_eq!(outer.join(), Ok((true, false)));
}
