//! What is counted of each function, without being asked for.

use gorun_runtime::{FunctionProfile, LoadBalancing, Runtime, Task, TaskError};
use gorun_shm::os::ticks;
use gorun_test_programs::{Gate, Watchdog, gate};
use std::time::Duration;

fn square(n: u64) -> u64 {
    n * n
}

fn fails(_: u64) -> u64 {
    panic!("as it should")
}

fn dawdles(pause: Duration) {
    let start = ticks::system_ns();
    while u128::from(ticks::system_ns() - start) < pause.as_nanos() {
        std::hint::spin_loop();
    }
}

/// What is known of the functions whose name contains this, in the order of the time they took.
fn of(runtime: &Runtime, name: &str) -> FunctionProfile {
    let mut functions = runtime.profile().functions;
    functions.retain(|function| function.name.contains(name));
    assert_eq!(functions.len(), 1, "{name}");
    functions.remove(0)
}

#[test]
fn tasks_are_counted_for_their_functions() {
    let _watchdog = Watchdog::start("tasks_are_counted_for_their_functions");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    (0..100).for_each(|n| assert_eq!(Task::with(n, square).go_on(&runtime).join(), Ok(n * n)));
    for _ in 0..3 {
        let failed = Task::with(1, fails).go_on(&runtime).join();
        assert!(matches!(failed, Err(TaskError::Panicked { .. })), "{failed:?}");
    }
    let square = of(&runtime, "square");
    assert_eq!((square.tasks, square.panics, square.run.count), (100, 0, 100));
    assert_eq!(square.seats.iter().sum::<u64>(), 100);
    assert_eq!(square.input_bytes, 800);
    assert!(square.run.p50 <= square.run.p90 && square.run.p90 <= square.run.p99);
    assert!(square.run.p99 <= square.run.max && square.busy <= square.run.max * 100);
    let fails = of(&runtime, "fails");
    assert_eq!((fails.tasks, fails.panics), (3, 3));
    let table = runtime.profile().to_string();
    assert!(table.lines().count() == 3 && table.contains("square"), "{table}");
}

#[test]
fn run_times_are_the_functions_own() {
    let _watchdog = Watchdog::start("run_times_are_the_functions_own");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let pause = Duration::from_millis(5);
    for _ in 0..3 {
        assert_eq!(Task::with(pause, dawdles).go_on(&runtime).join(), Ok(()));
    }
    assert_eq!(Task::with(3, square).go_on(&runtime).join(), Ok(9));
    let functions = runtime.profile().functions;
    assert!(functions[0].name.contains("dawdles"), "{functions:?}");
    // A quantile is off by an eighth at most.
    assert!(functions[0].run.p50 >= pause * 7 / 8 && functions[0].busy >= pause * 3 * 7 / 8, "{functions:?}");
    assert!(functions[1].run.max < functions[0].run.max);
}

#[test]
fn who_stood_in_line_is_known() {
    let _watchdog = Watchdog::start("who_stood_in_line_is_known");
    let builder = Runtime::builder().workers(1).load_balancing(LoadBalancing::RoundRobin);
    let runtime = builder.build().unwrap();
    let gate = Gate::new();
    let first = Task::with(gate.name(), gate::wait).go_on(&runtime);
    let standing = gate.await_task();
    let waiting: Vec<_> = (0..32).map(|n| Task::with(n, square).go_on(&runtime)).collect();
    let pause = Duration::from_millis(5);
    dawdles(pause);
    drop(standing);
    assert_eq!(first.join(), Ok(()));
    waiting.into_iter().for_each(|task| assert!(task.join().is_ok()));
    let square = of(&runtime, "square");
    assert_eq!(square.queue.count, 2, "one in sixteen");
    assert!(square.queue.p50 >= pause * 7 / 8, "{square:?}");
}

#[test]
fn items_of_maps_are_counted_one_by_one() {
    let _watchdog = Watchdog::start("items_of_maps_are_counted_one_by_one");
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let squares: Result<Vec<u64>, _> = runtime.map(0..1000, square).collect();
    assert_eq!(squares.map(|squares| squares.len()), Ok(1000));
    assert_eq!(of(&runtime, "square").tasks, 1000);
}

#[test]
fn what_died_is_not_counted_and_what_was_counted_stays() {
    let _watchdog = Watchdog::start("what_died_is_not_counted_and_what_was_counted_stays");
    fn dies(n: u64) -> u64 {
        if n == 0 { std::process::abort() } else { n }
    }
    let runtime = Runtime::builder().workers(1).quarantine_after(0).build().unwrap();
    for n in [1, 2, 0, 3, 0] {
        assert_eq!(Task::with(n, dies).go_on(&runtime).join().is_ok(), n > 0);
    }
    assert_eq!(of(&runtime, "dies").tasks, 3);
}

#[test]
fn more_functions_than_there_is_room_for_are_counted_together() {
    /// A function for each number.
    fn numbered<const N: u64>() -> u64 {
        N
    }
    macro_rules! run_all {
        ($runtime:ident; $($n:literal)*) => {
            $(assert_eq!(Task::new(numbered::<$n>).go_on(&$runtime).join(), Ok($n));)*
        };
    }
    let _watchdog = Watchdog::start("more_functions_than_there_is_room_for_are_counted_together");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    run_all!(runtime; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34
        35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69);
    let profile = runtime.profile();
    assert_eq!(profile.functions.iter().map(|function| function.tasks).sum::<u64>(), 70);
    let others = profile.functions.iter().find(|function| function.name == "all others").expect("the rest");
    assert_eq!((profile.functions.len(), others.tasks), (64, 7));
}
