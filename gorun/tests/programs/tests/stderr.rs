//! Workers' standard error, captured: all of it comes out, the last of it is evidence, and nobody hangs.

use gorun_test_programs::Watchdog;
use gorun_test_programs::program::{Said, succeed};
use std::process::{Command, Stdio};

fn speaks(part: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_speaks"));
    command.arg(part);
    command
}

#[test]
fn what_a_worker_said_before_it_aborted_is_evidence_and_comes_out() {
    let _watchdog = Watchdog::start("what_a_worker_said_before_it_aborted_is_evidence_and_comes_out");
    let Said { out, err } = succeed(&mut speaks("abort"));
    let expected: String = (0..300).map(|n| format!("line {n} of what the worker said\n")).collect();
    assert_eq!(err, expected + "the last line\n");
    assert!(
        out.contains("\n  stderr:    line 291 of what") && out.contains("\n             the last line"),
        "{out}"
    );
}

#[test]
fn ten_megabytes_come_out_whole() {
    let _watchdog = Watchdog::start("ten_megabytes_come_out_whole");
    let Said { err, .. } = succeed(&mut speaks("much"));
    assert_eq!(err.len(), 10_000_000);
    // Lines of two workers may be cut where a chunk ends, but each byte is there.
    let expected: String = (0..50_000).map(|n| format!("{n:099}\n")).collect();
    assert_eq!(counts(&err), counts(&expected).map(|count| 2 * count));
}

/// How often each byte occurs.
fn counts(text: &str) -> [u32; 256] {
    let mut counts = [0; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

#[test]
fn ten_megabytes_into_a_closed_pipe_hang_nobody() {
    let _watchdog = Watchdog::start("ten_megabytes_into_a_closed_pipe_hang_nobody");
    let mut child = speaks("much").stderr(Stdio::piped()).spawn().expect("start");
    drop(child.stderr.take());
    assert!(child.wait().expect("wait for it").success());
}

#[test]
fn what_was_said_just_before_the_exit_comes_out() {
    let _watchdog = Watchdog::start("what_was_said_just_before_the_exit_comes_out");
    for _ in 0..20 {
        let Said { err, .. } = succeed(speaks("leave").env("GORUN_CAPTURE_STDERR", "1"));
        assert_eq!(err, "said before the end\n");
    }
}
