//! Pace: how many tasks of one name start in a time. The generic cell rate algorithm (ITU-T I.371) in one atomic word.
//!
//! The word is the moment at which the next task would come if all came evenly; each task moves it on by one interval.
//! Lock-free: a task that finds its turn too far away changes nothing.

use gorun_shm::os::ticks;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How many tasks start in a time, and what becomes of others.
///
/// ```
/// use gorun_runtime::RateLimit;
/// use std::time::Duration;
///
/// let limit = RateLimit::per_second(100).burst(10).queue(500);
/// let slow = RateLimit::every(Duration::from_secs(60));
/// # let _ = (limit, slow);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a limit is given to `Runtime::rate_limit`"]
pub struct RateLimit {
    interval_ns: u64,
    burst: u32,
    queue: u32,
}

impl RateLimit {
    /// This many tasks a second, 1..=1_000_000_000, evenly: one at a time, and nobody waits.
    pub const fn per_second(tasks: u32) -> Self {
        let tasks = if tasks == 0 { 1 } else { tasks };
        let interval_ns = 1_000_000_000 / tasks as u64;
        Self { interval_ns: if interval_ns == 0 { 1 } else { interval_ns }, burst: 1, queue: 0 }
    }

    /// One task in this time, 1 ns to 1 year.
    pub const fn every(interval: Duration) -> Self {
        let nanos = interval.as_nanos();
        #[expect(clippy::cast_possible_truncation, reason = "at most a year")]
        let interval_ns = if nanos > YEAR_NS as u128 { YEAR_NS } else { nanos as u64 };
        Self { interval_ns: if interval_ns == 0 { 1 } else { interval_ns }, burst: 1, queue: 0 }
    }

    /// Up to this many at once, at least 1, after as long a pause.
    pub const fn burst(mut self, tasks: u32) -> Self {
        self.burst = if tasks == 0 { 1 } else { tasks };
        self
    }

    /// Up to this many more wait for their turn; further ones are refused with the time to come back after. A task
    /// whose turn would come after its deadline does not wait for it.
    pub const fn queue(mut self, tasks: u32) -> Self {
        self.queue = tasks;
        self
    }

    /// When it is the turn of a task that comes at `now` and may wait `patience_ns`, with the word's next value; or how
    /// long to stay away.
    fn turn(&self, word: u64, now: u64, patience_ns: u64) -> Result<(u64, u64), u64> {
        let ahead = |tasks: u32| self.interval_ns.saturating_mul(u64::from(tasks));
        let due = word.max(now);
        let start = due.saturating_sub(ahead(self.burst - 1)).max(now);
        let wait = start - now;
        let longest = ahead(self.queue);
        if wait > longest {
            return Err(wait - longest);
        }
        if wait > patience_ns {
            return Err(wait);
        }
        Ok((due.saturating_add(self.interval_ns), start))
    }
}

const YEAR_NS: u64 = 365 * 24 * 3600 * 1_000_000_000;

/// See the module's head.
pub(super) struct Pace {
    name: Box<str>,
    limit: RwLock<RateLimit>,
    /// When the next task would come if all came evenly, in nanoseconds of the monotonic clock.
    due_ns: AtomicU64,
}

impl Pace {
    pub(super) fn new(name: &str, limit: RateLimit) -> Self {
        Self { name: name.into(), limit: RwLock::new(limit), due_ns: AtomicU64::new(0) }
    }

    /// Another limit, with nothing counted. Tasks that have their turn keep it.
    fn configure(&self, limit: RateLimit) {
        let mut place = self.limit.write().unwrap_or_else(PoisonError::into_inner);
        *place = limit;
        // Relaxed: under the lock that whoever takes a turn holds to read.
        self.due_ns.store(0, Ordering::Relaxed);
    }

    /// The moment of a task's turn, which must not be after `end_ns`; or after what time to come back.
    pub(super) fn take_turn(&self, end_ns: u64) -> Result<u64, Duration> {
        let now = ticks::system_ns();
        self.take_turn_at(now, end_ns.saturating_sub(now)).map_err(Duration::from_nanos)
    }

