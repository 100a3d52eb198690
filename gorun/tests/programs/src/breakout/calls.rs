//! System calls that a jail denies, made as hostile code would: without the C library's or Rust's help.
// UNSAFETY: hostile code makes raw system calls.
#![expect(unsafe_code, reason = "what hostile code does is what is tried")]

use super::expected::{Attempt, Outcome};
use std::io;

/// The error number of a call that gave -1, 0 if it did not.
fn errno_of(code: i64) -> i32 {
    if code == -1 { io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

fn call(number: i64, arguments: [i64; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the arguments are numbers, null, or constants' addresses; the calls are to be denied, and those that are
    // not touch no memory but these constants.
    errno_of(unsafe { libc::syscall(number, a, b, c, d, e) })
}

fn text(constant: &'static std::ffi::CStr) -> i64 {
    constant.as_ptr() as i64
}

fn open(path: &'static std::ffi::CStr, flags: i32) -> i32 {
    call(libc::SYS_openat, [libc::AT_FDCWD.into(), text(path), flags.into(), 0o600, 0])
}

/// Opening, looking at and making of files.
#[must_use]
pub fn of_files() -> Vec<Attempt> {
    vec![
        Attempt::denied("openat /etc/passwd", |_| open(c"/etc/passwd", libc::O_RDONLY)),
        #[cfg(target_arch = "x86_64")]
        Attempt::denied("open /etc/passwd", |_| call(libc::SYS_open, [text(c"/etc/passwd"), 0, 0, 0, 0])),
        Attempt::denied("openat2 /etc/passwd", |_| {
            call(libc::SYS_openat2, [-100, text(c"/etc/passwd"), 0, 0, 0])
        }),
        Attempt::denied("make a file", |_| open(c"/tmp/gorun-breakout", libc::O_CREAT | libc::O_WRONLY)),
        Attempt::denied("stat", |_| {
            call(libc::SYS_statx, [libc::AT_FDCWD.into(), text(c"/etc/passwd"), 0, 0, 0])
        }),
        Attempt::denied("remove", |_| {
            call(libc::SYS_unlinkat, [-100, text(c"/tmp/gorun-breakout"), 0, 0, 0])
        }),
        Attempt::denied("memfd", |_| call(libc::SYS_memfd_create, [text(c"x"), 0, 0, 0, 0])),
        Attempt::denied("own environment", |_| open(c"/proc/self/environ", libc::O_RDONLY)),
        Attempt::denied("inotify", |_| call(libc::SYS_inotify_init1, [0; 5])),
        Attempt::denied("chdir", |_| call(libc::SYS_chdir, [text(c"/"), 0, 0, 0, 0])),
    ]
}

/// Sockets of every kind, and what is done with them.
#[must_use]
pub fn of_network() -> Vec<Attempt> {
    fn socket(family: i32, kind: i32) -> i32 {
        call(libc::SYS_socket, [family.into(), kind.into(), 0, 0, 0])
    }
    vec![
        Attempt::denied("TCP socket", |_| socket(libc::AF_INET, libc::SOCK_STREAM)),
        Attempt::denied("UDP socket", |_| socket(libc::AF_INET, libc::SOCK_DGRAM)),
        Attempt::denied("UDP socket, IPv6", |_| socket(libc::AF_INET6, libc::SOCK_DGRAM)),
        Attempt::denied("unix socket", |_| socket(libc::AF_UNIX, libc::SOCK_STREAM)),
        Attempt::denied("netlink socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW)),
        Attempt::denied("socket pair", |_| call(libc::SYS_socketpair, [1, 1, 0, 0, 0])),
        Attempt::denied("connect", |_| call(libc::SYS_connect, [0, 0, 0, 0, 0])),
        Attempt::denied("bind", |_| call(libc::SYS_bind, [0, 0, 0, 0, 0])),
        Attempt::denied("sendto", |_| call(libc::SYS_sendto, [0, 0, 0, 0, 0])),
        Attempt::denied("sendmsg", |_| call(libc::SYS_sendmsg, [0, 0, 0, 0, 0])),
        Attempt::denied("connect by the standard library", |_| {
            std::net::TcpStream::connect("127.0.0.1:1")
                .map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
        }),
    ]
}

/// Other processes of its own, and other programs.
#[must_use]
pub fn of_processes() -> Vec<Attempt> {
    vec![
        // SAFETY: a fork that succeeds is what fails the test; the child would only give a number back.
        Attempt::denied("fork", |_| errno_of(unsafe { libc::fork() }.into())),
        Attempt::denied("fork bomb", |_| {
            // SAFETY: as above.
            let forked = (0..10_000).find(|_| unsafe { libc::fork() } != -1);
            forked.map_or(libc::EPERM, |_| 0)
        }),
        Attempt::denied("clone as fork", |_| call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0])),
        Attempt::denied("clone with namespaces", |_| {
            let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::SIGCHLD;
            call(libc::SYS_clone, [flags.into(), 0, 0, 0, 0])
        }),
        Attempt {
            outcome: Outcome::Errno(libc::ENOSYS),
            ..Attempt::denied("clone3", |_| call(libc::SYS_clone3, [0, 0, 0, 0, 0]))
        },
        Attempt::denied("thread", |_| {
            let spawned = std::thread::Builder::new().spawn(|| {});
            // The C library says that it could not, and no more.
            spawned.map_or(libc::EPERM, |_| 0)
        }),
        Attempt::lethal("execve", libc::SYS_execve, |_| {
            call(libc::SYS_execve, [text(c"/bin/true"), 0, 0, 0, 0])
        }),
        Attempt::lethal("execveat", libc::SYS_execveat, |_| {
            call(libc::SYS_execveat, [-100, text(c"/bin/true"), 0, 0, 0])
        }),
        Attempt::denied("a command", |_| {
            let spawned = std::process::Command::new("/bin/true").spawn();
            spawned.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
        }),
    ]
}

/// The kernel's wider doors.
#[must_use]
pub fn of_kernel() -> Vec<Attempt> {
    vec![
        Attempt::denied("io_uring_setup", |_| call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0])),
        Attempt::denied("io_uring_enter", |_| call(libc::SYS_io_uring_enter, [1, 0, 0, 0, 0])),
        Attempt::denied("userfaultfd", |_| call(libc::SYS_userfaultfd, [0; 5])),
        Attempt::denied("perf_event_open", |_| call(libc::SYS_perf_event_open, [0, 0, -1, -1, 0])),
        Attempt::lethal("bpf", libc::SYS_bpf, |_| call(libc::SYS_bpf, [0; 5])),
        Attempt::lethal("keyctl", libc::SYS_keyctl, |_| call(libc::SYS_keyctl, [0; 5])),
        Attempt::lethal("add_key", libc::SYS_add_key, |_| call(libc::SYS_add_key, [0; 5])),
        Attempt::lethal("mount", libc::SYS_mount, |_| call(libc::SYS_mount, [0; 5])),
        Attempt::lethal("fsopen", libc::SYS_fsopen, |_| call(libc::SYS_fsopen, [0; 5])),
        Attempt::lethal("chroot", libc::SYS_chroot, |_| call(libc::SYS_chroot, [text(c"/"), 0, 0, 0, 0])),
        Attempt::lethal("unshare", libc::SYS_unshare, |_| {
            call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0])
        }),
        Attempt::lethal("setns", libc::SYS_setns, |_| call(libc::SYS_setns, [0; 5])),
        Attempt::lethal("init_module", libc::SYS_init_module, |_| call(libc::SYS_init_module, [0; 5])),
        Attempt::lethal("reboot", libc::SYS_reboot, |_| call(libc::SYS_reboot, [0; 5])),
        Attempt::denied("System V memory", |_| call(libc::SYS_shmget, [1, 4096, 0o1600, 0, 0])),
        Attempt::denied("message queue", |_| call(libc::SYS_mq_open, [text(c"/x"), 0o102, 0o600, 0, 0])),
        Attempt::denied("another filter", |_| call(libc::SYS_seccomp, [1, 0, 0, 0, 0])),
        Attempt::denied("personality", |_| call(libc::SYS_personality, [0, 0, 0, 0, 0])),
        Attempt::denied("terminal", |_| call(libc::SYS_ioctl, [0, 0x5412, text(c"x"), 0, 0])),
        Attempt::denied("another user", |_| call(libc::SYS_setuid, [0; 5])),
        Attempt::denied("capabilities", |_| call(libc::SYS_capset, [0; 5])),
        Attempt::denied("timer of its own", |_| call(libc::SYS_timer_create, [0; 5])),
        Attempt::denied("processors", |_| call(libc::SYS_sched_setaffinity, [0; 5])),
        Attempt::denied("a call that no kernel has", |_| call(9999, [0; 5])),
        Attempt {
            outcome: Outcome::EitherErrno(libc::EPERM, libc::ENOSYS),
            ..Attempt::denied("a call by its x32 number", |_| {
                call(0x4000_0000 + 2, [text(c"/etc/passwd"), 0, 0, 0, 0])
            })
        },
    ]
}

