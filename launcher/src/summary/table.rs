//! Columns of numbers, aligned to the right under their heads.

const GAP: usize = 2;

/// Renders rows under `heads`, each line indented. A row has as many cells as there are heads.
pub(super) fn render(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&heads).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    std::iter::once(&heads).chain(rows).map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{}{cell:>width$}", " ".repeat(GAP)));
    cells.chain(std::iter::once("\n".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".to_owned(), "12345".to_owned()], vec!["200".to_owned(), "6".to_owned()]];
        assert_eq!(render(&["a", "b"], &rows), "    a      b\n    1  12345\n  200      6\n");
    }
}
