//! Jailed tasks: their handles are as good as others', whatever the worker does, and their order is the host's.

use gorun_runtime::{
    Fallback, Jail, JailRefusal, Rejection, ResultRefusal, Retry, Runtime, SharedSlice, Task, TaskError,
    go_all, go_race,
};
use gorun_test_programs::{Watchdog, eventually};
use std::task::{Context, Waker};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(100);

/// Where the kernel lacks a part of the jail these tests are about handles all the same.
fn jail() -> Jail {
    Jail::compute().best_effort()
}

fn runtime(jailed: usize) -> Runtime {
    Runtime::builder().workers(1).jailed_workers(jailed).build().expect("build a runtime")
}

fn endless() {
    loop {
        std::hint::spin_loop();
    }
}

fn pid() -> u32 {
    std::process::id()
}

#[test]
fn a_jailed_task_gives_its_value() {
    let _watchdog = Watchdog::start("a_jailed_task_gives_its_value");
    let runtime = runtime(1);
    assert_eq!(Task::new(|| 42_u64).jail(jail()).go_on(&runtime).join(), Ok(42));
    let text = "x".repeat(100_000);
    let long = Task::with(text.clone(), |text: String| text + "y").jail(jail()).go_on(&runtime).join();
    assert_eq!(long, Ok(text + "y"));
    let stats = runtime.jail_stats();
    assert_eq!((stats.submitted, stats.finished), (2, 2));
}

#[test]
fn a_warm_worker_serves_one_task_after_the_other() {
    let _watchdog = Watchdog::start("a_warm_worker_serves_one_task_after_the_other");
    let runtime = runtime(1);
    let first = Task::new(pid).jail(jail()).go_on(&runtime).join().expect("a process id");
    for n in 0..200_u32 {
        assert_eq!(Task::with(n, |n| n + 1).jail(jail()).go_on(&runtime).join(), Ok(n + 1));
    }
    let seen: Vec<_> = (0..10).map(|_| Task::new(pid).jail(jail()).go_on(&runtime).join()).collect();
    assert!(seen.contains(&Ok(first)) && first != pid(), "{seen:?}");
}

#[test]
fn a_fresh_profile_gives_each_task_a_process_of_its_own() {
    let _watchdog = Watchdog::start("a_fresh_profile_gives_each_task_a_process_of_its_own");
    let runtime = runtime(2);
    let tasks: Vec<_> = (0..20).map(|_| Task::new(pid).jail(jail().fresh()).go_on(&runtime)).collect();
    let mut seen: Vec<u32> = tasks.into_iter().map(|task| task.join().expect("a process id")).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[test]
fn a_thousand_tasks_wait_in_line_and_all_end() {
    let _watchdog = Watchdog::start("a_thousand_tasks_wait_in_line_and_all_end");
    let runtime = runtime(2);
    let tasks: Vec<_> =
        (0..1000_u64).map(|n| Task::with(n, |n| n * 3).jail(jail()).go_on(&runtime)).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.join(), Ok(n * 3));
    }
}

#[test]
fn tasks_move_on_though_nobody_waits_for_them() {
    let _watchdog = Watchdog::start("tasks_move_on_though_nobody_waits_for_them");
    let runtime = runtime(1);
    let kept: Vec<_> = (0..20_u64).map(|n| Task::with(n, |n| n).jail(jail()).go_on(&runtime)).collect();
    for n in 0..20_u64 {
        drop(Task::with(n, |n| n).jail(jail()).go_on(&runtime));
    }
    eventually(|| runtime.jail_stats().finished >= 39);
    drop(kept);
    eventually(|| runtime.jail_stats().finished == 40);
}