    fn take_turn_at(&self, now: u64, patience_ns: u64) -> Result<u64, u64> {
        let limit = self.limit.read().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: the word carries nothing but itself, and the exchange below decides.
        let mut word = self.due_ns.load(Ordering::Relaxed);
        loop {
            let (next, start) = limit.turn(word, now, patience_ns)?;
            // Relaxed, both: as above.
            match self.due_ns.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(start),
                Err(found) => word = found,
            }
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("name", &self.name).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A rate limit of a runtime, to change it. Clones are the same limit.
///
/// Got from [`Runtime::rate_limit`](crate::Runtime::rate_limit).
#[derive(Debug, Clone)]
pub struct RateLimitHandle {
    pub(super) pace: Arc<Pace>,
}

impl RateLimitHandle {
    /// Gives it another limit, with nothing counted. Tasks that wait already keep their turn.
    pub fn configure(&self, limit: RateLimit) {
        self.pace.configure(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::{Clock, FakeRelativeClock};
    use governor::{Quota, RateLimiter};
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};
    use std::num::NonZeroU32;
    use std::sync::Barrier;

    const SECOND_NS: u64 = 1_000_000_000;

    fn rng() -> TestRng {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11_u64);
        println!("SEED={seed}");
        let mut bytes = [0_u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
    }

    #[test]
    fn a_long_life_agrees_with_governor() {
        let mut rng = rng();
        for round in 0..20_u64 {
            let mut draw = |below: u64| rng.next_u64() % below;
            let rate = u32::try_from(1 + draw(2000)).unwrap();
            let burst = u32::try_from(1 + draw(20)).unwrap();
            let quota = Quota::per_second(NonZeroU32::new(rate).unwrap());
            let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap());
            let clock = FakeRelativeClock::default();
            let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
            let pace = Pace::new("", RateLimit::per_second(rate).burst(burst));
            // The oracle's clock starts at nothing, ours must be past what a burst looks back on.
            let mut now = 1 << 40;
            for step in 0..5_000 {
                let pause = draw(3 * SECOND_NS / u64::from(rate));
                clock.advance(Duration::from_nanos(pause));
                now += pause;
                let expected = oracle.check().map_err(|refused| refused.wait_time_from(clock.now()));
                let found = pace.take_turn_at(now, u64::MAX).map_err(Duration::from_nanos);
                assert_eq!(found, expected.map(|()| now), "round {round} step {step}");
            }
        }
    }

    /// Keeps every turn it has given.
    #[test]
    fn turns_of_those_that_wait_are_in_order_and_no_more_than_the_rate() {
        let mut rng = rng();
        let mut draw = |below: u64| rng.next_u64() % below;
        let limit = RateLimit::per_second(1000).burst(5).queue(20);
        let pace = Pace::new("", limit);
        let (mut now, mut turns) = (1_u64 << 40, Vec::<u64>::new());
        for step in 0..100_000 {
            now += draw(2_000_000);
            let patience = if draw(4) == 0 { draw(30_000_000) } else { u64::MAX };
            match pace.take_turn_at(now, patience) {
                Ok(turn) => {
                    assert!(turn >= now && turn - now <= patience.min(20_000_000), "step {step}");
                    assert!(turns.last().is_none_or(|last| turn >= *last), "step {step}");
                    // No six within the time that five intervals take: a burst is five.
                    if let Some(place) = turns.len().checked_sub(5) {
                        assert!(turn - turns[place] >= 1_000_000, "step {step}");
                    }
                    turns.push(turn);
                }
                Err(back_ns) => {
                    // Had it come then, it would have been let in.
                    let (word, later) = (pace.due_ns.load(Ordering::Relaxed), now + back_ns);
                    assert!(limit.turn(word, later, u64::MAX).is_ok(), "step {step}");
                }
            }
        }
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let pace = Pace::new("", RateLimit::every(Duration::from_secs(1000)).burst(100));
        let (start, now) = (Barrier::new(4), 1 << 50);
        let taken: usize = std::thread::scope(|scope| {
            let take = || {
                start.wait();
                (0..1000).filter(|_| pace.take_turn_at(now, 0).is_ok()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_nothing() {
        for limit in
            [RateLimit::per_second(0), RateLimit::per_second(u32::MAX), RateLimit::every(Duration::MAX)]
        {
            let pace = Pace::new("", limit.burst(u32::MAX).queue(u32::MAX));
            for now in [0, 1, u64::MAX] {
                let _ = pace.take_turn_at(now, u64::MAX);
            }
        }
    }
}
