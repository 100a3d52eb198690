//! Round: one run of the chaos program, to its end or until it is killed, and what came of it.

use super::remains;
use crate::clock::{Stopwatch, human};
use crate::command::shown;
use crate::trouble::{Result, Trouble};
use crate::workspace;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

pub(super) const HEADS: &[&str] = &[
    "round",
    "seed",
    "verdict",
    "submitted",
    "right",
    "planned",
    "outside",
    "helping",
    "bad",
    "available",
    "p50 us",
    "p99 us",
    "tasks/s",
    "remains",
];

/// How often it is looked whether a host that is to be killed ended by itself.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Round {
    pub(super) number: u64,
    pub(super) seed: u64,
    pub(super) length: Duration,
    pub(super) kills_host: bool,
}

/// What the program reports: see its own `Report`.
#[derive(Default, Deserialize)]
struct Report {
    submitted: u64,
    right: u64,
    planned: u64,
    killed_from_outside: u64,
    killed_while_helping: u64,
    lost_without_cause: u64,
    wrong: u64,
    hung: u64,
    run_twice: u64,
    leftovers: u64,
    grown: u64,
    degraded: u64,
    throughput: f64,
    recovery_p50_us: u64,
    recovery_p99_us: u64,
}

impl Report {
    fn bad(&self) -> u64 {
        let zeros = [self.lost_without_cause, self.wrong, self.hung, self.run_twice, self.leftovers];
        zeros.iter().sum::<u64>() + self.grown + self.degraded
    }
}

pub(super) struct RoundResult {
    number: u64,
    seed: u64,
    command: String,
    /// None of a host that was killed, or said nothing that can be read.
    report: Option<Report>,
    /// True if the program succeeded, or lived until it was killed.
    ended_well: bool,
    /// How long anything of a killed host lived on.
    lived_on: Option<Duration>,
    /// Processes and files that are left.
    left: Vec<String>,
}

impl Round {
    /// Runs the program. Blocks until nothing of it is left, or too long after.
    pub(super) fn run(&self) -> Result<RoundResult> {
        let folder = env::temp_dir().join(format!("gorun-chaos-{}-{}", std::process::id(), self.number));
        let problem =
            |error| Trouble::new(format!("cannot make {}: {error}", folder.display()), "check TMPDIR");
        fs::create_dir_all(&folder).map_err(problem)?;
        let mut command = self.command(&folder);
        let (ended_well, report, lived_on) = if self.kills_host {
            (self.kill_in_the_middle(&mut command)?, None, Some(()))
        } else {
            let (success, report) = finished(&mut command)?;
            (success, report, None)
        };
        let (took, pids) = remains::await_none(&folder);
        let mut left: Vec<String> = pids.iter().map(|pid| format!("process {pid}")).collect();
        left.extend(files_in(&folder).into_iter().filter(|name| name != "runs"));
        // What is left of a round that failed is reported above.
        let _ = fs::remove_dir_all(&folder);
        let Self { number, seed, .. } = *self;
        let lived_on = lived_on.map(|()| took);
        Ok(RoundResult { number, seed, command: shown(&command), report, ended_well, lived_on, left })
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(program());
        command.args(["--json", "--seed", &self.seed.to_string()]);
        command.args(["--seconds", &format!("{:.1}", self.length.as_secs_f64())]);
        command.env("TMPDIR", folder).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// True if the host lived until then.
    fn kill_in_the_middle(&self, command: &mut Command) -> Result<bool> {
        let stopwatch = Stopwatch::start();
        let mut host = command.spawn().map_err(|error| cannot_run(command, &error))?;
        // Anywhere from its start to nine tenths of its life.
        let share = u32::try_from(self.seed % 900).unwrap_or(0);
        let until = self.length * share / 1000;
        while stopwatch.elapsed() < until {
            thread::park_timeout(LOOK);
            if host.try_wait().map_err(|error| cannot_run(command, &error))?.is_some() {
                return Ok(false);
            }
        }
        let ended = host.kill().and_then(|()| host.wait());
        ended.map_err(|error| cannot_run(command, &error))?;
        Ok(true)
    }
}

impl RoundResult {
    pub(super) fn is_clean(&self) -> bool {
        let reported =
            self.lived_on.is_some() || self.report.as_ref().is_some_and(|report| report.bad() == 0);
        self.ended_well && reported && self.left.is_empty()
    }

    /// What repeats the round.
    pub(super) fn repeat(&self) -> String {
        format!("{} (left: {:?})", self.command, self.left)
    }

