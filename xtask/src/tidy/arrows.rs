//! Dependencies between the crates of the workspace point down, and only down.

use super::Finding;

/// The storeys, ground floor first. A crate may use any crate before it.
const STOREYS: &[&str] = &[
    "gorun-macros",
    "gorun-shm",
    "gorun-worker",
    "gorun-runtime",
    "gorun-events",
    "gorun-cluster",
    "gorun",
    "gorun-launcher",
];
/// The crates beside the house and what each may use.
const BESIDE: &[(&str, &[&str])] = &[
    ("gorun-examples", &["gorun"]),
    ("gorun-benches", &["gorun", "gorun-shm", "gorun-worker", "gorun-runtime"]),
    ("gorun-fuzz", &["gorun-shm", "gorun-worker"]),
    ("gorun-peers", &["gorun"]),
    ("gorun-test-programs", &["gorun", "gorun-shm", "gorun-worker", "gorun-runtime"]),
    ("xtask", &[]),
];
const FIX: &str =
    "move the code down, or change ARCHITECTURE.md and the list in xtask/src/tidy/arrows.rs together";

/// Reads one manifest line by line; a manifest as plain as ours needs no TOML parser.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let (mut section, mut package, mut findings) = (String::new(), String::new(), Vec::new());
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let mut target = None;
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_end_matches(']').to_owned();
            target = section
                .rsplit_once("dependencies.")
                .filter(|(table, _)| is_normal(table))
                .map(|(_, name)| name);
        } else if section == "package" {
            package = value(line, "name").unwrap_or(package);
        } else if section.strip_suffix("dependencies").is_some_and(is_normal) {
            target = dependency(line);
        }
        if let Some(target) =
            target.map(|name| name.trim_matches('"')).filter(|target| !allowed(&package, target))
        {
            findings.push(Finding::new(path, index, format!("new arrow {package} -> {target}"), FIX));
        }
    }
    findings
}

/// Whether what stands before `dependencies` makes it a normal dependency, not one for tests or build scripts.
fn is_normal(table: &str) -> bool {
    table.is_empty() || (table.starts_with("target.") && table.ends_with('.'))
}

/// The package that a line of a dependency table names.
fn dependency(line: &str) -> Option<&str> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if let Some((_, rest)) = line.split_once("package = \"") {
        return rest.split('"').next();
    }
    line.split(['=', '.']).next().map(str::trim)
}

fn value(line: &str, key: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
}

fn allowed(from: &str, to: &str) -> bool {
    let storey = |name: &str| STOREYS.iter().position(|storey| *storey == name);
    let ours = storey(to).is_some() || to == "xtask" || to.starts_with("gorun-");
    if !ours {
        return true;
    }
    if let Some((_, targets)) = BESIDE.iter().find(|(name, _)| *name == from) {
        return targets.contains(&to);
    }
    // A crate that is in neither list has no place in the house yet, so every arrow of it is new.
    matches!((storey(from), storey(to)), (Some(high), Some(low)) if low < high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, table: &str, line: &str) -> String {
        format!("[package]\nname = \"{name}\"\n\n[{table}]\nserde.workspace = true\n{line}\n")
    }

    #[test]
    fn an_arrow_up_is_found() {
        let text = manifest("gorun-shm", "dependencies", "gorun-runtime.workspace = true");
        let findings = check("shm/Cargo.toml", &text);
        assert_eq!(
            findings,
            [Finding::new("shm/Cargo.toml", 5, "new arrow gorun-shm -> gorun-runtime", FIX)]
        );
    }

    #[test]
    fn every_form_of_an_arrow_up_is_found() {
        for (table, line) in [
            ("target.'cfg(loom)'.dependencies", "gorun = { path = \"../gorun\" }"),
            ("dependencies.gorun-worker", "path = \"../worker\""),
            ("dependencies", "own = { package = \"gorun-worker\", path = \"../worker\" }"),
            ("dependencies", "gorun-cellar.workspace = true"),
        ] {
            assert_eq!(
                check("shm/Cargo.toml", &manifest("gorun-shm", table, line)).len(),
                1,
                "{table} {line}"
            );
        }
    }

    #[test]
    fn arrows_down_and_test_arrows_pass() {
        let down = manifest("gorun", "dependencies", "gorun-shm.workspace = true");
        assert_eq!(check("gorun/Cargo.toml", &down), []);
        let tests = manifest("gorun-shm", "dev-dependencies", "gorun.workspace = true");
        assert_eq!(check("shm/Cargo.toml", &tests), []);
    }

    #[test]
    fn crates_beside_the_house_have_their_own_lists() {
        assert!(allowed("gorun-benches", "gorun-shm"));
        assert!(!allowed("gorun-examples", "gorun-shm"));
        assert!(!allowed("xtask", "gorun"));
        assert!(!allowed("gorun", "gorun-examples"));
    }
}