/// Whether the handler of SIGSYS, the descriptors gorun needs and the limits can be taken away.
#[must_use]
pub fn of_own_jail() -> Vec<Attempt> {
    vec![
        Attempt::denied("handler of SIGSYS", |_| {
            // SAFETY: a constant action of the C library's.
            let before = unsafe { libc::signal(libc::SIGSYS, libc::SIG_IGN) };
            if before == libc::SIG_ERR { errno_of(-1) } else { 0 }
        }),
        Attempt {
            // The kernel takes no notice of the block, and none of the handler then.
            outcome: Outcome::Signal(libc::SIGSYS),
            ..Attempt::denied("blocked SIGSYS", |_| {
                let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
                // SAFETY: room for one set.
                unsafe { libc::sigfillset(set.as_mut_ptr()) };
                // SAFETY: a set that was filled above.
                unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) };
                call(libc::SYS_ptrace, [0; 5])
            })
        },
        Attempt::denied("close the lease", |_| call(libc::SYS_close, [3, 0, 0, 0, 0])),
        Attempt::denied("close the bell", |_| call(libc::SYS_close, [4, 0, 0, 0, 0])),
        Attempt::denied("close all", |_| call(libc::SYS_close_range, [0, i64::from(u32::MAX), 0, 0, 0])),
        Attempt::denied("put another over the lease", |_| call(libc::SYS_dup3, [0, 3, 0, 0, 0])),
        Attempt::denied("disarm the lease", |_| call(libc::SYS_fcntl, [3, libc::F_SETFL.into(), 0, 0, 0])),
        Attempt::denied("higher limits", |_| {
            let unlimited = [u64::MAX; 2];
            call(libc::SYS_prlimit64, [0, i64::from(libc::RLIMIT_AS), unlimited.as_ptr() as i64, 0, 0])
        }),
        Attempt::denied("die with no parent", |_| {
            call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 9, 0, 0, 0])
        }),
    ]
}