#[test]
fn an_endless_task_is_killed_at_its_deadline_and_the_next_is_served() {
    let _watchdog = Watchdog::start("an_endless_task_is_killed_at_its_deadline_and_the_next_is_served");
    let runtime = runtime(1);
    for _ in 0..5 {
        let task = Task::new(endless).jail(jail()).deadline(SHORT).go_on(&runtime);
        let behind = Task::new(|| 7_u8).jail(jail()).go_on(&runtime);
        assert_eq!(task.join(), Err(TaskError::TimedOut { after: SHORT }));
        assert_eq!(behind.join(), Ok(7));
        let task = Task::new(endless).jail(jail()).timeout(SHORT).go_on(&runtime);
        assert_eq!(task.join(), Err(TaskError::TimedOut { after: SHORT }));
    }
    assert_eq!(runtime.jail_stats().timed_out, 10);
}

#[test]
fn a_deadline_ends_a_task_that_waits_in_line() {
    let _watchdog = Watchdog::start("a_deadline_ends_a_task_that_waits_in_line");
    let runtime = runtime(1);
    let running = Task::new(endless).jail(jail()).go_on(&runtime);
    let waiting = Task::new(|| 1_u8).jail(jail()).deadline(SHORT).go_on(&runtime);
    assert_eq!(waiting.join(), Err(TaskError::TimedOut { after: SHORT }));
    assert!(running.kill());
    assert_eq!(running.join(), Err(TaskError::Cancelled));
}

#[test]
fn what_waits_can_be_cancelled_and_what_runs_can_be_killed() {
    let _watchdog = Watchdog::start("what_waits_can_be_cancelled_and_what_runs_can_be_killed");
    let runtime = runtime(1);
    let running = Task::new(endless).jail(jail()).go_on(&runtime);
    let waiting = Task::new(|| 1_u8).jail(jail()).go_on(&runtime);
    let last = Task::new(|| 2_u8).jail(jail()).go_on(&runtime);
    eventually(|| runtime.jail_stats().busy == 1);
    assert!(waiting.cancel() && !waiting.cancel());
    assert_eq!(waiting.join(), Err(TaskError::Cancelled));
    assert!(!running.cancel() && !running.is_finished());
    assert!(running.kill() && !running.kill());
    assert_eq!(running.join(), Err(TaskError::Cancelled));
    assert_eq!(last.join(), Ok(2));
}

#[test]
fn a_long_task_sees_that_it_was_cancelled() {
    let _watchdog = Watchdog::start("a_long_task_sees_that_it_was_cancelled");
    let runtime = runtime(1);
    let patient = || {
        while !gorun_runtime::is_cancelled() {
            std::hint::spin_loop();
        }
        3_u8
    };
    let task = Task::new(patient).jail(jail()).go_on(&runtime);
    eventually(|| {
        task.cancel();
        task.is_finished()
    });
    assert!(matches!(task.join(), Ok(3) | Err(TaskError::Cancelled)));
}

#[test]
fn join_timeout_gives_the_handle_back() {
    let _watchdog = Watchdog::start("join_timeout_gives_the_handle_back");
    let runtime = runtime(1);
    let task = Task::new(endless).jail(jail()).go_on(&runtime);
    let waiting = Task::new(|| 1_u8).jail(jail()).go_on(&runtime);
    let Err(task) = task.join_timeout(SHORT) else { panic!("it never ends") };
    let Err(waiting) = waiting.join_timeout(SHORT) else { panic!("it stands in line") };
    assert!(task.kill());
    assert_eq!(waiting.join(), Ok(1));
}

