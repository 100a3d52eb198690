//! An attempt, and how it may end: denied with an error, or with the attempter's death, and never with success.

use gorun::{Jail, Runtime, Task, TaskError};
use std::time::Duration;

/// No attempt takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How an attempt is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this error number.
    Errno(i32),
    /// With one of these error numbers.
    EitherErrno(i32, i32),
    /// With the worker's death by the filter, which names this call.
    Filtered(i64),
    /// With the worker's death by this signal.
    Signal(i32),
    /// It is allowed.
    Allowed,
}

/// Something that a task tries.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// What it is.
    pub name: &'static str,
    /// Tries it, given the id of a process to harm; gives 0 for success, or the error number.
    pub function: fn(i32) -> i32,
    /// How it is to end.
    pub outcome: Outcome,
}

impl Attempt {
    /// One that is denied with EPERM.
    #[must_use]
    pub fn denied(name: &'static str, function: fn(i32) -> i32) -> Self {
        Self { name, function, outcome: Outcome::Errno(libc::EPERM) }
    }

    /// One that ends the worker, by the filter's word on this call.
    #[must_use]
    pub fn lethal(name: &'static str, call: i64, function: fn(i32) -> i32) -> Self {
        Self { name, function, outcome: Outcome::Filtered(call) }
    }
}

/// Has every attempt made in the jail, at the victim's cost, and looks after each that the next task is served.
///
/// # Panics
/// If one does not end as it is to.
pub fn run_all(runtime: &Runtime, jail: &Jail, attempts: &[Attempt], victim: i32) {
    for attempt in attempts {
        let task = Task::with(victim, attempt.function).jail(jail.clone()).deadline(PATIENCE);
        let outcome = task.go_on(runtime).join();
        assert!(
            is_right(&outcome, attempt.outcome),
            "{}: {outcome:?}, not {:?}",
            attempt.name,
            attempt.outcome
        );
        let next = Task::with(20_u32, |n| n + 1).jail(jail.clone()).deadline(PATIENCE);
        assert_eq!(next.go_on(runtime).join(), Ok(21), "after {}", attempt.name);
        println!("{}: {:?}", attempt.name, attempt.outcome);
    }
}

fn is_right(outcome: &Result<i32, TaskError>, expected: Outcome) -> bool {
    match (outcome, expected) {
        (Ok(found), Outcome::Errno(errno)) => *found == errno,
        (Ok(found), Outcome::EitherErrno(one, other)) => [one, other].contains(found),
        (Ok(found), Outcome::Allowed) => *found == 0,
        (Err(TaskError::WorkerLost { evidence }), Outcome::Filtered(call)) => {
            let named = evidence.denied_call().is_some_and(|denied| i64::try_from(denied) == Ok(call));
            evidence.signal() == Some(libc::SIGSYS)
                && named
                && evidence.to_string().contains("call filter, call")
        }
        (Err(TaskError::WorkerLost { evidence }), Outcome::Signal(signal)) => {
            evidence.signal() == Some(signal)
        }
        _ => false,
    }
}
