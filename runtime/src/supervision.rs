//! Supervision: the settings of how a runtime looks after its workers, validated once like the others in `config`.

use crate::builder::Builder;
use crate::config::{Environment, check_limit, in_range};
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
    /// How long a worker beyond the first `workers_min` may be idle before it leaves; its seat is filled again when a
    /// task comes that no other is awake for. 1 us to 1 year. Default none: idle workers stay. `GORUN_WORKER_TIMEOUT_MS`.
    pub worker_timeout: Option<Duration>,
    /// Workers that stay however idle they are, 0..=120. Default 1. `GORUN_WORKERS_MIN`.
    pub workers_min: u32,
}

/// What was asked for; none means "not said".
#[derive(Debug, Clone, Default)]
pub(crate) struct SupervisionWishes {
    restart: Option<Restart>,
    intensity: Option<(u32, Duration)>,
    worker_timeout: Option<Duration>,
    workers_min: Option<u32>,
}

const INTENSITY: RangeInclusive<u32> = 0..=1000;
const WORKERS_MIN: RangeInclusive<u32> = 0..=Shape::SEATS_MAX as u32;
const INTENSITY_DEFAULT: u32 = 5;
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
        Ok(Self {
            restart: restart.unwrap_or_default(),
            restart_intensity: crashes,
            restart_period: period,
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
}
