//! Compares two runs of the same job.

use std::collections::BTreeSet;

use super::tally::{LanguageTotal, Tally};

/// Most differences that are told.
const DIFFERENCES_MAX: usize = 10;

/// What differs between two tallies that should be equal, in sentences; empty if nothing does.
///
/// Lost files are not compared: the run on a plain thread leaves them out beforehand.
pub(crate) fn differences(expected: &Tally, found: &Tally) -> Vec<String> {
    let mut all = language_differences(expected, found);
    all.extend(name_differences(expected, found));
    if expected.unreadable != found.unreadable {
        let (expected, found) = (expected.unreadable.len(), found.unreadable.len());
        all.push(format!("unreadable files: {expected} expected, {found} found, or for other reasons"));
    }
    let more = all.len().saturating_sub(DIFFERENCES_MAX);
    all.truncate(DIFFERENCES_MAX);
    if more > 0 {
        all.push(format!("and {more} more differences"));
    }
    all
}

fn language_differences(expected: &Tally, found: &Tally) -> Vec<String> {
    let languages: BTreeSet<_> = expected.languages.keys().chain(found.languages.keys()).collect();
    let total_in = |tally: &Tally, language| tally.languages.get(language).copied().unwrap_or_default();
    let differing = languages.into_iter().filter_map(|index| {
        let (expected, found) = (total_in(expected, index), total_in(found, index));
        let told =
            || format!("{}: {} expected, {} found", index.language().name, tell(expected), tell(found));
        (expected != found).then(told)
    });
    differing.collect()
}

fn name_differences(expected: &Tally, found: &Tally) -> Vec<String> {
    if expected.names == found.names {
        return Vec::new();
    }
    let names: BTreeSet<&str> =
        expected.names.iter().chain(found.names.iter()).map(|(name, _)| name).collect();
    let differing = names.into_iter().filter_map(|name| {
        let (expected, found) = (expected.names.count_of(name), found.names.count_of(name));
        (expected != found).then(|| format!("identifier {name}: {expected} expected, {found} found"))
    });
    differing.collect()
}

fn tell(total: LanguageTotal) -> String {
    let LanguageTotal { files, lines } = total;
    format!(
        "{files} files with {} lines ({} code, {} comment, {} blank) and {} bytes",
        lines.lines, lines.code, lines.comment, lines.blank, lines.bytes
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::codestats::count::{FileTask, count_source};
    use crate::codestats::language::LanguageIndex;
    use crate::codestats::tally::Verdict;

    fn tally(sources: &[&str]) -> Tally {
        let path = Path::new("a.rs");
        let index = LanguageIndex::of(path).unwrap();
        let tasks: Vec<_> = sources.iter().map(|_| FileTask::new(path, index)).collect();
        let counted = sources.iter().map(|source| count_source(source.as_bytes(), index.language()));
        Tally::of(&tasks, counted.map(|counts| Verdict::Done(Ok(counts))))
    }

    #[test]
    fn equal_tallies_do_not_differ() {
        assert_eq!(differences(&tally(&["let a1 = 1;\n"]), &tally(&["let a1 = 1;\n"])), [""; 0]);
    }

    #[test]
    fn a_missing_line_and_a_missing_name_are_told() {
        let told = differences(&tally(&["let head = 1;\n\n"]), &tally(&["let tail = 1;\n"]));
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("Rust: 1 files with 2 lines"), "{}", told[0]);
        assert_eq!(told[1], "identifier head: 1 expected, 0 found");
    }

    #[test]
    fn many_differences_are_cut_short_with_their_number() {
        let names: String = (10..40).map(|number| format!("name{number} ")).collect();
        let told = differences(&tally(&[&names]), &tally(&["a"]));
        assert_eq!(told.last().unwrap(), "and 21 more differences");
    }
}
