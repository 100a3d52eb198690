//! The summary for a person: a head, then for each runtime its outcomes and a table of its seats.

use super::units::{percent, time};
use super::{RuntimeView, SeatView, Summary, function, table};
use std::fmt::Write;

/// Whether colours may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    pub(crate) on: bool,
}

impl Paint {
    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn alarm(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const HEADS: &[&str] =
    &["seat", "worker", "cpu", "tasks", "busy", "steals", "restarts", "deaths", "run p50", "run p99"];

pub(super) fn render(summary: &Summary<RuntimeView>, paint: Paint) -> String {
    let mut text = String::new();
    let head = format!("gorun: program {} {}", summary.program, summary.end);
    push(&mut text, &paint.bold(&head));
    if summary.runtimes.is_empty() {
        push(
            &mut text,
            "gorun: no runtime to tell of: the program started none, or none with worker processes",
        );
    }
    for runtime in &summary.runtimes {
        text.push_str(&one(runtime, paint));
    }
    if summary.unlisted > 0 {
        push(&mut text, &format!("gorun: not listed: {}", counted(summary.unlisted, "more runtime")));
    }
    for refusal in &summary.refused {
        push(&mut text, &paint.alarm(&format!("gorun: a report was refused: {refusal}")));
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn push(text: &mut String, line: &str) {
    // A string takes everything.
    let _ = writeln!(text, "{line}");
}

fn one(runtime: &RuntimeView, paint: Paint) -> String {
    let mut text = String::new();
    let head = format!(
        "runtime of process {}: {}, {}, {} busy",
        runtime.pid,
        time(runtime.uptime_s),
        counted(runtime.seats.len() as u64, "seat"),
        percent(runtime.utilisation)
    );
    push(&mut text, &paint.bold(&head));
    if runtime.degraded {
        let alarm = "DEGRADED: no worker process could be had, so tasks ran on threads of the program, \
                     where a crash in one ends it";
        push(&mut text, &format!("  {}", paint.alarm(alarm)));
    }
    push(&mut text, &format!("  {}", outcomes(runtime, paint)));
    text.push_str(&table::render(HEADS, &runtime.seats.iter().map(row).collect::<Vec<_>>()));
    text.push_str(&function::render(&runtime.functions));
    text
}

/// One line of counts. What a healthy run has none of stands out when it is there.
fn outcomes(runtime: &RuntimeView, paint: Paint) -> String {
    let mut parts =
        vec![format!("submitted {}", runtime.submitted), format!("finished {}", runtime.finished)];
    let troubles = [
        ("panicked", runtime.panicked),
        ("lost", runtime.lost),
        ("cancelled", runtime.cancelled),
        ("timed out", runtime.timed_out),
        ("failed", runtime.failed),
        ("unfinished", runtime.unfinished),
        ("zygote restarts", runtime.zygote_restarts),
    ];
    parts.extend(troubles.map(|(name, count)| {
        let part = format!("{name} {count}");
        if count > 0 { paint.alarm(&part) } else { part }
    }));
    format!("tasks: {}", parts.join(", "))
}

fn row(seat: &SeatView) -> Vec<String> {
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let ran = |seconds: f64| if seat.tasks > 0 { time(seconds) } else { "-".to_owned() };
    vec![
        seat.seat.to_string(),
        or_dash(seat.worker_pid.map(|pid| pid.to_string())),
        or_dash(Some(seat.cpus.clone()).filter(|cpus| !cpus.is_empty())),
        seat.tasks.to_string(),
        percent(seat.busy_share),
        seat.steals.to_string(),
        seat.restarts.to_string(),
        seat.deaths.to_string(),
        ran(seat.run_p50_s),
        ran(seat.run_p99_s),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::exit::End;

    const PLAIN: Paint = Paint { on: false };

    #[test]
    fn everything_is_told_in_aligned_columns() {
        let expected = "\
gorun: program 4242 was ended by SIGKILL (signal 9)
runtime of process 4242: 1.25 s, 2 seats, 73.0 % busy
  tasks: submitted 1000, finished 987, panicked 1, lost 2, cancelled 0, timed out 0, failed 0, unfinished 10, zygote restarts 1
  seat  worker  cpu  tasks    busy  steals  restarts  deaths  run p50  run p99
     0    4243    0    700  96.0 %      12         0       0  1.20 ms  34.0 ms
     1       -    -    290  50.0 %       0         2       2     0 ns     0 ns
  tasks  panics  steals    busy  run p50  run p99  queue p50  queue p99      function
    990       0       0  1.80 s     0 ns     0 ns          -          -  demo::square
";
        assert_eq!(render(&sample(), PLAIN), expected);
    }

    #[test]
    fn a_program_without_runtime_gets_one_line_more() {
        let summary = Summary { runtimes: Vec::new(), end: End::Exited(0), ..sample() };
        let text = render(&summary, PLAIN);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("no runtime to tell of"), "{text}");
    }

    #[test]
    fn degradation_is_loud() {
        let mut summary = sample();
        summary.runtimes[0].degraded = true;
        assert!(render(&summary, PLAIN).contains("\n  DEGRADED: no worker process"));
        assert!(render(&summary, Paint { on: true }).contains("\x1b[1;31mDEGRADED"));
    }

    #[test]
    fn colour_stands_on_troubles_only() {
        let text = render(&sample(), Paint { on: true });
        assert!(text.contains("\x1b[1;31mlost 2\x1b[0m"), "{text}");
        assert!(text.contains(", cancelled 0,"), "{text}");
    }

    #[test]
    fn refusals_and_unlisted_runtimes_are_told() {
        let summary = Summary { refused: vec!["why".to_owned()], unlisted: 3, ..sample() };
        let text = render(&summary, PLAIN);
        assert!(
            text.ends_with("gorun: not listed: 3 more runtimes\ngorun: a report was refused: why\n"),
            "{text}"
        );
    }

    #[test]
    fn numbers_that_cannot_be_do_no_harm() {
        let seat = SeatView {
            tasks: u64::MAX,
            busy_share: f64::INFINITY,
            run_p99_s: f64::MAX,
            ..SeatView::default()
        };
        let runtime = RuntimeView {
            utilisation: f64::NAN,
            uptime_s: f64::MAX,
            seats: vec![seat],
            ..sample().runtimes[0].clone()
        };
        let text = render(&Summary { runtimes: vec![runtime], ..sample() }, PLAIN);
        assert!(text.contains("18446744073709551615"), "{text}");
    }
}
