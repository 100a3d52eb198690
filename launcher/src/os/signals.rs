//! Signals as a descriptor to read, instead of handlers that interrupt.
//!
//! The signals that are passed on, and SIGCHLD, are blocked for good and read one by one; also signals that the
//! launcher was started to ignore (`nohup`) arrive so, and it is the program, which ignores them too, that decides.

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that are meant for the program.
const PASSED_ON: &[Signal] = &[
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// The signals that come to the launcher.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
    inherited: SigSet,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) signal: Signal,
    /// True if the kernel sent it, as a terminal's Ctrl-C, and not a process.
    pub(crate) from_kernel: bool,
}

impl Signals {
    /// Blocks the signals from here on. Call it before there is a child to lose a signal of.
    pub(crate) fn take() -> io::Result<Self> {
        let mut taken: SigSet = PASSED_ON.iter().copied().collect();
        taken.add(Signal::SIGCHLD);
        let inherited = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let descriptor = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { descriptor, inherited })
    }

    /// The mask that the launcher was started with, which the program is to have too.
    pub(crate) fn inherited(&self) -> SigSet {
        self.inherited
    }

    /// The next signal for the program; none if there is none yet. SIGCHLD only wakes the sleeper.
    pub(crate) fn next(&self) -> Option<Arrival> {
        loop {
            let record = self.descriptor.read_signal().ok()??;
            let number = i32::try_from(record.ssi_signo).ok()?;
            let from_kernel = record.ssi_code == libc::SI_KERNEL;
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) | Err(_) => {}
                Ok(signal) => return Some(Arrival { signal, from_kernel }),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
