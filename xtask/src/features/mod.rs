//! `cargo xtask features`: the feature list is complete, and every proof it names exists.

mod catalog;
mod proof;

use crate::trouble::Result;
use crate::{subcommand_names, table, workspace};
use catalog::{Row, State};

const LIST: &str = "docs/features.md";

/// Prints the state of each group and every defect of the list; true when there is no defect.
pub(crate) fn run() -> Result<bool> {
    let (rows, mut defects) = catalog::parse(&workspace::text_of(LIST)?);
    defects.extend(catalog::check_ids(&rows));
    let rust = workspace::files(&[".rs"])?;
    let files = rust.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let evidence = proof::Evidence { files, subcommands: subcommand_names() };
    defects.extend(rows.iter().flat_map(|row| proof::check(row, &evidence)));
    for defect in &defects {
        println!("{LIST}{defect}");
    }
    print!("{}", summary(&rows));
    println!("features: {} rows, {} defects", rows.len(), defects.len());
    Ok(defects.is_empty())
}

/// A table with one line per group and one for the sum.
fn summary(rows: &[Row]) -> String {
    let mut lines: Vec<Vec<String>> = catalog::GROUPS
        .iter()
        .map(|(group, _)| counts(group, rows.iter().filter(|row| row.group() == *group)))
        .collect();
    lines.push(counts("all", rows.iter()));
    table::render(&["group", "yes", "partly", "no"], &lines)
}

fn counts<'a>(name: &str, rows: impl Iterator<Item = &'a Row>) -> Vec<String> {
    let (mut yes, mut partly, mut no) = (0, 0, 0);
    for row in rows {
        match row.state {
            State::Yes => yes += 1,
            State::Partly => partly += 1,
            State::No => no += 1,
        }
    }
    vec![name.to_owned(), yes.to_string(), partly.to_string(), no.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_by_group() {
        let (rows, _) = catalog::parse("| X-01 | a | yes | `cmd:cargo xtask demo` |\n| X-02 | b | no | |\n");
        let text = summary(&rows);
        assert!(text.lines().any(|line| line.split_whitespace().eq(["X", "1", "0", "1"])), "{text}");
        assert!(text.lines().any(|line| line.split_whitespace().eq(["all", "1", "0", "1"])), "{text}");
    }
}
