//! Histogram of durations in shared memory: one writer, any number of readers, also after a crash.
//!
//! Log-linear: each power of two is cut into [`SUB_BUCKETS`] equal parts, values below that count are exact.
//! A quantile is therefore off by at most half a part, one eighth of the value.
//!
//! ```text
//! byte 0  max      largest value ever, exact
//!      8  sum      of all values, wraps
//!     16  buckets  252 x u64: 0 1 2 3 | 4 5 6 7 | 8-9 10-11 12-13 14-15 | 16-19 ... up to 2^64 - 1
//! ```
//!
//! A snapshot taken while the writer records may miss the newest values, and `max` and `sum` may be a value
//! ahead of the buckets; its count is that of its own buckets, so that its quantiles always add up.
//!
//! Progress: wait-free.

use crate::sync::{AtomicU64, Ordering};

/// Parts of each power of two.
pub const SUB_BUCKETS: usize = 1 << SUB_BITS;
const SUB_BITS: u32 = 2;
/// Values 0..4 have a bucket each; then 62 powers of two, from 2^2 to 2^63, of four buckets each.
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// Counts of values by size, two kilobytes.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Histogram {
    /// Largest value, any unit. Written by the one writer; may be late.
    max: AtomicU64,
    /// Sum of all values. Written by the one writer; may be late.
    sum: AtomicU64,
    /// Number of values per bucket. Written by the one writer; may be late.
    buckets: [AtomicU64; BUCKETS],
}

#[cfg(not(loom))]
const _: () = assert!(BUCKETS == 252 && size_of::<Histogram>() == 2032);

/// A histogram at rest: what readers calculate with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    max: u64,
    sum: u64,
    count: u64,
    buckets: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            max: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Histogram {
    /// Counts one value. Only the one thread that owns the histogram: a second writer loses counts.
    #[inline]
    pub fn record(&self, ticks: u64) {
        raise(&self.max, ticks);
        add(&self.sum, ticks);
        add(&self.buckets[bucket_of(ticks)], 1);
    }

    /// Copies the counts. From any thread; see the header for what it may miss.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        // Relaxed, all of these: numbers for a person, each whole by itself.
        let buckets = std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed));
        HistogramSnapshot {
            max: self.max.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
            count: total(&buckets),
            buckets,
        }
    }
}

impl Default for HistogramSnapshot {
    fn default() -> Self {
        Self { max: 0, sum: 0, count: 0, buckets: [0; BUCKETS] }
    }
}

impl HistogramSnapshot {
    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Largest value, exact; 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Arithmetic mean, exact until the sum wraps; 0 if there is no value.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The value that the share `q` of all values does not exceed; none if there are no values.
    ///
    /// `q` is clamped to 0.0..=1.0. The answer is the middle of its bucket, at most one eighth off, and never
    /// above [`HistogramSnapshot::max`].
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = rank(q, self.count);
        let mut seen = 0u64;
        for (index, count) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank && seen > 0 {
                return Some(middle_of(index).min(self.max));
            }
        }
        None
    }

    /// Adds the values of `other`: of another worker, or of another period.
    pub fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        self.sum = self.sum.wrapping_add(other.sum);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count = total(&self.buckets);
    }
}

/// Which of `count` values, 1..=count in order of size, the share `q` ends with.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; `as` saturates")]
fn rank(q: f64, count: u64) -> u64 {
    let share = if q.is_nan() { 1.0 } else { q.clamp(0.0, 1.0) };
    ((share * count as f64).ceil() as u64).clamp(1, count.max(1))
}

/// Saturating: a hostile writer may have put any counts there.
fn total(buckets: &[u64; BUCKETS]) -> u64 {
    buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// The bucket of `value`, 0..BUCKETS.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "two bits of the value")]
fn bucket_of(value: u64) -> usize {
    // Setting the low bits puts 0..4 into the group of 4..8 for the exponent only.
    let exponent = (value | SUB_BUCKETS as u64).ilog2();
    let shift = exponent - SUB_BITS;
    // Group 0 holds 0..4 and group 1 holds 4..8, both with shift 0: the leading bit tells them apart.
    shift as usize * SUB_BUCKETS + (value >> shift) as usize
}

/// The smallest value of bucket `index`.
fn least_of(index: usize) -> u64 {
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    ((index - shift * SUB_BUCKETS) as u64) << shift
}

/// The value reported for bucket `index`.
fn middle_of(index: usize) -> u64 {
    let width = 1u64 << (index / SUB_BUCKETS).saturating_sub(1);
    least_of(index) + width / 2
}

#[inline]
fn add(place: &AtomicU64, more: u64) {
    // Relaxed: only this thread writes, and nothing is ordered by a histogram.
    place.store(place.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[inline]
fn raise(place: &AtomicU64, value: u64) {
    // Relaxed, both: as in `add`.
    if value > place.load(Ordering::Relaxed) {
        place.store(value, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{BUCKETS, bucket_of, least_of};

    #[test]
    fn buckets_cover_every_value_in_order() {
        for index in 1..BUCKETS {
            let least = least_of(index);
            assert_eq!(bucket_of(least), index);
            assert_eq!(bucket_of(least - 1), index - 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
