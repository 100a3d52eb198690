//! Has children of its own, a SIGCHLD handler and a loop that reaps whatever child has ended.
// UNSAFETY: signal handlers and waiting for any child have no safe form.
#![expect(unsafe_code, reason = "signal handlers and waitpid(-1) have no safe form")]

use gorun::prelude::*;
use gorun_shm::sync::{AtomicU32, Ordering};
use gorun_test_programs::{Death, Watchdog};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst); // SeqCst: simplest, and not hot.
}

/// Waits for any child at all; gives its id, or the error number.
fn wait_any() -> Result<i32, i32> {
    loop {
        // SAFETY: a null status pointer is allowed.
        let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) if pid < 0 => {}
            errno if pid < 0 => return Err(errno.unwrap_or(0)),
            _ => return Ok(pid),
        }
    }
}

#[expect(clippy::zombie_processes, reason = "the loop that waits for any child reaps it")]
fn start_child() -> i32 {
    let child = Command::new("true").stdin(Stdio::null()).spawn().expect("start `true`");
    i32::try_from(child.id()).expect("a process id")
}

fn main() {
    let _watchdog = Watchdog::start("own_children");
    let handler = note as extern "C" fn(libc::c_int);
    // SAFETY: the handler only adds to an atomic, which a handler may do.
    unsafe { libc::signal(libc::SIGCHLD, handler as libc::sighandler_t) };
    let runtime = Runtime::builder().workers(2).quarantine_after(0).build().expect("build a runtime");
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    assert_eq!(wait_any(), Err(libc::ECHILD), "the runtime's processes are no children of ours");
    for round in 0..30 {
        let mut own: BTreeSet<i32> = (0..3).map(|_| start_child()).collect();
        let lost = runtime.task(Death::QUICK[round % 4], |death: Death| -> u8 { death.die() });
        while !own.is_empty() {
            let ended = wait_any().expect("children of ours are left");
            assert!(own.remove(&ended), "{ended} is no child of ours");
        }
        assert!(matches!(lost.join(), Err(TaskError::WorkerLost { .. })));
        assert_eq!(wait_any(), Err(libc::ECHILD));
    }
    let before = SIGNALS.load(Ordering::SeqCst); // SeqCst: as above.
    for death in Death::QUICK {
        assert!(runtime.task(death, |death: Death| -> u8 { death.die() }).join().is_err());
    }
    drop(runtime);
    let after = SIGNALS.load(Ordering::SeqCst); // SeqCst: as above.
    assert_eq!(before, after, "deaths of workers do not signal the program");
    assert_eq!(wait_any(), Err(libc::ECHILD));
    println!("undisturbed");
}
