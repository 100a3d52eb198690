//! CPU set: processors by the kernel's numbers, up to the 1024 that its calls take by default.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Words of a set.
pub const WORDS: usize = 16;
const BITS: u32 = 64;

/// A set of processors, each named by the number that the kernel gives it, below [`CpuSet::CPUS_MAX`].
///
/// Written and read as the kernel does it: `0-3,8`.
///
/// ```
/// use gorun_worker::cpu_set::CpuSet;
///
/// let cpus: CpuSet = "0-2,8".parse()?;
/// assert_eq!(cpus.iter().collect::<Vec<_>>(), [0, 1, 2, 8]);
/// assert_eq!(cpus.to_string(), "0-2,8");
/// # Ok::<(), gorun_worker::cpu_set::CpuListError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuSet([u64; WORDS]);

/// Why a text is no list of processors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no list of processors; it looks like 0-3,8, with numbers below {}", CpuSet::CPUS_MAX)]
pub struct CpuListError {
    text: String,
}

impl CpuSet {
    /// Numbers are below this.
    pub const CPUS_MAX: u32 = BITS * 16;

    /// The set that these words are, lowest processor in the lowest bit of the first.
    #[must_use]
    pub fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// The words of the set.
    #[must_use]
    pub fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Adds a processor; false if its number is too high.
    pub fn insert(&mut self, cpu: u32) -> bool {
        let Some(word) = self.0.get_mut((cpu / BITS) as usize) else { return false };
        *word |= 1 << (cpu % BITS);
        true
    }

    /// True if the processor is in it.
    #[must_use]
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.get((cpu / BITS) as usize).is_some_and(|word| word >> (cpu % BITS) & 1 == 1)
    }

    /// How many processors are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if none is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The lowest.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// The processor, if it is the only one.
    #[must_use]
    pub fn single(&self) -> Option<u32> {
        self.first().filter(|_| self.len() == 1)
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// Those that are in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).step_by(BITS as usize).zip(self.0).flat_map(|(base, word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(base + bit)
            })
        })
    }
}

impl FromIterator<u32> for CpuSet {
    /// Numbers that are too high are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::default();
        cpus.into_iter().for_each(|cpu| {
            set.insert(cpu);
        });
        set
    }
}

impl FromStr for CpuSet {
    type Err = CpuListError;

    /// Reads the kernel's list form. An empty text is an empty set.
    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let bad = || CpuListError { text: text.trim().to_owned() };
        let mut set = Self::default();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u32>().ok().filter(|cpu| *cpu < Self::CPUS_MAX);
            let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
            if first > last {
                return Err(bad());
            }
            set.0 = Self::from_iter(set.iter().chain(first..=last)).0;
        }
        Ok(set)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

impl Serialize for CpuSet {
    /// As the kernel's list in text, as its words in gorun's own messages.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self(Deserialize::deserialize(deserializer)?));
        }
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does_it() {
        for (text, shown) in
            [("", ""), ("0", "0"), ("0-3\n", "0-3"), (" 8,0-1,1 ", "0-1,8"), ("1023", "1023")]
        {
            assert_eq!(text.parse::<CpuSet>().map(|cpus| cpus.to_string()).as_deref(), Ok(shown));
        }
        for text in ["x", "3-1", "1024", "0-9999999999", "1,,2", "-1", "1-", ","] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_too_high_is_left_out() {
        let mut set = CpuSet::default();
        assert!(!set.insert(1024));
        assert!(!set.contains(1024));
        assert!(set.is_empty());
        assert!(set.insert(1023));
        assert_eq!(set.single(), Some(1023));
    }

    proptest! {
        #[test]
        fn a_set_is_a_set(left in prop::collection::btree_set(0_u32..1024, 0..40),
                          right in prop::collection::btree_set(0_u32..1024, 0..40)) {
            let (a, b): (CpuSet, CpuSet) = (left.iter().copied().collect(), right.iter().copied().collect());
            prop_assert!(a.iter().eq(left.iter().copied()));
            prop_assert_eq!(a.len(), left.len());
            prop_assert!(a.intersection(&b).iter().eq(left.intersection(&right).copied()));
            prop_assert!(a.difference(&b).iter().eq(left.difference(&right).copied()));
            prop_assert_eq!(a.to_string().parse::<CpuSet>(), Ok(a));
            prop_assert_eq!(CpuSet::from_words(*a.words()), a);
        }
    }
}
