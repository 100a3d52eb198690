//! Attending a running program: one sleep for its signals, its reports and its end.

use super::end_of;
use super::reports::Reports;
use crate::exit::End;
use crate::os::child::{self, Change, Program};
use crate::os::poll;
use crate::os::signals::{Arrival, Signals};
use nix::libc;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Passes signals on and takes reports until the program ends.
///
/// # Errors
/// What the kernel said of a poll or of the program.
///
/// # Blocking
/// Until then.
pub(super) fn until_end(program: &Program, signals: &Signals, reports: &mut Reports) -> io::Result<End> {
    loop {
        while let Some(arrival) = signals.next() {
            if is_for_program(arrival, program.shares_our_group()) {
                program.send(arrival.signal);
            }
        }
        while let Some(change) = program.next_change()? {
            if let Some(end) = end_of(change) {
                return Ok(end);
            }
            if stops_a_job(change) && child::has_terminal() {
                child::stop_ourselves();
            }
        }
        reports.take();
        let mut awaited: Vec<BorrowedFd<'_>> = vec![signals.as_fd()];
        awaited.extend(reports.descriptors());
        poll::wait(&awaited)?;
    }
}

/// The kernel sends a terminal's signals to everybody in the group; whoever is in it has them already.
fn is_for_program(arrival: Arrival, shares_our_group: bool) -> bool {
    !(arrival.from_kernel && shares_our_group)
}

/// SIGSTOP is left out: it is somebody's who means this one process.
fn stops_a_job(change: Change) -> bool {
    matches!(change, Change::Stopped(libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn a_terminals_signal_is_passed_on_only_to_another_group() {
        let typed = Arrival { signal: Signal::SIGINT, from_kernel: true };
        assert!(!is_for_program(typed, true));
        assert!(is_for_program(typed, false));
    }

    #[test]
    fn a_processes_signal_is_always_passed_on() {
        let sent = Arrival { signal: Signal::SIGTERM, from_kernel: false };
        assert!(is_for_program(sent, true));
        assert!(is_for_program(sent, false));
    }

    #[test]
    fn job_control_stops_the_launcher_too() {
        assert!(stops_a_job(Change::Stopped(libc::SIGTSTP)));
        assert!(!stops_a_job(Change::Stopped(libc::SIGSTOP)));
        assert!(!stops_a_job(Change::Resumed));
    }
}
