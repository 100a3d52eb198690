//! Tries to break out of jails, one group of attempts after the other, as its arguments say.
//!
//! Where the kernel lacks a part of the jail it says `refused`, and asserts that every task was.

use gorun::prelude::*;
use gorun::{JailRefusal, Rejection};
use gorun_test_programs::breakout::{Attempt, Outcome, calls, memory, others, run_all};
use gorun_test_programs::processes::{self, Process};
use gorun_test_programs::{Watchdog, descriptors, eventually};
use std::io::Write;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);

fn main() {
    let _watchdog = Watchdog::start("jailed");
    let runtime = Runtime::builder().workers(1).jailed_workers(2).build().expect("build a runtime");
    if let Some(refusal) = refusal(&runtime) {
        println!("refused: {refusal}");
        return;
    }
    if std::env::args().nth(1).as_deref() == Some("leftovers") {
        drop(runtime);
        leftovers();
        println!("group leftovers\ndropped");
        return;
    }
    for group in std::env::args().skip(1) {
        match group.as_str() {
            "files" => run_all(&runtime, &Jail::compute(), &calls::of_files(), 0),
            "network" => run_all(&runtime, &Jail::compute(), &calls::of_network(), 0),
            "processes" => run_all(&runtime, &Jail::compute(), &calls::of_processes(), 0),
            "kernel" => run_all(&runtime, &Jail::compute(), &calls::of_kernel(), 0),
            "own-jail" => run_all(&runtime, &Jail::compute(), &calls::of_own_jail(), 0),
            "memory" => run_all(&runtime, &Jail::compute(), &memory::all(), 0),
            "host" => run_all(&runtime, &Jail::compute(), &others::all(), own_pid()),
            "neighbour" => neighbour(&runtime),
            "read-only" => read_only(&runtime),
            "custom" => custom(&runtime),
            "inside" => inside(&runtime),
            "scribble" => scribble(&runtime),
            "endless" => endless(&runtime),
            "jailer-killed" => jailer_killed(&runtime),
            "wait-to-be-killed" => wait_to_be_killed(&runtime),
            other => panic!("there is no group {other}"),
        }
        assert_eq!(runtime.go(|| 2_u8).join(), Ok(2), "an ordinary worker is fine after {group}");
        println!("group {group}");
    }
    drop(runtime);
    println!("dropped");
}

/// Why this kernel has no jail, asserted to be a refusal that names the part.
fn refusal(runtime: &Runtime) -> Option<String> {
    match Task::new(|| 1_u8).jail(Jail::compute()).go_on(runtime).join() {
        Ok(_) => None,
        Err(TaskError::Rejected { reason: Rejection::Jail { reason } }) => {
            let lacks = matches!(reason, JailRefusal::Lacking { .. } | JailRefusal::LandlockTooOld { .. });
            assert!(lacks, "{reason}");
            Some(reason.to_string())
        }
        Err(other) => panic!("{other}"),
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).expect("a process id")
}

/// Jailed workers of this run.
fn jailed_processes() -> Vec<Process> {
    let all = processes::of_this_run();
    all.into_iter().filter(|process| process.name.starts_with("gorun-jailed")).collect()
}

/// A task that runs until it is cancelled, and its process id, once it runs.
fn start_telling(runtime: &Runtime, folder: &str) -> (gorun::TaskHandle<bool>, i32) {
    let path = format!("{folder}/pid");
    let _ = std::fs::remove_file(&path);
    let tell_then_wait = |path: String| {
        let told = std::fs::write(&path, format!("{}.", std::process::id())).is_ok();
        while told && !gorun::is_cancelled() {
            std::hint::spin_loop();
        }
        told
    };
    let jail = Jail::custom().allow_write(folder);
    let task = Task::with(path.clone(), tell_then_wait).jail(jail).go_on(runtime);
    let mut pid = None;
    eventually(|| {
        let said = std::fs::read_to_string(&path).unwrap_or_default();
        pid = said.strip_suffix('.').and_then(|pid| pid.parse().ok());
        pid.is_some()
    });
    (task, pid.expect("a process id"))
}