#[test]
fn a_death_costs_one_task_and_names_its_signal() {
    let _watchdog = Watchdog::start("a_death_costs_one_task_and_names_its_signal");
    let runtime = runtime(1);
    for _ in 0..10 {
        let dying = Task::new(|| std::process::abort()).jail(jail()).go_on(&runtime);
        let behind = Task::new(|| 5_u8).jail(jail()).go_on(&runtime);
        let outcome: Result<(), TaskError> = dying.join();
        let Err(TaskError::WorkerLost { evidence }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(evidence.signal(), Some(6));
        assert!(evidence.function().is_some());
        assert_eq!(behind.join(), Ok(5));
    }
    let exit: Result<(), TaskError> = Task::new(|| std::process::exit(9)).jail(jail()).go_on(&runtime).join();
    let Err(TaskError::WorkerLost { evidence }) = exit else { panic!("{exit:?}") };
    assert_eq!(evidence.exit_code(), Some(9));
    assert_eq!(runtime.jail_stats().lost, 11);
}

#[test]
fn a_panic_leaves_the_worker_alive() {
    let _watchdog = Watchdog::start("a_panic_leaves_the_worker_alive");
    let runtime = runtime(1);
    let panicking = Task::new(|| -> u8 { panic!("no luck") }).jail(jail()).go_on(&runtime);
    let outcome = panicking.join();
    assert!(
        matches!(&outcome, Err(TaskError::Panicked { message, location: Some(_) }) if message == "no luck"),
        "{outcome:?}"
    );
    assert_eq!(runtime.jail_stats().panicked, 1);
}

#[test]
fn retries_and_fallbacks_work_in_jail() {
    let _watchdog = Watchdog::start("retries_and_fallbacks_work_in_jail");
    let runtime = runtime(1);
    let retry = Retry::attempts(3).crash_attempts(3);
    let dying = Task::new(|| -> u8 { std::process::abort() }).jail(jail()).retry(retry);
    assert_eq!(dying.fallback(Fallback::value(8)).go_on(&runtime).join(), Ok(8));
    assert_eq!(runtime.jail_stats().lost, 3);
    let fine = Task::with(vec![1_u8; 1000], |bytes: Vec<u8>| bytes.len()).jail(jail());
    assert_eq!(fine.retry(Retry::attempts(2)).go_on(&runtime).join(), Ok(1000));
    runtime.breaker("jail").force_open();
    let broken = Task::new(|| 1_u8).jail(jail()).breaker("jail").go_on(&runtime).join();
    assert!(matches!(broken, Err(TaskError::CircuitOpen { .. })));
    runtime.breaker("jail").reset();
    assert_eq!(Task::new(|| 1_u8).jail(jail()).breaker("jail").go_on(&runtime).join(), Ok(1));
}

#[test]
fn jailed_tasks_can_be_awaited_raced_and_gathered() {
    let _watchdog = Watchdog::start("jailed_tasks_can_be_awaited_raced_and_gathered");
    let runtime = runtime(2);
    let polled = block_on(Task::with(4_u32, |n| n + 1).jail(jail()).go_on(&runtime));
    assert_eq!(polled, Ok(5));
    let both = go_all([Task::with(1_u8, |n| n).jail(jail()), Task::with(2, |n| n).jail(jail())]);
    assert_eq!(both, [Ok(1), Ok(2)]);
    let first = go_race([Task::with(3_u8, |n| n).jail(jail()), Task::with(3, |n| n).jail(jail())]);
    assert_eq!(first, Ok(3));
}

fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn tasks_inside_a_jailed_task_run_in_its_jail() {
    let _watchdog = Watchdog::start("tasks_inside_a_jailed_task_run_in_its_jail");
    let runtime = runtime(1);
    let nested = || {
        let inner = gorun_runtime::go_parallel(std::process::id).join();
        inner == Ok(std::process::id())
    };
    assert_eq!(Task::new(nested).jail(jail()).go_on(&runtime).join(), Ok(true));
    let jailed_inside = || {
        matches!(
            Task::new(|| 1_u8).jail(Jail::compute()).go().join(),
            Err(TaskError::Rejected { reason: Rejection::HostOnly { .. } })
        )
    };
    assert_eq!(Task::new(jailed_inside).jail(jail()).go_on(&runtime).join(), Ok(true));
    assert_eq!(Task::new(jailed_inside).go_on(&runtime).join(), Ok(true));
}

#[test]
fn blocks_of_others_do_not_pass_the_wall() {
    let _watchdog = Watchdog::start("blocks_of_others_do_not_pass_the_wall");
    let runtime = runtime(1);
    let slice = SharedSlice::copy_from(&[1.0_f64, 2.0]).expect("a slice");
    let inward = Task::with(slice, |slice: SharedSlice<f64>| slice.len()).jail(jail()).go_on(&runtime).join();
    assert_eq!(inward, Err(TaskError::Rejected { reason: Rejection::ForeignBlock }));
    let make = || SharedSlice::copy_from(&[1.0_f64]).map_err(TaskError::from);
    let outward = Task::new(make).jail(jail()).go_on(&runtime).join();
    let blocks = TaskError::ResultRefused { reason: ResultRefusal::Blocks };
    assert_eq!(outward.map(|slice| slice.is_ok()), Err(blocks));
}

#[test]
fn messages_over_the_profiles_limit_are_refused() {
    let _watchdog = Watchdog::start("messages_over_the_profiles_limit_are_refused");
    let runtime = runtime(1);
    let small = || jail().message_bytes_max(4096);
    let large = Task::with(vec![0_u8; 5000], |bytes: Vec<u8>| bytes.len()).jail(small()).go_on(&runtime);
    let too_large = Rejection::InputTooLarge { bytes: 5000, limit: 4096 };
    assert_eq!(large.join(), Err(TaskError::Rejected { reason: too_large }));
    let result = Task::new(|| vec![0_u8; 5000]).jail(small()).go_on(&runtime).join();
    let Err(TaskError::ResultRefused { reason: ResultRefusal::TooLarge { bytes: 5000, .. } }) = result else {
        panic!("{result:?}")
    };
}

#[test]
fn profiles_have_workers_of_their_own() {
    let _watchdog = Watchdog::start("profiles_have_workers_of_their_own");
    let runtime = runtime(1);
    let other = || jail().memory(64 << 20);
    let mut pids = Vec::new();
    for _ in 0..5 {
        pids.push((0, Task::new(pid).jail(jail()).go_on(&runtime).join().expect("a process id")));
        pids.push((1, Task::new(pid).jail(other()).go_on(&runtime).join().expect("a process id")));
    }
    for (profile, pid) in &pids {
        assert!(pids.iter().all(|(other, found)| found != pid || other == profile), "{pids:?}");
    }
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let _watchdog = Watchdog::start("a_path_that_is_not_there_is_named");
    let runtime = runtime(1);
    for _ in 0..5 {
        let outcome = Task::new(|| 1_u8).jail(Jail::read_only(["/no/such/place"])).go_on(&runtime).join();
        let Err(TaskError::Rejected { reason: Rejection::Jail { reason } }) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            matches!(
                reason,
                JailRefusal::Path { .. } | JailRefusal::Lacking { .. } | JailRefusal::LandlockTooOld { .. }
            ),
            "{reason}"
        );
    }
}

