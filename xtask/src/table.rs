//! Plain text tables: columns as wide as their widest cell, no colours, so that a log stays readable.

/// Lays out `rows` under `heads`. Cells that look like numbers are aligned to the right.
pub(crate) fn render(heads: &[&str], rows: &[Vec<String>]) -> String {
    let widths = widths(heads, rows);
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for cells in [&heads, &rule].into_iter().chain(rows) {
        text.push_str(&line(cells, &widths));
        text.push('\n');
    }
    text
}

fn widths(heads: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    heads.iter().enumerate().map(|(column, head)| widest(column).max(head.chars().count())).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        if is_number(cell) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            vec![vec!["fmt".to_owned(), "7 s".to_owned()], vec!["clippy".to_owned(), "41 s".to_owned()]];
        let text = render(&["stage", "time"], &rows);
        assert_eq!(text, "stage   time\n------  ----\nfmt      7 s\nclippy  41 s\n");
    }
}
