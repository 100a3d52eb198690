//! How the launcher ends: one number for every way.
//!
//! A program's exit code is passed on. A program that a signal ended makes the launcher *exit* with 128 + signal, as
//! shells report it; it does not die of the signal itself, because that would write a second core dump, would look
//! to a supervisor as if the launcher had crashed, and would lose the number where it is read as an exit code.

use nix::sys::signal::Signal;
use std::fmt;
use std::io;

/// All went well.
pub(crate) const SUCCESS: u8 = 0;
/// The launcher itself failed. The number `env`, `nohup` and `timeout` use.
pub(crate) const OWN_FAILURE: u8 = 125;
/// The program is there but cannot be run.
pub(crate) const CANNOT_RUN: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the program.
const SIGNAL_BASE: u8 = 128;

/// What `--help` says of the numbers above.
pub(crate) const HELP: &str = "\
Exit codes:
  N      the program's own exit code
  128+N  the program was ended by signal N
  2      the command line was wrong
  125    gorun itself failed
  126    the program cannot be run
  127    the program was not found";

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

impl End {
    /// The launcher's own exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => SIGNAL_BASE.saturating_add(signal),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(signal) => match Signal::try_from(i32::from(*signal)) {
                Ok(name) => write!(f, "was ended by {name} (signal {signal})"),
                Err(_) => write!(f, "was ended by signal {signal}"),
            },
        }
    }
}

/// The exit code for a program that could not be started.
pub(crate) fn code_of_spawn_error(cause: &io::Error) -> u8 {
    if cause.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_passes_through() {
        assert_eq!(End::Exited(0).code(), 0);
        assert_eq!(End::Exited(255).code(), 255);
    }

    #[test]
    fn signal_is_added_to_128() {
        assert_eq!(End::Killed(9).code(), 137);
        assert_eq!(End::Killed(64).code(), 192);
    }

    #[test]
    fn end_is_told_with_the_signals_name() {
        assert_eq!(End::Killed(9).to_string(), "was ended by SIGKILL (signal 9)");
        assert_eq!(End::Killed(40).to_string(), "was ended by signal 40");
        assert_eq!(End::Exited(3).to_string(), "ended with exit code 3");
    }

    #[test]
    fn spawn_errors_follow_the_shells() {
        assert_eq!(code_of_spawn_error(&io::ErrorKind::NotFound.into()), NOT_FOUND);
        assert_eq!(code_of_spawn_error(&io::ErrorKind::PermissionDenied.into()), CANNOT_RUN);
    }
}
