//! Recent: things by their key, of which the one not used for longest goes when there are too many.

use std::collections::HashMap;
use std::hash::Hash;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    kept_max: usize,
    /// Uses so far: the clock by which the oldest is known.
    uses: u64,
    kept: HashMap<K, (u64, V)>,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(kept_max: usize) -> Self {
        Self { kept_max, uses: 0, kept: HashMap::new() }
    }

    /// What is kept under the key, or what `make` gives; and what had to go for it.
    pub(super) fn use_or_make(&mut self, key: K, make: impl FnOnce() -> V) -> (V, Option<V>) {
        self.uses += 1;
        let mut gone = None;
        if self.kept.len() >= self.kept_max && !self.kept.contains_key(&key) {
            let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            gone = oldest.and_then(|oldest| self.kept.remove(&oldest)).map(|(_, value)| value);
        }
        let (used, value) = self.kept.entry(key).or_insert_with(|| (0, make()));
        *used = self.uses;
        (value.clone(), gone)
    }

    /// Takes all.
    pub(super) fn take_all(&mut self) -> Vec<V> {
        self.kept.drain().map(|(_, (_, value))| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_bounded_and_the_one_not_used_for_longest_goes() {
        let mut recent = Recent::new(3);
        let mut ask = |key: u8, value: &'static str| recent.use_or_make(key, || value);
        for (key, value) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(ask(key, value), (value, None));
        }
        assert_eq!(ask(1, "new"), ("a", None));
        assert_eq!((ask(4, "d"), ask(2, "e")), (("d", Some("b")), ("e", Some("c"))));
        assert_eq!((recent.take_all().len(), recent.take_all().len()), (3, 0));
    }
}
