//! Backoff: how long to wait before the next attempt. Pure: the same attempt and random number give the same pause.

use std::time::Duration;

/// Longest pause of any backoff: a day. Longer ones are cut, so that sums of times never overflow.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause after a failed attempt.
///
/// Growing pauses give what fails the time to recover. Jitter keeps those that failed together from coming back
/// together: [`Backoff::full_jitter`] is the method of that name in Marc Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015, which found it to need the least calls of the variants compared there.
///
/// ```
/// use gorun_runtime::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(10), Duration::from_millis(50));
/// let pauses: Vec<u128> = (1..=4).map(|failed| backoff.pause(failed, 0).as_millis()).collect();
/// assert_eq!(pauses, [10, 20, 40, 50]);
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "a backoff is given to a `Retry`"]
pub struct Backoff {
    shape: Shape,
    jitter: bool,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Fixed(Duration),
    Exponential { first: Duration, max: Duration },
    Fibonacci { first: Duration, max: Duration },
    Custom(fn(u32) -> Duration),
}

impl Backoff {
    /// No pause at all.
    pub const fn none() -> Self {
        Self::fixed(Duration::ZERO)
    }

    /// Always the same pause.
    pub const fn fixed(pause: Duration) -> Self {
        Self { shape: Shape::Fixed(pause), jitter: false }
    }

    /// `first`, then twice as long each time, `max` at most.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self { shape: Shape::Exponential { first, max }, jitter: false }
    }

    /// `first` times 1, 1, 2, 3, 5, 8 and so on, `max` at most: grows more slowly than an exponential one.
    pub const fn fibonacci(first: Duration, max: Duration) -> Self {
        Self { shape: Shape::Fibonacci { first, max }, jitter: false }
    }

    /// What `pause` says for the number of the attempt that failed, counted from 1.
    pub const fn custom(pause: fn(u32) -> Duration) -> Self {
        Self { shape: Shape::Custom(pause), jitter: false }
    }

    /// Every pause becomes a random one between zero and what it would have been.
    pub const fn full_jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// The pause after the attempt of number `failed`, counted from 1, is over; a day at most.
    ///
    /// `random` is any number, evenly spread; it is used with [`Backoff::full_jitter`] only.
    #[must_use]
    pub fn pause(&self, failed: u32, random: u64) -> Duration {
        let steps = failed.max(1) - 1;
        let pause = match self.shape {
            Shape::Fixed(pause) => pause,
            Shape::Exponential { first, max } => first.saturating_mul(2_u32.saturating_pow(steps)).min(max),
            Shape::Fibonacci { first, max } => first.saturating_mul(fibonacci(steps)).min(max),
            Shape::Custom(pause) => pause(failed.max(1)),
        };
        let pause = pause.min(PAUSE_MAX);
        if self.jitter { share_of(pause, random) } else { pause }
    }
}

/// 1, 1, 2, 3, 5, 8 and so on, at most `u32::MAX`.
fn fibonacci(steps: u32) -> u32 {
    let (mut this, mut next) = (1_u32, 1_u32);
    for _ in 0..steps {
        (this, next) = (next, this.saturating_add(next));
        if this == u32::MAX {
            break;
        }
    }
    this
}

/// A part of `pause` between nothing and all of it, evenly spread as `random` is.
fn share_of(pause: Duration, random: u64) -> Duration {
    // A day in nanoseconds has 47 bits: the product fits.
    let nanos = ((pause.as_nanos() + 1) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn pauses(backoff: Backoff, count: u32) -> Vec<u128> {
        (1..=count).map(|failed| backoff.pause(failed, u64::MAX).as_millis()).collect()
    }

    #[test]
    fn each_shape_has_its_sequence() {
        assert_eq!(pauses(Backoff::none(), 3), [0, 0, 0]);
        assert_eq!(pauses(Backoff::fixed(MS(7)), 3), [7, 7, 7]);
        assert_eq!(pauses(Backoff::exponential(MS(1), MS(1000)), 6), [1, 2, 4, 8, 16, 32]);
        assert_eq!(pauses(Backoff::fibonacci(MS(1), MS(1000)), 7), [1, 1, 2, 3, 5, 8, 13]);
        let custom = Backoff::custom(|failed| MS(u64::from(failed) * 100));
        assert_eq!(pauses(custom, 3), [100, 200, 300]);
    }

    #[test]
    fn growing_pauses_stop_at_their_cap_and_never_overflow() {
        for backoff in [Backoff::exponential(MS(1), MS(20)), Backoff::fibonacci(MS(1), MS(20))] {
            assert_eq!(backoff.pause(10, 0), MS(20));
            assert_eq!(backoff.pause(u32::MAX, 0), MS(20));
        }
        assert_eq!(Backoff::exponential(MS(1), Duration::MAX).pause(200, 0), PAUSE_MAX);
        assert_eq!(Backoff::fixed(Duration::MAX).full_jitter().pause(1, u64::MAX), PAUSE_MAX);
    }

    #[test]
    fn full_jitter_reaches_from_nothing_to_the_whole_pause() {
        let backoff = Backoff::fixed(MS(8)).full_jitter();
        assert_eq!(backoff.pause(1, 0), Duration::ZERO);
        assert_eq!(backoff.pause(1, 1 << 63), MS(4));
        assert_eq!(backoff.pause(1, u64::MAX), MS(8));
    }

    proptest! {
        #[test]
        fn no_jittered_pause_is_longer_than_the_plain_one(failed in 0..300_u32, first in 0..1_000_000_u64, random: u64) {
            let plain = Backoff::exponential(Duration::from_nanos(first), MS(50));
            prop_assert!(plain.full_jitter().pause(failed, random) <= plain.pause(failed, random));
            prop_assert!(plain.pause(failed, random) <= plain.pause(failed + 1, random));
        }
    }
}
