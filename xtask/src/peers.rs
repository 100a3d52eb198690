//! `cargo xtask peers`: the same scripted faults on gorun and on other pools, as one table.

use crate::command::{answers, captured, cargo, must_succeed};
use crate::table;
use crate::trouble::{Result, Trouble};
use crate::workspace;
use serde::Deserialize;
use std::process::Command;

const BUILD: &[&str] = &["build", "--release", "-p", "gorun-peers"];
const HEADS: &[&str] = &[
    "fault",
    "pool",
    "good tasks",
    "right",
    "lost",
    "hung",
    "usable after",
    "ms",
    "the faulty task ended with",
];
/// Cells longer than this are cut: they are quoted to be recognised, not to be read.
const TOLD_MAX: usize = 72;

#[derive(clap::Args)]
pub(crate) struct PeersArguments {
    /// Prints one JSON object a line instead of the table.
    #[arg(long)]
    json: bool,
}

/// What a pool prints for a case: see `benches/peers/src/lib.rs`.
#[derive(Deserialize)]
struct Case {
    peer: String,
    fault: String,
    good: u64,
    right: u64,
    lost: u64,
    hung: u64,
    told: String,
    usable: bool,
    milliseconds: u64,
}

/// Builds, runs one pool after the other, and judges gorun only.
pub(crate) fn run(arguments: &PeersArguments) -> Result<bool> {
    must_succeed(&mut cargo(BUILD), "repair the compile errors above")?;
    let folder = workspace::target_folder().join("release");
    let mut text = captured(&mut Command::new(folder.join("peer_gorun")))?;
    text.push_str(&captured(&mut Command::new(folder.join("peer_procspawn")))?);
    if answers(Command::new("python3").arg("--version")) {
        let script = workspace::root().join("benches/peers/process_pool.py");
        text.push_str(&captured(Command::new("python3").arg(script))?);
    } else {
        eprintln!("python3 is not installed: its pool is left out");
    }
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let unreadable = |error| Trouble::new(format!("cannot read {line}: {error}"), "see what printed it");
        cases.push(serde_json::from_str::<Case>(line).map_err(unreadable)?);
        if arguments.json {
            println!("{line}");
        }
    }
    if !arguments.json {
        print!("{}", table::render(HEADS, &rows(&cases)));
    }
    Ok(cases.iter().filter(|case| case.peer == "gorun").all(|case| case.right == case.good && case.usable))
}

/// The cases of one fault stand together, in the order of the first pool.
fn rows(cases: &[Case]) -> Vec<Vec<String>> {
    let mut faults: Vec<&str> = Vec::new();
    for case in cases {
        if !faults.contains(&case.fault.as_str()) {
            faults.push(&case.fault);
        }
    }
    let of_fault = |fault| cases.iter().filter(move |case| case.fault == fault);
    faults.into_iter().flat_map(of_fault).map(cells).collect()
}

fn cells(case: &Case) -> Vec<String> {
    let told: String = case.told.chars().take(TOLD_MAX).collect();
    let usable = if case.usable { "yes" } else { "no" };
    let mut cells = vec![case.fault.clone(), case.peer.clone()];
    cells.extend([case.good, case.right, case.lost, case.hung].map(|count| count.to_string()));
    cells.extend([usable.to_owned(), case.milliseconds.to_string(), told]);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_one_fault_stand_together() {
        let case = |peer: &str, fault: &str| Case {
            peer: peer.to_owned(),
            fault: fault.to_owned(),
            good: 1,
            right: 1,
            lost: 0,
            hung: 0,
            told: String::new(),
            usable: true,
            milliseconds: 1,
        };
        let cases = [case("a", "one"), case("a", "two"), case("b", "one"), case("b", "two")];
        let rows = rows(&cases);
        let heads: Vec<[&str; 2]> = rows.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect();
        assert_eq!(heads, [["one", "a"], ["one", "b"], ["two", "a"], ["two", "b"]]);
    }
}
