//! A fork of the host has copies of the host's locks and guards: it can do nothing with them, and no harm.
// UNSAFETY: a test of forks must fork.
#![expect(unsafe_code, reason = "fork, wait and _exit have no safe form")]

use gorun_runtime::sync::{Barrier, Mutex, RwLock, Semaphore, SyncError, WaitError};
use gorun_runtime::{Rejection, Runtime};
use gorun_test_programs::Watchdog;

#[test]
fn locks_in_a_fork_are_refused_and_dropped_without_harm() {
    let _watchdog = Watchdog::start("locks_in_a_fork_are_refused_and_dropped_without_harm");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let mutex = Mutex::new_on(&runtime, 1_u64).unwrap();
    let lock = RwLock::new_on(&runtime, 1_u64).unwrap();
    let semaphore = Semaphore::new_on(&runtime, 1).unwrap();
    let barrier = Barrier::new_on(&runtime, 1).unwrap();
    let held = (mutex.lock().unwrap(), lock.read().unwrap(), semaphore.acquire().unwrap());
    let unheld = Mutex::new_on(&runtime, 2_u64).unwrap();
    // SAFETY: the child uses only memory of its own and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let reason = WaitError::NoLock(SyncError::NoRuntime(Rejection::ForkedHost));
        let refused = unheld.lock().err().and_then(|error| error.into_guard().err());
        let is_refused = refused == Some(reason.clone()) && semaphore.try_acquire().err() == Some(reason);
        drop(held);
        drop((unheld, barrier));
        // SAFETY: ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(!is_refused)) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    let in_a_task = runtime
        .task((mutex.clone(), lock.clone()), |(mutex, lock): (Mutex<u64>, RwLock<u64>)| {
            mutex.try_lock().is_err() && lock.try_write().is_err()
        });
    assert_eq!(in_a_task.join(), Ok(true), "the host still has them");
    assert_eq!(semaphore.available(), 0);
    drop(held);
    assert_eq!((*mutex.lock().unwrap(), semaphore.available()), (1, 1));
    assert!(lock.write().is_ok() && barrier.wait().is_ok());
    // What the child dropped is not given to others.
    let others: Vec<_> = (0..100).map(|n| Mutex::new_on(&runtime, n).unwrap()).collect();
    assert!(others.iter().zip(0..).all(|(other, n)| *other.lock().unwrap() == n));
    assert_eq!(*unheld.lock().unwrap(), 2);
}
