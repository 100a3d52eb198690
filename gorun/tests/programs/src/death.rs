//! The ways in which a task can take its process with it.
// UNSAFETY: one of the deaths is a write to an address that is not mapped.
#![expect(unsafe_code, reason = "an invalid write is what is tested")]

use gorun::Evidence;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// How a task ends its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// Writes where nothing is mapped.
    Segfault,
    /// Calls abort.
    Abort,
    /// Calls exit.
    Exit(i32),
    /// Sends itself SIGKILL.
    Kill,
    /// Recurses until the stack ends.
    StackOverflow,
    /// Runs what is no instruction.
    IllegalInstruction,
}

impl Death {
    /// Those that end quickly, to be taken in turn.
    pub const QUICK: [Self; 4] = [Self::Segfault, Self::Abort, Self::Exit(7), Self::Kill];

    /// Dies.
    pub fn die(self) -> ! {
        match self {
            Self::Segfault => segfault(),
            Self::Abort => std::process::abort(),
            Self::Exit(code) => std::process::exit(code),
            Self::Kill => kill_self(),
            Self::IllegalInstruction => no_instruction(),
            Self::StackOverflow => {
                black_box(dive(black_box(1)));
                unreachable!("the stack has no end")
            }
        }
    }

    /// True if the evidence tells of exactly this death.
    #[must_use]
    pub fn is_told_by(self, evidence: &Evidence) -> bool {
        let expected = match self {
            Self::Segfault | Self::StackOverflow => (Some(11), None),
            Self::IllegalInstruction => (Some(4), None),
            Self::Abort => (Some(6), None),
            Self::Exit(code) => (None, Some(code)),
            Self::Kill => (Some(9), None),
        };
        (evidence.signal(), evidence.exit_code()) == expected
    }
}

fn segfault() -> ! {
    let nowhere = std::ptr::without_provenance_mut::<u64>(black_box(64));
    // SAFETY: none: the first page is never mapped, so the processor stops this process here, and a process
    // that stops here is what the test wants.
    unsafe { nowhere.write_volatile(1) };
    unreachable!("address 64 is mapped")
}

fn no_instruction() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none: the processor stops this process here, and a process that stops here is what the test wants.
    unsafe {
        std::arch::asm!("ud2", options(noreturn))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::ILL);
        unreachable!("an illegal instruction ends the process")
    }
}

fn kill_self() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn dive(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if frame[0] == 0 { 0 } else { dive(depth + 1) + frame[127] }
}
