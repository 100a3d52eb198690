//! Budget: how many retries many tasks may have together, so that retries do not multiply an overload.

use gorun_shm::os::ticks;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts of one retry that are counted.
const PARTS: u64 = 1_000_000;
/// Retries that first attempts may save up, at most: after a long quiet time a burst is still bounded.
const SAVED_MAX: u64 = 100;
const SECOND_NS: u64 = 1_000_000_000;

/// Retries that many tasks share: a share of their first attempts, and a minimum per second for the quiet hours.
///
/// Clones share one budget. A retry that finds the budget empty does not happen: the task ends with the error it
/// has. At most 100 retries are saved up.
///
/// ```
/// use gorun_runtime::{Retry, RetryBudget, Task};
///
/// let budget = RetryBudget::share(0.1).min_per_second(5);
/// let retry = Retry::attempts(3).budget(&budget);
/// let task = Task::new(|| 6 * 7).retry(retry.clone());
/// assert_eq!(task.go().join()?, 42);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a budget is given to a `Retry`"]
pub struct RetryBudget {
    tokens: Arc<Mutex<Tokens>>,
}

impl RetryBudget {
    /// Allows `share` retries for each first attempt: 0.1 is one retry for ten tasks. Taken as 0.0..=1.0.
    pub fn share(share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=PARTS after the clamp"
        )]
        let earned = (share.clamp(0.0, 1.0) * PARTS as f64) as u64;
        let tokens = Tokens { earned_each: earned, ..Tokens::default() };
        Self { tokens: Arc::new(Mutex::new(tokens)) }
    }

    /// Allows this many retries a second besides, whatever the first attempts; 0 without this call.
    pub fn min_per_second(self, retries: u32) -> Self {
        self.with(|tokens| {
            tokens.per_second = u64::from(retries);
            tokens.granted = tokens.per_second * SECOND_NS;
            tokens.filled_ns = ticks::system_ns();
        });
        self
    }

    pub(super) fn note_first_attempt(&self) {
        self.with(Tokens::earn);
    }

    pub(super) fn take(&self) -> bool {
        let now = ticks::system_ns();
        self.with(|tokens| tokens.take(now))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tokens) -> T) -> T {
        act(&mut self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The counting, without lock and clock.
#[derive(Debug, Clone, Copy, Default)]
struct Tokens {
    /// Parts of a retry that a first attempt earns.
    earned_each: u64,
    /// Parts of retries saved up.
    saved: u64,
    per_second: u64,
    /// Of the minimum, what is left: one retry is `SECOND_NS` of it.
    granted: u64,
    /// When the minimum was last filled up, in nanoseconds.
    filled_ns: u64,
}

impl Tokens {
    fn earn(&mut self) {
        self.saved = (self.saved + self.earned_each).min(SAVED_MAX * PARTS);
    }

    fn take(&mut self, now_ns: u64) -> bool {
        let passed = now_ns.saturating_sub(self.filled_ns);
        self.filled_ns = self.filled_ns.max(now_ns);
        let full = self.per_second * SECOND_NS;
        self.granted = self.granted.saturating_add(passed.saturating_mul(self.per_second)).min(full);
        if self.granted >= SECOND_NS {
            self.granted -= SECOND_NS;
            return true;
        }
        if self.saved >= PARTS {
            self.saved -= PARTS;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(tokens: &mut Tokens, now_ns: u64) -> u32 {
        (0..1000).map(|_| u32::from(tokens.take(now_ns))).sum()
    }

    #[test]
    fn ten_first_attempts_earn_one_retry_at_a_tenth() {
        let budget = RetryBudget::share(0.1);
        (0..35).for_each(|_| budget.note_first_attempt());
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
        (0..5).for_each(|_| budget.note_first_attempt());
        assert!(budget.take() && !budget.take());
    }

    #[test]
    fn no_more_than_the_limit_is_saved_up() {
        let mut tokens = Tokens { earned_each: PARTS, ..Tokens::default() };
        (0..100_000).for_each(|_| tokens.earn());
        assert_eq!(u64::from(taken(&mut tokens, 0)), SAVED_MAX);
    }

    #[test]
    fn the_minimum_comes_back_with_time_and_is_not_saved_up() {
        let mut tokens = Tokens { per_second: 4, ..Tokens::default() };
        assert_eq!(taken(&mut tokens, SECOND_NS / 2), 2);
        assert_eq!(taken(&mut tokens, SECOND_NS / 2), 0);
        assert_eq!(taken(&mut tokens, SECOND_NS * 100), 4);
    }

    #[test]
    fn strange_shares_are_taken_as_nothing_or_all() {
        for (share, expected) in [(-1.0, 0), (7.0, 1), (f64::NAN, 0)] {
            let budget = RetryBudget::share(share);
            budget.note_first_attempt();
            assert_eq!(usize::from(budget.take()), expected, "{share}");
        }
    }
}
