//! Open descriptors of this process, and named memory: what a runtime must not leave behind.

use std::fs;
use std::path::Path;

/// What each open descriptor of this process is, sorted.
///
/// # Panics
/// If /proc cannot be read.
#[must_use]
pub fn open() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("read the own descriptors");
    // The descriptor of the listing itself is gone when its link is read.
    let mut open: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| kind_of(&link.to_string_lossy()))
        .collect();
    open.sort();
    open
}

/// Numbers in `socket:[123]` differ from run to run.
fn kind_of(link: &str) -> String {
    match link.split_once(":[") {
        Some((kind, _)) => kind.to_owned(),
        None => link.to_owned(),
    }
}

/// Names in a folder, sorted.
#[must_use]
pub fn names_in(folder: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
