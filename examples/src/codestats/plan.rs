//! From the call to the list of tasks.

use std::io;
use std::path::Path;

use super::count::FileTask;
use super::options::{CodestatsError, Options};
use super::walk::{Found, Unreadable, walk};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One task per file, in the order of the paths.
    pub(crate) tasks: Vec<FileTask>,
    /// Folders that could not be looked into.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Plan {
    /// Looks through the folder and marks the files that are to crash.
    ///
    /// # Errors
    /// `FolderMissing`, `NotAFolder`, `FolderUnreadable`, `NoSources`: as they say.
    pub(crate) fn new(options: &Options) -> Result<Plan, CodestatsError> {
        let folder = &options.folder;
        let Found { files, unreadable } = walk(folder).map_err(|error| folder_error(folder, error))?;
        if files.is_empty() {
            return Err(CodestatsError::NoSources(folder.clone()));
        }
        let crashes =
            |number: u64| options.crash_every.is_some_and(|every| number.is_multiple_of(every.get()));
        let tasks = (1..).zip(&files).map(|(number, file)| {
            let task = FileTask::new(&file.path, file.language);
            if crashes(number) { task.crashing() } else { task }
        });
        Ok(Plan { tasks: tasks.collect(), unreadable })
    }

    /// The tasks that are not to crash.
    pub(crate) fn peaceful_tasks(&self) -> Vec<FileTask> {
        self.tasks.iter().filter(|task| !task.crashes).cloned().collect()
    }

    /// How many tasks are to crash.
    pub(crate) fn crash_count(&self) -> usize {
        self.tasks.iter().filter(|task| task.crashes).count()
    }
}

fn folder_error(folder: &Path, error: io::Error) -> CodestatsError {
    match error.kind() {
        io::ErrorKind::NotFound => CodestatsError::FolderMissing(folder.to_path_buf()),
        io::ErrorKind::NotADirectory => CodestatsError::NotAFolder(folder.to_path_buf()),
        _ => CodestatsError::FolderUnreadable(folder.to_path_buf(), error),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::path::PathBuf;

    use super::*;
    use crate::codestats::scratch::Scratch;

    fn options(folder: PathBuf, crash_every: Option<u64>) -> Options {
        let crash_every = crash_every.and_then(NonZeroU64::new);
        Options { folder, workers: None, crash_every, json: false, top: 10, compare: true }
    }

    #[test]
    fn every_nth_file_of_the_list_crashes() {
        let scratch = Scratch::new("plan-crash");
        (0..7).for_each(|number| scratch.write(&format!("{number}.rs"), b""));
        let plan = Plan::new(&options(scratch.path().to_path_buf(), Some(3))).unwrap();
        let crashes: Vec<bool> = plan.tasks.iter().map(|task| task.crashes).collect();
        assert_eq!(crashes, [false, false, true, false, false, true, false]);
        assert_eq!((plan.crash_count(), plan.peaceful_tasks().len()), (2, 5));
    }

    #[test]
    fn more_than_there_are_files_crashes_none() {
        let scratch = Scratch::new("plan-no-crash");
        scratch.write("a.rs", b"");
        let plan = Plan::new(&options(scratch.path().to_path_buf(), Some(u64::MAX))).unwrap();
        assert_eq!(plan.crash_count(), 0);
    }

    #[test]
    fn each_bad_folder_has_its_error() {
        let scratch = Scratch::new("plan-bad");
        scratch.write("file/notes", b"");
        let error_of = |folder: PathBuf| Plan::new(&options(folder, None)).unwrap_err();
        assert!(matches!(error_of(scratch.path().join("none")), CodestatsError::FolderMissing(_)));
        assert!(matches!(error_of(scratch.path().join("file/notes")), CodestatsError::NotAFolder(_)));
        assert!(matches!(error_of(scratch.path().join("file")), CodestatsError::NoSources(_)));
    }
}
