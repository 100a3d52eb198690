//! The one error of this tool: what went wrong, and what the reader can do about it.

use std::fmt;

/// A failure that stops a subcommand. A stage that merely says "no" is `Ok(false)` instead.
#[derive(Debug)]
pub(crate) struct Trouble {
    problem: String,
    fix: String,
}

pub(crate) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    pub(crate) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n  fix: {}", self.problem, self.fix)
    }
}