#[test]
fn a_path_that_comes_later_is_found_later() {
    let _watchdog = Watchdog::start("a_path_that_comes_later_is_found_later");
    let runtime = runtime(1);
    let path = std::env::temp_dir().join(format!("gorun-jail-later-{}", std::process::id()));
    let look = || Task::new(|| 1_u8).jail(Jail::read_only([&path])).go_on(&runtime).join();
    (0..5).for_each(|_| assert!(look().is_err()));
    std::fs::write(&path, "text").expect("write a file");
    eventually(|| match look() {
        Ok(_) => true,
        // Without Landlock it never is.
        Err(TaskError::Rejected { reason: Rejection::Jail { reason } }) => {
            !matches!(reason, JailRefusal::Path { .. })
        }
        Err(other) => panic!("{other}"),
    });
    std::fs::remove_file(&path).expect("remove the file");
}

#[test]
fn a_profile_with_too_many_paths_is_refused() {
    let _watchdog = Watchdog::start("a_profile_with_too_many_paths_is_refused");
    let runtime = runtime(1);
    let many = Jail::read_only((0..1000).map(|n| format!("/folder/{n}"))).best_effort();
    let outcome = Task::new(|| 1_u8).jail(many).go_on(&runtime).join();
    let Err(TaskError::Rejected { reason: Rejection::Jail { reason } }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(matches!(reason, JailRefusal::TooManyPaths { .. }), "{reason}");
}

#[test]
fn a_jail_is_had_beside_tasks_on_threads() {
    let _watchdog = Watchdog::start("a_jail_is_had_beside_tasks_on_threads");
    let runtime = Runtime::builder().workers(1).processes(false).build().expect("build a runtime");
    let jailed = Task::new(std::process::id).jail(jail()).go_on(&runtime).join();
    assert!(jailed.is_ok_and(|pid| pid != std::process::id()));
    assert_eq!(runtime.go(std::process::id).join(), Ok(std::process::id()));
}

#[test]
fn a_runtime_that_is_dropped_ends_its_jailed_tasks() {
    let _watchdog = Watchdog::start("a_runtime_that_is_dropped_ends_its_jailed_tasks");
    for _ in 0..5 {
        let runtime = runtime(1);
        let running = Task::new(endless).jail(jail()).go_on(&runtime);
        let waiting = Task::new(endless).jail(jail()).deadline(LONG).go_on(&runtime);
        drop(runtime);
        assert_eq!((running.join(), waiting.join()), (Err(TaskError::Closed), Err(TaskError::Closed)));
    }
}

/// Many threads start tasks of every kind and treat their handles in every way: each ends in a way that fits.
#[test]
fn a_crowd_gets_all_its_outcomes() {
    let _watchdog = Watchdog::start("a_crowd_gets_all_its_outcomes");
    let runtime = runtime(3);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let runtime = &runtime;
            scope.spawn(move || (0..60).for_each(|round| one_of_the_crowd(runtime, thread * 1000 + round)));
        }
    });
    let stats = runtime.jail_stats();
    assert_eq!(stats.submitted, 240);
    eventually(|| {
        let stats = runtime.jail_stats();
        let ended =
            stats.finished + stats.panicked + stats.lost + stats.timed_out + stats.cancelled + stats.failed;
        ended == 240 && (stats.busy, stats.waiting) == (0, 0)
    });
}

