//! No task waits behind a busy worker while another worker sleeps.

use gorun_runtime::{Runtime, SeatStats};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};

/// Lets the runtime see many quick tasks, so that it thinks the next ones will be quick too, then waits until every
/// worker sleeps.
fn lull(runtime: &Runtime) {
    let values: Result<Vec<u64>, _> = (0..2000_u64).map(|n| runtime.task(n, |n| n).join()).collect();
    assert!(values.is_ok());
    let parks = |seat: &SeatStats| seat.parks;
    let before: Vec<u64> = runtime.stats().seats.iter().map(parks).collect();
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    eventually(|| runtime.stats().seats.iter().map(parks).sum::<u64>() > before.iter().sum::<u64>());
}

#[test]
fn a_task_started_after_a_long_one_is_run_by_a_sleeping_worker_without_being_joined() {
    let _watchdog = Watchdog::start("a_task_started_after_a_long_one_is_run_by_a_sleeping_worker");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for _ in 0..20 {
        lull(&runtime);
        let gate = Gate::new();
        // Nobody joins either of them: both must come to the gate all the same.
        let tasks = [runtime.task(gate.name(), gate::wait), runtime.task(gate.name(), gate::wait)];
        drop([gate.await_task(), gate.await_task()]);
        tasks.into_iter().for_each(|task| assert_eq!(task.join(), Ok(())));
    }
}

#[test]
fn a_task_started_by_a_long_task_is_run_by_a_sleeping_worker_without_being_joined() {
    let _watchdog = Watchdog::start("a_task_started_by_a_long_task_is_run_by_a_sleeping_worker");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for _ in 0..20 {
        lull(&runtime);
        let gate = Gate::new();
        let parent = runtime.task(gate.name(), |name: String| {
            let child = gorun_runtime::Task::with(name.clone(), gate::wait).go();
            gate::stand_at(&name);
            child.join().is_ok()
        });
        drop([gate.await_task(), gate.await_task()]);
        assert_eq!(parent.join(), Ok(true));
    }
}
