//! Counting tests from what the runners print: nextest's summary and libtest's result lines.

use std::ops::AddAssign;

/// How many tests ran, by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Sums every summary line in `text`. A test that timed out or could not be started has failed.
pub(crate) fn tally(text: &str) -> Tally {
    let mut sum = Tally::default();
    for line in text.lines().map(plain).filter(|line| is_summary(line)) {
        let passed = number_before(&line, "passed");
        let failed =
            ["failed", "timed out", "exec failed"].iter().map(|verdict| number_before(&line, verdict));
        sum += Tally { passed, failed: failed.sum() };
    }
    sum
}

fn is_summary(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("test result:") || (line.starts_with("Summary [") && line.contains(" run:"))
}

/// The number written in front of `verdict`, as in `3 failed`; 0 when the runner left it out.
fn number_before(line: &str, verdict: &str) -> u64 {
    let mark = format!(" {verdict}");
    let places = line.match_indices(&mark).map(|(place, _)| &line[..place]);
    let mut numbers = places.filter_map(|before| {
        let digits = before.rsplit(|symbol: char| !symbol.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    numbers.next().unwrap_or(0)
}

/// The line without terminal colours, which runners add when CARGO_TERM_COLOR asks for them.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut pieces = line.split('\u{1b}');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        text.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_summary_is_read() {
        let text =
            "     Summary [   1.204s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(tally(text), Tally { passed: 9, failed: 3 });
    }

    #[test]
    fn coloured_nextest_summary_is_read() {
        let text = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.01s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(tally(text), Tally { passed: 2, failed: 0 });
    }

    #[test]
    fn interrupted_nextest_summary_is_read() {
        let text = "Summary [   1.204s] 3/12 tests run: 2 passed, 1 failed, 0 skipped";
        assert_eq!(tally(text), Tally { passed: 2, failed: 1 });
    }

    #[test]
    fn libtest_results_are_summed() {
        let text = "running 2 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\
                    test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(tally(text), Tally { passed: 7, failed: 1 });
    }

    #[test]
    fn other_lines_do_not_count() {
        assert_eq!(tally("9 passed\nnote: 3 failed"), Tally::default());
    }
}
