//! `cargo xtask tidy`: the rules of the house that no compiler lint knows.
//!
//! Every rule is a pure function over a file's path and text, so that a test can show that it fires.

mod arrows;
mod config;
mod finding;
mod marks;
mod names;
mod orderings;
mod sizes;
mod source;
mod system;
mod unsafety;

pub(crate) use source::{Source, has_word};

use crate::trouble::Result;
use crate::workspace::{self, TextFile};
use finding::Finding;

const CONFIG: &str = "runtime/src/config.rs";
const RATCHET: &str = "xtask/tidy-ratchet.txt";

/// Prints every finding with its place and its fix; true when there is none.
pub(crate) fn run() -> Result<bool> {
    let (rust, manifests) = (workspace::files(&[".rs"])?, workspace::files(&["Cargo.toml"])?);
    let sources: Vec<Source> = rust.iter().map(|file| Source::new(&file.path, &file.text)).collect();
    let mut findings: Vec<Finding> =
        manifests.iter().flat_map(|file| arrows::check(&file.path, &file.text)).collect();
    findings.extend(sources.iter().flat_map(check_source));
    findings.extend(config_findings(&sources));
    findings.extend(ratchet(&sources)?);
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {}, {} findings", counted(&rust, &manifests), findings.len());
    Ok(findings.is_empty())
}

/// All rules that look at one Rust file.
fn check_source(source: &Source) -> Vec<Finding> {
    let rules = [
        sizes::check,
        unsafety::check_room,
        unsafety::check_opening,
        unsafety::check_proofs,
        system::check,
        system::check_atomics,
        names::check_name,
        names::check_header,
        marks::check_sleep,
        marks::check_marks,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn config_findings(sources: &[Source]) -> Vec<Finding> {
    let config = sources.iter().find(|source| source.path == CONFIG);
    config.map(|config| config::check(config, sources)).unwrap_or_default()
}

fn ratchet(sources: &[Source]) -> Result<Option<Finding>> {
    let bare: Vec<String> = sources.iter().flat_map(orderings::unexplained).collect();
    let limit = orderings::limit(&workspace::text_of(RATCHET)?);
    if limit.is_some_and(|limit| bare.len() < limit) {
        println!("note: set orderings_without_comment to {} in {RATCHET}; it may only fall", bare.len());
    }
    Ok(orderings::check(RATCHET, limit, &bare))
}

fn counted(rust: &[TextFile], manifests: &[TextFile]) -> String {
    format!("{} Rust files, {} manifests", rust.len(), manifests.len())
}
