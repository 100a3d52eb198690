//! How long until a fresh process has the result of its first task?
//!
//! Measured: from starting the process to a byte that it writes when the first `go_parallel` has returned. Peer: the same
//! binary started for a role in which it writes the byte at once, that is an empty fork and exec.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::report::{Better, Row};

/// Role of a process that runs one task.
const FIRST_TASK: &str = "first-task";
/// Role of a process that does nothing.
const EMPTY: &str = "empty";

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--role").skip(1);
    match arguments.next().as_deref() {
        None => measure(Effort::from_args()),
        Some(EMPTY) => report(1),
        Some(FIRST_TASK) => report(go_parallel(|| 1_u8).join().expect("the task ends")),
        Some(role) => panic!("no such role: {role}"),
    }
}

fn measure(effort: Effort) {
    let starts = effort.pick(20, 5);
    let median_us = |role| Sample::of((0..starts).map(|_| start_us(role)).collect()).median;
    let [ours, reference] =
        interleave(effort.runs(), [&mut || median_us(FIRST_TASK), &mut || median_us(EMPTY)]);
    let (metric, peer) = ("cold start to the first result", "empty fork and exec");
    Row { metric, unit: "us", ours, peer, reference, better: Better::Lower, reach: Some(2.0) }.print();
}

/// Microseconds from starting a process in `role` until it says that it is there.
fn start_us(role: &str) -> f64 {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--role", role]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = None;
    let mut byte = [0];
    let ns = time_ns(|| {
        let child = child.insert(command.spawn().expect("a process can be started"));
        let said = child.stdout.as_mut().expect("stdout is a pipe").read_exact(&mut byte);
        said.expect("the process says that it is there");
    });
    let status = child.map(|mut child| child.wait().expect("the process can be waited for"));
    assert!(status.is_some_and(|status| status.success()), "the process ends well");
    assert_eq!(byte, [1], "the process has its result");
    ns / 1e3
}

fn report(byte: u8) {
    std::io::stdout().write_all(&[byte]).expect("the parent listens");
    std::io::stdout().flush().expect("the parent listens");
}
