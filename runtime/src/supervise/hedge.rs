//! Hedge: when a second attempt is started beside one that takes long. The first to give a value wins.
//!
//! What a function usually takes is remembered by the host: the times of its last attempts with a
//! hedge that asks for them, from their start
//! with `go` until their end is noticed, by the watching thread and not by whoever looks. A loser counts with the time
//! after which it was given up: without that, slow attempts would drop out and the percentile would sink.

use super::recent::Recent;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a task gets a second attempt beside its first.
///
/// A hedged task may run twice, at the same time and to the end: it must bear that. The loser is killed with its worker,
/// or cancelled if no worker has started it. Both attempts pass the task's breaker, rate limit and bulkhead, each by
/// itself; if they refuse the second, the first goes on alone.
///
/// With a retry, both together are one try: it has failed when both have, with the error of the one that ended last.
/// An attempt that fails before the second was started ends as it would without a hedge. The deadline is for both; the
/// timeout is for each.
///
/// ```
/// use gorun_runtime::{Hedge, Task};
/// use std::time::Duration;
///
/// let task = Task::with(20_u32, |n| n + 1).hedge(Hedge::after(Duration::from_millis(50)));
/// assert_eq!(task.go().join()?, 21);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a hedge is given to `Task::hedge`"]
pub struct Hedge {
    delay: Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    Fixed(Duration),
    /// What is used until enough is known; none for no second attempt.
    Percentile(Option<Duration>),
}

impl Hedge {
    /// The second attempt is started if the first has not ended by then.
    pub const fn after(delay: Duration) -> Self {
        Self { delay: Delay::Fixed(delay) }
    }

    /// As [`Hedge::after`] the time that 95 in 100 of the function's last 128 attempts with such a hedge on this runtime did not
    /// exceed, waiting in line included. Until 20 are known there is no second attempt: see [`Hedge::at_first`].
    pub const fn p95() -> Self {
        Self { delay: Delay::Percentile(None) }
    }

    /// The delay until 20 attempts of the function are known. Only [`Hedge::p95`] uses it.
    pub const fn at_first(mut self, delay: Duration) -> Self {
        if let Delay::Percentile(first) = &mut self.delay {
            *first = Some(delay);
        }
        self
    }

    /// True if it asks how long the function usually takes.
    pub(super) fn remembers(&self) -> bool {
        matches!(self.delay, Delay::Percentile(_))
    }

    pub(super) fn delay(&self, times: Option<&Times>) -> Option<Duration> {
        match self.delay {
            Delay::Fixed(delay) => Some(delay),
            Delay::Percentile(first) => times.and_then(Times::p95_ns).map(Duration::from_nanos).or(first),
        }
    }
}

/// Times kept of one function.
const TIMES_MAX: usize = 128;
/// Times that must be known before a percentile says anything: with 20 it is the second largest.
const TIMES_MIN: usize = 20;
/// Functions whose times are kept: with one more, the one not used for longest goes.
const FUNCTIONS_MAX: usize = 1024;

/// How long the last attempts of a function took.
#[derive(Debug, Default)]
pub(super) struct Times {
    last_ns: Mutex<VecDeque<u64>>,
}

impl Times {
    pub(super) fn note(&self, took_ns: u64) {
        let mut last = lock(&self.last_ns);
        if last.len() >= TIMES_MAX {
            last.pop_front();
        }
        last.push_back(took_ns);
    }

    /// The time that 95 in 100 did not exceed; none while too few are known.
    fn p95_ns(&self) -> Option<u64> {
        let mut sorted: Vec<u64> = {
            let last = lock(&self.last_ns);
            if last.len() < TIMES_MIN {
                return None;
            }
            last.iter().copied().collect()
        };
        let rank = (sorted.len() * 95).div_ceil(100) - 1;
        Some(*sorted.select_nth_unstable(rank).1)
    }
}

/// The times of many functions, by their address.
#[derive(Debug)]
pub(super) struct ServiceTimes {
    by_function: Mutex<Recent<usize, Arc<Times>>>,
}

impl Default for ServiceTimes {
    fn default() -> Self {
        Self { by_function: Mutex::new(Recent::new(FUNCTIONS_MAX)) }
    }
}

impl ServiceTimes {
    pub(super) fn of(&self, function: usize) -> Arc<Times> {
        lock(&self.by_function).use_or_make(function, Arc::default).0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_the_last_times_and_known_from_the_twentieth_on() {
        let times = Times::default();
        (1..20).for_each(|ns| times.note(ns));
        assert_eq!(times.p95_ns(), None);
        times.note(1000);
        assert_eq!(times.p95_ns(), Some(19));
        (0..1000).for_each(|_| times.note(7));
        (0..6).for_each(|_| times.note(500));
        assert_eq!(times.p95_ns(), Some(7), "6 of 128 are less than 5 in 100");
        times.note(500);
        assert_eq!(times.p95_ns(), Some(500), "7 of 128 are more");
    }

    #[test]
    fn a_delay_is_what_was_said_or_what_is_known() {
        let (times, ms) = (Times::default(), Duration::from_millis(1));
        assert_eq!(Hedge::after(ms).delay(Some(&times)), Some(ms));
        assert_eq!(
            (Hedge::p95().delay(Some(&times)), Hedge::p95().at_first(ms).delay(Some(&times))),
            (None, Some(ms))
        );
        (0..20).for_each(|_| times.note(9));
        assert_eq!(Hedge::p95().at_first(ms).delay(Some(&times)), Some(Duration::from_nanos(9)));
    }
}
