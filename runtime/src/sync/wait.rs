//! Wait: how long an operation has patience, and the one way in which threads wait for a lock.

use super::{WaitError, held};
use gorun_shm::gate::Gate;
use gorun_shm::lock::Head;
use gorun_shm::os::ticks;
use gorun_shm::sync::spin_hint;
use gorun_worker::context;
use std::time::{Duration, Instant};

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// Until this time of the monotonic clock, in nanoseconds.
    Until(u64),
    /// As long as it takes.
    Endless,
}

impl Patience {
    pub(super) fn of(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self::Until(ticks::system_ns().saturating_add(nanos))
    }

    pub(super) fn until(deadline: Instant) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the caller's instant must be compared with now")]
        let now = Instant::now();
        Self::of(deadline.saturating_duration_since(now))
    }

    /// How long a sleep may last; an error if patience is over.
    pub(super) fn left(self) -> Result<Option<Duration>, WaitError> {
        match self {
            Self::None => Err(WaitError::WouldWait),
            Self::Endless => Ok(None),
            Self::Until(deadline) => {
                let nanos = deadline.checked_sub(ticks::system_ns()).filter(|nanos| *nanos > 0);
                nanos.map(|nanos| Some(Duration::from_nanos(nanos))).ok_or(WaitError::TimedOut)
            }
        }
    }
}

/// Whether a thread that waits runs tasks of its own meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// No: whoever has what it waits for has begun already, and may stand below it on the same stack.
    Nothing,
    /// Yes, unless it has a lock: it waits for what others have yet to do, and they may not have begun.
    OwnTasks,
}

impl Meanwhile {
    /// Runs a task of this thread's own, if that is what is done meanwhile and there is one.
    pub(super) fn run_one(self) -> bool {
        self == Self::OwnTasks && held::nothing() && context::duty().is_some_and(|duty| duty.run_one())
    }
}

/// Where to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) head: &'a Head,
    pub(super) gate: &'a Gate,
    pub(super) meanwhile: Meanwhile,
}

impl Waiting<'_> {
    /// Repeats `attempt` until it gives something or an error, patience is over, or the runtime ends. Between attempts the
    /// thread spins for as long as it was worth of late, then sleeps at the gate.
    ///
    /// # Blocking
    /// So long.
    #[cold]
    pub(super) fn wait<R>(
        self,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<Option<R>, WaitError>,
    ) -> Result<R, WaitError> {
        if let Some(result) = attempt()? {
            return Ok(result);
        }
        if patience == Patience::None {
            return Err(WaitError::WouldWait);
        }
        let (started, spin) = (ticks::now(), self.head.spin_ticks());
        loop {
            if let Some(result) = attempt()? {
                self.head.note_spin(Some(ticks::now().wrapping_sub(started)));
                return Ok(result);
            }
            if self.meanwhile.run_one() {
                continue;
            }
            if ticks::now().wrapping_sub(started) >= spin {
                break;
            }
            spin_hint();
        }
        self.head.note_spin(None);
        loop {
            let armed = self.gate.arm();
            if let Some(result) = attempt()? {
                return Ok(result);
            }
            if self.head.is_shut() {
                return Err(WaitError::Closed);
            }
            if self.meanwhile.run_one() {
                continue;
            }
            sleep(patience.left()?, |left| self.gate.wait(armed, left));
        }
    }
}

/// Sleeps; a worker offers what stands in line behind it to others first.
pub(super) fn sleep(left: Option<Duration>, wait: impl FnOnce(Option<Duration>)) {
    match context::duty() {
        Some(duty) => duty.wait_in_task(|| wait(left)),
        None => wait(left),
    }
}
