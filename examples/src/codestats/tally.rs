//! The sum over all files of one run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::count::{FileOutcome, FileTask};
use super::language::LanguageIndex;
use super::lines::LineCounts;
use super::names::NameTotals;
use super::walk::Unreadable;

/// What became of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The task ended; the file was counted or could not be read.
    Done(FileOutcome),
    /// The task did not end.
    Lost {
        /// What the runtime says of it.
        reason: String,
        /// Whether its worker died, as a planned crash must show.
        worker_died: bool,
    },
}

/// A file that was not counted because its task did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostFile {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What the runtime says of it.
    pub(crate) reason: String,
    /// Whether it was lost as planned: chosen by `--crash-every`, by the death of its worker.
    pub(crate) planned: bool,
}

/// Files and lines of one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LanguageTotal {
    /// Files counted.
    pub(crate) files: u64,
    /// Their bytes and lines.
    pub(crate) lines: LineCounts,
}

/// The sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// By language, in the order of the catalogue.
    pub(crate) languages: BTreeMap<LanguageIndex, LanguageTotal>,
    /// Identifiers of all languages.
    pub(crate) names: NameTotals,
    /// Files whose task did not end, in the order of the tasks.
    pub(crate) lost: Vec<LostFile>,
    /// Files that were to crash and did not, in the order of the tasks.
    pub(crate) survived: Vec<PathBuf>,
    /// Files that could not be read, in the order of the tasks.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Tally {
    /// Sums up what became of the tasks, given in the same order.
    pub(crate) fn of(tasks: &[FileTask], verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut tally = Tally::default();
        tasks.iter().zip(verdicts).for_each(|(task, verdict)| tally.add(task, verdict));
        tally
    }

    /// Files and lines of all languages together.
    pub(crate) fn total(&self) -> LanguageTotal {
        let mut total = LanguageTotal::default();
        for language in self.languages.values() {
            total.files += language.files;
            total.lines += language.lines;
        }
        total
    }

    /// Whether exactly the files that were to be lost were lost, by the death of their workers.
    pub(crate) fn is_lost_as_planned(&self) -> bool {
        self.survived.is_empty() && self.lost.iter().all(|lost| lost.planned)
    }

    fn add(&mut self, task: &FileTask, verdict: Verdict) {
        let path = || task.path().to_path_buf();
        match verdict {
            Verdict::Lost { reason, worker_died } => {
                self.lost.push(LostFile { path: path(), reason, planned: task.crashes && worker_died });
            }
            Verdict::Done(_) if task.crashes => self.survived.push(path()),
            Verdict::Done(Err(reason)) => self.unreadable.push(Unreadable { path: path(), reason }),
            Verdict::Done(Ok(counts)) => {
                let language = self.languages.entry(task.language).or_default();
                language.files += 1;
                language.lines += counts.lines;
                self.names.add(&counts.names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::codestats::count::count_source;

    fn task(path: &str, crashes: bool) -> FileTask {
        let path = Path::new(path);
        let task = FileTask::new(path, LanguageIndex::of(path).unwrap());
        if crashes { task.crashing() } else { task }
    }

    fn counted(task: &FileTask, source: &str) -> Verdict {
        Verdict::Done(Ok(count_source(source.as_bytes(), task.language.language())))
    }

    fn lost(worker_died: bool) -> Verdict {
        Verdict::Lost { reason: "signal 11".to_owned(), worker_died }
    }

    #[test]
    fn files_add_up_by_language_and_overall() {
        let tasks = [task("a.rs", false), task("b.c", false), task("c.rs", false)];
        let sources = ["fn head() {}\n", "int tail;\n\n", "// text\n"];
        let tally = Tally::of(&tasks, tasks.iter().zip(sources).map(|(task, source)| counted(task, source)));
        let total = tally.total();
        assert_eq!((total.files, total.lines.lines, total.lines.code), (3, 4, 2));
        assert_eq!(tally.languages[&tasks[0].language].lines.comment, 1);
        assert_eq!(tally.names.count_of("tail"), 1);
    }

    #[test]
    fn a_planned_loss_is_as_planned_and_any_other_is_not() {
        let tasks = [task("a.rs", true), task("b.rs", false)];
        let planned = Tally::of(&tasks, [lost(true), counted(&tasks[1], "")]);
        let unplanned = Tally::of(&tasks, [lost(true), lost(true)]);
        assert!(planned.is_lost_as_planned());
        assert!(!unplanned.is_lost_as_planned());
    }

    #[test]
    fn a_planned_crash_that_did_not_kill_the_worker_is_not_as_planned() {
        let tasks = [task("a.rs", true)];
        assert!(!Tally::of(&tasks, [lost(false)]).is_lost_as_planned());
        assert!(!Tally::of(&tasks, [counted(&tasks[0], "")]).is_lost_as_planned());
    }

    #[test]
    fn an_unreadable_file_is_kept_with_its_reason() {
        let tasks = [task("a.rs", false)];
        let tally = Tally::of(&tasks, [Verdict::Done(Err("permission denied".to_owned()))]);
        assert_eq!(tally.unreadable[0].reason, "permission denied");
        assert_eq!(tally.total().files, 0);
    }
}
