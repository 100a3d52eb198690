//! What the user asks for, and what can be wrong with it.

use std::error::Error;
use std::fmt;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

/// One call of codestats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder to look through.
    pub folder: PathBuf,
    /// Worker processes; `None` leaves the number to the runtime.
    pub workers: Option<NonZeroUsize>,
    /// Every file whose number in the list is a multiple of this crashes its worker.
    pub crash_every: Option<NonZeroU64>,
    /// One JSON document instead of tables.
    pub json: bool,
    /// How many of the commonest identifiers are shown.
    pub top: usize,
    /// Whether the job is run on one worker and on a plain thread too, and the totals compared.
    pub compare: bool,
}

/// Why codestats could not do what it was asked for.
#[derive(Debug)]
pub enum CodestatsError {
    /// There is nothing at this path.
    FolderMissing(PathBuf),
    /// There is something else at this path.
    NotAFolder(PathBuf),
    /// The folder cannot be read.
    FolderUnreadable(PathBuf, io::Error),
    /// No file below the folder is in a language that codestats knows.
    NoSources(PathBuf),
    /// No workers could be started.
    Runtime(Box<dyn Error + Send + Sync>),
    /// The report could not be written.
    Output(io::Error),
}

impl CodestatsError {
    /// 2 if the call has to be changed, 1 if something went wrong on the way.
    pub fn exit_code(&self) -> u8 {
        match self {
            CodestatsError::Output(_) => 1,
            _ => 2,
        }
    }
}

impl fmt::Display for CodestatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodestatsError::FolderMissing(path) => {
                write!(f, "there is no folder {}; check the path, or name another folder", path.display())
            }
            CodestatsError::NotAFolder(path) => {
                write!(f, "{} is not a folder; name the folder that holds the sources", path.display())
            }
            CodestatsError::FolderUnreadable(path, error) => write!(
                f,
                "the folder {} cannot be read ({error}); give yourself read permission, or name another folder",
                path.display()
            ),
            CodestatsError::NoSources(path) => write!(
                f,
                "there are no source files below {}; name a folder that holds some (.rs, .c, .py, .js, .go and the like)",
                path.display()
            ),
            CodestatsError::Runtime(error) => write!(f, "the workers could not be started: {error}"),
            CodestatsError::Output(error) => write!(f, "the report could not be written: {error}"),
        }
    }
}

impl Error for CodestatsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CodestatsError::FolderUnreadable(_, error) | CodestatsError::Output(error) => Some(error),
            CodestatsError::Runtime(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_call_exit_with_2_and_name_the_fix() {
        let error = CodestatsError::NotAFolder(PathBuf::from("main.rs"));
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.to_string(), "main.rs is not a folder; name the folder that holds the sources");
    }

    #[test]
    fn an_error_of_the_output_exits_with_1() {
        assert_eq!(CodestatsError::Output(io::ErrorKind::StorageFull.into()).exit_code(), 1);
    }
}