/// Two cells: one is harmless, the other attacks it.
fn neighbour(runtime: &Runtime) {
    let folder = folder("neighbour");
    let (harmless, victim) = start_telling(runtime, &folder);
    run_all(runtime, &Jail::compute(), &others::all(), victim);
    assert!(!harmless.is_finished());
    harmless.cancel();
    assert_eq!(harmless.join(), Ok(true), "the neighbour was not harmed");
    let _ = std::fs::remove_dir_all(folder);
}

fn read_file(path: String) -> i32 {
    std::fs::read(path).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

fn write_file(path: String) -> i32 {
    std::fs::write(path, [1_u8; 100]).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0)
}

fn attempt(runtime: &Runtime, jail: &Jail, function: fn(String) -> i32, path: &str) -> i32 {
    let task = Task::with(path.to_owned(), function).jail(jail.clone()).go_on(runtime);
    task.join().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn folder(name: &str) -> String {
    let folder = std::env::temp_dir().join(format!("gorun-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("make a folder");
    folder.to_str().expect("a plain path").to_owned()
}

fn read_only(runtime: &Runtime) {
    let (inside, outside) = (folder("inside"), folder("outside"));
    for folder in [&inside, &outside] {
        std::fs::write(format!("{folder}/file"), "text").expect("write a file");
    }
    let link = format!("{inside}/link");
    let _ = std::os::unix::fs::symlink(format!("{outside}/file"), &link);
    let jail = Jail::read_only([&inside]);
    assert_eq!(attempt(runtime, &jail, read_file, &format!("{inside}/file")), 0);
    let elsewhere =
        [format!("{outside}/file"), link, format!("{inside}/../gorun-outside-{}/file", std::process::id())];
    for path in elsewhere.iter().map(String::as_str).chain(["/etc/passwd", "/proc/self/environ"]) {
        assert_eq!(attempt(runtime, &jail, read_file, path), libc::EACCES, "{path}");
    }
    for path in [format!("{inside}/file"), format!("{inside}/new"), format!("{outside}/new")] {
        assert_eq!(attempt(runtime, &jail, write_file, &path), libc::EPERM, "{path}");
    }
    let remove =
        |path: String| std::fs::remove_file(path).map_or_else(|e| e.raw_os_error().unwrap_or(-1), |()| 0);
    assert_eq!(attempt(runtime, &jail, remove, &format!("{inside}/file")), libc::EPERM);
    run_all(runtime, &jail, &calls::of_network(), 0);
    run_all(runtime, &jail, &calls::of_processes(), 0);
    run_all(runtime, &jail, &others::all()[..12], own_pid());
    let mem = format!("/proc/{}/mem", std::process::id());
    assert_eq!(attempt(runtime, &jail, read_file, &mem), libc::EACCES);
    // Even where all of /proc may be read, others' memory may not.
    let all = Jail::read_only(["/proc"]);
    assert_ne!(attempt(runtime, &all, read_file, &mem), 0);
    let _ = (std::fs::remove_dir_all(inside), std::fs::remove_dir_all(outside));
}

fn custom(runtime: &Runtime) {
    let (inside, outside) = (folder("inside"), folder("outside"));
    let jail = Jail::custom().allow_write(&inside).file_size(1000).fresh();
    for path in [format!("{inside}/new"), format!("{inside}/new")] {
        assert_eq!(attempt(runtime, &jail, write_file, &path), 0, "{path}");
    }
    assert_eq!(attempt(runtime, &jail, write_file, &format!("{outside}/new")), libc::EACCES);
    assert_eq!(std::fs::read(format!("{inside}/new")).expect("the task's file").len(), 100);
    let grow = |path: String| std::fs::write(path, [1_u8; 5000]).map_or(1, |()| 0);
    let large = Task::with(format!("{inside}/large"), grow).jail(jail.clone()).go_on(runtime).join();
    // The limit's signal, which Rust does not catch.
    let Err(TaskError::WorkerLost { evidence }) = large else { panic!("{large:?}") };
    assert_eq!(evidence.signal(), Some(libc::SIGXFSZ));
    let threads = Jail::custom().allow_threads();
    let sum =
        || (0..4_u32).map(|n| std::thread::spawn(move || n * 2)).map(|t| t.join().unwrap_or(99)).sum::<u32>();
    assert_eq!(Task::new(sum).jail(threads.clone()).go_on(runtime).join(), Ok(12));
    let forks: Vec<Attempt> =
        calls::of_processes().into_iter().filter(|attempt| attempt.name != "thread").collect();
    run_all(runtime, &threads, &forks, 0);
    let executable = Task::new(|| memory::map(libc::PROT_READ | libc::PROT_EXEC));
    assert_eq!(executable.jail(Jail::custom().allow_executable_memory()).go_on(runtime).join(), Ok(0));
    let few = Jail::read_only(["/dev/null"]).open_files(2);
    let open = || (0..10).map_while(|_| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>().len();
    assert_eq!(Task::new(open).jail(few).go_on(runtime).join(), Ok(2));
    let small = Jail::custom().memory(32 << 20);
    let reserve = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
    assert_eq!(Task::with(16_usize << 20, reserve).jail(small.clone()).go_on(runtime).join(), Ok(true));
    assert_eq!(Task::with(64_usize << 20, reserve).jail(small).go_on(runtime).join(), Ok(false));
    let brief = Jail::custom().cpu_time(Duration::from_secs(1));
    let spent = Task::new(|| -> u8 {
        loop {
            std::hint::spin_loop()
        }
    })
    .jail(brief)
    .go_on(runtime)
    .join();
    let Err(TaskError::WorkerLost { evidence }) = spent else { panic!("{spent:?}") };
    assert!([Some(libc::SIGXCPU), Some(libc::SIGKILL)].contains(&evidence.signal()), "{evidence}");
    let _ = (std::fs::remove_dir_all(inside), std::fs::remove_dir_all(outside));
}

/// What a jailed worker has of its host: nothing but its segment, two descriptors and an environment without secrets.
fn inside(runtime: &Runtime) {
    let found = Task::new(memory::descriptors).jail(Jail::compute()).go_on(runtime).join();
    assert_eq!(found, Ok((vec![0, 1, 2, 3, 4], vec![0, 1, 2])));
    let output = Task::new(memory::descriptors).jail(Jail::compute().allow_output()).go_on(runtime).join();
    let (open, null) = output.expect("descriptors");
    assert!(open == [0, 1, 2, 3, 4] && null.contains(&0), "{open:?} {null:?}");
    let maps = || Jail::read_only(["/proc/self/maps"]);
    for _ in 0..4 {
        let shared = Task::new(memory::shared_mappings).jail(maps()).go_on(runtime).join().expect("mappings");
        let names: Vec<&str> = shared.iter().map(|(_, _, name)| name.as_str()).collect();
        assert_eq!(names, ["/memfd:gorun-jail"], "its own segment and no other");
    }
    assert!(std::env::var("GORUN_TEST_SECRET").is_ok(), "the test sets it");
    let secret =
        Task::new(|| std::env::var("GORUN_TEST_SECRET").is_ok()).jail(Jail::compute()).go_on(runtime);
    assert_eq!(secret.join(), Ok(false));
    let whole = || Jail::read_only(["/proc/self/environ"]);
    let environment = Task::new(|| std::fs::read("/proc/self/environ").unwrap_or_default()).jail(whole());
    let environment = environment.go_on(runtime).join().expect("its environment");
    assert!(!String::from_utf8_lossy(&environment).contains("SECRET"));
}

/// Workers that write over their own segments cost nobody else anything, and no handle waits for ever.
fn scribble(runtime: &Runtime) {
    let maps = || Jail::read_only(["/proc/self/maps"]);
    for seed in 0..10_u64 {
        let wild = Task::with(seed, memory::scribble).jail(maps()).deadline(SHORT).go_on(runtime);
        let calm: Vec<_> =
            (0..20_u32).map(|n| Task::with(n, |n| n * 2).jail(Jail::compute()).go_on(runtime)).collect();
        let plain: Vec<_> = (0..20_u32).map(|n| runtime.task(n, |n| n + 1)).collect();
        let outcome = wild.join();
        assert!(
            matches!(
                &outcome,
                Ok(_)
                    | Err(TaskError::TimedOut { .. }
                        | TaskError::Decode { .. }
                        | TaskError::WorkerLost { .. })
                    | Err(TaskError::Panicked { .. } | TaskError::ResultRefused { .. })
            ),
            "{outcome:?}"
        );
        for (n, (calm, plain)) in (0..).zip(calm.into_iter().zip(plain)) {
            assert_eq!((calm.join(), plain.join()), (Ok(n * 2), Ok(n + 1)));
        }
    }
    let awaited = Task::with(99, memory::scribble).jail(maps()).go_on(runtime);
    let Err(awaited) = awaited.join_timeout(SHORT) else { return };
    assert!(awaited.kill() || awaited.is_finished());
    drop(awaited.join());
}

fn endless(runtime: &Runtime) {
    let brief = |_| (0..1000).map(std::hint::black_box).find(|n| *n < 0).unwrap_or(0);
    let attempts = [Attempt { outcome: Outcome::Allowed, ..Attempt::denied("a loop of a while", brief) }];
    let task = Task::new(|| -> u8 {
        loop {
            std::hint::spin_loop()
        }
    })
    .jail(Jail::compute())
    .deadline(SHORT);
    assert_eq!(task.go_on(runtime).join(), Err(TaskError::TimedOut { after: SHORT }));
    run_all(runtime, &Jail::compute(), &attempts, 0);
}

fn endless_task(runtime: &Runtime) -> gorun::TaskHandle<u8> {
    let endless = || -> u8 {
        loop {
            std::hint::spin_loop();
        }
    };
    Task::new(endless).jail(Jail::compute()).go_on(runtime)
}

/// Without the jailer nobody could tell how its workers end, so they end with it; the next task gets another.
fn jailer_killed(runtime: &Runtime) {
    let folder = folder("jailer");
    for _ in 0..5 {
        let (running, pid) = start_telling(runtime, &folder);
        let jailed = jailed_processes();
        processes::kill(processes::read(pid).expect("it runs").parent);
        let outcome = running.join();
        assert!(matches!(outcome, Err(TaskError::WorkerLost { .. })), "{outcome:?}");
        // One that was given to a worker which had not begun goes to another.
        assert_eq!(Task::new(|| 4_u8).jail(Jail::compute()).go_on(runtime).join(), Ok(4));
        eventually(|| jailed.iter().all(|process| !processes::lives(process.pid)));
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// A runtime that is dropped leaves no process and no descriptor.
fn leftovers() {
    let before = (descriptors::open(), processes::of_this_run().len());
    for round in 0..5 {
        let runtime = Runtime::builder().workers(1).jailed_workers(2).build().expect("build a runtime");
        let tasks: Vec<_> = (0..10_u32)
            .map(|n| {
                let jail = if n % 2 == 0 { Jail::compute().fresh() } else { Jail::compute() };
                let die = |n: u32| if n == 5 { std::process::abort() } else { n };
                Task::with(n, die).jail(jail).go_on(&runtime)
            })
            .collect();
        let running = (round % 2 == 0).then(|| endless_task(&runtime));
        let values = tasks.into_iter().filter_map(|task| task.join().ok()).count();
        assert_eq!(values, 9);
        drop(runtime);
        // A handle keeps its runtime's memory.
        drop(running);
        assert_eq!((descriptors::open(), processes::of_this_run().len()), before);
    }
}

/// Says which processes it has, and runs on.
fn wait_to_be_killed(runtime: &Runtime) {
    let tasks = [endless_task(runtime), endless_task(runtime), endless_task(runtime)];
    // Two zygotes, a worker, a spare, and two jailed workers with one ahead.
    let mut all = Vec::new();
    eventually(|| {
        all = processes::of_this_run();
        runtime.jail_stats().busy == 2 && jailed_processes().len() == 3 && all.len() == 7
    });
    let pids: Vec<String> = all.iter().map(|process| process.pid.to_string()).collect();
    println!("{}", pids.join(" "));
    std::io::stdout().flush().expect("write to the test");
    loop {
        std::thread::park();
        std::hint::black_box(&tasks);
    }
}
