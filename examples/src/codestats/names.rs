//! Identifiers: counted per file as slices of its bytes, carried home compactly, summed up in the host.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::language::Language;
use super::word_hash::WordHasher;

type WordMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// Counts the words of one file without copying them.
#[derive(Debug, Default)]
pub(crate) struct NameCounter<'s> {
    counts: WordMap<Word<'s>, u32>,
}

/// A word where it lies. Its comparison is made for short words: no call, eight bytes at a time.
#[derive(Debug, Clone, Copy, Eq)]
struct Word<'s>(&'s [u8]);

/// The identifiers of one file: two allocations, however many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The names, each ended by `\n`, in no particular order.
    text: String,
    /// How often each occurs, in the order of `text`.
    counts: Vec<u32>,
}

/// The identifiers of many files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NameTotals {
    counts: WordMap<String, u64>,
}

/// Bytes of source per different word, roughly; for the first size of the map.
const BYTES_PER_WORD: usize = 128;

/// Most words that room is made for beforehand.
const WORDS_EXPECTED_MAX: usize = 8192;

impl<'s> NameCounter<'s> {
    /// An empty counter for a file of so many bytes.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        let expected = (bytes / BYTES_PER_WORD).min(WORDS_EXPECTED_MAX);
        NameCounter { counts: WordMap::with_capacity_and_hasher(expected, BuildHasherDefault::default()) }
    }

    /// Counts one occurrence.
    pub(crate) fn add(&mut self, word: &'s [u8]) {
        *self.counts.entry(Word(word)).or_insert(0) += 1;
    }

    /// The words that are identifiers: not keywords, at least two characters, letters and digits only.
    pub(crate) fn into_names(self, language: &Language) -> Names {
        let mut names = Names::default();
        for (Word(word), count) in self.counts {
            if let Ok(word) = str::from_utf8(word)
                && is_name(word)
                && !language.is_keyword(word)
            {
                names.push(word, count);
            }
        }
        names
    }
}

impl Hash for Word<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl PartialEq for Word<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (words, rest) = self.0.as_chunks::<8>();
        let (other_words, other_rest) = other.0.as_chunks::<8>();
        // As numbers and one by one: comparing the slices would be a call to `memcmp`.
        let equal =
            |(word, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*word) == u64::from_le_bytes(*other);
        self.0.len() == other.0.len()
            && words.iter().zip(other_words).all(equal)
            && rest.iter().zip(other_rest).all(|(byte, other)| byte == other)
    }
}

impl Names {
    fn push(&mut self, name: &str, count: u32) {
        self.text.push_str(name);
        self.text.push('\n');
        self.counts.push(count);
    }

    /// Each name with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.text.lines().zip(self.counts.iter().copied())
    }
}

impl NameTotals {
    /// Adds the identifiers of one file.
    pub(crate) fn add(&mut self, names: &Names) {
        for (name, count) in names.iter() {
            match self.counts.get_mut(name) {
                Some(total) => *total += u64::from(count),
                None => {
                    self.counts.insert(name.to_owned(), u64::from(count));
                }
            }
        }
    }

    /// How often the name occurs.
    pub(crate) fn count_of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// All names with their counts, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The `count` commonest names, commonest first, equally common ones by name.
    pub(crate) fn commonest(&self, count: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(count);
        all
    }
}

fn is_name(word: &str) -> bool {
    word.is_ascii() || (word.chars().all(is_name_character) && word.chars().nth(1).is_some())
}

fn is_name_character(character: char) -> bool {
    character.is_ascii() || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::codestats::language::LanguageIndex;

    fn names_of(words: &[&'static [u8]]) -> Vec<(String, u32)> {
        let rust = LanguageIndex::of(Path::new("a.rs")).unwrap().language();
        let mut counter = NameCounter::default();
        words.iter().for_each(|word| counter.add(word));
        let names = counter.into_names(rust);
        let mut names: Vec<_> = names.iter().map(|(name, count)| (name.to_owned(), count)).collect();
        names.sort();
        names
    }

    #[test]
    fn equal_words_are_counted_together() {
        assert_eq!(names_of(&[b"tail", b"head", b"tail"]), [("head".into(), 1), ("tail".into(), 2)]);
    }

    #[test]
    fn keywords_are_left_out() {
        assert_eq!(names_of(&[b"match", b"matched", b"self"]), [("matched".into(), 1)]);
    }

    #[test]
    fn a_single_character_is_no_name_even_if_it_has_two_bytes() {
        assert_eq!(names_of(&["é".as_bytes(), "été".as_bytes()]), [("été".into(), 1)]);
    }

    #[test]
    fn signs_and_invalid_text_are_no_names() {
        assert_eq!(names_of(&["→→".as_bytes(), b"caf\xE9"]), []);
    }

    #[test]
    fn the_commonest_come_first_and_equal_ones_by_name() {
        let mut totals = NameTotals::default();
        let mut names = Names::default();
        for (name, count) in [("beta", 2), ("alpha", 2), ("gamma", 7), ("delta", 1)] {
            names.push(name, count);
        }
        totals.add(&names);
        assert_eq!(totals.commonest(3), [("gamma", 7), ("alpha", 2), ("beta", 2)]);
    }

    #[test]
    fn totals_of_two_files_add_up() {
        let mut totals = NameTotals::default();
        let mut names = Names::default();
        names.push("head", 3);
        totals.add(&names);
        totals.add(&names);
        assert_eq!(totals.count_of("head"), 6);
        assert_eq!(totals.count_of("tail"), 0);
    }
}
