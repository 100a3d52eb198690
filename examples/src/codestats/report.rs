//! What is told in the end, as data; `text` makes tables of it, serde the JSON document.

use std::path::Path;

use serde::Serialize;

use super::measured::{Measured, SeatShare};
use super::tally::{LanguageTotal, LostFile, Tally};
use super::walk::Unreadable;

/// The whole report. Its fields are the keys of the JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) folder: String,
    pub(crate) total: LanguageRow,
    pub(crate) languages: Vec<LanguageRow>,
    pub(crate) identifiers: Vec<IdentifierRow>,
    pub(crate) workers: Vec<WorkerRow>,
    /// Busy time of all workers by their number and the wall time, 0 to 1.
    pub(crate) utilisation: f64,
    pub(crate) runs: Vec<RunRow>,
    pub(crate) check: Check,
    /// Files that `--crash-every` was to lose.
    pub(crate) crashes_planned: usize,
    pub(crate) lost: Vec<FileRow>,
    pub(crate) survived: Vec<String>,
    pub(crate) unreadable: Vec<FileRow>,
}

/// One language, or all of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LanguageRow {
    pub(crate) language: &'static str,
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) code: u64,
    pub(crate) comment: u64,
    pub(crate) blank: u64,
    pub(crate) bytes: u64,
}

/// One of the commonest identifiers.
#[derive(Debug, Serialize)]
pub(crate) struct IdentifierRow {
    pub(crate) name: String,
    pub(crate) count: u64,
}

/// One worker seat of the main run.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerRow {
    pub(crate) seat: usize,
    pub(crate) cpu: Option<usize>,
    pub(crate) tasks: u64,
    pub(crate) busy_seconds: f64,
    /// Part of the busy time of all workers, 0 to 1.
    pub(crate) share: f64,
    pub(crate) restarts: u64,
}

/// One run of the job.
#[derive(Debug, Serialize)]
pub(crate) struct RunRow {
    pub(crate) run: String,
    pub(crate) start_seconds: f64,
    pub(crate) count_seconds: f64,
    pub(crate) merge_seconds: f64,
    pub(crate) files_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    /// Times as fast as the first run listed.
    pub(crate) speed_up: f64,
}

/// A file or folder and what is to be said of it.
#[derive(Debug, Serialize)]
pub(crate) struct FileRow {
    pub(crate) path: String,
    pub(crate) reason: String,
}

/// How the comparison with the other runs ended.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "differences", rename_all = "lowercase")]
pub(crate) enum Check {
    /// `--no-compare`.
    Skipped,
    /// The totals of all runs are equal.
    Equal,
    /// They are not, in these points.
    Differs(Vec<String>),
}

impl Report {
    /// The report on the main run.
    pub(crate) fn new(folder: &Path, main: &Measured, unreadable_folders: &[Unreadable], top: usize) -> Self {
        let tally = &main.tally;
        let unreadable = unreadable_folders.iter().chain(&tally.unreadable);
        Report {
            folder: shown(folder),
            total: LanguageRow::new("Total", tally.total()),
            languages: language_rows(tally),
            identifiers: identifier_rows(tally, top),
            workers: main.seats.iter().map(|seat| WorkerRow::new(seat, main)).collect(),
            utilisation: main.utilisation().unwrap_or(0.0),
            runs: Vec::new(),
            check: Check::Skipped,
            crashes_planned: 0,
            lost: tally.lost.iter().map(|lost| lost_row(folder, lost)).collect(),
            survived: tally.survived.iter().map(|path| below(folder, path)).collect(),
            unreadable: unreadable.map(|file| FileRow::new(folder, &file.path, &file.reason)).collect(),
        }
    }

    /// Adds the times of all runs; the first is what the others are compared with.
    pub(crate) fn with_runs(mut self, runs: &[&Measured]) -> Self {
        let Some(first) = runs.first() else { return self };
        self.runs = runs.iter().map(|run| RunRow::new(run, first)).collect();
        self
    }

    /// Whether the run did what it was to do.
    pub(crate) fn is_good(&self, main: &Tally) -> bool {
        !matches!(self.check, Check::Differs(_)) && main.is_lost_as_planned()
    }
}

impl LanguageRow {
    fn new(language: &'static str, total: LanguageTotal) -> Self {
        let LanguageTotal { files, lines } = total;
        let (code, comment, blank, bytes) = (lines.code, lines.comment, lines.blank, lines.bytes);
        LanguageRow { language, files, lines: lines.lines, code, comment, blank, bytes }
    }
}

impl WorkerRow {
    fn new(seat: &SeatShare, main: &Measured) -> Self {
        let SeatShare { seat, cpu, tasks, busy, restarts } = *seat;
        let share = ratio(busy.as_secs_f64(), main.busy().as_secs_f64());
        WorkerRow { seat, cpu, tasks, busy_seconds: busy.as_secs_f64(), share, restarts }
    }
}

impl RunRow {
    fn new(run: &Measured, first: &Measured) -> Self {
        let total = run.tally.total();
        let seconds = run.count.as_secs_f64();
        RunRow {
            run: run.name.clone(),
            start_seconds: run.start.as_secs_f64(),
            count_seconds: seconds,
            merge_seconds: run.merge.as_secs_f64(),
            files_per_second: ratio(total.files as f64, seconds),
            megabytes_per_second: ratio(total.lines.bytes as f64 / 1e6, seconds),
            speed_up: ratio(first.count.as_secs_f64(), seconds),
        }
    }
}

impl FileRow {
    fn new(folder: &Path, path: &Path, reason: &str) -> Self {
        FileRow { path: below(folder, path), reason: reason.to_owned() }
    }
}

/// Most code first, then in the order of the catalogue.
fn language_rows(tally: &Tally) -> Vec<LanguageRow> {
    let row = |(index, total): (&super::language::LanguageIndex, &LanguageTotal)| {
        LanguageRow::new(index.language().name, *total)
    };
    let mut rows: Vec<_> = tally.languages.iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.code));
    rows
}

fn identifier_rows(tally: &Tally, top: usize) -> Vec<IdentifierRow> {
    let commonest = tally.names.commonest(top);
    commonest.into_iter().map(|(name, count)| IdentifierRow { name: name.to_owned(), count }).collect()
}

fn lost_row(folder: &Path, lost: &LostFile) -> FileRow {
    let reason = if lost.planned { lost.reason.clone() } else { format!("not planned: {}", lost.reason) };
    FileRow::new(folder, &lost.path, &reason)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn below(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    if path.as_os_str().is_empty() { shown(folder) } else { shown(path) }
}

/// The path as text without control characters, which could play tricks on a terminal.
fn shown(path: &Path) -> String {
    let replaced =
        |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    path.to_string_lossy().chars().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_below_the_folder_and_without_control_characters() {
        let folder = Path::new("/src");
        assert_eq!(below(folder, Path::new("/src/a/b.rs")), "a/b.rs");
        assert_eq!(below(folder, folder), "/src");
        assert_eq!(shown(Path::new("a\x1B[31m.rs")), "a\u{FFFD}[31m.rs");
    }

    #[test]
    fn a_check_is_told_by_its_state() {
        let told = |check: &Check| serde_json::to_string(check).unwrap();
        assert_eq!(told(&Check::Equal), r#"{"state":"equal"}"#);
        assert_eq!(told(&Check::Differs(vec!["x".into()])), r#"{"state":"differs","differences":["x"]}"#);
    }

    #[test]
    fn a_run_that_took_no_time_has_no_rate() {
        assert_eq!(ratio(5.0, 0.0), 0.0);
    }
}
