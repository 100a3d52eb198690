//! The table of figures, and the machine they were measured on: a number without its machine says nothing.

use super::record::Record;
use crate::clock;
use crate::command::captured;
use crate::{table, workspace};
use std::fs;
use std::process::Command;
use std::thread;

/// The table, with one line per record.
pub(crate) fn render(records: &[Record]) -> String {
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    table::render(&["metric", "ours", "peer", "figure", "ratio", "spread", "reach", "met"], &rows)
}

/// CPU, cores, kernel, compiler, commit and date, one per line; `unknown` where the machine does not tell.
pub(crate) fn machine() -> String {
    let cores = thread::available_parallelism().map_or("unknown".to_owned(), |count| count.to_string());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lines = [
        ("cpu", cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())),
        ("cores", cores),
        ("kernel", kernel.trim().to_owned()),
        ("rustc", answer("rustc", &["--version"])),
        ("commit", answer("git", &["describe", "--always", "--dirty", "--abbrev=12"])),
        ("date", clock::today()),
    ];
    let known = |value: String| if value.is_empty() { "unknown".to_owned() } else { value };
    lines.into_iter().map(|(name, value)| format!("{name:<7} {}\n", known(value))).collect()
}

fn row(record: &Record) -> Vec<String> {
    // The sign shows on which side of the goal the good figures lie.
    let sign = if record.better == "higher" { ">=" } else { "<=" };
    vec![
        record.metric.clone(),
        figure(record.ours, &record.unit),
        record.peer.clone(),
        figure(record.reference, &record.unit),
        short(record.ratio),
        format!("{:.0} %", record.spread * 100.0),
        record.reach.map_or_else(|| "-".to_owned(), |reach| format!("{sign} {}", short(reach))),
        record.met.map_or("-", |met| if met { "yes" } else { "no" }).to_owned(),
    ]
}

fn figure(value: f64, unit: &str) -> String {
    format!("{} {unit}", short(value)).trim_end().to_owned()
}

/// Three significant digits are what such measurements are worth.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn cpu_model(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name") || line.starts_with("CPU part"));
    line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

fn answer(program: &str, arguments: &[&str]) -> String {
    let text = captured(Command::new(program).args(arguments).current_dir(workspace::root()));
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::record::sample;
    use super::*;

    #[test]
    fn the_table_says_whether_the_goal_is_met() {
        let text = render(&[sample("null_task", 0.25), sample("asleep", 12.5)]);
        let words = |line: &str| text.lines().any(|have| have.split_whitespace().eq(line.split_whitespace()));
        assert!(words("null_task 0.250 µs rayon::spawn 0.650 µs 0.385 4 % <= 0.500 yes"), "{text}");
        assert!(words("asleep 12.5 µs rayon::spawn 0.650 µs 19.2 4 % <= 0.500 no"), "{text}");
    }

    #[test]
    fn the_cpu_has_a_name() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU 3 GHz\n"), "Some CPU 3 GHz");
        assert_eq!(cpu_model(""), "");
    }
}
