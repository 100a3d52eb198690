//! Supervision: the settings of how a runtime looks after its workers, validated once like the others in `config`.

use crate::builder::Builder;
use crate::config::{check_limit, in_range};
use crate::environment::{Environment, Switch};
use crate::error::BuildError;
use gorun_worker::wire::map::Shape;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// When a worker that is gone is followed by another in its seat: the restart types of OTP's supervisors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After a death, but not after a worker that had served enough: see [`Builder::max_tasks_per_worker`].
    Transient,
    /// Never. When the last worker is gone, tasks that nobody has started end as [`TaskError::NoWorkers`].
    ///
    /// [`TaskError::NoWorkers`]: crate::TaskError::NoWorkers
    Temporary,
}

impl FromStr for Restart {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "permanent" => Ok(Self::Permanent),
            "transient" => Ok(Self::Transient),
            "temporary" => Ok(Self::Temporary),
            _ => Err(()),
        }
    }
}

/// How a runtime looks after its workers, all of it valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervision {
    /// When a worker that is gone is followed by another. Default permanent.
    /// `GORUN_RESTART=permanent|transient|temporary`.
    pub restart: Restart,
    /// Crashes that a seat bears within `restart_period`, 0..=1000; the next one leaves it empty for a while. Deaths
    /// inside of tasks do not count. Default 5. `GORUN_RESTART_INTENSITY`.
    pub restart_intensity: u32,
    /// See `restart_intensity`; 1 us to 1 year. Default 10 s. `GORUN_RESTART_PERIOD_MS`.
    pub restart_period: Duration,
    /// Runs tasks on threads of the host, with a warning, while no process can be had. Off, they wait until one can.
    /// Default on. `GORUN_GRACEFUL_DEGRADATION=0|1`.
    pub graceful_degradation: bool,
    /// How long a worker beyond the first `workers_min` may be idle before it leaves; its seat is filled again when a
    /// task comes that no other is awake for. 1 us to 1 year. Default none: idle workers stay. `GORUN_WORKER_TIMEOUT_MS`.
    pub worker_timeout: Option<Duration>,
    /// Workers that stay however idle they are, 0..=120. Default 1. `GORUN_WORKERS_MIN`.
    pub workers_min: u32,
    /// Looks after the workers' health at a steady pace: see [`Runtime::health`](crate::Runtime::health). Default off.
    /// `GORUN_HEALTH_MONITORING=0|1`.
    pub health_monitoring: bool,
    /// How long a task may run before its worker counts as stuck, which is told once; with `health_monitoring` only.
    /// 1 us to 1 year. Default 60 s. `GORUN_STUCK_AFTER_MS`.
    pub stuck_after: Duration,
    /// Kills a worker that is stuck. Default no. `GORUN_KILL_STUCK=0|1`.
    pub kill_stuck: bool,
    /// How long a worker may be stopped by a signal before it is killed, so that its task ends; 1 us to 1 year. Default
    /// 60 s: longer than any tool stops a process for a look at it, and nobody waits for ever. `GORUN_STOPPED_AFTER_MS`.
    pub stopped_after: Duration,
}

/// What was asked for; none means "not said".
#[derive(Debug, Clone, Default)]
pub(crate) struct SupervisionWishes {
    restart: Option<Restart>,
    intensity: Option<(u32, Duration)>,
    graceful_degradation: Option<bool>,
    worker_timeout: Option<Duration>,
    workers_min: Option<u32>,
    health_monitoring: Option<bool>,
    stuck_after: Option<Duration>,
    kill_stuck: Option<bool>,
    stopped_after: Option<Duration>,
}

const INTENSITY: RangeInclusive<u32> = 0..=1000;
const WORKERS_MIN: RangeInclusive<u32> = 0..=Shape::SEATS_MAX as u32;
const INTENSITY_DEFAULT: u32 = 5;
const HEALTH_DEFAULT: Duration = Duration::from_secs(60);
const PERIOD_DEFAULT: Duration = Duration::from_secs(10);

