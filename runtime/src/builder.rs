//! Builder: what a runtime is to be like, said from code.

use crate::balance::LoadBalancing;
use crate::config::{Config, Wishes};
use crate::error::BuildError;
use crate::jail::Jail;
use crate::mode::Mode;
use crate::runtime::{self, Runtime};
use crate::topology::{Placement, Smt};
use std::time::Duration;

/// What a runtime is to be like. Settings left out come from `GORUN_*`, then from
/// `gorun.toml`, then from the defaults.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct Builder {
    pub(crate) wishes: Wishes,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { wishes: Wishes::default() }
    }

    /// Worker processes, 1..=120.
    pub fn workers(mut self, workers: usize) -> Self {
        self.wishes.workers = Some(workers);
        self
    }

    /// Workers forked ahead to take a dead one's seat, 0..=8.
    pub fn spares(mut self, spares: usize) -> Self {
        self.wishes.spares = Some(spares);
        self
    }

    /// Where workers run.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.wishes.placement = Some(placement);
        self
    }

    /// What is done with the further processors of a core.
    pub fn smt(mut self, smt: Smt) -> Self {
        self.wishes.smt = Some(smt);
        self
    }

    /// How tasks are spread over the seats.
    pub fn load_balancing(mut self, balancing: LoadBalancing) -> Self {
        self.wishes.load_balancing = Some(balancing);
        self
    }

    /// Whether idle workers take tasks that wait for others.
    pub fn work_stealing(mut self, on: bool) -> Self {
        self.wishes.work_stealing = Some(on);
        self
    }

    /// Tasks a seat's queue holds before `go` waits, a power of two in 64..=65536.
    pub fn queue_slots(mut self, slots: usize) -> Self {
        self.wishes.queue_slots = Some(slots as u64);
        self
    }

    /// Largest encoded input or result, and largest block, in bytes, a power of two in 4 KiB..=2 GiB.
    pub fn message_bytes_max(mut self, bytes: u64) -> Self {
        self.wishes.message_bytes_max = Some(bytes);
        self
    }

    /// How long an idle worker or a waiting thread spins before it sleeps, at most 1 ms.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.wishes.spin = Some(spin);
        self
    }

    /// The [`Task::deadline`](crate::Task::deadline) of tasks that name none, 1 us to 1 year.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.wishes.deadline = Some(after);
        self
    }

    /// The [`Task::timeout`](crate::Task::timeout) of tasks that name none, 1 us to 1 year.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.wishes.timeout = Some(after);
        self
    }

    /// The [`Task::grace`](crate::Task::grace) of tasks that name none, 1 us to 1 year.
    pub fn grace(mut self, after: Duration) -> Self {
        self.wishes.grace = Some(after);
        self
    }

    /// Tasks after which a worker makes room for a fresh one, 1.. .
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.wishes.max_tasks_per_worker = Some(tasks);
        self
    }

    /// Age at which a worker makes room for a fresh one, 1 us to 1 year.
    pub fn max_worker_age(mut self, age: Duration) -> Self {
        self.wishes.max_worker_age = Some(age);
        self
    }

    /// Resident bytes above which a worker makes room for a fresh one once its task has ended, 1 MiB.. .
    pub fn memory_soft(mut self, bytes: u64) -> Self {
        self.wishes.memory_soft = Some(bytes);
        self
    }

    /// Resident bytes above which a worker is killed while it runs a task, which ends as [`TaskError::OutOfMemory`],
    /// 1 MiB.. . Shared memory counts where the worker has touched it.
    ///
    /// [`TaskError::OutOfMemory`]: crate::TaskError::OutOfMemory
    pub fn memory_max(mut self, bytes: u64) -> Self {
        self.wishes.memory_max = Some(bytes);
        self
    }

    /// Deaths of workers after which a function is not run with the same input again, 0..=1000, 0 for never: see
    /// [`Runtime::quarantine`]. What is killed at a deadline, by `kill` or for its memory does not count, nor does what
    /// dies in a jail, where a death costs nobody else anything.
    pub fn quarantine_after(mut self, crashes: u32) -> Self {
        self.wishes.quarantine_after = Some(crashes);
        self
    }

    /// True shows in evidence the last 4 KiB that a worker wrote to standard error. Workers write to a pipe then, and a
    /// thread of this process forwards it: a little later, with no terminal behind it that programs could recognise.
    pub fn capture_stderr(mut self, capture: bool) -> Self {
        self.wishes.capture_stderr = Some(capture);
        self
    }

    /// Jailed workers that may have a task at once, 1..=120. They are started when the first task asks for a jail.
    pub fn jailed_workers(mut self, workers: usize) -> Self {
        self.wishes.jailed_workers = Some(workers);
        self
    }

    /// The profile of tasks that ask for a jail and do not say which; [`Jail::compute`] if this is not called.
    pub fn jail(mut self, jail: Jail) -> Self {
        self.wishes.jail = Some(jail);
        self
    }

    /// Where tasks run that ask for no other [`Task::mode`](crate::Task::mode).
    pub fn mode(mut self, mode: Mode) -> Self {
        self.wishes.mode = Some(mode);
        self
    }

    /// False runs tasks on threads of this process: no isolation. The same as [`Mode::Thread`].
    pub fn processes(self, processes: bool) -> Self {
        self.mode(if processes { Mode::Process } else { Mode::Thread })
    }

    /// Builds it. Workers start meanwhile; tasks may be given at once.
    ///
    /// # Errors
    /// [`BuildError`], which names the setting and what is allowed, or what the kernel refused. Processes that
    /// cannot be had are no error, see [`Runtime::is_degraded`].
    pub fn build(self) -> Result<Runtime, BuildError> {
        runtime::counted(&self.wishes, None)
    }

    /// What [`Builder::build`] would start with, from code, environment and machine; starts nothing.
    ///
    /// ```
    /// let config = gorun_runtime::Runtime::builder().workers(3).config()?;
    /// assert_eq!(config.plan.seats().len(), 3);
    /// # Ok::<(), gorun_runtime::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// [`BuildError`] if a setting is not allowed.
    pub fn config(&self) -> Result<Config, BuildError> {
        Config::resolve(&self.wishes, |key| std::env::var(key).ok())
    }
}
