//! The summary for a program: one line of JSON.
//!
//! Times are in seconds, shares in 0..=1. A field is only ever added. Numbers that are none are null.

use super::{RuntimeView, Summary};
use crate::exit::End;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    program: Program,
    runtimes: &'a [RuntimeView],
    refused: &'a [String],
    unlisted: u64,
}

/// Either `exit_code` or `signal` is there.
#[derive(Serialize)]
struct Program {
    pid: i32,
    exit_code: Option<u8>,
    signal: Option<u8>,
}

pub(super) fn render(summary: &Summary<RuntimeView>) -> String {
    let (exit_code, signal) = match summary.end {
        End::Exited(code) => (Some(code), None),
        End::Killed(signal) => (None, Some(signal)),
    };
    let document = Document {
        program: Program { pid: summary.program, exit_code, signal },
        runtimes: &summary.runtimes,
        refused: &summary.refused,
        unlisted: summary.unlisted,
    };
    // Fails only on maps whose keys are no strings.
    serde_json::to_string(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn all_stands_in_one_line() {
        let text = render(&sample());
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["program"]["signal"], 9);
        assert_eq!(value["program"]["exit_code"], serde_json::Value::Null);
        assert_eq!(value["runtimes"][0]["unfinished"], 10);
        assert_eq!(value["runtimes"][0]["seats"][0]["worker_pid"], 4243);
        assert_eq!(value["runtimes"][0]["seats"][1]["restarts"], 2);
    }

    #[test]
    fn a_number_that_is_none_is_null() {
        let runtime = RuntimeView { utilisation: f64::NAN, ..RuntimeView::default() };
        let text = render(&Summary { runtimes: vec![runtime], ..sample() });
        assert!(text.contains("\"utilisation\":null"), "{text}");
    }
}
