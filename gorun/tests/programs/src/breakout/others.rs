//! Attempts on other processes: the host, or a neighbour in the next cell.
// UNSAFETY: hostile code makes raw system calls.
#![expect(unsafe_code, reason = "what hostile code does is what is tried")]

use super::expected::Attempt;
use std::io;

fn call(number: i64, arguments: [i64; 4]) -> i32 {
    let [a, b, c, d] = arguments;
    // SAFETY: the arguments are numbers or null; the calls are to be denied.
    let code = unsafe { libc::syscall(number, a, b, c, d, 0_i64) };
    if code == -1 { io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Attempt> {
    const KILL: i64 = libc::SIGKILL as i64;
    vec![
        Attempt::denied("kill", |victim| call(libc::SYS_kill, [victim.into(), KILL, 0, 0])),
        Attempt::denied("look whether it lives", |victim| call(libc::SYS_kill, [victim.into(), 0, 0, 0])),
        Attempt::denied("kill all", |_| call(libc::SYS_kill, [-1, KILL, 0, 0])),
        Attempt::denied("kill the group", |_| call(libc::SYS_kill, [0, KILL, 0, 0])),
        Attempt::denied("tkill", |victim| call(libc::SYS_tkill, [victim.into(), KILL, 0, 0])),
        Attempt::denied("tgkill", |victim| call(libc::SYS_tgkill, [victim.into(), victim.into(), KILL, 0])),
        Attempt::denied("sigqueue", |victim| call(libc::SYS_rt_sigqueueinfo, [victim.into(), KILL, 0, 0])),
        Attempt::denied("pidfd", |victim| call(libc::SYS_pidfd_open, [victim.into(), 0, 0, 0])),
        Attempt::denied("pidfd signal", |_| call(libc::SYS_pidfd_send_signal, [3, KILL, 0, 0])),
        Attempt::denied("owner of a descriptor", |victim| {
            call(libc::SYS_fcntl, [3, libc::F_SETOWN.into(), victim.into(), 0])
        }),
        Attempt::denied("priority", |victim| call(libc::SYS_setpriority, [0, victim.into(), 19, 0])),
        Attempt::denied("limits of another", |victim| {
            call(libc::SYS_prlimit64, [victim.into(), i64::from(libc::RLIMIT_AS), 0, 0])
        }),
        Attempt::denied("memory by /proc", |victim| {
            let opened = std::fs::File::open(format!("/proc/{victim}/mem"));
            opened.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
        }),
        Attempt::lethal("ptrace", libc::SYS_ptrace, |victim| {
            call(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), victim.into(), 0, 0])
        }),
        Attempt::lethal("ptrace, seize", libc::SYS_ptrace, |victim| {
            call(libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), victim.into(), 0, 0])
        }),
        Attempt::lethal("process_vm_readv", libc::SYS_process_vm_readv, |victim| {
            call(libc::SYS_process_vm_readv, [victim.into(), 0, 0, 0])
        }),
        Attempt::lethal("process_vm_writev", libc::SYS_process_vm_writev, |victim| {
            call(libc::SYS_process_vm_writev, [victim.into(), 0, 0, 0])
        }),
        Attempt::lethal("kcmp", libc::SYS_kcmp, |victim| {
            call(libc::SYS_kcmp, [victim.into(), victim.into(), 0, 0])
        }),
        Attempt::lethal("pidfd_getfd", libc::SYS_pidfd_getfd, |_| call(libc::SYS_pidfd_getfd, [3, 0, 0, 0])),
    ]
}
