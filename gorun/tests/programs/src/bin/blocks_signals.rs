//! Blocks every signal and is started with all of them blocked: tasks must still die of what kills them.
// UNSAFETY: signal masks have no safe form.
#![expect(unsafe_code, reason = "signal masks have no safe form")]

use gorun::prelude::*;
use gorun_test_programs::{Death, Watchdog};

fn main() {
    let _watchdog = Watchdog::start("blocks_signals");
    let _mask = gorun_worker::os::signals::block_all();
    let mut told = 0;
    for death in Death::QUICK {
        let outcome = Task::with(death, |death: Death| -> u8 { death.die() }).go().join();
        if let Err(TaskError::WorkerLost { evidence }) = outcome {
            told += u32::from(death.is_told_by(&evidence));
        }
    }
    let blocked = go_parallel(|| {
        // SAFETY: zeroed bytes are a signal set, which the call overwrites.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a null new mask only asks; `set` has room for the answer.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
        // SAFETY: `set` was filled above.
        unsafe { libc::sigismember(&raw const set, libc::SIGTERM) }
    });
    println!("told {told}, SIGTERM blocked in tasks: {:?}", blocked.join());
}
