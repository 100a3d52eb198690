//! Counters and gauges: one number each in shared memory, readable by anybody at any time, also after a crash.
//!
//! Written by their owner on the hot path, so a write is a plain load and store where one thread owns the
//! number, and one locked instruction where several do. Readers see each number whole, perhaps late; two
//! numbers read after each other need not belong to the same instant.
//!
//! Progress: wait-free.

use crate::sync::{AtomicU64, Ordering};
use std::fmt;

/// What a number counts: what `gorun stat` prints beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Snake-case name, unique in its segment: `tasks_stolen`.
    pub name: &'static str,
    /// In what the number is given.
    pub unit: Unit,
    /// One sentence: when it moves.
    pub meaning: &'static str,
}

/// In what a number is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: tasks, restarts, wake-ups.
    Count,
    /// Bytes.
    Bytes,
    /// Ticks of the processor's counter, see `os::ticks`.
    Ticks,
    /// Nanoseconds.
    Nanos,
}

/// A number that only goes up. Wraps after 2^64.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Counter {
    /// Written by one thread (`add`) or by several (`add_shared`), never both ways at the same time.
    value: AtomicU64,
}

/// A number that goes up and down. Below zero it reads as negative.
#[repr(C)]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Gauge {
    /// Two's complement. Written by one thread (`set`) or by several (`add_shared`).
    value: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Counter>() == 8 && size_of::<Gauge>() == 8);

impl Counter {
    /// Counts `count` more. Only the one thread that owns the counter: a second writer loses counts.
    #[inline]
    pub fn add(&self, count: u64) {
        // Relaxed: only this thread writes, and nothing is ordered by a counter.
        let value = self.value.load(Ordering::Relaxed);
        self.value.store(value.wrapping_add(count), Ordering::Relaxed); // Relaxed: as above.
    }

    /// Counts `count` more, from any thread.
    #[inline]
    pub fn add_shared(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed); // Relaxed: nothing is ordered by a counter.
    }

    /// The number now. May be late.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed) // Relaxed: a number for a person.
    }
}

impl Gauge {
    /// Sets the number. Only the one thread that owns the gauge.
    #[inline]
    pub fn set(&self, value: i64) {
        self.value.store(value.cast_unsigned(), Ordering::Relaxed); // Relaxed: nothing is ordered by a gauge.
    }

    /// Moves the number by `change`, from any thread.
    #[inline]
    pub fn add_shared(&self, change: i64) {
        // Relaxed: nothing is ordered by a gauge. Two's complement adds the same with and without a sign.
        self.value.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    /// Raises the number to `value` if it is lower: a high-water mark. Only the one thread that owns the gauge.
    #[inline]
    pub fn raise(&self, value: i64) {
        if value > self.get() {
            self.set(value);
        }
    }

    /// The number now. May be late.
    #[inline]
    #[must_use]
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed).cast_signed() // Relaxed: a number for a person.
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Ticks => "ticks",
            Self::Nanos => "ns",
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Counter, Gauge};

    #[test]
    fn counter_adds_both_ways() {
        let counter = Counter::default();
        counter.add(2);
        counter.add_shared(3);
        assert_eq!(counter.get(), 5);
    }

    #[test]
    fn gauge_goes_below_zero() {
        let gauge = Gauge::default();
        gauge.set(1);
        gauge.add_shared(-3);
        assert_eq!(gauge.get(), -2);
    }

    #[test]
    fn gauge_raise_keeps_the_highest() {
        let gauge = Gauge::default();
        gauge.raise(7);
        gauge.raise(4);
        assert_eq!(gauge.get(), 7);
    }
}
