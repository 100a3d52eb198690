//! Patience: how long an operation waits, and the one way in which threads wait at a gate.

use gorun_shm::gate::Gate;
use gorun_shm::os::ticks;
use gorun_shm::sync::spin_hint;
use gorun_worker::context;
use gorun_worker::end::End;
use std::time::{Duration, Instant};

/// The part of the time before sleep in which a thread keeps its processor: one over this.
const ALONE_PART: u64 = 4;
/// Looks that give the processor to somebody else in between, before a thread goes to sleep: on a machine with fewer
/// processors than threads at work that is who it waits for, and going to sleep and being woken costs ten times more.
const YIELDS: u32 = 8;
/// Looks between two at the tasks that the thread could run meanwhile.
const LOOKS_PER_TASK: u32 = 16;

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
    /// The end that waits.
    pub(super) end: &'a End,
    /// What the wait is for: how many messages, or free places, are there now.
    pub(super) gathered: fn(&End) -> u64,
    /// Called before each sleep.
    pub(super) about_to_sleep: &'a dyn Fn(),
}

impl<'a> Waiting<'a> {
    /// For room in the channel.
    pub(super) fn for_room(end: &'a End) -> Self {
        Self {
            gate: end.ring().header().not_full(),
            spin_ticks: end.terms().spin_ticks,
            end,
            gathered: |end| end.geometry().capacity().saturating_sub(end.ring().len()),
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

    /// The same, but until `due_ns` at the latest.
    pub(super) fn at_most(self, due_ns: Option<u64>) -> Self {
        match (self, due_ns) {
            (Self::Until(deadline), Some(due)) => Self::Until(deadline.min(due)),
            (Self::Endless, Some(due)) => Self::Until(due),
            (patience, _) => patience,
        }
    }

    /// True if no attempt is to be made any more.
    pub(super) fn is_over(self) -> bool {
        match self {
            Self::None => true,
            Self::Until(deadline) => ticks::system_ns() >= deadline,
            Self::Endless => false,
        }
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
        let duty = context::duty();
        let run_one = || duty.as_ref().is_some_and(|duty| duty.run_one());
        if let Some(result) = spin(waiting, attempt, &run_one) {
            return Some(result);
        }
        loop {
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
            let armed = waiting.gate.arm();
            if let Some(result) = attempt() {
                return Some(result);
            }
            (waiting.about_to_sleep)();
            match &duty {
                Some(duty) => duty.wait_in_task(|| waiting.gate.wait(armed, left)),
                None => waiting.gate.wait(armed, left),
            }
            if let Some(result) = attempt() {
                return Some(result);
            }
            while run_one() {
                if let Some(result) = attempt() {
                    return Some(result);
                }
            }
        }
    }
}

/// Looks until something comes or it is time to sleep.
fn spin<R>(
    waiting: &Waiting<'_>,
    attempt: &mut dyn FnMut() -> Option<R>,
    run_one: &dyn Fn() -> bool,
) -> Option<R> {
    let (end, started) = (waiting.end, ticks::now());
    (0..end.pace().pauses()).for_each(|_| spin_hint());
    let learn = |looks| end.pace().learn(looks, (waiting.gathered)(end), end.geometry().capacity());
    let mut looks = 0_u32;
    loop {
        if let Some(result) = attempt() {
            learn(looks);
            return Some(result);
        }
        if looks.is_multiple_of(LOOKS_PER_TASK) && run_one() {
            continue;
        }
        looks += 1;
        if ticks::now().wrapping_sub(started) >= waiting.spin_ticks / ALONE_PART {
            break;
        }
        spin_hint();
    }
    learn(looks);
    for _ in 0..YIELDS {
        std::thread::yield_now();
        if let Some(result) = attempt() {
            return Some(result);
        }
    }
    None
}
