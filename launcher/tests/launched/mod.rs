//! A launcher at work, with all ends of its pipes, and what the tests need around it.
#![expect(clippy::unwrap_used, reason = "test code; a failure here fails the test")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Names the test that this executable is asked to run as a program.
pub(crate) const SUBJECT: &str = "GORUN_TEST_SUBJECT";

/// Blocks a shell until its standard input ends, so that a trap runs at once: `wait` is interrupted, `cat` is not.
pub(crate) const WAIT_FOR_STDIN: &str = "exec 3<&0; cat <&3 >/dev/null & wait";

/// The launcher with these arguments, and nothing to read.
pub(crate) fn launcher(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gorun"));
    command.arg("run").args(arguments).stdin(Stdio::null());
    command
}

/// Runs the launcher to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    launcher(arguments).output().unwrap()
}

/// The launcher around this executable, which runs only the test `name`.
pub(crate) fn subject(name: &str, flags: &[&str]) -> Command {
    let mut command = launcher(flags);
    let own = std::env::current_exe().unwrap();
    command.arg("--").arg(own).args(["--exact", name, "--nocapture"]).env(SUBJECT, name);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The summary, which is the last line.
pub(crate) fn json(said: &str) -> Value {
    said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Signals a process by id, as a shell does.
pub(crate) fn send(signal: &str, process: impl std::fmt::Display) {
    let kill = format!("kill -{signal} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// A running launcher with all ends of its pipes.
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Launched {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(launcher(arguments))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What follows `prefix` in the first line that has it, wherever the test harness put it.
    pub(crate) fn answer(&mut self, prefix: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "no line has {prefix}");
            if let Some((_, answer)) = line.split_once(prefix) {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn rest_of_stdout(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }

    pub(crate) fn rest_of_stderr(&mut self) -> String {
        let mut rest = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        rest
    }

    pub(crate) fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// A path that no other test uses, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("gorun-launcher-test-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Aborts the process if it is not dropped in time: a hanging test ends. Never a measure of speed.
pub(crate) struct Watchdog {
    /// Dropped with the watchdog, which ends its thread.
    _alive: SyncSender<()>,
}

impl Watchdog {
    pub(crate) fn start() -> Self {
        let (alive, dropped) = sync_channel(1);
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if dropped.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
                eprintln!("watchdog: {name} hangs");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
