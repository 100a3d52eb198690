//! Starting other programs: shown, streamed, captured, or both streamed and captured.

use crate::trouble::{Result, Trouble};
use crate::workspace;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// What a program printed (both outputs, in the order of the lines of each) and whether it succeeded.
pub(crate) struct Printed {
    pub(crate) success: bool,
    pub(crate) text: String,
}

/// The cargo that started this tool, run in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root());
    command
}

/// Runs the program with our own outputs and tells whether it succeeded. Blocks until it ends.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    announce(command);
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    Ok(status.success())
}

/// Like [`succeeds`], for a step without which the rest makes no sense.
pub(crate) fn must_succeed(command: &mut Command, fix: &str) -> Result<()> {
    if succeeds(command)? { Ok(()) } else { Err(Trouble::new(format!("`{}` failed", shown(command)), fix)) }
}

/// Runs the program silently and returns its standard output; its errors pass through.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        let problem = format!("`{}` ended with {}", shown(command), output.status);
        return Err(Trouble::new(problem, "read what it printed above"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the program, copies both its outputs to ours as they come, and keeps what it printed.
pub(crate) fn teed(command: &mut Command) -> Result<Printed> {
    announce(command);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| cannot_start(command, &error))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let second =
        thread::spawn(move || err.map(|stream| copy_lines(stream, io::stderr())).unwrap_or_default());
    let mut text = out.map(|stream| copy_lines(stream, io::stdout())).unwrap_or_default();
    text.push_str(&second.join().unwrap_or_default());
    let status = child.wait().map_err(|error| cannot_start(command, &error))?;
    Ok(Printed { success: status.success(), text })
}

/// Whether the program exists and answers without an error.
pub(crate) fn answers(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The command as one could type it, with the environment that it adds.
pub(crate) fn shown(command: &Command) -> String {
    let additions = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value)))
    });
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| quoted(&argument.to_string_lossy()));
    additions.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
    // The child writes to the same place: our line has to be there first. A closed stdout is not our problem.
    let _ = io::stdout().flush();
}

fn copy_lines(from: impl Read, mut to: impl Write) -> String {
    let (mut reader, mut text, mut line) = (BufReader::new(from), String::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        // The result is judged from the kept text, so a closed terminal must not stop the run.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    text
}

fn cannot_start(command: &Command, error: &io::Error) -> Trouble {
    let problem = format!("cannot run `{}`: {error}", shown(command));
    Trouble::new(problem, "check that the program is installed and in PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "-p", "a b"]).env("RUSTFLAGS", "--cfg loom");
        assert_eq!(shown(&command), "RUSTFLAGS='--cfg loom' cargo test -p 'a b'");
    }

    #[test]
    fn teed_keeps_both_outputs() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let printed = teed(&mut command).unwrap();
        assert!(!printed.success);
        assert_eq!(printed.text, "out\nerr\n");
    }
}
