//! A language: its name, the files it is found in, its keywords and its lexical rules.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::catalogue::LANGUAGES;
use super::syntax::{Quirk, Syntax};

/// One row of the catalogue.
#[derive(Debug)]
pub(crate) struct Language {
    /// As the report shows it.
    pub(crate) name: &'static str,
    /// File extensions in lower case, without the dot.
    pub(crate) extensions: &'static [&'static str],
    /// Whole file names that need no extension.
    pub(crate) file_names: &'static [&'static str],
    /// Words that are not identifiers, sorted; in lower case if the case does not matter.
    pub(crate) keywords: &'static [&'static str],
    /// Comments, strings and the rest.
    pub(crate) syntax: Syntax,
}

/// Place of a language in the catalogue. Host and worker are one program, so the number means the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LanguageIndex(u16);

impl LanguageIndex {
    /// The language of a file, judged by its name; `None` for what is no source file.
    pub(crate) fn of(path: &Path) -> Option<LanguageIndex> {
        let name = path.file_name()?.to_str()?;
        let by_name = LANGUAGES.iter().position(|language| language.file_names.contains(&name));
        let index = by_name.or_else(|| by_extension(path))?;
        u16::try_from(index).ok().map(LanguageIndex)
    }

    /// The row of the catalogue.
    pub(crate) fn language(self) -> &'static Language {
        &LANGUAGES[usize::from(self.0)]
    }
}

impl Language {
    /// Whether the word is part of the language itself.
    pub(crate) fn is_keyword(&self, word: &str) -> bool {
        let known = |word: &str| self.keywords.binary_search(&word).is_ok();
        if self.syntax.has(Quirk::CaselessKeywords) { known(&word.to_ascii_lowercase()) } else { known(word) }
    }
}

fn by_extension(path: &Path) -> Option<usize> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    LANGUAGES.iter().position(|language| language.extensions.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name_of(path: &str) -> Option<&'static str> {
        LanguageIndex::of(Path::new(path)).map(|index| index.language().name)
    }

    #[test]
    fn a_file_is_known_by_its_extension_in_any_case() {
        assert_eq!(name_of("a/b/lib.rs"), Some("Rust"));
        assert_eq!(name_of("start.S"), Some("Assembly (GNU)"));
        assert_eq!(name_of("INDEX.HTML"), Some("HTML"));
    }

    #[test]
    fn a_file_without_extension_is_known_by_its_name() {
        assert_eq!(name_of("src/Makefile"), Some("Make"));
        assert_eq!(name_of("CMakeLists.txt"), Some("CMake"));
    }

    #[test]
    fn other_files_are_not_sources() {
        assert_eq!(name_of("README"), None);
        assert_eq!(name_of("picture.png"), None);
        assert_eq!(name_of(".rs"), None);
        assert_eq!(name_of(".."), None);
    }

    #[test]
    fn keywords_are_sorted_so_that_they_can_be_searched() {
        for language in LANGUAGES {
            let sorted = language.keywords.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(sorted, "keywords of {} are not sorted or hold a word twice", language.name);
        }
    }

    #[test]
    fn keywords_of_a_caseless_language_are_found_in_any_case() {
        let sql = LanguageIndex::of(Path::new("x.sql")).unwrap().language();
        assert!(sql.is_keyword("SELECT") && sql.is_keyword("select") && !sql.is_keyword("orders"));
    }

    #[test]
    fn no_extension_belongs_to_two_languages() {
        let mut seen = HashSet::new();
        for extension in LANGUAGES.iter().flat_map(|language| language.extensions) {
            assert!(seen.insert(extension), "{extension} is listed twice");
        }
    }
}
