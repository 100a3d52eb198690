//! What a process does to itself.

/// Ends this process by SIGKILL: nothing of it runs any more, no destructor, no handler.
pub fn kill_self() {
    // Cannot fail: a process may always kill itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
