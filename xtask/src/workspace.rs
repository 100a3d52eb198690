//! Where things lie: the root, the build output, cargo's home, the files that people wrote.

use crate::command::{captured, cargo};
use crate::trouble::{Result, Trouble};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A file below the root: its path with forward slashes, relative to the root, and its text.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the workspace. Cargo tells it at run time, so a moved clone needs no rebuild.
pub(crate) fn root() -> PathBuf {
    let own =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map_or(own.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// `$CARGO_HOME`, by default `~/.cargo`.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::home_dir().ok_or_else(|| Trouble::new("no home directory", "set CARGO_HOME"))?;
    Ok(home.join(".cargo"))
}

/// What `cargo metadata` says about the packages of the workspace.
pub(crate) fn packages() -> Result<Vec<serde_json::Value>> {
    let text = captured(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let unreadable = |why: String| Trouble::new(format!("cannot read cargo metadata: {why}"), "update cargo");
    let mut whole: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    match whole["packages"].take() {
        serde_json::Value::Array(packages) => Ok(packages),
        _ => Err(unreadable("it has no packages".to_owned())),
    }
}

/// All files below the root whose name ends in one of `endings`, sorted; build output and hidden folders excluded.
pub(crate) fn files(endings: &[&str]) -> Result<Vec<TextFile>> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, endings, &mut paths)?;
    paths.sort();
    paths.iter().map(|path| read(&root, path)).collect()
}

/// The text of a file that has to exist, by its path below the root.
pub(crate) fn text_of(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).map_err(|error| cannot_read(path, &error))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    written.map_err(|error| {
        let problem = format!("cannot write {}: {error}", path.display());
        Trouble::new(problem, "check the disk and the rights on that folder")
    })
}

fn collect(folder: &Path, endings: &[&str], paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| cannot_read(&folder.display().to_string(), &error))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if name != "target" && !name.starts_with('.') {
                collect(&path, endings, paths)?;
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, path: &Path) -> Result<TextFile> {
    let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let text = fs::read_to_string(path).map_err(|error| cannot_read(&below, &error))?;
    Ok(TextFile { path: below, text })
}

fn cannot_read(path: &str, error: &std::io::Error) -> Trouble {
    Trouble::new(format!("cannot read {path}: {error}"), "check that it exists and is UTF-8 text")
}
