//! Nothing is left: no process, descriptor, named segment or temporary file. One test a binary could count
//! exactly only if it is alone, so everything is counted in programs of its own, run one after the other.

use gorun::TaskHandle;
use gorun::prelude::*;
use gorun_test_programs::processes::{await_family, kill, of_this_run};
use gorun_test_programs::program::{again, role, succeed};
use gorun_test_programs::{Death, Watchdog, descriptors, eventually};
use std::path::PathBuf;

const TASKS: u64 = 1_000_000;
/// Every so many tasks, one kills its worker.
const DEATH_EVERY: u64 = 1000;

fn death_of(n: u64) -> Option<Death> {
    let turn = usize::try_from(n / DEATH_EVERY).unwrap_or(0) % Death::QUICK.len();
    (n % DEATH_EVERY == DEATH_EVERY - 1).then_some(Death::QUICK[turn])
}

fn work(n: u64) -> u64 {
    if let Some(death) = death_of(n) {
        death.die();
    }
    n.wrapping_mul(0x9E37_79B9).rotate_left(7)
}

fn expected(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9).rotate_left(7)
}

/// Counts a lost task; panics if the outcome is not what this task's had to be.
fn check(n: u64, outcome: Result<u64, TaskError>) -> u64 {
    match (outcome, death_of(n)) {
        (Ok(value), None) if value == expected(n) => 0,
        (Err(TaskError::WorkerLost { evidence }), Some(death)) if death.is_told_by(&evidence) => 1,
        (outcome, death) => panic!("task {n}, {death:?}: {outcome:?}"),
    }
}

/// Runs `test` again in a process of its own with an empty folder for temporary files; gives true in that process.
fn alone(test: &str) -> bool {
    if role().is_some() {
        return true;
    }
    let folder: PathBuf = std::env::temp_dir().join(format!("gorun-leftovers-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("make a folder");
    let named_before = named_memory();
    succeed(again(test, "alone").env("TMPDIR", &folder));
    assert_eq!(descriptors::names_in(&folder), Vec::<String>::new(), "temporary files");
    assert_eq!(named_memory(), named_before, "named memory");
    std::fs::remove_dir(&folder).expect("remove an empty folder");
    false
}

/// Other programs use /dev/shm too; what is ours would say so.
fn named_memory() -> Vec<String> {
    descriptors::names_in("/dev/shm").into_iter().filter(|name| name.contains("gorun")).collect()
}

#[test]
fn a_million_tasks_of_which_every_thousandth_kills_its_worker_leave_nothing() {
    if !alone("a_million_tasks_of_which_every_thousandth_kills_its_worker_leave_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("a million tasks");
    let in_map = TASKS / 10 * 9;
    let before = descriptors::open();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    // Both kinds at once: ten items of the map for each task on its own.
    let mut map = runtime.map(0..in_map, work).iter();
    let mut single = std::collections::VecDeque::new();
    let (mut lost, mut next_item) = (0, 0);
    for n in in_map..TASKS {
        single.push_back((n, runtime.task(n, work)));
        for outcome in map.by_ref().take(9) {
            lost += check(next_item, outcome);
            next_item += 1;
        }
        if single.len() > 300
            && let Some((n, task)) = single.pop_front()
        {
            lost += check(n, task.join());
        }
    }
    for (n, task) in single {
        lost += check(n, task.join());
    }
    assert_eq!((next_item, map.next()), (in_map, None));
    drop(map);
    assert_eq!(lost, TASKS / DEATH_EVERY);
    let stats = runtime.stats();
    assert_eq!((stats.submitted, stats.lost, stats.finished), (TASKS, lost, TASKS - lost));
    assert!(!runtime.is_degraded());
    drop(runtime);
    assert_eq!(of_this_run(), []);
    assert_eq!(descriptors::open(), before);
}

#[test]
fn runtimes_built_and_dropped_on_many_threads_leave_nothing() {
    if !alone("runtimes_built_and_dropped_on_many_threads_leave_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("runtimes_built_and_dropped_on_many_threads_leave_nothing");
    let before = descriptors::open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..10_u32 {
                    let runtime = Runtime::builder().workers(1).build().unwrap();
                    assert_eq!(runtime.task(n, |n| n).join(), Ok(n));
                }
            });
        }
    });
    assert_eq!(of_this_run(), []);
    eventually(|| descriptors::open() == before);
}

