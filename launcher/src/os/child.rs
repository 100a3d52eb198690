//! The program: started so that it cannot outlive the launcher, signalled, and waited for without blocking.
//!
//! The kernel kills the program when the thread that started it dies (`PR_SET_PDEATHSIG`), whatever killed that
//! thread. The launcher has one thread only, which lives as long as the process, so thread and process are the same
//! here. The kernel forgets the wish when the program changes its user or gains privileges at its start.
// UNSAFETY: code between fork and exec, and signal dispositions, have no safe form.
#![expect(unsafe_code, reason = "pre_exec and signal(2) are unsafe functions")]

use nix::sys::signal::{SigHandler, SigSet, Signal};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The program, until it is reaped.
#[derive(Debug)]
pub(crate) struct Program {
    pid: Pid,
}

/// What became of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It ended, with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// This signal stopped it.
    Stopped(i32),
    /// It goes on after a stop.
    Resumed,
}

impl Program {
    /// Starts `command`, with the signal mask that the launcher itself was started with.
    ///
    /// # Errors
    /// What the kernel said of the fork or of the program.
    pub(crate) fn start(command: &mut Command, mask: SigSet) -> io::Result<Self> {
        await_children()?;
        let launcher = rustix::process::getpid();
        let before_exec = move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // The launcher may have died before that call; then nobody would ever send the signal. A parent that
            // cannot be seen lives in another pid namespace, and is the launcher.
            if rustix::process::getppid().is_some_and(|parent| parent != launcher) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            mask.thread_set_mask()?;
            Ok(())
        };
        // SAFETY: the closure only makes async-signal-safe system calls (prctl, getppid, sigprocmask), takes no lock
        // and allocates nothing: an `io::Error` of a kind or of an errno needs no memory. What it captured is Copy.
        unsafe { command.pre_exec(before_exec) };
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.map(|pid| Self { pid }).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal. It is reaped by [`Program::next_change`] only, so its pid cannot be another's.
    pub(crate) fn send(&self, signal: Signal) {
        // Fails only if the program took another user: then it does not want our signals.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal);
    }

    /// True if it has not left the launcher's process group, so that a terminal's signals reach both.
    pub(crate) fn shares_our_group(&self) -> bool {
        rustix::process::getpgid(Some(self.pid)).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    /// What happened to it next; none if nothing has. After its end it must not be asked again.
    ///
    /// # Errors
    /// What the kernel said: somebody else reaped the program.
    pub(crate) fn next_change(&self) -> io::Result<Option<Change>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), options))?;
        Ok(waited.and_then(|(_, status)| change(status)))
    }
}

fn change(status: WaitStatus) -> Option<Change> {
    let exited = status.exit_status().map(Change::Exited);
    let killed = || status.terminating_signal().map(Change::Killed);
    let stopped = || status.stopping_signal().map(Change::Stopped);
    exited.or_else(killed).or_else(stopped).or_else(|| status.continued().then_some(Change::Resumed))
}

/// Stops the launcher, as its program is stopped, until the shell lets the job go on.
///
/// # Blocking
/// Until SIGCONT.
pub(crate) fn stop_ourselves() {
    // Cannot fail: a process may always signal itself.
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}

/// True if there is a terminal, and with it somebody who stops jobs and lets them go on.
pub(crate) fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Makes sure that the program's end can be waited for: a parent may have left SIGCHLD ignored, and then the kernel
/// throws exit codes away.
fn await_children() -> io::Result<()> {
    // SAFETY: the default disposition installs no handler, so there is no handler whose conduct matters.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}
