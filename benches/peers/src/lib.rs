//! Peers: scripted faults that every pool is put through, and what is asked of each afterwards.
//!
//! A case is a fresh pool of two workers, good tasks and faulty ones in a fixed order, and a limit for all of them. Of the
//! good ones it is counted how many came back right, how many with an error that was not theirs (lost), and how many not
//! at all. Then one more good task tells whether the pool can still be used. The Python script beside this does the same.
#![expect(clippy::disallowed_methods, reason = "a comparison measures wall time itself")]

use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Gives twice its number.
    Good(u64),
    /// Writes where nothing is mapped.
    Segfault,
    /// Aborts.
    Abort,
    /// Exits with a code.
    Exit,
    /// Kills itself with SIGKILL.
    Kill,
    /// Loops for ever; its deadline is [`DEADLINE`].
    Endless,
    /// Touches [`BOMB_BYTES`].
    Bomb,
}

/// Workers of each pool.
pub const WORKERS: usize = 2;
/// Deadline of an endless loop.
pub const DEADLINE: Duration = Duration::from_millis(200);
/// What a memory bomb asks for.
pub const BOMB_BYTES: usize = 1 << 30;
/// How large a worker may grow, where a pool has such a limit.
pub const MEMORY_MAX: usize = 256 << 20;
/// Good tasks beside one faulty one.
const BESIDE: u64 = 100;
/// How long outcomes are waited for, and then the one more.
const PATIENCE: Duration = Duration::from_secs(10);
const MORE_PATIENCE: Duration = Duration::from_secs(5);

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a value.
    Value(u64),
    /// With an error, in the pool's own words.
    Error(String),
    /// Not in time.
    Hung,
}

/// A pool under trial.
pub trait Peer {
    /// What stands for a task under way.
    type Task;
    /// Starts a task; an endless loop with its deadline, as far as the pool knows deadlines.
    fn start(&mut self, job: Job) -> Self::Task;
    /// Waits for its end, at most so long.
    fn finish(&mut self, task: Self::Task, patience: Duration) -> End;
}

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct Case {
    /// The pool.
    pub peer: &'static str,
    /// The fault.
    pub fault: String,
    /// Good tasks.
    pub good: u64,
    /// Of these, with the right value.
    pub right: u64,
    /// With an error.
    pub lost: u64,
    /// Without an end.
    pub hung: u64,
    /// What the first faulty task ended with.
    pub told: String,
    /// Whether one more task came back right.
    pub usable: bool,
    /// Milliseconds until every task had ended or was given up.
    pub milliseconds: u64,
}

/// Puts a pool through every case and prints one line of JSON for each.
pub fn run<P: Peer>(peer: &'static str, mut make: impl FnMut() -> P) {
    for fault in [Job::Segfault, Job::Abort, Job::Exit, Job::Kill, Job::Endless, Job::Bomb] {
        let jobs = (0..=BESIDE).map(|n| if n == BESIDE / 2 { fault } else { Job::Good(n) });
        print(&case(peer, format!("{fault:?}"), &mut make(), jobs.collect()));
    }
    let jobs = (0..=BESIDE).map(|n| if n < WORKERS as u64 { Job::Endless } else { Job::Good(n) });
    print(&case(peer, "Endless, every worker".to_owned(), &mut make(), jobs.collect()));
    let jobs = (0..1000).map(|n| if n % 100 == 50 { Job::Segfault } else { Job::Good(n) });
    print(&case(peer, "10 of 1000".to_owned(), &mut make(), jobs.collect()));
}

fn print(case: &Case) {
    println!("{}", serde_json::to_string(case).expect("numbers and texts are JSON"));
}

fn case<P: Peer>(peer: &'static str, fault: String, pool: &mut P, jobs: Vec<Job>) -> Case {
    let since = Instant::now();
    let tasks: Vec<(Job, P::Task)> = jobs.into_iter().map(|job| (job, pool.start(job))).collect();
    let (good, right, lost, hung, told) = (0, 0, 0, 0, String::new());
    let mut case = Case { peer, fault, good, right, lost, hung, told, usable: false, milliseconds: 0 };
    for (job, task) in tasks {
        let end = pool.finish(task, PATIENCE.saturating_sub(since.elapsed()));
        match job {
            Job::Good(n) => {
                case.good += 1;
                case.right += u64::from(end == End::Value(2 * n));
                case.lost += u64::from(matches!(end, End::Error(_)));
                case.hung += u64::from(end == End::Hung);
            }
            _ if case.told.is_empty() => case.told = told_by(end),
            _ => {}
        }
    }
    case.milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let more = pool.start(Job::Good(21));
    case.usable = pool.finish(more, MORE_PATIENCE) == End::Value(42);
    case
}

fn told_by(end: End) -> String {
    match end {
        End::Value(value) => format!("value {value}"),
        End::Error(error) => error.lines().next().unwrap_or_default().to_owned(),
        End::Hung => "nothing".to_owned(),
    }
}

/// What runs in the workers.
#[must_use]
pub fn work(job: Job) -> u64 {
    match job {
        Job::Good(n) => 2 * n,
        Job::Segfault => segfault(),
        Job::Abort => std::process::abort(),
        Job::Exit => std::process::exit(3),
        Job::Kill => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            0
        }
        Job::Endless => loop {
            std::hint::spin_loop();
        },
        Job::Bomb => {
            let mut bomb = Vec::new();
            while bomb.len() << 20 < BOMB_BYTES {
                bomb.push(black_box(vec![1_u8; 1 << 20]));
            }
            bomb.len() as u64
        }
    }
}

#[expect(unsafe_code, reason = "an invalid write is what is compared")]
fn segfault() -> ! {
    let nowhere = std::ptr::without_provenance_mut::<u64>(black_box(64));
    // SAFETY: none: the first page is never mapped, so the processor stops this process here, as is wanted.
    unsafe { nowhere.write_volatile(1) };
    unreachable!("address 64 is mapped")
}
