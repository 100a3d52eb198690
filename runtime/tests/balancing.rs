//! Which worker runs what: load balancing, policies of one's own, work stealing.

use gorun_runtime::{BuildError, LoadBalancing, Policy, Runtime, SeatLoad, Task, TaskFacts};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use std::collections::BTreeMap;
use std::sync::Arc;

fn with(balancing: LoadBalancing, stealing: bool) -> Runtime {
    let builder = Runtime::builder().workers(2).load_balancing(balancing).work_stealing(stealing);
    let runtime = builder.build().expect("a runtime");
    // A seat without a worker gets no task.
    eventually(|| runtime.stats().seats.iter().all(|seat| seat.pid.is_some()));
    runtime
}

/// How many of `count` tasks, one after the other, each worker ran; sorted.
fn shares(runtime: &Runtime, count: usize) -> Vec<usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let pid = Task::new(std::process::id).go_on(runtime).join().expect("the task runs");
        *shares.entry(pid).or_insert(0) += 1;
    }
    let mut shares: Vec<usize> = shares.into_values().collect();
    shares.sort_unstable();
    shares
}

/// Everything goes to one seat, whatever it is.
struct Always(usize);

impl Policy for Always {
    fn choose(&self, _: &TaskFacts, _: &[SeatLoad]) -> usize {
        self.0
    }
}

fn always(seat: usize) -> LoadBalancing {
    LoadBalancing::Custom(Arc::new(Always(seat)))
}

#[test]
fn round_robin_gives_each_worker_the_same() {
    let _watchdog = Watchdog::start("round_robin_gives_each_worker_the_same");
    assert_eq!(shares(&with(LoadBalancing::RoundRobin, false), 40), [20, 20]);
}

#[test]
fn weights_give_each_worker_its_share() {
    let _watchdog = Watchdog::start("weights_give_each_worker_its_share");
    assert_eq!(shares(&with(LoadBalancing::Weighted(vec![3, 1]), false), 40), [10, 30]);
}

#[test]
fn a_policy_of_ones_own_decides() {
    let _watchdog = Watchdog::start("a_policy_of_ones_own_decides");
    for seat in 0..2 {
        let runtime = with(always(seat), false);
        let pid = runtime.stats().seats[seat].pid;
        assert_eq!(Some(Task::new(std::process::id).go_on(&runtime).join().unwrap()), pid);
        assert_eq!(shares(&runtime, 10), [10]);
    }
}

#[test]
fn a_policy_sees_the_task_and_the_seats() {
    struct Looks;
    impl Policy for Looks {
        fn choose(&self, task: &TaskFacts, seats: &[SeatLoad]) -> usize {
            let numbered = seats.iter().enumerate().all(|(number, seat)| seat.seat == number);
            let known = seats.len() == 2 && numbered && seats.iter().all(|seat| seat.has_worker);
            usize::from(known && task.input_bytes > 100)
        }
    }
    let _watchdog = Watchdog::start("a_policy_sees_the_task_and_the_seats");
    let runtime = with(LoadBalancing::Custom(Arc::new(Looks)), false);
    let seats: Vec<_> = runtime.stats().seats.iter().map(|seat| seat.pid.unwrap()).collect();
    let run_by = |length: usize| {
        Task::with(vec![0_u8; length], |_| std::process::id()).go_on(&runtime).join().unwrap()
    };
    assert_eq!([run_by(10), run_by(1000)], [seats[0], seats[1]]);
}

#[test]
fn a_policy_that_is_wrong_costs_no_task() {
    struct Panics;
    impl Policy for Panics {
        fn choose(&self, _: &TaskFacts, _: &[SeatLoad]) -> usize {
            panic!("no idea")
        }
    }
    let _watchdog = Watchdog::start("a_policy_that_is_wrong_costs_no_task");
    for balancing in [always(7), always(usize::MAX), LoadBalancing::Custom(Arc::new(Panics))] {
        assert_eq!(shares(&with(balancing, true), 10).iter().sum::<usize>(), 10);
    }
}

#[test]
fn weights_that_do_not_fit_the_workers_are_refused() {
    for weights in [vec![1], vec![0, 0], vec![1, 1, 1]] {
        let refused = Runtime::builder().workers(2).load_balancing(LoadBalancing::Weighted(weights)).build();
        assert!(matches!(refused, Err(BuildError::OutOfRange { key: "load_balancing", .. })), "{refused:?}");
    }
}

#[test]
fn with_stealing_nobody_waits_behind_a_long_task() {
    let _watchdog = Watchdog::start("with_stealing_nobody_waits_behind_a_long_task");
    let runtime = with(always(0), true);
    let gate = Gate::new();
    let long = Task::with(gate.name(), gate::wait).go_on(&runtime);
    let standing = gate.await_task();
    // The first was perhaps stolen, then this one is not; in any case they run at the same time.
    assert_eq!(Task::new(|| 1_u8).go_on(&runtime).join(), Ok(1));
    drop(standing);
    assert_eq!(long.join(), Ok(()));
}

#[test]
fn without_stealing_a_task_runs_in_its_seat() {
    let _watchdog = Watchdog::start("without_stealing_a_task_runs_in_its_seat");
    let runtime = with(always(0), false);
    let gate = Gate::new();
    let long = Task::with(gate.name(), gate::wait).go_on(&runtime);
    let standing = gate.await_task();
    let other = Task::new(std::process::id).go_on(&runtime);
    // The second worker has nothing to do meanwhile, and does nothing.
    for _ in 0..1000 {
        std::thread::yield_now();
        assert!(!other.is_finished());
    }
    drop(standing);
    assert_eq!(other.join().ok(), runtime.stats().seats[0].pid);
    assert_eq!(long.join(), Ok(()));
    assert_eq!(runtime.stats().seats[1].steals, 0);
}

#[test]
fn without_stealing_the_lane_of_a_worker_that_waits_is_served() {
    let _watchdog = Watchdog::start("without_stealing_the_lane_of_a_worker_that_waits_is_served");
    let runtime = with(always(0), false);
    let (sender, receiver) = gorun_runtime::Channel::<u8>::bounded(1).open_on(&runtime).unwrap();
    let waits = Task::with(receiver, |receiver| receiver.recv().ok()).go_on(&runtime);
    // Given to the seat whose worker waits for what this one sends.
    let sends = Task::with(sender, |sender| sender.send(7).is_ok()).go_on(&runtime);
    assert_eq!(sends.join(), Ok(true));
    assert_eq!(waits.join(), Ok(Some(7)));
}
