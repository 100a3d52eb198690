//! Runs a seeded mix of tasks, many of them doomed, while workers are killed from outside; then every outcome needs a
//! cause, and nothing may be left. Fails if a number that must be 0 is not, and prints the seed that repeats it.
//!
//! `TMPDIR` must name an empty folder of its own: it tells the processes of this run from those of others.

use clap::Parser;
use gorun::prelude::*;
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicBool, Ordering};
use gorun_test_programs::chaos::hunter::{Hunt, Hunter};
use gorun_test_programs::chaos::numbers::Numbers;
use gorun_test_programs::chaos::submitter::{Pulse, Submitter};
use gorun_test_programs::chaos::tally::Tally;
use gorun_test_programs::chaos::vitals::Vitals;
use gorun_test_programs::chaos::{Report, diagnosis, runs, verdict};
use gorun_test_programs::{Watchdog, descriptors, processes};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
struct Arguments {
    /// Repeats a run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long tasks are submitted.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Threads that submit.
const SUBMITTERS: u64 = 2;
/// Longest time without an outcome. Stopped workers and deadlines end within a fraction of a second.
const HANG_NS: u64 = 30_000_000_000;
/// How often the main thread looks whether the others get on.
const LOOK: Duration = Duration::from_millis(20);
/// The numbers of the last stop, told apart from those of hunter and submitters.
const LAST_STOP: u64 = 1 << 32;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = runs::create() {
        eprintln!("error: {error}: set TMPDIR to an empty folder of this run's own");
        return ExitCode::from(2);
    }
    warm_up(arguments.workers);
    let report = run(&arguments);
    if arguments.json {
        println!("{}", serde_json::to_string(&report).expect("numbers and texts are JSON"));
    } else {
        print!("{report}");
    }
    if report.is_clean() {
        return ExitCode::SUCCESS;
    }
    eprintln!("chaos failed, repeat it with: chaos --seed {} --seconds {}", report.seed, arguments.seconds);
    ExitCode::FAILURE
}

/// A whole life of a runtime, so that what is allocated once is there before anything is measured.
fn warm_up(workers: usize) {
    let _watchdog = Watchdog::start("chaos warms up");
    let runtime = Runtime::builder().workers(workers).quarantine_after(0).build().expect("build a runtime");
    let values: Vec<u64> = runtime.map(0..1000_u64, |n| n).collect().expect("nobody is killed yet");
    assert_eq!(values, (0..1000).collect::<Vec<u64>>());
    let _ = processes::await_family(&runtime, 1);
}

fn run(arguments: &Arguments) -> Report {
    let before = Vitals::take();
    let runtime =
        Runtime::builder().workers(arguments.workers).quarantine_after(0).build().expect("build a runtime");
    let since_ns = system_ns();
    let duration = Duration::from_secs_f64(arguments.seconds);
    let (mut tally, hunt, middle) = let_loose(arguments, &runtime, duration);
    let took = Duration::from_nanos(system_ns() - since_ns);
    let end = Vitals::take();
    let _watchdog = Watchdog::start("chaos ends");
    let is_degraded = runtime.is_degraded();
    let restarts = runtime.stats().seats.iter().map(|seat| seat.restarts).sum();
    stop_one(&runtime, arguments.seed);
    drop(runtime);
    let left = processes::of_this_run();
    let runs = runs::read().expect("read what was run");
    let verdict = verdict::judge(&mut tally, &hunt, &runs);
    drop(runs);
    let mut report = Report::of(arguments.seed, took, tally, &hunt, &verdict);
    report.restarts = restarts;
    report.degraded = u64::from(is_degraded);
    report.left(left.len(), format!("{left:?}"));
    let files = descriptors::names_in(std::env::temp_dir());
    report.left(files.len() - 1, format!("{files:?}, of which {} is ours", runs::FILE_NAME));
    report.compare([&before, &middle, &end, &Vitals::take()]);
    report
}

/// Submitters and hunter side by side, until the time is over and every task has ended.
fn let_loose(arguments: &Arguments, runtime: &Runtime, duration: Duration) -> (Tally, Hunt, Vitals) {
    let (since_ns, pulse, is_over) = (system_ns(), Pulse::default(), AtomicBool::new(false));
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
    pulse.beat();
    std::thread::scope(|scope| {
        let hunter = scope.spawn(|| Hunter::new(runtime, arguments.seed).run(&is_over));
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|index| Submitter::new(runtime, &pulse, arguments.seed, index))
            .map(|submitter| scope.spawn(move || submitter.run(since_ns + nanos)))
            .collect();
        let mut middle = None;
        while !submitters.iter().all(|submitter| submitter.is_finished()) {
            std::thread::park_timeout(LOOK);
            if system_ns() - since_ns > nanos / 2 {
                middle.get_or_insert_with(Vitals::take);
            }
            give_up_on_a_hang(&pulse, arguments);
        }
        is_over.store(true, Ordering::Release); // Release: pairs with the Acquire in the hunter.
        let mut tally = Tally::default();
        for submitter in submitters {
            tally.merge(submitter.join().expect("a submitter does not panic"));
        }
        let hunt = hunter.join().expect("the hunter does not panic");
        (tally, hunt, middle.unwrap_or_else(Vitals::take))
    })
}

/// Nothing can be reckoned if a task does not end: says what everybody is doing, and ends.
fn give_up_on_a_hang(pulse: &Pulse, arguments: &Arguments) {
    if system_ns().saturating_sub(pulse.last_ns()) < HANG_NS {
        return;
    }
    eprintln!("no task has ended for {} s\n{}", HANG_NS / 1_000_000_000, diagnosis::of_this_run());
    let report = Report { seed: arguments.seed, seconds: arguments.seconds, hung: 1, ..Report::default() };
    if arguments.json {
        println!("{}", serde_json::to_string(&report).expect("numbers and texts are JSON"));
    }
    eprintln!("chaos failed, repeat it with: chaos --seed {} --seconds {}", report.seed, arguments.seconds);
    std::process::exit(1);
}

/// Every other seed leaves a worker stopped, which must not hold up the end.
fn stop_one(runtime: &Runtime, seed: u64) {
    let mut numbers = Numbers::new(seed, LAST_STOP);
    let pids: Vec<u32> = runtime.stats().seats.iter().filter_map(|seat| seat.pid).collect();
    if numbers.chance(50)
        && let Some(pid) = numbers.pick(&pids)
    {
        processes::signal(pid.cast_signed(), rustix::process::Signal::STOP);
    }
}
