//! The task: reads one file and counts it. Runs in a worker process, and in the host for the check.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::crash;
use super::language::{Language, LanguageIndex};
use super::lexer::lex;
use super::lines::LineCounts;
use super::names::{NameCounter, Names};

/// Most bytes of one file that a worker loads; a larger file is reported as unreadable.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// What a task is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileTask {
    /// The path as the system has it, UTF-8 or not.
    path: Vec<u8>,
    /// The language to read the file in.
    pub(crate) language: LanguageIndex,
    /// Whether the task shall end its worker instead (`--crash-every`).
    pub(crate) crashes: bool,
}

/// What a task gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileCounts {
    /// Bytes and lines.
    pub(crate) lines: LineCounts,
    /// Identifiers.
    pub(crate) names: Names,
}

/// Counts, or in one line why the file could not be read.
pub(crate) type FileOutcome = Result<FileCounts, String>;

impl FileTask {
    /// A task that counts the file.
    pub(crate) fn new(path: &Path, language: LanguageIndex) -> Self {
        FileTask { path: path.as_os_str().as_bytes().to_vec(), language, crashes: false }
    }

    /// The same task, but its worker dies.
    pub(crate) fn crashing(self) -> Self {
        FileTask { crashes: true, ..self }
    }

    /// The file to count.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// Reads and counts the file, or dies if the task says so.
pub(crate) fn count_file(task: FileTask) -> FileOutcome {
    if task.crashes {
        crash::segfault();
    }
    let source = read(task.path()).map_err(|error| error.to_string())?;
    Ok(count_source(&source, task.language.language()))
}

/// Counts what was read.
pub(crate) fn count_source(source: &[u8], language: &'static Language) -> FileCounts {
    let mut names = NameCounter::for_bytes(source.len());
    let lines = lex(source, language, &mut names);
    FileCounts { lines, names: names.into_names(language) }
}

/// Reads the file and gives back how many bytes it has, so that the page cache holds it afterwards.
pub(crate) fn warm_up(path: &Path) -> io::Result<u64> {
    io::copy(&mut File::open(path)?.take(FILE_BYTES_MAX), &mut io::sink())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{bytes} bytes are more than the {FILE_BYTES_MAX} that codestats loads"),
        ));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_error_in_one_line() {
        let path = Path::new("/nonexistent/lib.rs");
        let task = FileTask::new(path, LanguageIndex::of(path).unwrap());
        let reason = count_file(task).unwrap_err();
        assert!(reason.contains("No such file") && !reason.contains('\n'), "{reason}");
    }

    #[test]
    fn a_path_that_is_not_text_survives_the_way_to_the_worker() {
        let path = Path::new(OsStr::from_bytes(b"/src/caf\xE9.rs"));
        let task = FileTask::new(path, LanguageIndex::of(Path::new("a.rs")).unwrap());
        assert_eq!(task.path(), path);
    }
}
