//! Names that say nothing, and files that do not say what they hold.

use super::{Finding, Source};

const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "base", "misc", "helper", "helpers", "manager", "imp"];

pub(crate) fn check_name(source: &Source) -> Vec<Finding> {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
    let fix = "name the file after the one noun it holds";
    empty.map(|part| Finding::new(source.path, 0, format!("the name `{part}` says nothing"), fix)).collect()
}

pub(crate) fn check_header(source: &Source) -> Vec<Finding> {
    // What must not compile is kept as short as its error message is long.
    if source.path.contains("/tests/ui/") {
        return Vec::new();
    }
    let mut lines = source.code.iter().zip(&source.comments);
    let before_code =
        lines.by_ref().take_while(|(code, _)| code.trim().is_empty() || code.starts_with("#!["));
    let mut comments = before_code.map(|(_, comment)| comment.trim());
    if comments.any(|comment| comment.starts_with("//!")) {
        return Vec::new();
    }
    let fix = "open it with `//!` and one sentence: what lives here";
    vec![Finding::new(source.path, 0, "the file has no header", fix)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_eq!(check_name(&Source::new("runtime/src/util.rs", "")).len(), 1);
        assert_eq!(check_name(&Source::new("runtime/src/common/mod.rs", "")).len(), 1);
        assert_eq!(check_name(&Source::new("runtime/src/database.rs", "")), []);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert!(check_header(&Source::new("a.rs", "use std::fs;\n//! Too late.\n")).len() == 1);
        assert!(check_header(&Source::new("a.rs", "")).len() == 1);
        assert!(
            check_header(&Source::new("a.rs", "// UNSAFETY: x.\n#![expect(x)]\n//! Holds a noun.\n"))
                .is_empty()
        );
    }
}
