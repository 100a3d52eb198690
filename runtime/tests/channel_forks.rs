//! A fork of the host has copies of the host's ends: it can do nothing with them, and no harm.
// UNSAFETY: a test of forks must fork.
#![expect(unsafe_code, reason = "fork, wait and _exit have no safe form")]

use gorun_runtime::channel::{Channel, ChannelError, RecvError, SendError};
use gorun_runtime::{Rejection, Runtime};
use gorun_test_programs::Watchdog;

#[test]
fn ends_in_a_fork_are_refused_and_dropped_without_harm() {
    let _watchdog = Watchdog::start("ends_in_a_fork_are_refused_and_dropped_without_harm");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (sender, receiver) = Channel::<String>::bounded(2).open_on(&runtime).unwrap();
    let long = "long ".repeat(100);
    sender.send(long.clone()).unwrap();
    // SAFETY: the child uses only memory of its own and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let reason = ChannelError::NoRuntime(Rejection::ForkedHost);
        let refused = sender.send("x".into());
        let sent = refused == Err(SendError::NoChannel { value: "x".into(), reason: reason.clone() });
        let received = receiver.recv() == Err(RecvError::NoChannel(reason));
        drop((sender, receiver));
        // SAFETY: ends the child without running what the parent has registered.
        unsafe { libc::_exit(i32::from(!(sent && received))) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert_eq!(receiver.recv(), Ok(long));
    sender.send("short".into()).unwrap();
    // What the child dropped is not given to others.
    let others: Vec<_> = (0..100).map(|_| Channel::<u64>::bounded(2).open_on(&runtime).unwrap()).collect();
    others.iter().for_each(|(sender, _)| sender.send(1).unwrap());
    drop(sender);
    assert_eq!((receiver.recv(), receiver.recv()), (Ok("short".into()), Err(RecvError::Disconnected)));
}
