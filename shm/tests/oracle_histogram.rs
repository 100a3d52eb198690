//! The histogram against a sorted list of all values, over every backing.
#![cfg(not(loom))]

use gorun_shm::histogram::Histogram;
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::Backing;
use proptest::prelude::*;

/// Values of every size, not only the huge ones that a uniform choice gives.
fn value() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
}

fn exact_quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (q * sorted.len() as f64).ceil().max(1.0);
    let index = (1..sorted.len()).find(|index| *index as f64 >= rank).unwrap_or(sorted.len());
    sorted[index - 1]
}

proptest! {
    #[test]
    fn quantiles_are_within_an_eighth(mut values in prop::collection::vec(value(), 1..300), q in 0.0..=1.0f64) {
        for backing in Backing::ALL {
            let sides = backing.sides::<Histogram, AtomicU64>(0);
            values.iter().for_each(|value| sides.near().0.record(*value));
            let snapshot = sides.far().0.snapshot();
            values.sort_unstable();
            let exact = exact_quantile(&values, q);
            let found = snapshot.quantile(q).unwrap();
            prop_assert!(found.abs_diff(exact) <= exact / 8, "found {}, exact {}", found, exact);
            prop_assert_eq!(snapshot.count(), values.len() as u64);
            prop_assert_eq!(snapshot.max(), values[values.len() - 1]);
        }
    }

    #[test]
    fn merging_equals_recording_everything_in_one(
        first in prop::collection::vec(value(), 0..100),
        second in prop::collection::vec(value(), 0..100),
    ) {
        let histograms: [Histogram; 3] = Default::default();
        for value in &first {
            histograms[0].record(*value);
            histograms[2].record(*value);
        }
        for value in &second {
            histograms[1].record(*value);
            histograms[2].record(*value);
        }
        let mut merged = histograms[0].snapshot();
        merged.merge(&histograms[1].snapshot());
        prop_assert_eq!(merged, histograms[2].snapshot());
    }
}

#[test]
fn an_empty_histogram_has_no_quantile() {
    let snapshot = Histogram::default().snapshot();
    assert_eq!((snapshot.quantile(0.5), snapshot.count(), snapshot.mean()), (None, 0, 0));
}
