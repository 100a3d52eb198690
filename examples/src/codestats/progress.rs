//! The progress bar: on stderr, and only if that is a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg:>14} [{bar:40}] {pos}/{len} files, {per_sec}, {eta} left";

/// A bar for one pass over all files; it vanishes when dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of `files` steps, named `what`.
    pub(crate) fn new(what: &str, files: usize) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(files as u64), target);
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress(bar.with_style(style.progress_chars("=> ")).with_message(what.to_owned()))
    }

    /// So many files are done.
    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// One more file is done.
    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
