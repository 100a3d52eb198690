//! Breaker of a place: how often it may be filled again after crashes, and how long it stays empty then. Pure.
//!
//! Closed, Open, HalfOpen as everywhere. More than R crashes within the period T open it (the restart intensity of
//! OTP's supervisors); after a pause one worker is let in as a probe. A probe that proves itself closes the breaker,
//! one that crashes opens it for longer: full jitter over a doubling pause. A place is a seat, the bench of the spares,
//! or the zygote's.

use crate::supervise::{Backoff, BreakerState};
use std::collections::VecDeque;
use std::time::Duration;

/// Longest pause of a place, before jitter, after its first opening and in all.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Jitter may come out as nothing; a place that fails at once is not tried more often than this.
const PAUSE_MIN_NS: u64 = 10_000_000;
/// A probe that has lived so long has proven itself, whether it ran a task or not.
pub(crate) const PROOF_NS: u64 = 1_000_000_000;

/// Restart intensity: how many crashes within which period are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intensity {
    pub(crate) crashes_max: u32,
    pub(crate) period_ns: u64,
}

/// See the module's head.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    intensity: Intensity,
    state: State,
    /// When the last crashes were, oldest first: as many as are borne, at most.
    crashes: VecDeque<u64>,
    /// Openings since it was last closed.
    opened: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until_ns: u64,
    },
    /// Proven at that time, if a probe is in the place.
    HalfOpen {
        proven_ns: Option<u64>,
    },
}

impl Breaker {
    pub(crate) fn new(intensity: Intensity) -> Self {
        Self { intensity, state: State::Closed, crashes: VecDeque::new(), opened: 0 }
    }

    /// What it was made for.
    pub(crate) fn intensity(&self) -> Intensity {
        self.intensity
    }

    /// Takes a crash down; true if it opened the breaker.
    pub(crate) fn crash(&mut self, now_ns: u64, random: u64) -> bool {
        match self.state {
            State::Open { .. } => return false,
            State::HalfOpen { .. } => {}
            State::Closed => {
                let period_ns = self.intensity.period_ns;
                self.crashes.retain(|crash| now_ns.saturating_sub(*crash) <= period_ns);
                if self.crashes.len() < self.intensity.crashes_max as usize {
                    self.crashes.push_back(now_ns);
                    return false;
                }
            }
        }
        self.trip(now_ns, random);
        true
    }

