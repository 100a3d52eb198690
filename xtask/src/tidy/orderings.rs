//! Memory orderings that do not say why: counted, and the count may only fall.

use super::{Finding, Source, has_word};

const LIBRARIES: &[&str] =
    &["macros/src/", "shm/src/", "worker/src/", "runtime/src/", "events/src/", "cluster/src/", "gorun/src/"];
const ORDERINGS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
/// How far above its line an ordering may be explained.
const REACH_LINES: usize = 3;
/// How a comment says that it explains a run of orderings, down to the end of its function.
const WHOLE: &[&str] = &["all of these", "all but", "and below"];
const KEY: &str = "orderings_without_comment";

/// The places (`file:line`) of the orderings without a comment on their line or just above.
pub(crate) fn unexplained(source: &Source) -> Vec<String> {
    if !LIBRARIES.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let uses = source.live().filter(|(_, line)| names_ordering(line));
    let bare = uses.filter(|(index, _)| !is_explained(source, *index));
    bare.map(|(index, _)| format!("{}:{}", source.path, index + 1)).collect()
}

/// The committed limit, read from the text of the ratchet file.
pub(crate) fn limit(text: &str) -> Option<usize> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter(|(key, _)| key.trim() == KEY).find_map(|(_, count)| count.trim().parse().ok())
}

pub(crate) fn check(path: &str, limit: Option<usize>, bare: &[String]) -> Option<Finding> {
    let Some(limit) = limit else {
        return Some(Finding::new(
            path,
            0,
            "the ratchet has no limit",
            format!("write `{KEY} = {}`", bare.len()),
        ));
    };
    if bare.len() <= limit {
        return None;
    }
    let problem = format!("{} memory orderings without a comment, at most {limit} allowed", bare.len());
    let fix =
        format!("name the partner of each new one in a comment above it; all of them: {}", bare.join(" "));
    Some(Finding::new(path, 0, problem, fix))
}

/// An ordering in use: `Ordering::Relaxed`, or the bare name as an argument. An import is not a use.
fn names_ordering(line: &str) -> bool {
    let used = |name: &str| {
        let argument = [")", ","].iter().any(|end| has_word(line, &format!("{name}{end}")));
        has_word(line, &format!("Ordering::{name}")) || argument
    };
    let line_start = line.trim_start();
    !line_start.starts_with("use ")
        && !line_start.starts_with("pub use ")
        && ORDERINGS.iter().any(|name| used(name))
}

/// A comment on the line or just above explains it, or one further up that speaks for the whole function.
fn is_explained(source: &Source, index: usize) -> bool {
    let near = &source.comments[index.saturating_sub(REACH_LINES)..=index];
    if near.iter().any(|comment| !comment.trim().is_empty()) {
        return true;
    }
    let above = (0..index).rev().take_while(|above| !has_word(&source.code[*above], "fn"));
    above.map(|above| source.comments[above].as_str()).any(speaks_for_all)
}

fn speaks_for_all(comment: &str) -> bool {
    ORDERINGS.iter().any(|name| has_word(comment, name)) && WHOLE.iter().any(|words| comment.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordering_without_a_comment_is_counted() {
        let text = "use std::sync::atomic::Ordering::{Acquire, Relaxed};\na.load(Ordering::Acquire);\nb.load(Relaxed);\n";
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", text)), ["shm/src/a.rs:2", "shm/src/a.rs:3"]);
        assert_eq!(unexplained(&Source::new("benches/src/a.rs", text)), Vec::<String>::new());
    }

    #[test]
    fn a_comment_explains_the_lines_below_it() {
        let text = "// Relaxed: only this thread writes tail.\na.compare_exchange(\n    x,\n    Ordering::Relaxed,\n);\n";
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", text)), Vec::<String>::new());
        let far = "// Far away.\n\n\n\na.load(Ordering::Relaxed);\n";
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", far)).len(), 1);
    }

    #[test]
    fn one_comment_may_explain_the_rest_of_its_function() {
        let run = "    a.store(1, Ordering::Relaxed);\n".repeat(6);
        let all =
            format!("fn f() {{\n    // Relaxed, all of these: the Release below publishes them.\n{run}}}\n");
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", &all)), Vec::<String>::new());
        let next = format!("{all}fn g() {{\n{run}}}\n");
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", &next)).len(), 6);
        let one = all.replace("all of these", "the first");
        assert_eq!(unexplained(&Source::new("shm/src/a.rs", &one)).len(), 3);
    }

    #[test]
    fn the_count_may_only_fall() {
        let bare = ["a:1".to_owned(), "a:2".to_owned()];
        assert!(check("r", Some(1), &bare).is_some());
        assert!(check("r", None, &bare).is_some());
        assert!(check("r", Some(2), &bare).is_none());
        assert_eq!(limit("# why\norderings_without_comment = 12\n"), Some(12));
    }
}
