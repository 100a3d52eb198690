//! How workers are, seen from outside: stuck, stopped, asleep, at work; and what is done about it.

use gorun_runtime::{Health, Runtime, TaskError, WorkerState};
use gorun_test_programs::processes::{await_family, signal, stop};
use gorun_test_programs::{Death, Gate, Watchdog, eventually, gate};
use rustix::process::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);
const HOUR: Duration = Duration::from_secs(3600);

fn states(health: &Health) -> Vec<WorkerState> {
    health.seats.iter().map(|seat| seat.state).collect()
}

#[test]
fn workers_are_told_by_what_they_do() {
    let _watchdog = Watchdog::start("workers_are_told_by_what_they_do");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let family = await_family(&runtime, 1);
    eventually(|| states(&runtime.health()) == [WorkerState::Parked; 2]);
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let health = runtime.health();
    let active = health.seats.iter().find(|seat| seat.state == WorkerState::Active).expect("one at work");
    assert!(active.function.as_ref().is_some_and(|name| name.contains("wait")), "{active:?}");
    assert!(active.running.is_some() && active.age.is_some() && active.rss_bytes > 4096, "{active:?}");
    assert!(family.seated.contains(&i32::try_from(active.pid.unwrap()).unwrap()));
    assert_eq!((health.spares, health.zygote, health.degraded), (1, true, false));
    let lines = health.to_string();
    assert!(lines.contains("active") && lines.contains("2 seats, 1 spares, zygote serves"), "{lines}");
    let json = serde_json::to_value(&health).unwrap();
    assert_eq!(json["seats"][active.seat]["state"], "Active");
    drop(standing);
    assert_eq!(running.join(), Ok(()));
    eventually(|| runtime.health().seats.iter().map(|seat| seat.tasks).sum::<u64>() == 1);
}

#[test]
fn seats_without_a_worker_are_told_by_why() {
    let _watchdog = Watchdog::start("seats_without_a_worker_are_told_by_why");
    let resting = Runtime::builder().workers(1).workers_min(0).worker_timeout(SOON).build().unwrap();
    eventually(|| states(&resting.health()) == [WorkerState::Resting]);
    let retired = Runtime::builder().workers(1).auto_restart(false).build().unwrap();
    assert!(retired.go(|| -> u8 { Death::Abort.die() }).join().is_err());
    eventually(|| states(&retired.health()) == [WorkerState::Retired]);
    let threads = Runtime::builder().workers(1).processes(false).build().unwrap();
    eventually(|| threads.health().seats[0].is_thread);
}

#[test]
fn a_long_task_is_told_once_as_stuck_and_goes_on() {
    let _watchdog = Watchdog::start("a_long_task_is_told_once_as_stuck_and_goes_on");
    let runtime = Runtime::builder().workers(1).health_monitoring(true).stuck_after(SOON).build().unwrap();
    let gate = Gate::new();
    for round in 1..=3 {
        let running = runtime.task(gate.name(), gate::wait);
        let standing = gate.await_task();
        eventually(|| runtime.health().stuck == round);
        let health = runtime.health();
        assert_eq!((states(&health), health.stuck), (vec![WorkerState::Stuck], round));
        assert!(health.seats[0].running.is_some_and(|time| time >= SOON));
        drop(standing);
        assert_eq!(running.join(), Ok(()));
    }
}

#[test]
fn a_worker_without_progress_is_killed_if_that_is_asked_for_and_its_task_says_so() {
    let _watchdog =
        Watchdog::start("a_worker_without_progress_is_killed_if_that_is_asked_for_and_its_task_says_so");
    let builder = Runtime::builder().workers(1).health_monitoring(true).stuck_after(SOON).kill_stuck(true);
    let runtime = builder.restart_intensity(0, HOUR).build().unwrap();
    for _ in 0..3 {
        let stuck = runtime.go(|| -> u8 {
            loop {
                std::hint::spin_loop();
            }
        });
        let Err(TaskError::WorkerLost { evidence }) = stuck.join() else { panic!("a value") };
        assert!(evidence.killed_because().is_some_and(|cause| cause.contains("stuck")), "{evidence}");
        assert!(evidence.summary().contains("killed by gorun, it was stuck"), "{evidence}");
    }
    assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
    assert_eq!(runtime.stats().seats_shut, 0, "a kill by the host is no crash");
}

#[test]
fn a_stopped_worker_keeps_nobody_waiting_and_its_task_says_so() {
    let _watchdog = Watchdog::start("a_stopped_worker_keeps_nobody_waiting_and_its_task_says_so");
    let runtime = Runtime::builder().workers(1).stopped_after(SOON).build().unwrap();
    for round in 1..=2 {
        let gate = Gate::new();
        let running = runtime.task(gate.name(), gate::wait);
        let _standing = gate.await_task();
        let waiting = runtime.go(|| 7_u8);
        let family = await_family(&runtime, 1);
        stop(family.seated[0]);
        // No monitoring: it is looked at because somebody waits.
        let Err(TaskError::WorkerLost { evidence }) = running.join() else { panic!("a value") };
        assert!(evidence.summary().contains("it was stopped by a signal"), "{evidence}");
        assert_eq!((waiting.join(), runtime.health().stopped), (Ok(7), round));
    }
}

#[test]
fn a_worker_that_is_stopped_between_tasks_is_replaced() {
    let _watchdog = Watchdog::start("a_worker_that_is_stopped_between_tasks_is_replaced");
    let monitored = Runtime::builder().workers(1).health_monitoring(true).stopped_after(SOON);
    let runtime = monitored.restart_intensity(0, HOUR).build().unwrap();
    let family = await_family(&runtime, 1);
    stop(family.seated[0]);
    eventually(|| runtime.health().stopped == 1);
    assert_eq!(runtime.go(|| 3_u8).join(), Ok(3));
    let stats = runtime.stats();
    assert_eq!((stats.lost, stats.seats_shut), (0, 0));
}

#[test]
fn a_worker_that_goes_on_in_time_keeps_its_task() {
    let _watchdog = Watchdog::start("a_worker_that_goes_on_in_time_keeps_its_task");
    let patient = Runtime::builder().workers(1).health_monitoring(true).stuck_after(SOON).stopped_after(HOUR);
    let runtime = patient.build().unwrap();
    let gate = Gate::new();
    let running = runtime.task(gate.name(), gate::wait);
    let standing = gate.await_task();
    let family = await_family(&runtime, 1);
    stop(family.seated[0]);
    eventually(|| states(&runtime.health()) == [WorkerState::Stopped]);
    signal(family.seated[0], Signal::CONT);
    eventually(|| states(&runtime.health()) != [WorkerState::Stopped]);
    drop(standing);
    assert_eq!((running.join(), runtime.health().stopped), (Ok(()), 0));
}
