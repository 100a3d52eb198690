//! Functions in the summary: what their tasks cost.

use super::table;
use super::units::time;
use gorun::FunctionProfile;
use serde::Serialize;
use std::fmt::Write;

/// Functions shown to a person; the rest is counted. JSON has all.
const SHOWN_MAX: usize = 10;
const HEADS: &[&str] =
    &["tasks", "panics", "steals", "busy", "run p50", "run p99", "queue p50", "queue p99", "function"];

/// A function in the units in which it is told.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct FunctionView {
    pub(super) function: String,
    pub(super) tasks: u64,
    pub(super) panics: u64,
    pub(super) steals: u64,
    pub(super) input_bytes: u64,
    pub(super) busy_s: f64,
    pub(super) run_p50_s: f64,
    pub(super) run_p90_s: f64,
    pub(super) run_p99_s: f64,
    pub(super) run_max_s: f64,
    /// How many were timed in line; one in sixteen.
    pub(super) queued: u64,
    pub(super) queue_p50_s: f64,
    pub(super) queue_p99_s: f64,
    pub(super) tasks_by_seat: Vec<u64>,
}

impl FunctionView {
    pub(super) fn of(profile: &FunctionProfile) -> Self {
        Self {
            function: profile.name.clone(),
            tasks: profile.tasks,
            panics: profile.panics,
            steals: profile.stolen,
            input_bytes: profile.input_bytes,
            busy_s: profile.busy.as_secs_f64(),
            run_p50_s: profile.run.p50.as_secs_f64(),
            run_p90_s: profile.run.p90.as_secs_f64(),
            run_p99_s: profile.run.p99.as_secs_f64(),
            run_max_s: profile.run.max.as_secs_f64(),
            queued: profile.queue.count,
            queue_p50_s: profile.queue.p50.as_secs_f64(),
            queue_p99_s: profile.queue.p99.as_secs_f64(),
            tasks_by_seat: profile.seats.clone(),
        }
    }

    fn row(&self) -> Vec<String> {
        let queued = |seconds: f64| if self.queued > 0 { time(seconds) } else { "-".to_owned() };
        vec![
            self.tasks.to_string(),
            self.panics.to_string(),
            self.steals.to_string(),
            time(self.busy_s),
            time(self.run_p50_s),
            time(self.run_p99_s),
            queued(self.queue_p50_s),
            queued(self.queue_p99_s),
            self.function.clone(),
        ]
    }
}

/// A table of the busiest; nothing if there are none.
pub(super) fn render(functions: &[FunctionView]) -> String {
    if functions.is_empty() {
        return String::new();
    }
    let shown = &functions[..functions.len().min(SHOWN_MAX)];
    let mut text = table::render(HEADS, &shown.iter().map(FunctionView::row).collect::<Vec<_>>());
    if functions.len() > shown.len() {
        // A string takes everything.
        let _ = writeln!(text, "  and {} more functions; --json lists all", functions.len() - shown.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_shown_and_the_rest_is_counted() {
        let function = |number: u64| FunctionView {
            function: format!("f{number}"),
            tasks: number,
            ..Default::default()
        };
        let all: Vec<_> = (0..12).map(function).collect();
        let text = render(&all);
        assert_eq!(text.lines().count(), 12);
        assert!(text.contains("f9\n") && !text.contains("f10"), "{text}");
        assert!(text.ends_with("and 2 more functions; --json lists all\n"), "{text}");
        assert_eq!(render(&[]), "");
    }
}
