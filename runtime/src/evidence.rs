//! Evidence: what is known of a worker's death, on one screen that a person can act on.

use crate::archive::{Details, Killing};
use crate::symbols::{self, Place};
use gorun_shm::os::ticks::Rate;
use gorun_worker::exit;
use gorun_worker::os::{jail, limits};
use gorun_worker::wire::ids::WorkerId;
use gorun_worker::wire::recorder::Flight;
use gorun_worker::zygote::protocol::ProcessEnd;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Signal of a system call that a filter denies.
const SIGSYS: i32 = 31;

/// What is known of a worker's death.
///
/// `Display` gives one screen: how the process ended, the fault, the task, the stack it died on, its last tasks, what it
/// wrote to standard error if that is captured, and the limits it had.
/// [`Evidence::summary`] is its first line. Names are looked up in the program's debug information when they are asked
/// for, which may take some milliseconds the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which worker.
    pub worker: WorkerId,
    /// Its process id.
    pub pid: i32,
    /// How the process ended.
    pub end: ProcessEnd,
    /// Which attempt at the task it was, from 1.
    pub attempt: u8,
    /// None if the death is too long ago, was that of a task inside a task, or was told from one process to another.
    #[serde(skip)]
    pub(crate) details: Option<Arc<Details>>,
}

impl Evidence {
    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.end {
            ProcessEnd::Signalled { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// The exit code, if it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.end {
            ProcessEnd::Exited { code } => Some(code),
            _ => None,
        }
    }

    /// The address that could not be used, if a fault ended it.
    #[must_use]
    pub fn fault_address(&self) -> Option<u64> {
        let words = self.details.as_ref()?.last_words.as_ref()?;
        words.address.filter(|_| words.signal != SIGSYS)
    }

    /// Number of the system call that ended it, if its jail's filter did.
    #[must_use]
    pub fn denied_call(&self) -> Option<u64> {
        let words = self.details.as_ref()?.last_words.as_ref()?;
        words.address.filter(|_| words.signal == SIGSYS)
    }

    /// Name of the function that the worker ran, the innermost if tasks ran inside of tasks.
    #[must_use]
    pub fn function(&self) -> Option<String> {
        let details = self.details.as_ref()?;
        let place = symbols::function(details.function?, &details.libraries);
        Some(place.name)
    }

    /// Bytes of encoded input that it had.
    #[must_use]
    pub fn input_bytes(&self) -> Option<u32> {
        self.details.as_ref().map(|details| details.input_bytes)
    }

    /// The stack that it died on, innermost frame first, each as `name at file:line`. Empty if it did not come to write
    /// it down: killed from outside, exited, or its handlers were replaced.
    #[must_use]
    pub fn backtrace(&self) -> Vec<String> {
        self.frames().iter().map(ToString::to_string).collect()
    }

    /// What the last panic in the task said, if one came before the end: of a panic that may not unwind, or one in a
    /// thread of the task's own.
    #[must_use]
    pub fn panic(&self) -> Option<&str> {
        self.details.as_ref()?.panic.as_deref()
    }

    /// The last 4 KiB that the worker wrote to standard error, if [`Config::capture_stderr`] is on.
    ///
    /// [`Config::capture_stderr`]: crate::Config::capture_stderr
    #[must_use]
    pub fn stderr_tail(&self) -> Option<String> {
        let details = self.details.as_ref().filter(|details| !details.stderr.is_empty())?;
        Some(String::from_utf8_lossy(&details.stderr).into_owned())
    }

    /// The last tasks of the worker, the last one first, at most sixteen: the one that died and those inside of which
    /// it ran have not ended.
    #[must_use]
    pub fn recent_tasks(&self) -> Vec<RecentTask> {
        let Some(details) = &self.details else { return Vec::new() };
        details.recent.iter().map(|flight| RecentTask::of(flight, details)).collect()
    }

    /// Why the runtime itself killed it: stopped by a signal, or stuck in its task, for too long.
    #[must_use]
    pub fn killed_because(&self) -> Option<String> {
        match self.details.as_ref()?.killing? {
            Killing::Asked => None,
            Killing::Stopped(time) => {
                Some(format!("it was stopped by a signal and did not go on for {time:.1?}"))
            }
            Killing::Stuck(time) => Some(format!("it was stuck in this task for {time:.1?}")),
        }
    }

    /// One line: who, and how it ended.
    #[must_use]
    pub fn summary(&self) -> String {
        let how = match self.killed_because() {
            Some(cause) => format!("killed by gorun, {cause}"),
            None => How(self.end).to_string(),
        };
        format!("{} (pid {}) was lost while it ran this task: {how}", self.worker, self.pid)
    }

    fn frames(&self) -> Vec<Place> {
        let Some(details) = &self.details else { return Vec::new() };
        let Some(words) = &details.last_words else { return Vec::new() };
        symbols::stack(&words.frames, &details.libraries)
    }

