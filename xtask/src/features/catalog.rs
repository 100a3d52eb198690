//! The table of features as data: rows `| id | title | state | proof |`.

use std::collections::BTreeSet;
use std::fmt;

/// The groups and how many rows each has. Ids never change, so neither do these.
pub(crate) const GROUPS: &[(&str, usize)] =
    &[("S000", 62), ("S001", 40), ("S002", 44), ("S003", 112), ("S004", 86), ("X", 16)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Done, and the proof would fail without it.
    Yes,
    /// Some of it is done and proved; the title or the guide says what is missing.
    Partly,
    No,
}

#[derive(Debug)]
pub(crate) struct Row {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) proofs: Vec<String>,
}

/// Something wrong with the list. Line 0 means the list as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

impl Row {
    pub(crate) fn group(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }

    pub(crate) fn defect(&self, problem: impl fmt::Display) -> Defect {
        Defect { line: self.line, problem: format!("{}: {problem}", self.id) }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        write!(out, ": {}", self.problem)
    }
}

/// Reads every line that starts with an id; headings and prose are passed over.
pub(crate) fn parse(text: &str) -> (Vec<Row>, Vec<Defect>) {
    let (mut rows, mut defects) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_start_matches('|').split('|').map(str::trim).collect();
        if !line.trim_start().starts_with('|') || !is_id(cells[0]) {
            continue;
        }
        match parse_row(index + 1, &cells) {
            Ok(row) => rows.push(row),
            Err(problem) => defects.push(Defect { line: index + 1, problem }),
        }
    }
    (rows, defects)
}

fn parse_row(line: usize, cells: &[&str]) -> Result<Row, String> {
    // The bar at the end of the line makes an empty fifth cell.
    let &[id, _title, state, proof, ""] = cells else {
        return Err(format!("{}: write the row as `| id | title | state | proof |`", cells[0]));
    };
    let state = match state {
        "yes" => State::Yes,
        "partly" => State::Partly,
        "no" => State::No,
        other => return Err(format!("{id}: state `{other}` is unknown; write yes, partly or no")),
    };
    let proofs = proof.split(';').map(|one| one.trim().trim_matches('`').to_owned());
    Ok(Row { line, id: id.to_owned(), state, proofs: proofs.filter(|one| !one.is_empty()).collect() })
}

fn is_id(cell: &str) -> bool {
    let parts = cell.split_once('-');
    parts.is_some_and(|(group, number)| {
        let known = group == "X" || (group.len() == 4 && group.starts_with('S'));
        known && number.chars().all(|symbol| symbol.is_ascii_digit())
    })
}

/// Ids that are missing, listed twice, or of no group.
pub(crate) fn check_ids(rows: &[Row]) -> Vec<Defect> {
    let expected: Vec<String> = expected_ids();
    let (mut seen, mut defects) = (BTreeSet::new(), Vec::new());
    for row in rows {
        if !expected.contains(&row.id) {
            defects.push(row.defect("no such id; ids never change"));
        } else if !seen.insert(row.id.as_str()) {
            defects.push(row.defect("listed twice; keep one row"));
        }
    }
    let missing = expected.iter().filter(|id| !seen.contains(id.as_str()));
    defects.extend(missing.map(|id| Defect { line: 0, problem: format!("{id} is missing; add its row") }));
    defects
}

fn expected_ids() -> Vec<String> {
    let group_ids = |(group, count): &(&str, usize)| {
        let group = (*group).to_owned();
        (1..=*count).map(move |number| format!("{group}-{number:02}"))
    };
    GROUPS.iter().flat_map(group_ids).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let (rows, defects) = parse(
            "# Head\n| id | title | state | proof |\n|---|---|---|---|\n| S000-01 | a | partly | `bench:a`; example:b |\n",
        );
        assert_eq!(defects, []);
        assert_eq!((rows[0].line, rows[0].state, rows[0].group()), (4, State::Partly, "S000"));
        assert_eq!(rows[0].proofs, ["bench:a", "example:b"]);
    }

    #[test]
    fn an_unknown_state_is_a_defect() {
        let (rows, defects) = parse("| X-01 | a | done | |\n| X-02 | a |\n");
        assert!(rows.is_empty());
        assert_eq!(defects[0].to_string(), ":1: X-01: state `done` is unknown; write yes, partly or no");
        assert_eq!(defects.len(), 2);
    }

    #[test]
    fn missing_double_and_strange_ids_are_defects() {
        let (rows, _) = parse("| X-01 | a | no | |\n| X-01 | a | no | |\n| X-17 | a | no | |\n");
        let problems: Vec<String> = check_ids(&rows).into_iter().map(|defect| defect.problem).collect();
        assert!(problems[0].contains("listed twice"));
        assert!(problems[1].contains("no such id"));
        assert_eq!(problems.len(), 2 + 344 + 15);
    }
}