fn one_of_the_crowd(runtime: &Runtime, number: u64) {
    let mut random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut choose = |of: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % of
    };
    let profile = match choose(3) {
        0 => jail(),
        1 => jail().fresh(),
        _ => jail().memory(100 << 20),
    };
    let work = |(kind, number): (u64, u64)| -> u64 {
        match kind {
            0 => std::process::abort(),
            1 => panic!("as asked"),
            2 => endless(),
            _ => {}
        }
        number
    };
    let kind = choose(8);
    let task = Task::with((kind, number), work).jail(profile);
    // What never ends has a limit.
    let task = match choose(2) {
        _ if kind != 2 => task,
        0 => task.deadline(SHORT),
        _ => task.timeout(SHORT),
    };
    let handle = task.go_on(runtime);
    let outcome = match choose(6) {
        0 => return drop(handle),
        1 => block_on(handle),
        2 => {
            eventually(|| handle.is_finished());
            handle.join()
        }
        3 => {
            let (_, killed) = (handle.cancel(), handle.kill());
            let outcome = handle.join();
            assert!(!killed || outcome == Err(TaskError::Cancelled), "{outcome:?}");
            return;
        }
        _ => handle.join(),
    };
    let fits = match (&outcome, kind) {
        (Err(TaskError::WorkerLost { evidence }), 0) => evidence.signal() == Some(6),
        (Err(TaskError::Panicked { message, .. }), 1) => message == "as asked",
        (Err(TaskError::TimedOut { after }), 2) => *after == SHORT,
        (Ok(value), 3..) => *value == number,
        _ => false,
    };
    assert!(fits, "kind {kind}: {outcome:?}");
}
