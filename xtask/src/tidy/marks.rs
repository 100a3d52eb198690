//! Things that must not stay: unfinished code, ignored tests, and waiting by sleeping.

use super::{Finding, Source, has_word};

/// Marks in code and the way out of each.
const CODE_MARKS: &[(&str, &str)] = &[
    ("todo!", "write the code, or leave the function out"),
    ("unimplemented!", "write the code, or leave the function out"),
    ("#[ignore", "repair the test, or assert what happens today and say so in the feature list"),
];
const COMMENT_MARK: &str = "FIXME";

pub(crate) fn check_marks(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        let marks = CODE_MARKS.iter().filter(|(mark, _)| has_word(line, mark));
        findings.extend(
            marks.map(|(mark, fix)| Finding::new(source.path, index, format!("{mark} in the code"), *fix)),
        );
    }
    for (index, comment) in source.comments.iter().enumerate() {
        if has_word(comment, COMMENT_MARK) {
            let fix = "repair it now, or describe the limit in a sentence and in docs/features.md";
            findings.push(Finding::new(source.path, index, format!("{COMMENT_MARK} in a comment"), fix));
        }
    }
    findings
}

pub(crate) fn check_sleep(source: &Source) -> Vec<Finding> {
    let free = source.path.split('/').any(|folder| matches!(folder, "benches" | "examples"));
    let sleeps = source.code.iter().enumerate().filter(|(_, line)| !free && has_word(line, "thread::sleep"));
    let fix = "wait on a doorbell, a pidfd or a condition with a deadline";
    sleeps.map(|(index, _)| Finding::new(source.path, index, "waiting by sleeping", fix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_unfinished_work_are_found() {
        let text =
            "fn a() { todo!() }\n#[ignore = \"later\"]\n// FIXME: wrong.\nfn b() { unimplemented!() }\n";
        assert_eq!(check_marks(&Source::new("a.rs", text)).len(), 4);
        assert_eq!(check_marks(&Source::new("a.rs", "let a = \"todo! FIXME #[ignore\";\n")), []);
    }

    #[test]
    fn sleeping_is_found_in_tests_too() {
        let text = "fn a() {\n    std::thread::sleep(pause);\n}\n";
        assert_eq!(check_sleep(&Source::new("runtime/tests/a.rs", text)).len(), 1);
        assert_eq!(check_sleep(&Source::new("benches/src/bin/a.rs", text)), []);
        assert_eq!(check_sleep(&Source::new("runtime/src/a.rs", "// thread::sleep is banned\n")), []);
    }
}
