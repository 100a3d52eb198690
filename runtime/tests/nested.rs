//! Tasks that start tasks: they never wait for ever, whatever the pool's size.

use gorun_runtime::{Runtime, SharedSlice, Task, TaskError, go_all, go_map, go_parallel};
use gorun_test_programs::{Death, Watchdog};

fn descend(levels: u32) -> Result<u32, TaskError> {
    if levels == 0 {
        return Ok(0);
    }
    let below =
        Task::with(levels - 1, |levels| descend(levels).map_err(|error| error.to_string())).go().join()?;
    Ok(below.map_or(0, |depth| depth + 1))
}

fn descend_from(runtime: &Runtime, levels: u32) -> u32 {
    runtime.task(levels, |levels| descend(levels).unwrap_or(0)).join().expect("the outermost task ends")
}

#[test]
fn ten_levels_work_on_one_worker() {
    let _watchdog = Watchdog::start("ten_levels_work_on_one_worker");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    assert_eq!(descend_from(&runtime, 10), 10);
}

#[test]
fn two_hundred_levels_end_on_one_worker() {
    let _watchdog = Watchdog::start("two_hundred_levels_end_on_one_worker");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    // Whether each level gets its value or an error that says why not: it ends.
    descend_from(&runtime, 200);
}

#[test]
fn a_thousand_tasks_started_inside_one_task_all_end() {
    let _watchdog = Watchdog::start("a_thousand_tasks_started_inside_one_task_all_end");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let sum = runtime.go(|| {
        let handles: Vec<_> = (0..1000_u64).map(|n| Task::with(n, |n| n).go()).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum.join(), Ok(499_500));
}

#[test]
fn a_map_inside_a_task_gives_its_values() {
    let _watchdog = Watchdog::start("a_map_inside_a_task_gives_its_values");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let sum = runtime.go(|| go_map(0..5000_u64, |n| n + 1).iter().map(Result::unwrap).sum::<u64>());
    assert_eq!(sum.join(), Ok(12_502_500));
}

#[test]
fn all_inside_a_task_keeps_the_order() {
    let _watchdog = Watchdog::start("all_inside_a_task_keeps_the_order");
    let values = go_parallel(|| {
        let outcomes = go_all((0..50_u32).map(|n| Task::with(n, |n| n * n)));
        outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    assert_eq!(values.join(), Ok((0..50).map(|n| n * n).collect()));
}

#[test]
fn a_nested_panic_is_told_to_the_parent_only() {
    let _watchdog = Watchdog::start("a_nested_panic_is_told_to_the_parent_only");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let told = runtime.go(|| match go_parallel(|| -> u8 { panic!("inner") }).join() {
        Err(TaskError::Panicked { message, .. }) => message,
        other => format!("{other:?}"),
    });
    assert_eq!(told.join(), Ok("inner".to_owned()));
}

#[test]
fn a_nested_crash_on_another_worker_gives_the_parent_worker_lost() {
    let _watchdog = Watchdog::start("a_nested_crash_on_another_worker_gives_the_parent_worker_lost");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    // The parent does not help while it looks, so the other worker takes the nested task.
    let told = runtime.go(|| {
        let nested = Task::with(Death::Segfault, |death: Death| -> u8 { death.die() }).go();
        gorun_test_programs::eventually(|| nested.is_finished());
        match nested.join() {
            Err(TaskError::WorkerLost { evidence }) => format!("lost by signal {:?}", evidence.signal()),
            other => format!("{other:?}"),
        }
    });
    assert_eq!(told.join(), Ok("lost by signal Some(11)".to_owned()));
}

#[test]
fn a_nested_crash_seen_by_a_sleeping_parent_gives_worker_lost() {
    let _watchdog = Watchdog::start("a_nested_crash_seen_by_a_sleeping_parent_gives_worker_lost");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for _ in 0..20 {
        let outcome = runtime.go(|| {
            let gate = gorun_test_programs::Gate::new();
            let nested = Task::with(gate.name(), |name: String| -> u8 {
                gorun_test_programs::gate::stand_at(&name);
                Death::Abort.die()
            });
            let nested = nested.go();
            // Only the other worker can have come to the gate: this one stands here.
            drop(gate.await_task());
            matches!(nested.join(), Err(TaskError::WorkerLost { evidence }) if evidence.signal() == Some(6))
        });
        assert_eq!(outcome.join(), Ok(true));
    }
}

#[test]
fn a_crash_of_the_parent_leaves_nested_tasks_of_others_alone() {
    let _watchdog = Watchdog::start("a_crash_of_the_parent_leaves_nested_tasks_of_others_alone");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let parents: Vec<_> = (0..100_u64)
        .map(|n| {
            runtime.task(n, |n| {
                let children: Vec<_> = (0..10_u64).map(|k| Task::with(n * 10 + k, |n| n).go()).collect();
                if n % 10 == 3 {
                    Death::Kill.die();
                }
                children.into_iter().map(|child| child.join().unwrap_or(u64::MAX / 100)).sum::<u64>()
            })
        })
        .collect();
    for (n, parent) in (0..).zip(parents) {
        match parent.join() {
            Ok(sum) => assert_eq!(sum, n * 100 + 45, "parent {n}"),
            // A parent that helps runs other parents inside itself, so it may fall with one of those.
            Err(TaskError::WorkerLost { evidence }) => assert_eq!(evidence.signal(), Some(9)),
            Err(other) => panic!("parent {n}: {other}"),
        }
    }
}

#[test]
fn a_slice_made_in_a_task_comes_back_to_the_host() {
    let _watchdog = Watchdog::start("a_slice_made_in_a_task_comes_back_to_the_host");
    let slice = go_parallel(|| SharedSlice::copy_from(&[1_u32, 2, 3]).unwrap()).join().unwrap();
    assert_eq!(*slice, [1, 2, 3]);
}

#[test]
fn a_thread_of_a_task_can_start_tasks() {
    let _watchdog = Watchdog::start("a_thread_of_a_task_can_start_tasks");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let answer =
        runtime.go(|| std::thread::spawn(|| go_parallel(|| 6 * 7).join()).join().unwrap().unwrap_or(0));
    assert_eq!(answer.join(), Ok(42));
}

#[test]
fn awaiting_inside_a_task_gives_the_value() {
    let _watchdog = Watchdog::start("awaiting_inside_a_task_gives_the_value");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let answer = runtime.go(|| {
        let nested = std::pin::pin!(async { go_parallel(|| 5_u8).await });
        match nested.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(outcome) => outcome.unwrap_or(0),
            std::task::Poll::Pending => 0,
        }
    });
    assert_eq!(answer.join(), Ok(5));
}

#[test]
fn the_error_of_a_nested_task_can_be_handed_on() {
    let _watchdog = Watchdog::start("the_error_of_a_nested_task_can_be_handed_on");
    fn fails() -> Result<u8, TaskError> {
        let died = go_parallel(|| -> u8 { Death::Abort.die() }).join();
        go_parallel(|| -> u8 { panic!("as planned") }).join().or(died)
    }
    let runtime = Runtime::builder().workers(2).quarantine_after(0).build().expect("build a runtime");
    for _ in 0..10 {
        let outcome = runtime.go(fails).join();
        let handed_on =
            matches!(&outcome, Ok(Err(TaskError::WorkerLost { evidence })) if evidence.signal() == Some(6));
        // The waiting worker may have run the nested task itself, and then it is lost as well.
        let lost =
            matches!(&outcome, Err(TaskError::WorkerLost { evidence }) if evidence.signal() == Some(6));
        assert!(handed_on || lost, "{outcome:?}");
    }
}

#[test]
fn thousands_of_nested_tasks_on_every_pool_end() {
    let _watchdog = Watchdog::start("thousands_of_nested_tasks_on_every_pool_end");
    fn deep(left: u32) -> u32 {
        if left == 0 { 0 } else { Task::with(left - 1, deep).go().join().map_or(u32::MAX, |below| below + 1) }
    }
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return u64::from(n);
        }
        let left = Task::with(n - 1, fib).go();
        let right = fib(n - 2);
        left.join().map_or(u64::MAX / 4, |left| left + right)
    }
    fn wide(n: u64) -> u64 {
        go_map(0..n, |n| n).grain(1).collect::<Vec<u64>>().map_or(0, |values| values.into_iter().sum())
    }
    for workers in [1, 2, 3] {
        let runtime =
            Runtime::builder().workers(workers).quarantine_after(0).build().expect("build a runtime");
        assert_eq!(runtime.task(700, deep).join(), Ok(700), "{workers} workers");
        assert_eq!(runtime.task(16, fib).join(), Ok(987), "{workers} workers");
        assert_eq!(runtime.task(5_000, wide).join(), Ok(12_497_500), "{workers} workers");
        assert_eq!(runtime.stats().lost, 0);
    }
}

#[test]
fn a_task_that_waits_is_not_taken_along_by_a_strangers_crash() {
    let _watchdog = Watchdog::start("a_task_that_waits_is_not_taken_along_by_a_strangers_crash");
    fn waits(rounds: u32) -> u32 {
        (0..rounds).map(|n| go_parallel(|| 1_u32).join().map_or(n + 1000, |one| one)).sum()
    }
    let runtime = Runtime::builder().workers(2).quarantine_after(0).build().expect("build a runtime");
    let waiting: Vec<_> = (0..40).map(|_| runtime.task(50, waits)).collect();
    let crashing: Vec<_> = (0..40).map(|_| runtime.go(|| -> u8 { Death::Segfault.die() })).collect();
    for task in waiting {
        assert_eq!(task.join(), Ok(50));
    }
    for task in crashing {
        assert!(matches!(task.join(), Err(TaskError::WorkerLost { .. })));
    }
    assert_eq!(runtime.stats().lost, 40);
}
