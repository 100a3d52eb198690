//! The report as tables.

use super::paint::Paint;
use super::report::{Check, FileRow, LanguageRow, Report};
use super::table::{Table, grouped};

/// Most lost or unreadable files that are listed.
const FILES_SHOWN_MAX: usize = 20;

/// The whole report as text.
pub(crate) fn render(report: &Report, paint: Paint) -> String {
    let sections = [
        languages(report, paint),
        identifiers(report, paint),
        workers(report, paint),
        times(report, paint),
        check(&report.check, paint),
        files("Unreadable, left out", &report.unreadable, paint),
        lost(report, paint),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    sections.join("\n")
}

fn languages(report: &Report, paint: Paint) -> String {
    let mut table = Table::new(&["Language", "Files", "Lines", "Code", "Comment", "Blank", "Bytes"]);
    for row in report.languages.iter().chain([&report.total]) {
        let LanguageRow { language, files, lines, code, comment, blank, bytes } = row.clone();
        let [files, lines, code, comment, blank, bytes] =
            [files, lines, code, comment, blank, bytes].map(grouped);
        table.push([language.to_owned(), files, lines, code, comment, blank, bytes]);
    }
    table.total();
    format!("{}\n\n{}", paint.heading(&report.folder), table.render(paint))
}

fn identifiers(report: &Report, paint: Paint) -> String {
    if report.identifiers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["Identifier", "Occurrences"]);
    for row in &report.identifiers {
        table.push([row.name.clone(), grouped(row.count)]);
    }
    table.render(paint)
}

fn workers(report: &Report, paint: Paint) -> String {
    let mut table = Table::new(&["Worker", "Core", "Tasks", "Busy", "Share", "Restarts"]);
    for row in &report.workers {
        table.push([
            format!("seat {}", row.seat),
            row.cpu.map_or("any".to_owned(), |cpu| cpu.to_string()),
            grouped(row.tasks),
            seconds(row.busy_seconds),
            percent(row.share),
            grouped(row.restarts),
        ]);
    }
    format!("{}Utilisation: {} of the workers' time\n", table.render(paint), percent(report.utilisation))
}

fn times(report: &Report, paint: Paint) -> String {
    let mut table = Table::new(&["Run", "Start", "Count", "Merge", "Files/s", "MB/s", "Speed-up"]);
    for row in &report.runs {
        table.push([
            row.run.clone(),
            seconds(row.start_seconds),
            seconds(row.count_seconds),
            seconds(row.merge_seconds),
            format!("{:.0}", row.files_per_second),
            format!("{:.1}", row.megabytes_per_second),
            format!("{:.2}", row.speed_up),
        ]);
    }
    table.render(paint)
}

fn check(check: &Check, paint: Paint) -> String {
    match check {
        Check::Skipped => String::new(),
        Check::Equal => paint.good("Check: the totals of all runs are equal.") + "\n",
        Check::Differs(differences) => {
            let heading = paint.bad("Check: the totals differ from those of the plain thread.");
            format!("{heading}\n  {}\n", differences.join("\n  "))
        }
    }
}

fn lost(report: &Report, paint: Paint) -> String {
    if report.crashes_planned == 0 && report.lost.is_empty() {
        return String::new();
    }
    let heading = format!("Lost with their workers ({} planned)", report.crashes_planned);
    let survived: String =
        report.survived.iter().map(|path| format!("  {path}: was to crash and did not\n")).collect();
    files(&heading, &report.lost, paint) + &survived
}

fn files(heading: &str, rows: &[FileRow], paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = paint.bad(&format!("{heading}: {} files", grouped(rows.len() as u64))) + "\n";
    for row in rows.iter().take(FILES_SHOWN_MAX) {
        text += &format!("  {}: {}\n", row.path, row.reason.replace('\n', "\n    "));
    }
    if let Some(more) = rows.len().checked_sub(FILES_SHOWN_MAX).filter(|&more| more > 0) {
        text += &format!("  and {} more\n", grouped(more as u64));
    }
    text
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::codestats::count::FileTask;
    use crate::codestats::language::LanguageIndex;
    use crate::codestats::measured::{Measured, SeatShare};
    use crate::codestats::tally::{Tally, Verdict};

    fn measured(lost_count: usize) -> Measured {
        let path = Path::new("/src/a.rs");
        let task = FileTask::new(path, LanguageIndex::of(path).unwrap()).crashing();
        let verdict = Verdict::Lost { reason: "signal 11".to_owned(), worker_died: true };
        let tally = Tally::of(&vec![task; lost_count], vec![verdict; lost_count]);
        let busy = Duration::from_millis(1500);
        let seats = vec![SeatShare { seat: 0, cpu: Some(1), tasks: 1234, busy, restarts: 2 }];
        let count = Duration::from_secs(2);
        Measured {
            name: "1 worker".to_owned(),
            start: Duration::ZERO,
            count,
            merge: Duration::ZERO,
            tally,
            seats,
        }
    }

    fn text(lost_count: usize) -> String {
        let main = measured(lost_count);
        render(&Report::new(Path::new("/src"), &main, &[], 10).with_runs(&[&main]), Paint::Plain)
    }

    #[test]
    fn shares_and_utilisation_are_told() {
        let text = text(0);
        assert!(text.contains("seat 0     1  1,234  1.500 s  100.0 %         2"), "{text}");
        assert!(text.contains("Utilisation: 75.0 % of the workers' time"), "{text}");
    }

    #[test]
    fn a_run_without_losses_does_not_speak_of_them() {
        assert!(!text(0).contains("Lost"));
    }

    #[test]
    fn the_first_lost_files_are_listed_and_the_others_counted() {
        let text = text(25);
        assert!(text.contains("25 files\n  a.rs: signal 11\n"), "{text}");
        assert!(text.ends_with("  and 5 more\n"), "{text}");
        assert_eq!(text.matches("a.rs: signal 11").count(), 20);
    }

    #[test]
    fn differences_are_listed() {
        let told = check(&Check::Differs(vec!["Rust: 1".into(), "C: 2".into()]), Paint::Plain);
        assert!(told.ends_with("\n  Rust: 1\n  C: 2\n"), "{told}");
    }
}
