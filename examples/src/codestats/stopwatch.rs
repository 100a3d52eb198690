//! The only place of codestats that looks at the clock.

use std::time::{Duration, Instant};

/// Measures wall time from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(
        clippy::disallowed_methods,
        reason = "a program of its own may time itself with the system's clock"
    )]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
