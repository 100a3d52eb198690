//! Ignores SIGCHLD, which its zygote inherits unless it takes care.
// UNSAFETY: signal dispositions have no safe form.
#![expect(unsafe_code, reason = "signal dispositions have no safe form")]

use gorun::prelude::*;
use gorun_test_programs::{Death, Watchdog};

fn main() {
    let _watchdog = Watchdog::start("ignores_sigchld");
    // SAFETY: ignoring a signal is always allowed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut told = 0;
    for death in Death::QUICK {
        if let Err(TaskError::WorkerLost { evidence }) =
            Task::with(death, |death: Death| -> u8 { death.die() }).go().join()
        {
            told += u32::from(death.is_told_by(&evidence));
        }
    }
    println!("told {told} then {:?}", go_parallel(|| 5_u8).join());
}