#[test]
fn a_runtime_on_threads_leaves_nothing() {
    if !alone("a_runtime_on_threads_leaves_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("a_runtime_on_threads_leaves_nothing");
    let before = descriptors::open();
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let threads_before = threads();
    for _ in 0..10 {
        let runtime = Runtime::builder().workers(3).processes(false).build().unwrap();
        assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    }
    eventually(|| threads() == threads_before);
    assert_eq!(descriptors::open(), before);
}

#[test]
fn a_runtime_dropped_as_soon_as_it_is_built_leaves_nothing() {
    if !alone("a_runtime_dropped_as_soon_as_it_is_built_leaves_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("a_runtime_dropped_as_soon_as_it_is_built_leaves_nothing");
    let before = descriptors::open();
    for _ in 0..50 {
        drop(Runtime::builder().workers(2).build().unwrap());
        assert_eq!(of_this_run(), []);
    }
    assert_eq!(descriptors::open(), before);
}

#[test]
fn a_runtime_dropped_with_work_in_flight_leaves_nothing() {
    if !alone("a_runtime_dropped_with_work_in_flight_leaves_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("a_runtime_dropped_with_work_in_flight_leaves_nothing");
    let before = descriptors::open();
    for round in 0..30_u64 {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let endless: Vec<_> = (0..3)
            .map(|_| {
                runtime.go(|| {
                    loop {
                        std::thread::park();
                    }
                })
            })
            .collect::<Vec<TaskHandle<()>>>();
        let tasks: Vec<_> = (0..round * 20).map(|n| runtime.task(vec![n; 100], |words| words)).collect();
        drop(runtime);
        assert_eq!(of_this_run(), []);
        for task in endless {
            assert_eq!(task.join(), Err(TaskError::Closed));
        }
        for (n, task) in (0..).zip(tasks) {
            let outcome = task.join();
            assert!(outcome == Ok(vec![n; 100]) || outcome == Err(TaskError::Closed), "{outcome:?}");
        }
    }
    assert_eq!(descriptors::open(), before);
}

#[test]
fn a_runtime_whose_zygote_was_killed_leaves_nothing() {
    if !alone("a_runtime_whose_zygote_was_killed_leaves_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("a_runtime_whose_zygote_was_killed_leaves_nothing");
    let before = descriptors::open();
    for round in 0..20 {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let family = await_family(&runtime, 1);
        kill(family.zygote);
        if round % 2 == 0 {
            eventually(|| runtime.stats().zygote_restarts == 1);
            assert_eq!(runtime.go(|| 5_u8).join(), Ok(5));
        }
        drop(runtime);
        assert_eq!(of_this_run(), []);
    }
    assert_eq!(descriptors::open(), before);
}

#[test]
fn zygotes_killed_in_mid_fork_leave_no_second_worker_for_a_seat() {
    if !alone("zygotes_killed_in_mid_fork_leave_no_second_worker_for_a_seat") {
        return;
    }
    let _watchdog = Watchdog::start("zygotes_killed_in_mid_fork_leave_no_second_worker_for_a_seat");
    let before = descriptors::open();
    for round in 0..40_u32 {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let family = await_family(&runtime, 1);
        // Its death makes the zygote fork; how far that has come differs from round to round.
        kill(family.seated[0]);
        (0..round * 400).for_each(|step| {
            std::hint::black_box(step);
        });
        kill(family.zygote);
        eventually(|| runtime.stats().zygote_restarts == 1);
        let values: Vec<u64> = runtime.map(0..100, |n| n).collect().unwrap();
        assert_eq!(values, (0..100).collect::<Vec<u64>>());
        // Two workers, a spare and the new zygote, once whoever came too late has left again. A worker is named
        // after its record.
        eventually(|| {
            let mut names: Vec<String> = of_this_run().into_iter().map(|process| process.name).collect();
            names.sort();
            names.dedup();
            names.len() == 4 && of_this_run().len() == 4
        });
        drop(runtime);
        assert_eq!(of_this_run(), []);
    }
    assert_eq!(descriptors::open(), before);
}

#[test]
fn fifty_runtimes_at_once_work_and_leave_nothing() {
    if !alone("fifty_runtimes_at_once_work_and_leave_nothing") {
        return;
    }
    let _watchdog = Watchdog::start("fifty_runtimes_at_once_work_and_leave_nothing");
    let before = descriptors::open();
    let runtimes: Vec<Runtime> =
        (0..50).map(|_| Runtime::builder().workers(1).spares(0).build().unwrap()).collect();
    for (n, runtime) in (0..).zip(&runtimes) {
        assert_eq!(runtime.task(n, |n: u32| n).join(), Ok(n));
    }
    drop(runtimes);
    assert_eq!(of_this_run(), []);
    assert_eq!(descriptors::open(), before);
}
