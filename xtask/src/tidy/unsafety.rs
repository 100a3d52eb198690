//! Where unsafe code may live, how such a file opens, and that each use is proved.

use super::{Finding, Source, has_word};

/// The rooms where unsafe code may live. A new one changes ARCHITECTURE.md in the same commit.
const ROOMS: &[&str] = &[
    "shm/src/sync.rs",
    "shm/src/os/*",
    "shm/src/segment.rs",
    "shm/src/blocks/*",
    "shm/src/offset.rs",
    "shm/src/slots.rs",
    "shm/src/ring/*",
    "shm/src/lock/value.rs",
    "shm/src/seqlock.rs",
    "worker/src/boot.rs",
    "worker/src/function.rs",
    "worker/src/os/*",
    "worker/src/black_box.rs",
    "launcher/src/os/*",
    // Writes `unsafe impl` into derived code; holds no unsafe code of its own.
    "macros/src/lib.rs",
];
/// Rooms whose unsafe words are written for others: they expect no lint.
const SCRIBES: &[&str] = &["macros/src/lib.rs"];
/// How the comment that proves a use begins.
const PROOF: &str = "SAFETY:";
/// How the first item of a file begins; all above it is the file's opening.
const ITEMS: &[&str] =
    &["use ", "mod ", "pub ", "pub(", "fn ", "struct ", "enum ", "const ", "static ", "impl ", "#["];
/// How many lines of one statement may stand between a proof and the word it proves.
const STATEMENT_LINES: usize = 3;

/// Unsafe code outside of the rooms. Tests, examples and benches may have it: they ship nothing.
pub(crate) fn check_room(source: &Source) -> Vec<Finding> {
    if source.is_trial() || is_room(source.path) {
        return Vec::new();
    }
    let uses = source.live().filter(|(_, line)| has_word(line, "unsafe"));
    let fix = "use a safe wrapper from a [U] room; the rooms are listed in xtask/src/tidy/unsafety.rs";
    uses.map(|(index, _)| Finding::new(source.path, index, "unsafe code outside of the [U] rooms", fix))
        .collect()
}

/// A room that has unsafe code says so at its door.
pub(crate) fn check_opening(source: &Source) -> Vec<Finding> {
    if !is_room(source.path) || !source.live().any(|(_, line)| has_word(line, "unsafe")) {
        return Vec::new();
    }
    let is_item = |line: &String| ITEMS.iter().any(|item| line.starts_with(item));
    let lines = source.code.iter().position(is_item).unwrap_or(source.code.len());
    let told = source.comments[..lines].iter().any(|line| line.trim().starts_with("// UNSAFETY:"));
    let opening = source.code[..lines].concat();
    let mut findings = Vec::new();
    if !told {
        let problem = "a [U] file does not say why it needs unsafe code";
        findings.push(Finding::new(source.path, 0, problem, "open it with `// UNSAFETY: why`"));
    }
    if !expects_unsafe(&opening) && !SCRIBES.contains(&source.path) {
        let fix = "open it with `#![expect(unsafe_code, reason = \"...\")]`";
        findings.push(Finding::new(source.path, 0, "a [U] file does not expect the unsafe_code lint", fix));
    }
    findings
}

/// Every unsafe block and impl has a comment that proves it, in test code too.
pub(crate) fn check_proofs(source: &Source) -> Vec<Finding> {
    let uses = source.code.iter().enumerate().filter(|(_, line)| needs_proof(line));
    let unproved = uses.filter(|(index, _)| !is_proved(source, *index));
    let fix = format!("write a comment with `{PROOF}` above it that proves each precondition by name");
    unproved.map(|(index, _)| Finding::new(source.path, index, "unsafe code without a proof", &fix)).collect()
}

fn is_room(path: &str) -> bool {
    ROOMS.iter().any(|room| room.strip_suffix('*').map_or(*room == path, |folder| path.starts_with(folder)))
}

/// Whether an inner attribute expects the lint, for every build or, inside `cfg_attr`, for some.
fn expects_unsafe(opening: &str) -> bool {
    let attributes = opening.split("#![").skip(1).filter(|text| has_word(text, "expect("));
    attributes.into_iter().any(|text| has_word(text, "unsafe_code") && text.contains("reason ="))
}

fn needs_proof(line: &str) -> bool {
    has_word(line, "unsafe {") || has_word(line, "unsafe impl")
}

/// Walks up from the use: over the rest of its statement, then through the comments above it.
fn is_proved(source: &Source, index: usize) -> bool {
    let mut code_lines = 0;
    for above in (0..=index).rev() {
        if source.comments[above].contains(PROOF) {
            return true;
        }
        let (code, comment) = (source.code[above].trim(), source.comments[above].trim());
        let passed = comment.is_empty() && !code.starts_with("#[") && above != index;
        code_lines += usize::from(passed);
        if passed && (code.is_empty() || code_lines > STATEMENT_LINES) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVED: &str =
        "fn f() {\n    // SAFETY: the pointer comes from a reference.\n    unsafe { g() }\n}\n";

    #[test]
    fn unsafe_outside_of_a_room_is_found() {
        assert_eq!(check_room(&Source::new("runtime/src/go.rs", PROVED)).len(), 1);
        assert_eq!(check_room(&Source::new("shm/src/ring/spsc.rs", PROVED)), []);
        assert_eq!(check_room(&Source::new("runtime/tests/go.rs", PROVED)), []);
        assert_eq!(check_room(&Source::new("runtime/src/go.rs", "// unsafe {\nlet a = \"unsafe {\";\n")), []);
    }

    #[test]
    fn a_room_without_its_opening_is_found() {
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", PROVED)).len(), 2);
        let opened = format!(
            "// UNSAFETY: views.\n#![expect(\n    unsafe_code,\n    reason = \"views\"\n)]\n{PROVED}"
        );
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", &opened)), []);
        let some = format!(
            "// UNSAFETY: x.\n#![cfg_attr(a, expect(unsafe_code, reason = \"x\"))]\nuse a;\n{PROVED}"
        );
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", &some)), []);
        let late = format!("use a;\n// UNSAFETY: x.\n#![expect(unsafe_code, reason = \"x\")]\n{PROVED}");
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", &late)).len(), 2);
        let other = format!("// UNSAFETY: views.\n#![expect(dead_code, reason = \"views\")]\n{PROVED}");
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", &other)).len(), 1);
        assert_eq!(check_opening(&Source::new("shm/src/slots.rs", "fn safe() {}\n")), []);
    }

    #[test]
    fn unsafe_without_a_proof_is_found() {
        assert_eq!(check_proofs(&Source::new("benches/a.rs", "fn f() {\n    unsafe { g() }\n}\n")).len(), 1);
        assert_eq!(check_proofs(&Source::new("benches/a.rs", PROVED)), []);
        assert_eq!(check_proofs(&Source::new("a.rs", "unsafe impl Send for A {}\n")).len(), 1);
    }

    #[test]
    fn a_proof_may_stand_above_the_statement() {
        let text =
            "// SAFETY: the length was checked,\n// see above.\n#[inline]\nlet base =\n    unsafe { g() };\n";
        assert_eq!(check_proofs(&Source::new("a.rs", text)), []);
        let far = "// SAFETY: of something else.\none();\n\nunsafe { g() };\n";
        assert_eq!(check_proofs(&Source::new("a.rs", far)).len(), 1);
    }
}
