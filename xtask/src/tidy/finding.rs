//! One broken rule: where, what, and how to repair it.

use std::fmt;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    problem: String,
    fix: String,
}

impl Finding {
    /// `index` counts lines from 0, as slices do; people count from 1.
    pub(crate) fn new(path: &str, index: usize, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: index + 1, problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}\n  fix: {}", self.path, self.line, self.problem, self.fix)
    }
}
