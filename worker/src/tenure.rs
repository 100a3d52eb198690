//! Tenure: how long a worker serves before it makes room for a fresh one.
//!
//! Between two tasks of its own it looks whether it has run enough of them, is old enough, or has grown too large;
//! then it leaves, and the host fills its seat as after a death, but counts none. What ran was finished, what stands in
//! the lane is for the next.
//!
//! It may also leave because there was nothing to do for a while. Its seat then rests until a task comes that no other
//! worker is awake for. That is looked at only when the worker is about to sleep, so a task costs nothing more by it.

use crate::os::memory;
use crate::wire::control::{Departure, TenureTerms};
use gorun_shm::os::ticks;
use gorun_shm::sync::Ordering;
use std::cell::Cell;

/// How a worker's own rules stand.
#[derive(Debug)]
pub(crate) struct Tenure {
    tasks_left: Cell<u64>,
    /// When it is old enough, in ticks.
    ends: u64,
    memory_max: u64,
    /// Pause between two looks at the memory, in ticks.
    look_ticks: u64,
    next_look: Cell<u64>,
    /// Ticks without a task after which it leaves.
    rest_ticks: u64,
    /// The first seat whose worker may leave for that.
    seats_min: u32,
    /// Tasks of the seat, and the time, when the worker was about to sleep for the first time after the last of them.
    idle: Cell<(u64, u64)>,
    over: Cell<Option<Departure>>,
}

impl Tenure {
    /// A tenure that begins now.
    pub(crate) fn begin(terms: &TenureTerms) -> Self {
        let unless_zero = |value: u64| if value == 0 { u64::MAX } else { value };
        let now = ticks::now();
        // Relaxed, all of these: written before the fork.
        let age = unless_zero(terms.age_ticks.load(Ordering::Relaxed));
        Self {
            tasks_left: Cell::new(unless_zero(terms.tasks.load(Ordering::Relaxed))), // Relaxed: as above.
            ends: now.saturating_add(age),
            memory_max: unless_zero(terms.memory_bytes.load(Ordering::Relaxed)), // Relaxed: as above.
            look_ticks: terms.look_ticks.load(Ordering::Relaxed),                // Relaxed: as above.
            next_look: Cell::new(0),
            rest_ticks: unless_zero(terms.rest_ticks.load(Ordering::Relaxed)), // Relaxed: as above.
            seats_min: terms.seats_min.load(Ordering::Relaxed),                // Relaxed: as above.
            idle: Cell::new((u64::MAX, 0)),
            over: Cell::new(None),
        }
    }

    /// One that has no end.
    pub(crate) fn endless() -> Self {
        Self::begin(&TenureTerms::default())
    }

    /// So many tasks of its own, items of a range included, have ended `now`.
    #[inline]
    pub(crate) fn count(&self, tasks: u64, now: u64) {
        let left = self.tasks_left.get().saturating_sub(tasks);
        self.tasks_left.set(left);
        if left == 0 || now >= self.ends || (self.memory_max != u64::MAX && self.is_too_large(now)) {
            self.over.set(Some(Departure::Tenure));
        }
    }

    #[cold]
    fn is_too_large(&self, now: u64) -> bool {
        if now < self.next_look.get() {
            return false;
        }
        self.next_look.set(now.saturating_add(self.look_ticks));
        memory::resident() > self.memory_max
    }

    /// True once the worker should leave.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// Why it should leave.
    pub(crate) fn departure(&self) -> Option<Departure> {
        self.over.get()
    }

    /// The worker of `seat`, which has run `tasks` so far, is about to sleep: ticks that it may, none for ever. Its time
    /// is over once they are 0.
    pub(crate) fn rest_left(&self, seat: u16, tasks: u64, now: u64) -> Option<u64> {
        if self.rest_ticks == u64::MAX || u32::from(seat) < self.seats_min {
            return None;
        }
        let (known, since) = self.idle.get();
        if known != tasks {
            self.idle.set((tasks, now));
            return Some(self.rest_ticks);
        }
        let left = self.rest_ticks.saturating_sub(now.saturating_sub(since));
        if left == 0 {
            self.over.set(Some(Departure::Rest));
        }
        Some(left)
    }

    /// Ticks until it is old enough; none if it never is. For a worker that sleeps.
    pub(crate) fn ticks_left(&self, now: u64) -> Option<u64> {
        (self.ends != u64::MAX).then(|| self.ends.saturating_sub(now))
    }

    /// A sleeper woke up: it may have grown old.
    pub(crate) fn look_at_age(&self, now: u64) {
        if now >= self.ends {
            self.over.set(Some(Departure::Tenure));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun_shm::sync::AtomicU64;

    fn terms(tasks: u64, age_ticks: u64, memory_bytes: u64) -> TenureTerms {
        let word = AtomicU64::new;
        TenureTerms {
            tasks: word(tasks),
            age_ticks: word(age_ticks),
            memory_bytes: word(memory_bytes),
            look_ticks: word(0),
            ..TenureTerms::default()
        }
    }

    #[test]
    fn idleness_ends_it_where_the_seat_may_rest() {
        let rests =
            TenureTerms { rest_ticks: AtomicU64::new(100), seats_min: 1.into(), ..TenureTerms::default() };
        let tenure = Tenure::begin(&rests);
        assert_eq!(tenure.rest_left(0, 7, 1_000), None);
        assert_eq!(tenure.rest_left(1, 7, 1_000), Some(100));
        assert_eq!(tenure.rest_left(1, 7, 1_060), Some(40));
        assert_eq!(tenure.rest_left(1, 8, 1_099), Some(100), "a task came between");
        assert_eq!((tenure.rest_left(1, 8, 1_199), tenure.departure()), (Some(0), Some(Departure::Rest)));
    }

    #[test]
    fn the_last_task_ends_it() {
        let tenure = Tenure::begin(&terms(3, 0, 0));
        tenure.count(1, 0);
        tenure.count(1, 0);
        assert!(!tenure.is_over());
        tenure.count(1, 0);
        assert!(tenure.is_over());
    }

    #[test]
    fn age_ends_it_asleep_or_awake() {
        let tenure = Tenure::begin(&terms(0, 1_000_000_000_000, 0));
        tenure.count(1, ticks::now());
        assert!(!tenure.is_over() && tenure.ticks_left(u64::MAX) == Some(0));
        tenure.look_at_age(u64::MAX);
        assert!(tenure.is_over());
        assert_eq!(Tenure::endless().ticks_left(0), None);
    }

    #[test]
    fn size_ends_it() {
        let (small, large) = (Tenure::begin(&terms(0, 0, 4096)), Tenure::begin(&terms(0, 0, 1 << 50)));
        small.count(1, 1);
        large.count(1, 1);
        assert!(small.is_over() && !large.is_over());
    }
}