    /// One line while the rounds go on.
    pub(super) fn line(&self) -> String {
        let verdict = if self.is_clean() { "ok" } else { "FAILED" };
        let what = match (&self.report, self.lived_on) {
            (_, Some(lived_on)) => format!("host killed, nothing left after {}", milliseconds(lived_on)),
            (Some(report), None) => format!("{} tasks, {} bad", report.submitted, report.bad()),
            (None, None) => "no report".to_owned(),
        };
        format!("round {} seed {}: {verdict}, {what}", self.number, self.seed)
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let verdict = if self.is_clean() { "ok" } else { "FAILED" };
        let mut cells = vec![self.number.to_string(), self.seed.to_string(), verdict.to_owned()];
        match (&self.report, self.lived_on) {
            (Some(report), _) => cells.extend(report_cells(report)),
            (None, Some(_)) => cells.extend(["host killed".to_owned()].into_iter().chain(blanks(10))),
            (None, None) => cells.extend(["no report".to_owned()].into_iter().chain(blanks(10))),
        }
        cells.truncate(HEADS.len() - 1);
        cells.push(self.lived_on.map_or_else(|| self.left.len().to_string(), milliseconds));
        cells
    }
}

fn report_cells(report: &Report) -> Vec<String> {
    let available = (report.right + report.planned) as f64 / report.submitted.max(1) as f64;
    let counts = [
        report.submitted,
        report.right,
        report.planned,
        report.killed_from_outside,
        report.killed_while_helping,
        report.bad(),
    ];
    let mut cells: Vec<String> = counts.iter().map(u64::to_string).collect();
    cells.push(format!("{available:.5}"));
    cells.extend([report.recovery_p50_us.to_string(), report.recovery_p99_us.to_string()]);
    cells.push(format!("{:.0}", report.throughput));
    cells
}

/// The last row: sums, and the worst recovery.
pub(super) fn totals(results: &[RoundResult]) -> Vec<String> {
    let reports: Vec<&Report> = results.iter().filter_map(|result| result.report.as_ref()).collect();
    let sum = |field: fn(&Report) -> u64| reports.iter().map(|report| field(report)).sum::<u64>();
    let worst = |field: fn(&Report) -> u64| reports.iter().map(|report| field(report)).max().unwrap_or(0);
    let total = Report {
        submitted: sum(|report| report.submitted),
        right: sum(|report| report.right),
        planned: sum(|report| report.planned),
        killed_from_outside: sum(|report| report.killed_from_outside),
        killed_while_helping: sum(|report| report.killed_while_helping),
        wrong: sum(Report::bad),
        throughput: reports.iter().map(|report| report.throughput).sum::<f64>() / reports.len().max(1) as f64,
        recovery_p50_us: worst(|report| report.recovery_p50_us),
        recovery_p99_us: worst(|report| report.recovery_p99_us),
        ..Report::default()
    };
    let all_clean = results.iter().all(RoundResult::is_clean);
    let verdict = if all_clean { "ok" } else { "FAILED" };
    let mut cells = vec!["all".to_owned(), String::new(), verdict.to_owned()];
    cells.extend(report_cells(&total));
    let longest = results.iter().filter_map(|result| result.lived_on).max();
    cells.push(longest.map_or_else(String::new, milliseconds));
    cells
}

/// Runs the program to its end; whether it succeeded, and what it reported.
fn finished(command: &mut Command) -> Result<(bool, Option<Report>)> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| cannot_run(command, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Option<Report> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    if !output.status.success() {
        // Its complaints are in the report.
        println!("{} ended with {}:\n{text}", shown(command), output.status);
    }
    Ok((output.status.success(), report))
}

fn program() -> PathBuf {
    workspace::target_folder().join("debug/chaos")
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn blanks(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|_| String::new())
}

fn milliseconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{} ms", duration.as_millis()) } else { human(duration) }
}

fn cannot_run(command: &Command, error: &std::io::Error) -> Trouble {
    let problem = format!("cannot run `{}`: {error}", shown(command));
    Trouble::new(problem, "build it with `cargo build -p gorun-test-programs --bin chaos`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(report: Option<Report>, lived_on: Option<Duration>) -> RoundResult {
        let (command, left) = ("chaos".to_owned(), Vec::new());
        RoundResult { number: 0, seed: 1, command, report, ended_well: true, lived_on, left }
    }

    #[test]
    fn every_number_that_must_be_zero_fails_the_round() {
        assert!(result(Some(Report::default()), None).is_clean());
        assert!(!result(Some(Report { wrong: 1, ..Report::default() }), None).is_clean());
        assert!(!result(Some(Report { degraded: 1, ..Report::default() }), None).is_clean());
        assert!(!result(None, None).is_clean());
        let mut left = result(None, Some(Duration::from_millis(3)));
        assert!(left.is_clean());
        left.left.push("process 7".to_owned());
        assert!(!left.is_clean());
    }

    #[test]
    fn every_row_has_a_cell_for_each_head() {
        let results =
            [result(Some(Report::default()), None), result(None, Some(Duration::ZERO)), result(None, None)];
        assert!(results.iter().all(|result| result.cells().len() == HEADS.len()));
        assert_eq!(totals(&results).len(), HEADS.len());
    }
}
