//! Hash: from a key to a partition, and from a partition to a member. Pure, and the same in every process.

use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A key as a distributed channel sees it: messages with equal keys go the same way, in order.
///
/// ```
/// use gorun_runtime::Key;
///
/// assert_eq!(Key::of("word"), Key::of(&String::from("word")));
/// assert_ne!(Key::of(&1_u64), Key::of(&2_u64));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key that stands for anything that can be hashed. Equal in all processes of one build, for equal values.
    #[must_use]
    #[inline]
    pub fn of<K: Hash + ?Sized>(key: &K) -> Self {
        let mut hasher = KeyHasher(0);
        key.hash(&mut hasher);
        Self(hasher.0)
    }

    /// The partition of this key, of so many.
    #[inline]
    pub(super) fn partition(self, partitions: usize) -> usize {
        jump(self.0, u32::try_from(partitions).unwrap_or(u32::MAX)) as usize
    }
}

/// Hashes without a secret, so that all processes agree: xxh3 over bytes, one mixing step for each number but the first.
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // A number by itself is a key as it is: it seeds the generator that the jumps go by.
        self.0 = if self.0 == 0 { number } else { mix(self.0.rotate_left(29) ^ number) };
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A step of SplitMix64: each bit of the number changes half of the result's.
#[inline]
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// The bucket of a key, 0..`buckets`: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).
///
/// With one bucket more, one key in so many moves, and only to the new one.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "31-bit numbers as the paper has them; the last jump saturates"
)]
pub(super) fn jump(mut key: u64, buckets: u32) -> u32 {
    const STRETCH: f64 = (1_u64 << 31) as f64;
    let mut step = || {
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        STRETCH / ((key >> 33) + 1) as f64
    };
    // The first jump is from before the first bucket, and multiplies by one.
    let (mut bucket, mut next) = (0_u64, step() as u64);
    while next < u64::from(buckets) {
        bucket = next;
        next = ((bucket + 1) as f64 * step()) as u64;
    }
    bucket as u32
}

/// Whose `thing` is, of those with a name: the one that draws the highest number for it. When one goes, only what was its
/// own changes hands; when one comes, only what becomes its own does.
#[inline]
pub(super) fn rendezvous<M>(
    thing: u64,
    members: impl IntoIterator<Item = M>,
    name: impl Fn(&M) -> u64,
) -> Option<M> {
    let thing = mix(thing);
    // Names break ties, so that the order in which members are listed does not matter.
    members.into_iter().max_by_key(|member| (mix(thing ^ mix(name(member))), name(member)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From implementations of the paper's text in other languages.
    const KNOWN: &[(u64, u32, u32)] = &[
        (1, 1, 0),
        (42, 57, 43),
        (256, 1024, 520),
        (3_735_883_980, 1, 0),
        (3_735_883_980, 666, 361),
        (16_045_690_984_833_335_023, 255, 237),
    ];

    #[test]
    fn jump_gives_the_known_buckets() {
        for (key, buckets, bucket) in KNOWN {
            assert_eq!(jump(*key, *buckets), *bucket, "key {key} of {buckets}");
        }
    }

    /// Standard deviations that a count may lie from what is expected: wrong once in a million such tests.
    const DEVIATIONS: f64 = 5.0;

    /// True if `count` of `trials` with this chance is no surprise.
    fn is_likely(count: usize, trials: usize, chance: f64) -> bool {
        let expected = trials as f64 * chance;
        let deviation = (trials as f64 * chance * (1.0 - chance)).sqrt();
        (count as f64 - expected).abs() <= DEVIATIONS * deviation + 1.0
    }

    #[test]
    fn keys_fill_the_partitions_evenly() {
        for buckets in [2, 16, 64, 256] {
            let mut counts = vec![0; buckets];
            (0..100_000_u64).for_each(|key| counts[Key::of(&key).partition(buckets)] += 1);
            assert!(
                counts.iter().all(|count| is_likely(*count, 100_000, 1.0 / buckets as f64)),
                "{counts:?}"
            );
            let mut counts = vec![0; buckets];
            (0..50_000).for_each(|key| counts[Key::of(&format!("key {key}")).partition(buckets)] += 1);
            assert!(counts.iter().all(|count| is_likely(*count, 50_000, 1.0 / buckets as f64)), "{counts:?}");
        }
    }

    #[test]
    fn every_part_of_a_key_counts() {
        let keys = [Key::of(&(1_u32, 2_u32)), Key::of(&(2_u32, 1_u32)), Key::of("12"), Key::of(&("1", "2"))];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|other| other != key), "{keys:?}");
        }
        assert_eq!(Key::of("word"), Key::of(&"word".to_owned()));
    }

    proptest! {
        #[test]
        fn one_bucket_more_takes_its_share_and_nothing_else_moves(buckets in 1..1000_u32, seed in any::<u64>()) {
            let trials = 5000;
            let mut moved = 0;
            for key in (0..trials as u64).map(|number| mix(seed ^ number)) {
                let (before, after) = (jump(key, buckets), jump(key, buckets + 1));
                prop_assert!(before < buckets);
                if before != after {
                    prop_assert_eq!(after, buckets, "a key moved between old buckets");
                    moved += 1;
                }
            }
            prop_assert!(is_likely(moved, trials, 1.0 / f64::from(buckets + 1)), "{moved} of {trials}");
        }

        #[test]
        fn a_member_that_leaves_loses_its_own_and_survivors_lose_nothing(
            members in 2..=1000_usize,
            leaver in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let things = 300;
            let all: Vec<u64> = (0..members as u64).map(|number| mix(seed ^ number)).collect();
            let leaver = all[leaver.index(members)];
            let rest: Vec<u64> = all.iter().copied().filter(|name| *name != leaver).collect();
            let mut moved = 0;
            for thing in 0..things {
                let before = rendezvous(thing as u64, all.iter().copied(), |name| *name).unwrap();
                let after = rendezvous(thing as u64, rest.iter().rev().copied(), |name| *name).unwrap();
                if before == leaver {
                    moved += 1;
                } else {
                    prop_assert_eq!(before, after, "a survivor lost what it had");
                }
            }
            prop_assert!(is_likely(moved, things, 1.0 / members as f64), "{moved} of {things}");
        }
    }

    #[test]
    fn nobody_has_what_there_is_nobody_for() {
        assert_eq!(rendezvous(1, Vec::<u64>::new(), |name| *name), None);
        assert_eq!(rendezvous(1, [7_u64], |name| *name), Some(7));
    }
}