    fn fmt_details(&self, details: &Details, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = &details.last_words {
            write!(f, "\n  fault:     {}", cause(words.signal, words.cause))?;
            if let Some(address) = self.fault_address() {
                write!(f, " at address {address:#x}")?;
            }
            if let Some(call) = self.denied_call() {
                write!(f, ", call {call} ({})", jail::call_name(call).unwrap_or("of another machine"))?;
            }
        }
        let function = self.function().unwrap_or_else(|| "unknown".to_owned());
        write!(
            f,
            "\n  task:      {function}, attempt {}, {} bytes of input",
            self.attempt, details.input_bytes
        )?;
        if details.depth > 1 {
            write!(f, ", innermost of {} tasks inside one another", details.depth)?;
        }
        if let Some(panic) = &details.panic {
            write!(f, "\n  panic:     {panic}")?;
        }
        list(f, "stack:", &self.frames())?;
        let recent: Vec<RecentTask> =
            details.recent.iter().take(SHOWN_TASKS).map(|flight| RecentTask::of(flight, details)).collect();
        list(f, "last tasks:", &recent)?;
        let tail = self.stderr_tail().unwrap_or_default();
        let lines: Vec<&str> = tail.trim_end().lines().collect();
        list(f, "stderr:", &lines[lines.len().saturating_sub(SHOWN_LINES)..])?;
        write!(f, "\n  limits:    {}", limits::current())?;
        let advice = if self.killed_because().is_some() { KILLED_ADVICE } else { advice(self.end) };
        write!(f, "\n  next:      {advice}")
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match &self.details {
            Some(details) => self.fmt_details(details, f),
            None => Ok(()),
        }
    }
}

/// Tasks and lines of standard error that fit a screen.
const SHOWN_TASKS: usize = 5;
const SHOWN_LINES: usize = 10;

/// One below the other, the first beside the head.
fn list(f: &mut fmt::Formatter<'_>, head: &str, lines: &[impl fmt::Display]) -> fmt::Result {
    for (index, line) in lines.iter().enumerate() {
        let head = if index == 0 { head } else { "" };
        write!(f, "\n  {head:<10} {line}")?;
    }
    Ok(())
}

/// One of a dead worker's last tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentTask {
    /// Name of its function.
    pub function: String,
    /// How long before the burial it began.
    pub age: Duration,
    /// How long it took; none if it never ended.
    pub took: Option<Duration>,
}

impl RecentTask {
    fn of(flight: &Flight, details: &Details) -> Self {
        let name = |id| symbols::function(id, &details.libraries).name;
        let time = |since: u64, until: u64| Rate::measured().duration(until.saturating_sub(since));
        Self {
            function: flight.function.map_or_else(|| "unknown".to_owned(), name),
            age: time(flight.began, details.buried_ticks),
            took: flight.ended.map(|ended| time(flight.began, ended)),
        }
    }
}

impl fmt::Display for RecentTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, begun {:.1?} before", self.function, self.age)?;
        match self.took {
            Some(took) => write!(f, ", took {took:.1?}"),
            None => f.write_str(", not ended"),
        }
    }
}

struct How(ProcessEnd);

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ProcessEnd::Exited { code } => match exit::meaning(code) {
                Some(meaning) => write!(f, "exited with code {code}, {meaning}"),
                None => write!(f, "the task exited the process with code {code}"),
            },
            ProcessEnd::Signalled { signal, dumped } => {
                write!(f, "killed by signal {signal}, {}", signal_name(signal))?;
                if dumped { f.write_str(" (core dumped)") } else { Ok(()) }
            }
            ProcessEnd::Unknown => f.write_str("how is not known, its zygote died as well"),
        }
    }
}

/// The usual name and cause of a signal.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "SIGILL (illegal instruction)",
        5 => "SIGTRAP (breakpoint)",
        6 => "SIGABRT (abort)",
        7 => "SIGBUS (memory that is not there)",
        8 => "SIGFPE (arithmetic fault)",
        9 => "SIGKILL (killed from outside, or out of memory)",
        11 => "SIGSEGV (invalid memory access or stack overflow)",
        14 => "SIGALRM (its stack could not be walked)",
        15 => "SIGTERM (asked to end)",
        24 => "SIGXCPU (processor time limit)",
        31 => "SIGSYS (forbidden system call)",
        _ => "see signal(7)",
    }
}

/// What the kernel's `si_code` says of a signal: see sigaction(2).
fn cause(signal: i32, code: i32) -> String {
    match (signal, code) {
        (_, code) if code <= 0 => "sent by a process, perhaps this one".to_owned(),
        (11, 1) => "nothing is mapped".to_owned(),
        (11, 2) => "the page does not allow it".to_owned(),
        (11, 128) => "not an address the processor can form".to_owned(),
        (7, 1) => "wrong alignment".to_owned(),
        (7, 2) => "no memory behind the mapping".to_owned(),
        (8, 1) => "integer division by zero".to_owned(),
        (8, 2) => "integer overflow".to_owned(),
        (4, _) => "not an instruction the processor knows".to_owned(),
        (31, _) => "the system call filter".to_owned(),
        (signal, code) => format!("signal {signal}, code {code}"),
    }
}

const KILLED_ADVICE: &str =
    "give it more time with `stopped_after` or `stuck_after`, or find what holds it up";

fn advice(end: ProcessEnd) -> &'static str {
    match end {
        ProcessEnd::Signalled { signal: 9, .. } => {
            "look for the out-of-memory killer in the kernel's log, or for whoever sent the signal"
        }
        ProcessEnd::Signalled { signal: SIGSYS, .. } => {
            "a jail lets no task make this call; look at what the input made the task do"
        }
        ProcessEnd::Signalled { .. } => {
            "run this input with GORUN_PROCESSES=0 under a debugger; the task runs in its thread there"
        }
        ProcessEnd::Exited { .. } => "return an error from the task instead of leaving the process",
        ProcessEnd::Unknown => "look at what killed the zygote",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun_worker::wire::ids::Seat;

    #[test]
    fn without_details_one_line_is_told() {
        let evidence = Evidence {
            worker: WorkerId { seat: Seat(3), generation: 2 },
            pid: 77,
            end: ProcessEnd::Exited { code: 4 },
            attempt: 1,
            details: None,
        };
        assert_eq!(evidence.to_string(), evidence.summary());
        assert!(evidence.summary().ends_with("the task exited the process with code 4"));
    }
}
