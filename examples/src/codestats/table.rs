//! Rows and columns as text, aligned.

use super::paint::Paint;

const GAP: &str = "  ";

/// A table whose first column is text and whose others are numbers.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
    has_total: bool,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Table { headings, rows: Vec::new(), has_total: false }
    }

    /// Adds a row; it has as many cells as there are headings.
    pub(crate) fn push<const N: usize>(&mut self, row: [String; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(row.into());
    }

    /// Sets the last row apart from those above it.
    pub(crate) fn total(&mut self) {
        self.has_total = true;
    }

    /// The table as lines of text.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let mut text = paint.heading(&line(&headings, &widths)) + "\n";
        for (index, row) in self.rows.iter().enumerate() {
            if self.has_total && index + 1 == self.rows.len() {
                let length = widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1);
                text += &("-".repeat(length) + "\n");
            }
            text += &(line(row, &widths) + "\n");
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let of_column = |(column, heading): (usize, &&str)| {
            let cells = self.rows.iter().map(|row| width(&row[column]));
            cells.chain([width(heading)]).max().unwrap_or(0)
        };
        self.headings.iter().enumerate().map(of_column).collect()
    }
}

/// The first cell to the left, the others to the right.
fn line(cells: &[String], widths: &[usize]) -> String {
    let pad = |(column, (cell, width_max)): (usize, (&String, &usize))| {
        let blanks = " ".repeat(width_max - width(cell));
        if column == 0 { cell.clone() + &blanks } else { blanks + cell }
    };
    let cells: Vec<String> = cells.iter().zip(widths).enumerate().map(pad).collect();
    cells.join(GAP).trim_end().to_owned()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// A number with a comma between every three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_left_and_numbers_right() {
        let mut table = Table::new(&["Language", "Files"]);
        table.push(["C".to_owned(), "12345678".to_owned()]);
        table.push(["Größe".to_owned(), "1".to_owned()]);
        let lines = ["Language     Files", "C         12345678", "Größe            1"];
        assert_eq!(table.render(Paint::Plain), lines.join("\n") + "\n");
    }

    #[test]
    fn the_total_is_set_apart() {
        let mut table = Table::new(&["A", "B"]);
        table.push(["x".to_owned(), "1".to_owned()]);
        table.push(["all".to_owned(), "1".to_owned()]);
        table.total();
        assert_eq!(table.render(Paint::Plain), "A    B\nx    1\n------\nall  1\n");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
