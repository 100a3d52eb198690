//! Lanes: a set of lanes, as bits.

/// Words of a set. The model has one, so that it stays small.
pub(super) const WORDS: usize = if cfg!(loom) { 1 } else { 6 };

/// A set of lanes in this process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lanes {
    words: [u64; WORDS],
}

/// Word and bit of a lane in every set of lanes.
#[inline]
pub(super) fn bit(lane: usize) -> (usize, u64) {
    (lane / 64 % WORDS, 1 << (lane % 64))
}

impl Lanes {
    /// Most lanes there can be.
    pub const MAX: usize = WORDS * 64;

    #[inline]
    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    /// The lanes below `end`.
    #[must_use]
    pub fn below(end: usize) -> Self {
        let mut all = Self::default();
        (0..end.min(Self::MAX)).for_each(|lane| all.insert(lane));
        all
    }

    /// Adds a lane.
    #[inline]
    pub fn insert(&mut self, lane: usize) {
        let (word, bit) = bit(lane);
        self.words[word] |= bit;
    }

    /// Takes a lane out.
    #[inline]
    pub fn remove(&mut self, lane: usize) {
        let (word, bit) = bit(lane);
        self.words[word] &= !bit;
    }

    /// True if the lane is among them.
    #[must_use]
    #[inline]
    pub fn contains(&self, lane: usize) -> bool {
        let (word, bit) = bit(lane);
        self.words[word] & bit != 0
    }

    /// Those that are in both sets.
    #[must_use]
    #[inline]
    pub fn and(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(other.words).for_each(|(word, other)| *word &= other);
        self
    }

    /// Those that are in one of the sets.
    #[must_use]
    #[inline]
    pub fn or(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(other.words).for_each(|(word, other)| *word |= other);
        self
    }

    /// Those that are not in the other set.
    #[must_use]
    #[inline]
    pub fn without(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(other.words).for_each(|(word, other)| *word &= !other);
        self
    }

    /// True if there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The first lane from `start` on, around the end.
    #[must_use]
    #[inline]
    pub fn next_from(&self, start: usize) -> Option<usize> {
        let (first, _) = bit(start);
        let at_and_above = u64::MAX << (start % 64);
        if self.words[first] & at_and_above != 0 {
            return Some(first * 64 + (self.words[first] & at_and_above).trailing_zeros() as usize);
        }
        (1..=WORDS).map(|step| (first + step) % WORDS).find_map(|word| {
            let found = self.words[word];
            (found != 0).then(|| word * 64 + found.trailing_zeros() as usize)
        })
    }

    /// All of them, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let set = *self;
        (0..Self::MAX).filter(move |lane| set.contains(*lane))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_lanes_is_a_set(
            lanes in prop::collection::btree_set(0..Lanes::MAX, 0..40),
            others in prop::collection::btree_set(0..Lanes::MAX, 0..40),
            start in 0..Lanes::MAX,
        ) {
            let set = |lanes: &BTreeSet<usize>| {
                let mut set = Lanes::default();
                lanes.iter().for_each(|lane| set.insert(*lane));
                set
            };
            let (a, b) = (set(&lanes), set(&others));
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), lanes.clone());
            prop_assert_eq!((a.len(), a.is_empty()), (lanes.len(), lanes.is_empty()));
            prop_assert_eq!(a.and(&b), set(&lanes.intersection(&others).copied().collect()));
            prop_assert_eq!(a.or(&b), set(&lanes.union(&others).copied().collect()));
            prop_assert_eq!(a.without(&b), set(&lanes.difference(&others).copied().collect()));
            let next = lanes.range(start..).next().or_else(|| lanes.first());
            prop_assert_eq!(a.next_from(start), next.copied());
        }
    }

    #[test]
    fn below_is_all_of_them() {
        assert!(Lanes::below(130).iter().eq(0..130));
        let mut set = Lanes::below(3);
        set.remove(1);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 2]);
    }
}
