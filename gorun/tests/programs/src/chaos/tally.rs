//! Tally: what one submitter has seen. Values are judged at once; losses wait for the verdict, which knows the kills.

use super::numbers::mix;
use super::plan::{Doom, Kind};
use super::runs;
use super::work::{self, InnerEnd};
use gorun::{Evidence, TaskError};
use gorun_shm::os::ticks::system_ns;
use std::time::Duration;

/// Complaints that are printed; the rest is only counted.
const COMPLAINTS_MAX: usize = 20;

/// A task that was handed over.
#[derive(Debug, Clone, Copy)]
pub struct Submitted {
    /// Its number.
    pub id: u64,
    /// What it is meant to do.
    pub kind: Kind,
    /// The deadline or timeout that it has.
    pub limit: Option<Duration>,
    /// When it was handed over.
    pub since_ns: u64,
}

/// A task that was lost with its worker.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Its number.
    pub id: u64,
    /// What it was meant to do.
    pub kind: Kind,
    /// The worker's process.
    pub pid: i32,
    /// What ended it, if a signal did.
    pub signal: Option<i32>,
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// True if the evidence tells of the end that was planned.
    pub as_planned: bool,
    /// When the task was handed over.
    pub since_ns: u64,
    /// When its loss was known.
    pub until_ns: u64,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tasks handed over, items of maps included, tasks of tasks not.
    pub submitted: u64,
    /// Those that came back with the right value.
    pub right: u64,
    /// Doomed ones that failed as planned, losses not included.
    pub planned: u64,
    /// Those with a wrong value, or another error than planned.
    pub wrong: u64,
    /// Lost ones.
    pub losses: Vec<Loss>,
    /// Those of the share whose runs are noted that have a value: each must have run once.
    pub noted: Vec<u64>,
    /// What was wrong.
    pub complaints: Vec<String>,
}

impl Tally {
    /// Takes the outcome of a task whose value is a number.
    pub fn number(&mut self, task: Submitted, outcome: Result<u64, TaskError>) {
        let expected = mix(task.id);
        self.judge(task, outcome, |value| *value == expected);
    }

    /// Takes the outcome of a bulky task.
    pub fn bytes(&mut self, task: Submitted, outcome: Result<Vec<u8>, TaskError>) {
        self.judge(task, outcome, |bytes| {
            let expected = work::bulk_of(task.id);
            bytes.len() == expected.len() && bytes.iter().zip(expected).all(|(byte, given)| *byte == !given)
        });
    }

    /// Takes the outcome of a task that has started others.
    pub fn nested(&mut self, task: Submitted, outcome: Result<Vec<InnerEnd>, TaskError>) {
        let Ok(ends) = outcome else { return self.judge(task, outcome, |_| false) };
        let losses_before = self.losses.len();
        let mut is_right = ends.len() == 2;
        for (n, end) in (1..).zip(ends) {
            let id = work::inner_id(task.id, n);
            match end {
                InnerEnd::Value(value) => {
                    is_right &= value == mix(id);
                    self.note(id, runs::is_sampled(id));
                }
                InnerEnd::Lost { pid, signal, code } => {
                    let inner = Submitted { id, kind: Kind::Inner, ..task };
                    self.losses.push(Loss::new(inner, pid, (signal, code), false));
                }
                InnerEnd::Other(error) => {
                    is_right = false;
                    self.complain(format!("inner task {id:#x}: {error}"));
                }
            }
        }
        // An inner loss stands for the whole: the verdict finds its cause.
        if is_right && self.losses.len() == losses_before {
            self.right += 1;
        } else if !is_right {
            self.losses.truncate(losses_before);
            self.wrong += 1;
            self.complain(format!("nested task {:#x} has a wrong value", task.id));
        }
        self.note(task.id, true);
    }

    /// Adds what another submitter has seen.
    pub fn merge(&mut self, other: Self) {
        self.submitted += other.submitted;
        self.right += other.right;
        self.planned += other.planned;
        self.wrong += other.wrong;
        self.losses.extend(other.losses);
        self.noted.extend(other.noted);
        self.complaints.extend(other.complaints);
    }

    /// Keeps what is worth printing.
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }

    fn judge<R>(&mut self, task: Submitted, outcome: Result<R, TaskError>, is_right: impl Fn(&R) -> bool) {
        let is_noted = task.kind.is_always_noted() || runs::is_sampled(task.id);
        match (outcome, task.kind) {
            (Err(TaskError::WorkerLost { evidence }), kind) => {
                let as_planned = matches!(kind, Kind::Doomed(doom) if doom.is_told_by(&evidence));
                self.losses.push(Loss::of(task, &evidence, as_planned));
            }
            (Ok(value), kind) if !matches!(kind, Kind::Doomed(_)) && is_right(&value) => {
                self.right += 1;
                self.note(task.id, is_noted);
            }
            (Err(TaskError::Panicked { message, .. }), Kind::Doomed(Doom::Panic))
                if message == work::panic_message(task.id) =>
            {
                self.planned += 1;
                self.note(task.id, is_noted);
            }
            (Err(TaskError::TimedOut { after }), Kind::Doomed(doom))
                if doom.needs_a_deadline() && task.limit == Some(after) =>
            {
                self.planned += 1;
            }
            (Ok(_), kind) => {
                self.is_wrong(task, format!("{kind:?} came back with a value it should not have"))
            }
            (Err(error), kind) => self.is_wrong(task, format!("{kind:?} ended otherwise: {error}")),
        }
    }

    fn is_wrong(&mut self, task: Submitted, why: String) {
        self.wrong += 1;
        self.complain(format!("task {:#x}: {why}", task.id));
    }

    fn note(&mut self, id: u64, is_noted: bool) {
        if is_noted {
            self.noted.push(id);
        }
    }
}

impl Loss {
    fn of(task: Submitted, evidence: &Evidence, as_planned: bool) -> Self {
        Self::new(task, evidence.pid, (evidence.signal(), evidence.exit_code()), as_planned)
    }

    fn new(task: Submitted, pid: i32, (signal, code): (Option<i32>, Option<i32>), as_planned: bool) -> Self {
        let Submitted { id, kind, since_ns, .. } = task;
        Self { id, kind, pid, signal, code, as_planned, since_ns, until_ns: system_ns() }
    }

    /// True if nobody could tell how the worker ended.
    #[must_use]
    pub fn end_is_unknown(&self) -> bool {
        self.signal.is_none() && self.code.is_none()
    }
}
