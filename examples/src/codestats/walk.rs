//! Finds the source files below a folder.
//!
//! Symbolic links below the folder are not followed: what they point to is counted where it lies or not at all, and no
//! loop can arise. The stores of version control (`.git` and its kind) are passed over. The order is that of the
//! paths, so two walks over the same files give the same list.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::language::LanguageIndex;

const VERSION_STORES: [&str; 4] = [".git", ".hg", ".svn", ".jj"];

/// A source file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceFile {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it is written in.
    pub(crate) language: LanguageIndex,
}

/// A folder or file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unreadable {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Why, in one line.
    pub(crate) reason: String,
}

/// What was found, each list in the order of the paths.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Source files.
    pub(crate) files: Vec<SourceFile>,
    /// What could not be looked into.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// Looks through the folder.
///
/// # Errors
/// The folder itself cannot be read.
pub(crate) fn walk(folder: &Path) -> io::Result<Found> {
    fs::read_dir(folder)?;
    let mut found = Found::default();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if let Err(error) = look_into(&folder, &mut found, &mut folders) {
            found.unreadable.push(Unreadable { path: folder, reason: error.to_string() });
        }
    }
    found.files.sort_unstable();
    found.unreadable.sort_unstable();
    Ok(found)
}

fn look_into(folder: &Path, found: &mut Found, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() && !is_version_store(&entry.file_name()) {
            folders.push(path);
        } else if kind.is_file()
            && let Some(language) = LanguageIndex::of(&path)
        {
            found.files.push(SourceFile { path, language });
        }
    }
    Ok(())
}

fn is_version_store(name: &OsStr) -> bool {
    VERSION_STORES.iter().any(|store| name == *store)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::codestats::scratch::Scratch;

    fn names(scratch: &Scratch, found: &Found) -> Vec<String> {
        let below = |file: &SourceFile| file.path.strip_prefix(scratch.path()).unwrap().display().to_string();
        found.files.iter().map(below).collect()
    }

    #[test]
    fn sources_are_found_at_any_depth_in_the_order_of_their_paths() {
        let scratch = Scratch::new("walk-order");
        for path in ["z.rs", "a/deep/er/b.c", "a/a.py", "notes", "picture.png", "a-b/x.go"] {
            scratch.write(path, b"text\n");
        }
        let found = walk(scratch.path()).unwrap();
        assert_eq!(names(&scratch, &found), ["a/a.py", "a/deep/er/b.c", "a-b/x.go", "z.rs"]);
        assert_eq!(found.unreadable, []);
    }

    #[test]
    fn links_are_not_followed_so_that_a_loop_ends() {
        let scratch = Scratch::new("walk-loop");
        scratch.write("inner/lib.rs", b"");
        symlink(scratch.path(), scratch.path().join("inner/up")).unwrap();
        symlink(scratch.path().join("inner/lib.rs"), scratch.path().join("again.rs")).unwrap();
        let found = walk(scratch.path()).unwrap();
        assert_eq!(names(&scratch, &found), ["inner/lib.rs"]);
    }

    #[test]
    fn the_folder_itself_may_be_a_link() {
        let scratch = Scratch::new("walk-root-link");
        scratch.write("real/lib.rs", b"");
        let link = scratch.path().join("link");
        symlink(scratch.path().join("real"), &link).unwrap();
        assert_eq!(walk(&link).unwrap().files.len(), 1);
    }

    #[test]
    fn the_store_of_version_control_is_passed_over() {
        let scratch = Scratch::new("walk-git");
        scratch.write(".git/hooks/commit.sh", b"");
        scratch.write(".github/check.yml", b"");
        assert_eq!(names(&scratch, &walk(scratch.path()).unwrap()), [".github/check.yml"]);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert_eq!(walk(Path::new("/nonexistent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
