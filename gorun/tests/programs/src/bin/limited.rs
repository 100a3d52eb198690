//! Lowers a limit of its own, then uses gorun: either it works, on threads if need be, or it says clearly why not.
//!
//! Arguments: what to limit (`nofile`, `nproc`, `as`), the limit, and for `after` whether to lower it only when
//! the runtime has started.
// UNSAFETY: limits and user ids have no safe form in the standard library.
#![expect(unsafe_code, reason = "setrlimit and setuid have no safe form here")]

use gorun::prelude::*;
use gorun_test_programs::{Death, Watchdog};

fn lower(what: &str, limit: u64) {
    let resource = match what {
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "as" => libc::RLIMIT_AS,
        other => panic!("no such limit: {other}"),
    };
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: a valid limit is passed by pointer.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// The limit on processes does not bind root; another user, whom nobody else is, has none but ours.
fn become_nobody() {
    let user = 60_000 + std::process::id() % 5_000;
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::setresuid(user, user, user) }, 0);
}

fn main() {
    let _watchdog = Watchdog::start("limited");
    let arguments: Vec<String> = std::env::args().collect();
    let (what, limit) = (arguments[1].as_str(), arguments[2].parse().expect("a number"));
    let after = arguments.get(3).is_some_and(|word| word == "after");
    if what == "nproc" {
        become_nobody();
    }
    if !after {
        lower(what, limit);
    }
    let runtime = match Runtime::builder().workers(2).build() {
        Ok(runtime) => runtime,
        Err(error) => return println!("refused: {error}"),
    };
    if after {
        assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
        let _ = gorun_test_programs::processes::await_family(&runtime, 1);
        lower(what, limit);
        for death in Death::QUICK {
            let lost = runtime.task(death, |death: Death| -> u8 { death.die() }).join();
            println!("lost {}", lost.is_err());
            if runtime.is_degraded() {
                break;
            }
        }
    }
    let values: Result<Vec<u64>, TaskError> = runtime.map(0..1000_u64, |n| n).collect();
    match values {
        Ok(values) => println!("right {} degraded {}", values.into_iter().eq(0..1000), runtime.is_degraded()),
        Err(error) => println!("failed: {error}"),
    }
}
