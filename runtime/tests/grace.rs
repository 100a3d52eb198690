//! Grace: who looks whether it was asked to stop may end by itself; who does not is killed a little later.

use gorun_runtime::{Runtime, Task, TaskError, is_cancelled};
use gorun_shm::os::ticks::system_ns;
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(100);

fn deaths(runtime: &Runtime) -> u64 {
    runtime.stats().seats.iter().map(|seat| seat.deaths).sum()
}

fn until_asked(n: u64) -> u64 {
    while !is_cancelled() {
        std::hint::spin_loop();
    }
    n
}

fn endless(_: u64) -> u64 {
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_looks_ends_with_its_value_and_its_worker_lives() {
    let _watchdog = Watchdog::start("a_task_that_looks_ends_with_its_value_and_its_worker_lives");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    // A task that nobody has taken by its deadline is not asked first.
    assert_eq!(runtime.task(1, |n: u64| n).join(), Ok(1));
    for n in 0..2 {
        let by_deadline = Task::with(n, until_asked).deadline(SHORT).grace(LONG).go_on(&runtime);
        assert_eq!(by_deadline.join(), Ok(n));
        let by_timeout = Task::with(n, until_asked).timeout(SHORT).grace(LONG).go_on(&runtime);
        assert_eq!(by_timeout.join(), Ok(n));
    }
    assert_eq!(deaths(&runtime), 0);
}

#[test]
fn a_task_that_does_not_look_is_killed_when_the_grace_is_over_too() {
    let _watchdog = Watchdog::start("a_task_that_does_not_look_is_killed_when_the_grace_is_over_too");
    let runtime = Runtime::builder().workers(1).grace(SHORT).build().unwrap();
    // A task that nobody has taken by its deadline is not asked first.
    assert_eq!(runtime.task(1, |n: u64| n).join(), Ok(1));
    for task in [Task::with(1, endless).deadline(SHORT), Task::with(1, endless).timeout(SHORT)] {
        let since_ns = system_ns();
        assert_eq!(task.go_on(&runtime).join(), Err(TaskError::TimedOut { after: SHORT }));
        assert!(Duration::from_nanos(system_ns() - since_ns) >= 2 * SHORT);
    }
}

#[test]
fn a_task_in_line_gets_no_grace() {
    let _watchdog = Watchdog::start("a_task_in_line_gets_no_grace");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let gate = Gate::new();
    let busy = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let behind = Task::with(1, until_asked).deadline(SHORT).grace(LONG).go_on(&runtime);
    assert_eq!(behind.join(), Err(TaskError::TimedOut { after: SHORT }));
    drop(standing);
    assert_eq!(busy.join(), Ok(()));
}

#[test]
fn items_of_a_map_have_it_too() {
    let _watchdog = Watchdog::start("items_of_a_map_have_it_too");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let work = |n: u64| if n.is_multiple_of(3) { until_asked(n) } else { n };
    let values = runtime.map(0..9, work).timeout(SHORT).grace(LONG).collect::<Vec<u64>>();
    assert_eq!(values, Ok((0..9).collect()));
    assert_eq!(deaths(&runtime), 0);
}

/// Starts endless tasks, says at the gate that it has, and does what it is told to.
fn parent((gate, end): (String, Option<Death>)) -> u64 {
    let children: Vec<_> = (0..3).map(|n| Task::with((gate.clone(), n), child).go()).collect();
    gate::stand_at(&gate);
    match end {
        Some(death) => death.die(),
        None => children.into_iter().map(|child| child.join().unwrap_or(0)).sum(),
    }
}

fn child((gate, n): (String, u64)) -> u64 {
    gate::stand_at(&gate);
    endless(n)
}

#[test]
fn endless_children_end_with_the_task_that_waited_for_them() {
    let _watchdog = Watchdog::start("endless_children_end_with_the_task_that_waited_for_them");
    for end in [None, Some(Death::Abort)] {
        let runtime = Runtime::builder().workers(3).build().unwrap();
        let gate = Gate::new();
        let task = Task::with((gate.name(), end), parent).go_on(&runtime);
        // The parent, and its children on the other workers.
        let standing: Vec<_> = (0..3).map(|_| gate.await_task()).collect();
        drop(standing);
        if end.is_none() {
            assert!(task.kill());
            assert_eq!(task.join(), Err(TaskError::Cancelled));
        } else {
            assert!(matches!(task.join(), Err(TaskError::WorkerLost { .. })));
        }
        // Each of the three workers is free again: each takes one that does not end before all have begun.
        let meeting = Gate::new();
        let tasks: Vec<_> = (0..3).map(|_| runtime.task(meeting.name(), gate::wait)).collect();
        let there: Vec<_> = (0..3).map(|_| meeting.await_task()).collect();
        drop(there);
        tasks.into_iter().for_each(|task| assert_eq!(task.join(), Ok(())));
    }
}

#[test]
fn children_whose_handles_were_dropped_run_on() {
    let _watchdog = Watchdog::start("children_whose_handles_were_dropped_run_on");
    fn starts_and_dies(gates: [String; 3]) {
        let own = gates[0].clone();
        drop(Task::with(gates, stays_and_tells).go());
        gate::stand_at(&own);
        Death::Kill.die()
    }
    fn stays_and_tells([_, stay, done]: [String; 3]) {
        gate::stand_at(&stay);
        gate::pass(&done);
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let [own, stay, done] = [Gate::new(), Gate::new(), Gate::new()];
    let task = runtime.task([own.name(), stay.name(), done.name()], starts_and_dies);
    let child = stay.await_task();
    drop(own.await_task());
    assert!(matches!(task.join(), Err(TaskError::WorkerLost { .. })));
    drop(child);
    // It came to its end.
    drop(done.await_task());
    assert_eq!(deaths(&runtime), 1);
}
