//! `gorun run`: a program between two acts of ours: its environment before, the summary of its runtimes after.
//!
//! 1. Signals are blocked and read from a descriptor, so that none is lost from here on.
//! 2. A socket with an unguessable name listens; the name goes to the program as `GORUN_REPORT`.
//! 3. The program starts, without a shell, with our standard streams and our process group.
//! 4. We sleep until a signal, a report or the program's end comes, and pass signals on.
//! 5. The program has ended: the counters of its runtimes are read from their shared memory, however it ended.
//!
//! # Signals
//! SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP and SIGCONT go on to the program. A terminal sends its
//! signals (Ctrl-C, Ctrl-\, Ctrl-Z, hang-up) to the whole process group, so the program has them already: those are
//! known by their sender, which is the kernel and not a process, and are not sent again, unless the program has left
//! our group. A process that signals the whole group itself reaches the program twice; that cannot be told apart.
//!
//! When a job-control signal stops the program, and there is a terminal, the launcher stops too, so that the shell
//! sees a stopped job; `fg` and `bg` wake both. Without a terminal nobody would wake it, so it goes on waiting.

mod attend;
mod flags;
mod memory;
mod reports;
mod supervision;

use crate::exit::{self, End};
use crate::os::child::Program;
use crate::os::signals::Signals;
use crate::summary::{Paint, Summary};
use crate::{complain, os};
use clap::ValueHint;
use flags::RuntimeFlags;
use gorun::observe;
use reports::Reports;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// The program and its arguments
    // First, because a help heading holds for everything that comes after it.
    #[arg(
        trailing_var_arg = true,
        required = true,
        value_name = "PROGRAM [ARGS]",
        value_hint = ValueHint::CommandWithArguments
    )]
    command: Vec<OsString>,

    #[command(flatten)]
    settings: RuntimeFlags,

    #[command(flatten)]
    summary: SummaryFlags,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Summary")]
struct SummaryFlags {
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,

    /// Write the summary to a file instead of standard error
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    summary_file: Option<PathBuf>,

    /// Print no summary
    #[arg(long, conflicts_with_all = ["json", "summary_file"])]
    quiet: bool,
}

/// Runs the program and returns the launcher's exit code.
pub(crate) fn run(arguments: &RunArguments) -> u8 {
    let file = match arguments.summary.summary_file.as_deref().map(create).transpose() {
        Ok(file) => file,
        Err(code) => return code,
    };
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(cause) => return own_failure("cannot take over signals", &cause),
    };
    let mut reports = if arguments.summary.quiet { Reports::closed() } else { listen() };
    let program = match start(arguments, &reports, &signals) {
        Ok(program) => program,
        Err(code) => return code,
    };
    let end = match attend::until_end(&program, &signals, &mut reports) {
        Ok(end) => end,
        Err(cause) => return own_failure("cannot wait for the program", &cause),
    };
    if !arguments.summary.quiet {
        let (runtimes, refused, unlisted) = reports.close();
        let summary = Summary { program: program.pid(), end, runtimes, refused, unlisted };
        deliver(&summary, arguments.summary.json, file);
    }
    end.code()
}

fn create(path: &Path) -> Result<File, u8> {
    File::create(path).map_err(|cause| own_failure(&format!("cannot write {}", path.display()), &cause))
}

/// The program runs all the same where its runtimes cannot be seen.
fn listen() -> Reports {
    observe::Listener::open().map_or_else(
        |cause| {
            complain(format_args!("there will be no summary: {cause}"));
            Reports::closed()
        },
        Reports::of,
    )
}

fn start(arguments: &RunArguments, reports: &Reports, signals: &Signals) -> Result<Program, u8> {
    let Some((program, rest)) = arguments.command.split_first() else { return Err(exit::OWN_FAILURE) };
    let mut command = Command::new(program);
    command.args(rest).envs(arguments.settings.environment());
    if let Some(name) = reports.name() {
        command.env(observe::VARIABLE, name);
    }
    Program::start(&mut command, signals.inherited()).map_err(|cause| {
        complain(refusal(Path::new(program), &cause));
        exit::code_of_spawn_error(&cause)
    })
}

/// Why the program cannot be run, and what to do about it.
fn refusal(program: &Path, cause: &io::Error) -> String {
    let name = program.display();
    let fix = match cause.kind() {
        io::ErrorKind::NotFound if program.components().count() > 1 && program.exists() => {
            "; it is there, but the interpreter or the loader it names is not"
        }
        io::ErrorKind::NotFound if program.components().count() > 1 => "; check the path",
        io::ErrorKind::NotFound => "; it is in no folder of PATH, give a path such as ./name",
        io::ErrorKind::PermissionDenied => "; it is a folder, or lacks the right to be executed (chmod +x)",
        _ => "",
    };
    format!("cannot run {name}: {cause}{fix}")
}

/// Writes the summary. The program has ended and its exit code is what counts, so failures are only told.
fn deliver(summary: &Summary, json: bool, file: Option<File>) {
    let terminal = file.is_none() && io::stderr().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = if json { summary.json() } else { summary.text(Paint { on: terminal && !no_color }) };
    let written = match file {
        Some(mut file) => file.write_all(text.as_bytes()),
        None => io::stderr().write_all(text.as_bytes()),
    };
    if let Err(cause) = written {
        complain(format_args!("cannot write the summary: {cause}"));
    }
}

fn own_failure(what: &str, cause: &io::Error) -> u8 {
    complain(format_args!("{what}: {cause}"));
    exit::OWN_FAILURE
}

/// The end that a last change tells of; none while the program lives.
fn end_of(change: os::child::Change) -> Option<End> {
    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    match change {
        os::child::Change::Exited(code) => Some(End::Exited(byte(code))),
        os::child::Change::Killed(signal) => Some(End::Killed(byte(signal))),
        os::child::Change::Stopped(_) | os::child::Change::Resumed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::Change;

    #[test]
    fn only_exit_and_death_are_an_end() {
        assert_eq!(end_of(Change::Exited(7)), Some(End::Exited(7)));
        assert_eq!(end_of(Change::Killed(9)), Some(End::Killed(9)));
        assert_eq!(end_of(Change::Stopped(20)), None);
        assert_eq!(end_of(Change::Resumed), None);
    }

    #[test]
    fn refusal_names_the_program_and_the_fix() {
        let missing = io::ErrorKind::NotFound.into();
        assert!(refusal(Path::new("no-such"), &missing).contains("cannot run no-such: "));
        assert!(refusal(Path::new("no-such"), &missing).contains("PATH"));
        assert!(refusal(Path::new("./no-such"), &missing).contains("check the path"));
        assert!(refusal(Path::new("/dev/null"), &missing).contains("interpreter"));
    }
}
