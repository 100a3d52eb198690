//! What a feature row cites: a test, a command, a benchmark or an example that has to exist.

use super::catalog::{Defect, Row, State};
use crate::tidy::{Source, has_word};
use std::collections::BTreeMap;

const FORMS: &str = "use test:path::name, cmd:cargo xtask name, bench:name or example:name";

/// Everything a proof can point to: Rust files by path with their text, and the subcommands of this tool.
pub(crate) struct Evidence<'a> {
    pub(crate) files: BTreeMap<&'a str, &'a str>,
    pub(crate) subcommands: Vec<String>,
}

/// The defects of one row: no proof where one is due, or a proof that does not exist.
pub(crate) fn check(row: &Row, evidence: &Evidence) -> Vec<Defect> {
    if row.state != State::No && row.proofs.is_empty() {
        return vec![row.defect(format!("a row that is not `no` needs a proof; {FORMS}"))];
    }
    let problems = row.proofs.iter().filter_map(|proof| problem(proof, evidence));
    problems.map(|problem| row.defect(problem)).collect()
}

fn problem(proof: &str, evidence: &Evidence) -> Option<String> {
    match proof.split_once(':') {
        Some(("test", test)) => missing_test(test, evidence),
        Some(("cmd", command)) => missing_command(command.trim(), evidence),
        Some(("bench", name)) => missing_file(&format!("benches/src/bin/{name}.rs"), evidence),
        Some(("example", name)) => missing_file(&format!("examples/examples/{name}.rs"), evidence),
        _ => Some(format!("`{proof}` is no proof; {FORMS}")),
    }
}

fn missing_test(test: &str, evidence: &Evidence) -> Option<String> {
    let Some((path, name)) = test.split_once("::") else {
        return Some(format!("`test:{test}` names no test; write test:path::name"));
    };
    let Some(text) = evidence.files.get(path) else {
        return Some(format!("there is no file {path}; correct the path"));
    };
    // A test in a module is cited with the module's name in front; the function has the last one.
    let name = name.rsplit("::").next().unwrap_or(name);
    let declares = |line: &String| has_word(line, &format!("fn {name}"));
    let found = Source::new(path, text).code.iter().any(declares);
    (!found).then(|| format!("{path} has no test {name}; write it or correct the name"))
}

fn missing_command(command: &str, evidence: &Evidence) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "xtask", name, ..] if evidence.subcommands.iter().any(|known| known == name) => None,
        ["cargo", "xtask", ..] => Some(format!("`{command}` is no subcommand of xtask")),
        // What the launcher offers is the launcher's to check: its own tests call it.
        ["cargo" | "gorun", _, ..] => None,
        _ => Some(format!("`{command}` is no known command; cite `cargo xtask name` or `gorun name`")),
    }
}

fn missing_file(path: &str, evidence: &Evidence) -> Option<String> {
    (!evidence.files.contains_key(path))
        .then(|| format!("there is no file {path}; write it or correct the name"))
}

#[cfg(test)]
mod tests {
    use super::super::catalog;
    use super::*;

    fn problems(row: &str) -> Vec<Defect> {
        let files = BTreeMap::from([
            ("runtime/tests/go.rs", "#[test]\nfn a_panic_arrives() {}\n// fn only_mentioned()\n"),
            ("benches/src/bin/null_task.rs", ""),
            ("examples/examples/hello.rs", ""),
        ]);
        let evidence = Evidence { files, subcommands: vec!["demo".to_owned()] };
        let (rows, _) = catalog::parse(row);
        check(&rows[0], &evidence)
    }

    #[test]
    fn a_claim_without_proof_is_a_defect() {
        assert_eq!(problems("| X-01 | a | yes | |").len(), 1);
        assert_eq!(problems("| X-01 | a | partly | |").len(), 1);
        assert_eq!(problems("| X-01 | a | no | |"), []);
    }

    #[test]
    fn proofs_that_exist_pass() {
        for proof in [
            "test:runtime/tests/go.rs::a_panic_arrives",
            "test:runtime/tests/go.rs::inner::a_panic_arrives",
            "bench:null_task",
            "example:hello",
            "cmd:cargo xtask demo --crash-every 7",
            "cmd:gorun stat",
        ] {
            assert_eq!(problems(&format!("| X-01 | a | yes | `{proof}` |")), [], "{proof}");
        }
    }

    #[test]
    fn proofs_that_do_not_exist_are_defects() {
        for proof in [
            "test:runtime/tests/go.rs::a_panic",
            "test:runtime/tests/go.rs::only_mentioned",
            "test:runtime/tests/gone.rs::a_panic_arrives",
            "test:runtime/tests/go.rs",
            "bench:gone",
            "example:gone",
            "cmd:cargo xtask dance",
            "cmd:rm",
            "trust me",
        ] {
            assert_eq!(problems(&format!("| X-01 | a | yes | {proof} |")).len(), 1, "{proof}");
        }
    }
}
