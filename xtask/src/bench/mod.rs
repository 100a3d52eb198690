//! `cargo xtask bench`: every binary of the benches package, one table of what they measured.
//!
//! A benchmark prints one JSON object per metric; see [`record::Record`]. All of them end up in
//! `bench/latest.json` below the build output, with the printed report beside it.

mod record;
mod report;

use crate::command::{captured, cargo, must_succeed, shown};
use crate::trouble::{Result, Trouble};
use crate::workspace;
use record::Record;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "gorun-benches";

#[derive(clap::Args)]
pub(crate) struct BenchArguments {
    /// Fewer and shorter repetitions: shows that everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Runs one benchmark and keeps the other figures of the last run.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

pub(crate) fn run(arguments: &BenchArguments) -> Result<bool> {
    let names = chosen(binaries(&workspace::packages()?), arguments.only.as_deref())?;
    let build = ["build", "--release", "-p", PACKAGE, "--bins"];
    must_succeed(&mut cargo(&build), "repair the compile errors above")?;
    let (mut fresh, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match measure(&name, arguments.quick) {
            Ok(records) => fresh.extend(records),
            Err(trouble) => {
                eprintln!("error: benchmark {name}: {trouble}");
                failed.push(name);
            }
        }
    }
    let earlier = if arguments.only.is_some() { earlier() } else { Vec::new() };
    publish(&record::merge(earlier, fresh), &failed)?;
    Ok(failed.is_empty())
}

/// The names of the package's binaries in the order of cargo's metadata, which is that of the alphabet.
fn binaries(packages: &[serde_json::Value]) -> Vec<String> {
    let package = packages.iter().find(|package| package["name"] == PACKAGE);
    let targets = package.and_then(|package| package["targets"].as_array()).into_iter().flatten();
    let is_binary = |target: &&serde_json::Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into()))
    };
    targets.filter(is_binary).filter_map(|target| target["name"].as_str().map(str::to_owned)).collect()
}

fn chosen(names: Vec<String>, only: Option<&str>) -> Result<Vec<String>> {
    let Some(only) = only else { return Ok(names) };
    if names.iter().any(|name| name == only) {
        return Ok(vec![only.to_owned()]);
    }
    Err(Trouble::new(
        format!("there is no benchmark `{only}`"),
        format!("choose one of: {}", names.join(" ")),
    ))
}

/// Runs one benchmark to its end. Its standard error is ours, its standard output holds the records.
fn measure(name: &str, quick: bool) -> Result<Vec<Record>> {
    let mut command = Command::new(workspace::target_folder().join("release").join(name));
    command.args(quick.then_some("--quick")).current_dir(workspace::root());
    eprintln!("$ {}", shown(&command));
    let (records, complaints) = record::parse(&captured(&mut command)?);
    if !complaints.is_empty() {
        let problem = format!("it prints records that cannot be read: {}", complaints.join("; "));
        return Err(Trouble::new(problem, "print every field of a record, with finite numbers"));
    }
    Ok(records)
}

fn folder() -> PathBuf {
    workspace::target_folder().join("bench")
}

/// The figures of the last run; none when there was none or its file is not ours.
fn earlier() -> Vec<Record> {
    let text = fs::read_to_string(folder().join("latest.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn publish(records: &[Record], failed: &[String]) -> Result<()> {
    let mut report = format!("{}\n{}", report::machine(), report::render(records));
    for name in failed {
        report.push_str(&format!("benchmark {name} failed; its errors are above\n"));
    }
    let unwritable = |error: serde_json::Error| Trouble::new(format!("{error}"), "print finite numbers only");
    let json = serde_json::to_string_pretty(records).map_err(unwritable)?;
    workspace::write(&folder().join("latest.json"), &json)?;
    workspace::write(&folder().join("latest.txt"), &report)?;
    print!("{report}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_binaries_of_the_benches_are_run() {
        let packages = serde_json::json!([
            {"name": "gorun", "targets": [{"name": "gorun", "kind": ["bin"]}]},
            {"name": "gorun-benches", "targets": [
                {"name": "gorun_benches", "kind": ["lib"]}, {"name": "null_task", "kind": ["bin"]}]}
        ]);
        assert_eq!(binaries(packages.as_array().unwrap()), ["null_task"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let names = vec!["null_task".to_owned(), "ring".to_owned()];
        assert_eq!(chosen(names.clone(), Some("ring")).unwrap(), ["ring"]);
        let trouble = chosen(names, Some("rings")).unwrap_err().to_string();
        assert!(trouble.contains("null_task ring"), "{trouble}");
    }
}