impl Supervision {
    /// Validates `wishes` and fills in the rest from the environment.
    pub(crate) fn resolve<F: Fn(&str) -> Option<String>>(
        wishes: &SupervisionWishes,
        read: &Environment<F>,
    ) -> Result<Self, BuildError> {
        let restart = wishes.restart.or(read.parse("GORUN_RESTART", "permanent, transient, temporary")?);
        let (crashes, period) = wishes.intensity.unzip();
        let crashes = crashes.or(read.parse("GORUN_RESTART_INTENSITY", "0..=1000")?);
        let crashes = in_range("restart_intensity", crashes.unwrap_or(INTENSITY_DEFAULT), &INTENSITY)?;
        let period = period.or(read.milliseconds("GORUN_RESTART_PERIOD_MS")?);
        let period = check_limit("restart_period", period.unwrap_or(PERIOD_DEFAULT))?;
        let worker_timeout = wishes.worker_timeout.or(read.milliseconds("GORUN_WORKER_TIMEOUT_MS")?);
        let workers_min = wishes.workers_min.or(read.parse("GORUN_WORKERS_MIN", "0..=120")?);
        let switch = |wish: Option<bool>, variable, usual: bool| -> Result<bool, BuildError> {
            let read = read.parse::<Switch>(variable, "0, 1")?.map(|on| on.0);
            Ok(wish.or(read).unwrap_or(usual))
        };
        let degrades = switch(wishes.graceful_degradation, "GORUN_GRACEFUL_DEGRADATION", true)?;
        let after = |key, wish: Option<Duration>, variable| -> Result<Duration, BuildError> {
            check_limit(key, wish.or(read.milliseconds(variable)?).unwrap_or(HEALTH_DEFAULT))
        };
        Ok(Self {
            health_monitoring: switch(wishes.health_monitoring, "GORUN_HEALTH_MONITORING", false)?,
            kill_stuck: switch(wishes.kill_stuck, "GORUN_KILL_STUCK", false)?,
            stuck_after: after("stuck_after", wishes.stuck_after, "GORUN_STUCK_AFTER_MS")?,
            stopped_after: after("stopped_after", wishes.stopped_after, "GORUN_STOPPED_AFTER_MS")?,
            restart: restart.unwrap_or_default(),
            restart_intensity: crashes,
            restart_period: period,
            graceful_degradation: degrades,
            worker_timeout: worker_timeout.map(|time| check_limit("worker_timeout", time)).transpose()?,
            workers_min: in_range("workers_min", workers_min.unwrap_or(1), &WORKERS_MIN)?,
        })
    }
}

impl Builder {
    /// When a worker that is gone is followed by another.
    ///
    /// ```
    /// use gorun_runtime::{Restart, Runtime};
    ///
    /// let runtime = Runtime::builder().workers(2).restart(Restart::Transient).build()?;
    /// assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restart(mut self, restart: Restart) -> Self {
        self.wishes.supervision.restart = Some(restart);
        self
    }

    /// [`Restart::Permanent`] if true, [`Restart::Temporary`] if not.
    pub fn auto_restart(self, restart: bool) -> Self {
        self.restart(if restart { Restart::Permanent } else { Restart::Temporary })
    }

    /// How many crashes within which period a seat bears, 0..=1000 and 1 us to 1 year. After one more it stays empty for
    /// a pause that grows each time, and others take its tasks. Deaths inside of tasks do not count, nor do planned ends.
    pub fn restart_intensity(mut self, crashes: u32, period: Duration) -> Self {
        self.wishes.supervision.intensity = Some((crashes, period));
        self
    }

    /// False keeps tasks from ever running without isolation: while no process can be had they wait, and their deadlines
    /// count, until one can. Otherwise threads of the host run them meanwhile, with a warning.
    pub fn graceful_degradation(mut self, degrades: bool) -> Self {
        self.wishes.supervision.graceful_degradation = Some(degrades);
        self
    }

    /// An idle worker beyond the first [`Builder::workers_min`] leaves after this time, 1 us to 1 year. Its seat is filled
    /// again when a task comes that no other worker is awake for, at the price of a fork.
    pub fn worker_timeout(mut self, idle: Duration) -> Self {
        self.wishes.supervision.worker_timeout = Some(idle);
        self
    }

    /// Workers that stay however idle they are, 0..=120. Without [`Builder::worker_timeout`] all of them do.
    pub fn workers_min(mut self, workers: u32) -> Self {
        self.wishes.supervision.workers_min = Some(workers);
        self
    }

    /// Looks after the workers' health at a steady pace: tells of tasks that run for longer than
    /// [`Builder::stuck_after`], and of workers that are stopped or do not take their tasks, also while nobody waits.
    pub fn health_monitoring(mut self, on: bool) -> Self {
        self.wishes.supervision.health_monitoring = Some(on);
        self
    }

    /// How long a task may run before its worker counts as stuck: told once, by a warning and in
    /// [`Health::stuck`](crate::Health::stuck). Needs [`Builder::health_monitoring`].
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.wishes.supervision.stuck_after = Some(time);
        self
    }

    /// Kills a worker that is stuck: its task ends as [`WorkerLost`](crate::TaskError::WorkerLost), which says so.
    pub fn kill_stuck(mut self, kill: bool) -> Self {
        self.wishes.supervision.kill_stuck = Some(kill);
        self
    }

    /// How long a worker may be stopped by a signal (SIGSTOP) before it is killed: its task ends as
    /// [`WorkerLost`](crate::TaskError::WorkerLost), which says so. Looked at while anybody waits, and always with
    /// [`Builder::health_monitoring`]. A debugger's stop is none.
    pub fn stopped_after(mut self, time: Duration) -> Self {
        self.wishes.supervision.stopped_after = Some(time);
        self
    }
}
