//! Patience: how long an operation waits, and the one way in which threads wait at a gate.

use gorun_shm::gate::Gate;
use gorun_shm::os::ticks;
use gorun_shm::sync::spin_hint;
use gorun_worker::context;
use gorun_worker::end::End;
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

/// Where to wait, and how.
pub(super) struct Waiting<'a> {
    pub(super) gate: &'a Gate,
    /// How long to look before going to sleep.
    pub(super) spin_ticks: u64,
    /// Called before each sleep.
    pub(super) about_to_sleep: &'a dyn Fn(),
}

impl<'a> Waiting<'a> {
    /// For room in the channel.
    pub(super) fn for_room(end: &'a End) -> Self {
        Self {
            gate: end.ring().header().not_full(),
            spin_ticks: end.terms().spin_ticks,
            about_to_sleep: &|| {},
        }
    }
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

    /// Repeats `attempt` until it gives something or patience is over. Between attempts the thread runs tasks of its own
    /// if it is a worker's, spins for so long, then sleeps at the gate.
    ///
    /// # Blocking
    /// So long.
    #[inline]
    pub(super) fn wait<R>(self, waiting: &Waiting<'_>, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
        if let Some(result) = attempt() {
            return Some(result);
        }
        if self == Self::None {
            return None;
        }
        self.wait_long(waiting, &mut attempt)
    }

    #[cold]
    fn wait_long<R>(self, waiting: &Waiting<'_>, attempt: &mut dyn FnMut() -> Option<R>) -> Option<R> {
        let Waiting { gate, spin_ticks, about_to_sleep } = *waiting;
        let duty = context::duty();
        let started = ticks::now();
        loop {
            if let Some(result) = attempt() {
                return Some(result);
            }
            if duty.as_ref().is_some_and(|duty| duty.run_one()) {
                continue;
            }
            if ticks::now().wrapping_sub(started) < spin_ticks {
                spin_hint();
                continue;
            }
            let left = match self {
                Self::Until(deadline) => {
                    let now = ticks::system_ns();
                    if now >= deadline {
                        return None;
                    }
                    Some(Duration::from_nanos(deadline - now))
                }
                Self::None | Self::Endless => None,
            };
            let armed = gate.arm();
            if let Some(result) = attempt() {
                return Some(result);
            }
            about_to_sleep();
            match &duty {
                Some(duty) => duty.wait_in_task(|| gate.wait(armed, left)),
                None => gate.wait(armed, left),
            }
        }
    }
}
