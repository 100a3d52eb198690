//! Health: how a runtime's workers are, for people (`Display`) and for programs (serde).

use crate::runtime::Runtime;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What a seat's worker does, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum WorkerState {
    /// Runs a task.
    Active,
    /// Looks for a task.
    Searching,
    /// Sleeps until there is a task.
    Parked,
    /// Has run one task for longer than `stuck_after`. Seen with `health_monitoring` only.
    Stuck,
    /// Stopped by a signal.
    Stopped,
    /// Is being forked, or does not serve yet.
    Starting,
    /// None: the last one died, and the next is on its way.
    Dead,
    /// None: there was nothing to do. The next task brings one.
    Resting,
    /// None for a while: too many crashes, or none could be had. Others take the seat's tasks.
    Shut,
    /// None for ever, as the restart policy says. Others take the seat's tasks.
    Retired,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Searching => "searching",
            Self::Parked => "parked",
            Self::Stuck => "stuck",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Dead => "dead",
            Self::Resting => "resting",
            Self::Shut => "shut",
            Self::Retired => "retired",
        })
    }
}

/// How a seat's worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// The seat.
    pub seat: usize,
    /// Process id of its worker.
    pub pid: Option<u32>,
    /// Which worker of the seat it is, from 1.
    pub generation: u32,
    /// What it does.
    pub state: WorkerState,
    /// True if it is a thread of the host, because no process can be had.
    pub is_thread: bool,
    /// Name of the function it runs, the innermost one.
    pub function: Option<String>,
    /// How long it has been inside of its task: exact if that has a time limit, else from the first look on that found
    /// it there.
    pub running: Option<Duration>,
    /// Bytes of resident memory.
    pub rss_bytes: u64,
    /// Tasks it has finished.
    pub tasks: u64,
    /// How long ago it was forked.
    pub age: Option<Duration>,
}

/// How a runtime's workers are, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// True while tasks run on threads because no process can be had.
    pub degraded: bool,
    /// True while there is a zygote that serves.
    pub zygote: bool,
    /// Workers that wait for a seat.
    pub spares: usize,
    /// Tasks that were found to run for longer than `stuck_after`, so far.
    pub stuck: u64,
    /// Workers that were killed because they were stopped and did not go on, so far.
    pub stopped: u64,
    /// Workers that were found not to take what stood in their lane, so far.
    pub searching: u64,
    /// One entry per seat, in order. Empty inside of a task, whose pool is the host's.
    pub seats: Vec<WorkerHealth>,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zygote = if self.zygote { "serves" } else { "is not there" };
        write!(f, "{} seats, {} spares, zygote {zygote}", self.seats.len(), self.spares)?;
        if self.degraded {
            f.write_str(", tasks run on threads")?;
        }
        write!(f, "\nseat  state           pid     tasks    memory       age  running")?;
        for seat in &self.seats {
            write!(f, "\n{seat}")?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let age = self.age.map_or_else(|| "-".to_owned(), |age| format!("{:.1} s", age.as_secs_f64()));
        let mebibytes = self.rss_bytes >> 20;
        write!(
            f,
            "{:>4}  {:<10} {pid:>8} {:>9} {mebibytes:>5} MiB {age:>9}",
            self.seat, self.state, self.tasks
        )?;
        if let Some(function) = &self.function {
            write!(f, "  {function}")?;
        }
        if let Some(running) = self.running {
            write!(f, " for {:.1} s", running.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Runtime {
    /// How the workers are, as of now. Reads a little of each worker's shared record and of `/proc`.
    ///
    /// ```
    /// use gorun_runtime::{Runtime, WorkerState};
    ///
    /// let runtime = Runtime::builder().workers(1).health_monitoring(true).build()?;
    /// assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    /// let health = runtime.health();
    /// assert_ne!(health.seats[0].state, WorkerState::Stuck);
    /// println!("{health}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.pool().map_or_else(Health::of_nobody, |pool| pool.health())
    }
}

impl Health {
    /// A task's own runtime has no workers.
    fn of_nobody() -> Self {
        let (stuck, stopped, searching) = (0, 0, 0);
        Self { degraded: false, zygote: false, spares: 0, stuck, stopped, searching, seats: Vec::new() }
    }
}
