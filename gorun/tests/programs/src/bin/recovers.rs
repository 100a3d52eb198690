//! Loses its worker processes for a while: the kernel refuses the zygote every fork, or the zygote itself is not to be
//! had. Tasks go on, on a thread if need be, and in processes again once there are some.
//!
//! Argument: `forks` or `zygote`; with `strictly` behind it tasks wait for a process instead.
// UNSAFETY: limits of another process and user ids have no safe form in the standard library.
#![expect(unsafe_code, reason = "prlimit and setuid have no safe form here")]

use gorun::prelude::*;
use gorun_test_programs::processes::{await_end, await_family, kill, open};
use gorun_test_programs::{Death, Watchdog, eventually};

/// The soft limit on the user's processes, as it applies to one of them; 0 processes, or as many as it may be.
fn limit_processes(pid: i32, to_none: bool) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: null is allowed for the new limit; the old one is written to a valid place.
    let read = unsafe { libc::prlimit(pid, libc::RLIMIT_NPROC, std::ptr::null(), &raw mut limit) };
    assert_eq!(read, 0, "read the limit of {pid}");
    limit.rlim_cur = if to_none { 0 } else { limit.rlim_max };
    // SAFETY: a valid limit is passed by pointer; null is allowed for the old one.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NPROC, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "limit {pid}");
}

/// The limit on processes does not bind root; another user, whom nobody else is, has none but ours.
fn become_nobody() {
    let user = 60_000 + std::process::id() % 5_000;
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::setresuid(user, user, user) }, 0);
}

fn here() -> u32 {
    std::process::id()
}

fn crash(runtime: &Runtime) {
    let lost = runtime.go(|| -> u8 { Death::Segfault.die() }).join();
    assert!(matches!(lost, Err(TaskError::WorkerLost { .. })), "{lost:?}");
}

/// Every fork is refused from now on, and everybody who is there dies in a task.
fn lose_forks(runtime: &Runtime) -> i32 {
    let family = await_family(runtime, 1);
    limit_processes(family.zygote, true);
    // The spare first: it would take a seat. Then a task for each worker.
    kill(family.spares[0]);
    family.seated.iter().for_each(|_| crash(runtime));
    family.zygote
}

fn main() {
    let _watchdog = Watchdog::start("recovers");
    let what = std::env::args().nth(1).expect("what to lose");
    if what == "forks" {
        become_nobody();
    }
    let strictly = std::env::args().nth(2).is_some();
    let builder = Runtime::builder().workers(2).quarantine_after(0).graceful_degradation(!strictly);
    let runtime = builder.build().expect("build a runtime");
    if strictly {
        return wait_for_processes(&runtime, &what);
    }
    for round in 0..3 {
        assert_ne!(runtime.go(here).join(), Ok(here()), "isolated at first");
        let lost = lose(&runtime, &what);
        // On a thread now, or still in a process if one was quicker than the limit.
        eventually(|| runtime.is_degraded());
        assert_eq!(runtime.go(here).join(), Ok(here()), "on a thread");
        let refused =
            Task::with((), |()| 1_u8).deadline(std::time::Duration::from_secs(9)).go_on(&runtime).join();
        assert!(matches!(refused, Err(TaskError::Rejected { .. })), "{refused:?}");
        find_again(&what, lost);
        eventually(|| !runtime.is_degraded());
        let values: Result<Vec<u64>, _> = runtime.map(0..1000_u64, |n| n).collect();
        assert_eq!(values.map(|values| values.len()), Ok(1000));
        let _ = await_family(&runtime, 1);
        assert_ne!(runtime.go(here).join(), Ok(here()), "isolated again in round {round}");
        crash(&runtime);
    }
    println!("recovered");
}

fn lose(runtime: &Runtime, what: &str) -> i32 {
    if what == "forks" { lose_forks(runtime) } else { lose_zygote(runtime) }
}

/// No task runs while there is no process, and each does once there is one.
fn wait_for_processes(runtime: &Runtime, what: &str) {
    for _ in 0..3 {
        assert_ne!(runtime.go(here).join(), Ok(here()), "isolated at first");
        let lost = lose(runtime, what);
        let waiting: Vec<_> = (0..10).map(|_| runtime.go(here)).collect();
        let late = Task::with((), |()| 1_u8).deadline(std::time::Duration::from_millis(200));
        assert!(matches!(late.go_on(runtime).join(), Err(TaskError::TimedOut { .. })));
        assert!(!runtime.is_degraded());
        find_again(what, lost);
        for task in waiting {
            let ran_in = task.join().expect("it has waited for a process");
            assert_ne!(ran_in, here());
        }
        let _ = await_family(runtime, 1);
    }
    println!("recovered");
}

/// The program's image can no longer be executed as a zygote: it has no descriptors left for one.
fn lose_zygote(runtime: &Runtime) -> i32 {
    let family = await_family(runtime, 1);
    let zygote = open(family.zygote).expect("a living zygote");
    limit_descriptors(true);
    kill(family.zygote);
    await_end(&zygote);
    family.spares.iter().chain(&family.seated).for_each(|pid| kill(*pid));
    family.zygote
}

/// The soft limit on this process's descriptors: the three standard ones, or as many as there may be.
fn limit_descriptors(to_none: bool) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written to a valid place.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = if to_none { 3 } else { limit.rlim_max };
    // SAFETY: a valid limit is passed by pointer.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

fn find_again(what: &str, zygote: i32) {
    match what {
        "forks" => limit_processes(zygote, false),
        _ => limit_descriptors(false),
    }
}