    /// Opens it, whatever was borne so far: the kernel has refused what the place needs.
    pub(crate) fn trip(&mut self, now_ns: u64, random: u64) {
        self.opened = self.opened.saturating_add(1);
        let pause = Backoff::exponential(PAUSE_FIRST, PAUSE_MAX).full_jitter().pause(self.opened, random);
        let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).max(PAUSE_MIN_NS);
        self.state = State::Open { until_ns: now_ns.saturating_add(pause_ns) };
    }

    /// An open breaker lets its probe in at this time at the latest.
    pub(crate) fn hurry(&mut self, until_max_ns: u64) {
        if let State::Open { until_ns } = &mut self.state {
            *until_ns = until_max_ns.min(*until_ns);
        }
    }

    /// True if the place may be filled.
    pub(crate) fn lets_in(&self) -> bool {
        !matches!(self.state, State::Open { .. })
    }

    /// A worker is in the place.
    pub(crate) fn filled(&mut self, now_ns: u64) {
        if let State::HalfOpen { proven_ns } = &mut self.state {
            *proven_ns = Some(now_ns.saturating_add(PROOF_NS));
        }
    }

    /// The place is empty again, and nobody is to blame.
    pub(crate) fn emptied(&mut self) {
        if let State::HalfOpen { proven_ns } = &mut self.state {
            *proven_ns = None;
        }
    }

    /// Whoever is in the place has finished a task: a probe has succeeded.
    pub(crate) fn prove(&mut self) {
        if matches!(self.state, State::HalfOpen { .. }) {
            *self = Self::new(self.intensity);
        }
    }

    /// Lets time pass; true if the place may be filled from now on and could not before.
    pub(crate) fn look(&mut self, now_ns: u64) -> bool {
        match self.state {
            State::Open { until_ns } if now_ns >= until_ns => {
                self.state = State::HalfOpen { proven_ns: None };
                true
            }
            State::HalfOpen { proven_ns: Some(at) } if now_ns >= at => {
                self.prove();
                false
            }
            _ => false,
        }
    }

    /// When time changes it next.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self.state {
            State::Open { until_ns } => Some(until_ns),
            State::HalfOpen { proven_ns } => proven_ns,
            State::Closed => None,
        }
    }

    /// For people and programs that look at the pool.
    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LONGEST: u64 = u64::MAX;

    fn breaker() -> Breaker {
        Breaker::new(Intensity { crashes_max: 5, period_ns: 10 * SECOND })
    }

    /// Crashes at one moment until it opens; gives how many that took.
    fn crash_until_open(breaker: &mut Breaker, now: u64) -> u32 {
        (1..100).find(|_| breaker.crash(now, LONGEST)).expect("opens at last")
    }

    #[test]
    fn five_crashes_are_borne_and_the_sixth_opens() {
        let mut breaker = breaker();
        assert_eq!(crash_until_open(&mut breaker, 0), 6);
        assert!(!breaker.lets_in());
        assert_eq!(breaker.due_ns(), Some(100_000_000));
    }

    #[test]
    fn crashes_further_apart_than_the_period_are_borne_for_ever() {
        let mut breaker = breaker();
        for n in 0..1000 {
            assert!(!breaker.crash(n * (2 * SECOND + 1), 0), "crash {n}");
        }
    }

    #[test]
    fn an_intensity_of_none_opens_at_the_first_crash() {
        let mut breaker = Breaker::new(Intensity { crashes_max: 0, period_ns: SECOND });
        assert!(breaker.crash(0, 0));
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_its_cap_and_a_proof_begins_anew() {
        let mut breaker = breaker();
        crash_until_open(&mut breaker, 0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let now = breaker.due_ns().unwrap();
            assert!(!breaker.look(now - 1) && breaker.look(now));
            breaker.filled(now);
            assert!(breaker.crash(now, LONGEST), "one failed probe is enough");
            pauses.push((breaker.due_ns().unwrap() - now) / 1_000_000);
        }
        assert_eq!(pauses[..5], [200, 400, 800, 1600, 3200]);
        assert_eq!(pauses[11], 10_000);
        let now = breaker.due_ns().unwrap();
        breaker.look(now);
        breaker.filled(now);
        breaker.prove();
        assert_eq!((breaker.state(), crash_until_open(&mut breaker, now)), (BreakerState::Closed, 6));
        assert_eq!(breaker.due_ns(), Some(now + 100_000_000));
    }

    #[test]
    fn a_probe_that_lives_long_enough_closes_it() {
        let mut breaker = breaker();
        crash_until_open(&mut breaker, 0);
        breaker.look(SECOND);
        breaker.filled(SECOND);
        breaker.look(SECOND + PROOF_NS - 1);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.look(SECOND + PROOF_NS);
        assert_eq!((breaker.state(), breaker.due_ns()), (BreakerState::Closed, None));
    }

    #[test]
    fn a_probe_that_left_blamelessly_is_followed_by_another() {
        let mut breaker = breaker();
        crash_until_open(&mut breaker, 0);
        breaker.look(SECOND);
        breaker.filled(SECOND);
        breaker.emptied();
        assert_eq!((breaker.state(), breaker.due_ns()), (BreakerState::HalfOpen, None));
        assert!(breaker.lets_in());
    }

    #[test]
    fn no_pause_is_shorter_than_its_floor_and_a_hurried_one_not_longer_than_asked() {
        let mut breaker = breaker();
        breaker.trip(0, 0);
        assert_eq!(breaker.due_ns(), Some(PAUSE_MIN_NS));
        breaker.trip(0, LONGEST);
        breaker.hurry(20_000_000);
        assert_eq!(breaker.due_ns(), Some(20_000_000));
    }
}
