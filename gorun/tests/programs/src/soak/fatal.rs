//! Fatal: a share of all tasks ends its worker, in eight ways; the others must not notice.

use super::bar;
use super::flat::{self, Point};
use crate::Death;
use crate::chaos::numbers::mix;
use crate::processes;
use gorun::{Runtime, Task, TaskError, TaskHandle};
use gorun_shm::os::ticks::system_ns;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::Duration;

/// One task in so many is fatal.
const FATAL_EVERY: u64 = 100;
/// Of these, one in so many loops without end, and one in so many grows without end: these take their time.
const SLOW_EVERY: u64 = 100;
/// How long an endless loop may run.
const TIMEOUT: Duration = Duration::from_millis(20);
/// How large a worker may grow.
const MEMORY_MAX: u64 = 96 << 20;
const BOMB_STEP: usize = 1 << 20;
/// Tasks that are under way at once.
const WINDOW: usize = 256;
/// Looks at the host in all.
const LOOKS: u64 = 100;

/// The six that end quickly; an endless loop and a memory bomb come to eight.
const QUICK: [Death; 6] = [
    Death::Segfault,
    Death::Abort,
    Death::StackOverflow,
    Death::Exit(7),
    Death::Kill,
    Death::IllegalInstruction,
];

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fate {
    Good,
    Dies(Death),
    Loops,
    Grows,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Tasks in all.
    pub tasks: u64,
    /// Good ones with the right value.
    pub right: u64,
    /// Fatal ones, by how they ended, each told as it was.
    pub fatal: BTreeMap<String, u64>,
    /// Seconds.
    pub seconds: f64,
    /// Tasks a second.
    pub throughput: f64,
    /// Tasks a second of the same run without fatal ones.
    pub throughput_without: f64,
    /// The host at a hundred instants.
    pub curve: Vec<Point>,
    /// What was wrong; must be empty.
    pub complaints: Vec<String>,
}

/// Runs `tasks` tasks twice: without fatal ones, then with.
///
/// # Panics
/// If the runtime cannot be built.
#[must_use]
pub fn run(tasks: u64, workers: usize) -> Report {
    let without = once(tasks, workers, |_| Fate::Good, "without faults");
    let mut report = once(tasks, workers, fate_of, "one in a hundred fatal");
    report.throughput_without = without.throughput;
    report.complaints.extend(without.complaints);
    report
}

fn once(tasks: u64, workers: usize, fate_of: fn(u64) -> Fate, what: &'static str) -> Report {
    let runtime =
        Runtime::builder().workers(workers).memory_max(MEMORY_MAX).build().expect("build a runtime");
    let _ = processes::await_family(&runtime, 1);
    let mut report = Report { tasks, ..Report::default() };
    let (bar, since_ns) = (bar(tasks, what), system_ns());
    let mut pending: VecDeque<(u64, Fate, TaskHandle<u64>)> = VecDeque::new();
    for n in 0..tasks {
        let fate = fate_of(n);
        let task = Task::with((n, fate), work);
        let task = if fate == Fate::Loops { task.timeout(TIMEOUT) } else { task };
        pending.push_back((n, fate, task.go_on(&runtime)));
        if pending.len() == WINDOW
            && let Some((n, fate, task)) = pending.pop_front()
        {
            report.take(n, fate, task.join());
        }
        if n.is_multiple_of((tasks / LOOKS).max(1)) {
            report.curve.push(flat::look(n));
            bar.set_position(n);
        }
    }
    for (n, fate, task) in pending {
        report.take(n, fate, task.join());
    }
    bar.finish_and_clear();
    report.seconds = (system_ns() - since_ns) as f64 / 1e9;
    report.throughput = tasks as f64 / report.seconds;
    drop(runtime);
    report.complaints.extend(flat::complaints(&report.curve));
    let left = processes::of_this_run();
    if !left.is_empty() {
        report.complaints.push(format!("processes are left: {left:?}"));
    }
    report
}

/// Spread over the run as if at random, and the same in every run.
fn fate_of(n: u64) -> Fate {
    if n % FATAL_EVERY != FATAL_EVERY - 1 {
        return Fate::Good;
    }
    let draw = mix(n);
    match draw % SLOW_EVERY {
        0 => Fate::Loops,
        1 => Fate::Grows,
        _ => Fate::Dies(QUICK[usize::try_from(draw / SLOW_EVERY % 6).unwrap_or(0)]),
    }
}

fn work((n, fate): (u64, Fate)) -> u64 {
    match fate {
        Fate::Good => mix(n),
        Fate::Dies(death) => death.die(),
        Fate::Loops => loop {
            std::hint::spin_loop();
        },
        Fate::Grows => {
            let mut bomb = Vec::new();
            loop {
                bomb.push(black_box(vec![1_u8; BOMB_STEP]));
            }
        }
    }
}

impl Report {
    fn take(&mut self, n: u64, fate: Fate, outcome: Result<u64, TaskError>) {
        let name = match (fate, outcome) {
            (Fate::Good, Ok(value)) if value == mix(n) => {
                self.right += 1;
                return;
            }
            (Fate::Dies(death), Err(TaskError::WorkerLost { evidence })) if death.is_told_by(&evidence) => {
                format!("{death:?}")
            }
            (Fate::Loops, Err(TaskError::TimedOut { after })) if after == TIMEOUT => {
                "endless loop".to_owned()
            }
            (Fate::Grows, Err(TaskError::OutOfMemory { .. })) => "memory bomb".to_owned(),
            (fate, outcome) => {
                if self.complaints.len() < 20 {
                    self.complaints.push(format!("task {n}, {fate:?}: {outcome:?}"));
                }
                return;
            }
        };
        *self.fatal.entry(name).or_default() += 1;
    }
}
