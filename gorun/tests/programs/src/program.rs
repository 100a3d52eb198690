//! Running a test program, or this test binary again in another role.

use std::process::{Command, Output};

/// Names the role in which a test runs its own binary again.
const ROLE: &str = "GORUN_TEST_ROLE";

/// The role this process was started in; none in the test itself.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This test binary, to be run again for the test `test` in the role `role`.
///
/// # Panics
/// If this program's own path is not known.
#[must_use]
pub fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("know this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// Runs the program to its end.
///
/// # Panics
/// If it cannot be started, or fails: with what it said.
pub fn succeed(command: &mut Command) -> Said {
    let output = command.output().expect("start the program");
    let said = Said::of(&output);
    assert!(output.status.success(), "{command:?} ended with {}\n{}\n{}", output.status, said.out, said.err);
    said
}

/// What a program wrote.
#[derive(Debug, Clone)]
pub struct Said {
    /// To standard output.
    pub out: String,
    /// To standard error.
    pub err: String,
}

impl Said {
    /// What is in the pipes of a program that has ended.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { out: text(&output.stdout), err: text(&output.stderr) }
    }
}
