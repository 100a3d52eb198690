//! Calls: the lists a jail's filter is made from.
//!
//! What is allowed is what the duty loop, the allocator, panics, the handler of last words and ordinary code
//! that only computes need. A call is added here when honest code was seen to need it, with its reason.

use crate::jail::Jail;

/// What must hold of an argument, counted from 0. Arguments that are numbers of C's `int` are compared in their low
/// half, as the kernel reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    /// It is this.
    Equal(u8, u32),
    /// It is not this.
    Other(u8, u32),
    /// It is less.
    Below(u8, u32),
    /// It is as much or more.
    AtLeast(u8, u32),
    /// Of these bits it has exactly those.
    Masked(u8, u32, u32),
    /// It is a null pointer, or zero in all bits.
    Null(u8),
}

/// All of these must hold.
pub(super) type Rule = Vec<Is>;

/// A call, and the rules of which one must hold; without any it is allowed whatever its arguments.
type Allowed = (i64, Vec<Rule>);

macro_rules! named {
    ($($(#[$machine:meta])* $call:ident = $name:literal),* $(,)?) => {
        &[$($(#[$machine])* (libc::$call, $name)),*]
    };
}

/// Calls that end the worker: no library makes them by the way, so whoever does shall be known.
pub(super) const LETHAL: &[(i64, &str)] = named![
    // Other processes' insides.
    SYS_ptrace = "ptrace",
    SYS_process_vm_readv = "process_vm_readv",
    SYS_process_vm_writev = "process_vm_writev",
    SYS_process_madvise = "process_madvise",
    SYS_kcmp = "kcmp",
    SYS_pidfd_getfd = "pidfd_getfd",
    // Another program in this process.
    SYS_execve = "execve",
    SYS_execveat = "execveat",
    // Other views of the file system and of the machine.
    SYS_mount = "mount",
    SYS_umount2 = "umount2",
    SYS_pivot_root = "pivot_root",
    SYS_chroot = "chroot",
    SYS_open_tree = "open_tree",
    SYS_move_mount = "move_mount",
    SYS_fsopen = "fsopen",
    SYS_fsconfig = "fsconfig",
    SYS_fsmount = "fsmount",
    SYS_fspick = "fspick",
    SYS_mount_setattr = "mount_setattr",
    SYS_unshare = "unshare",
    SYS_setns = "setns",
    SYS_open_by_handle_at = "open_by_handle_at",
    // The kernel itself.
    SYS_bpf = "bpf",
    SYS_init_module = "init_module",
    SYS_finit_module = "finit_module",
    SYS_delete_module = "delete_module",
    SYS_kexec_load = "kexec_load",
    SYS_kexec_file_load = "kexec_file_load",
    SYS_reboot = "reboot",
    SYS_swapon = "swapon",
    SYS_swapoff = "swapoff",
    SYS_acct = "acct",
    SYS_quotactl = "quotactl",
    SYS_syslog = "syslog",
    SYS_sethostname = "sethostname",
    SYS_setdomainname = "setdomainname",
    SYS_settimeofday = "settimeofday",
    SYS_clock_settime = "clock_settime",
    SYS_clock_adjtime = "clock_adjtime",
    // Keys.
    SYS_keyctl = "keyctl",
    SYS_add_key = "add_key",
    SYS_request_key = "request_key",
    #[cfg(target_arch = "x86_64")]
    SYS_iopl = "iopl",
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm = "ioperm",
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt = "modify_ldt",
];

/// Name of a call that ends the worker.
pub(super) fn name(call: i64) -> Option<&'static str> {
    LETHAL.iter().find(|(number, _)| *number == call).map(|(_, name)| *name)
}

/// Calls that are said not to exist: the C library then takes `clone`, whose flags the filter can see.
pub(super) const MISSING: &[i64] = &[libc::SYS_clone3];

/// Calls that are allowed whatever their arguments.
const FREE: &[i64] = &[
    // Descriptors that are there.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ppoll,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Waiting and waking.
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_setitimer,
    // Signals of its own: death by the same signal, and the handlers' way back.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_sigaltstack,
    // Who and where it is.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getcpu,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    // The C library's books of a thread.
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    // The end.
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_alarm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
];

/// What reading of files takes beside opening. Landlock does not know of names and sizes.
const READING: &[i64] = &[
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
];

/// What writing of files takes beside opening. Not here: owners, rights and times of files, of which Landlock does not
/// know.
const WRITING: &[i64] = &[
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];

/// Flags of `clone` for a thread as the C library makes it: all of the first, none of the second.
const OF_THREAD: u32 = bits(libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD);
const NOT_OF_THREAD: u32 = bits(
    libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_PTRACE
        | libc::CLONE_PARENT
        | libc::CLONE_VFORK,
);

const fn bits(flags: i32) -> u32 {
    flags.cast_unsigned()
}

/// Everything a process of the profile may call. `pid` is its own id, and descriptors from 3 to below `held_end` are
/// gorun's, which it may use and not close.
pub(super) fn allowed(jail: &Jail, pid: u32, held_end: u32) -> Vec<Allowed> {
    let mut all: Vec<Allowed> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    all.extend(judged(jail, pid, held_end));
    if jail.has_files() {
        all.extend(READING.iter().map(|call| (*call, Vec::new())));
        all.extend(opening(jail));
    }
    if !jail.write.is_empty() {
        all.extend(WRITING.iter().map(|call| (*call, Vec::new())));
    }
    if jail.threads {
        all.push((libc::SYS_clone, vec![vec![Is::Masked(0, OF_THREAD | NOT_OF_THREAD, OF_THREAD)]]));
    }
    all
}

/// Calls whose arguments decide.
fn judged(jail: &Jail, pid: u32, held_end: u32) -> Vec<Allowed> {
    // Only as they are or for this process: by owner and signal of a descriptor others could be signalled.
    let fcntl = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].map(bits);
    let prctl = [libc::PR_SET_NAME, libc::PR_GET_NAME, PR_SET_VMA].map(bits);
    let one_of = |argument: u8, values: &[u32]| -> Vec<Rule> {
        values.iter().map(|value| vec![Is::Equal(argument, *value)]).collect()
    };
    let to_itself = || vec![vec![Is::Equal(0, pid)]];
    let protection = || {
        let never = vec![vec![Is::Masked(2, bits(libc::PROT_EXEC), 0)]];
        if jail.executable_memory { Vec::new() } else { never }
    };
    vec![
        (libc::SYS_close, vec![vec![Is::Below(0, 3)], vec![Is::AtLeast(0, held_end)]]),
        (libc::SYS_fcntl, one_of(1, &fcntl)),
        (libc::SYS_prctl, one_of(0, &prctl)),
        (libc::SYS_mmap, protection()),
        (libc::SYS_mprotect, protection()),
        (libc::SYS_kill, to_itself()),
        (libc::SYS_tgkill, to_itself()),
        // Whoever is ended by the filter shall not live on in a handler.
        (libc::SYS_rt_sigaction, vec![vec![Is::Other(0, bits(libc::SIGSYS))]]),
        // Reading its own limits.
        (libc::SYS_prlimit64, vec![vec![Is::Equal(0, 0), Is::Null(2)], vec![Is::Equal(0, pid), Is::Null(2)]]),
        (libc::SYS_sched_getaffinity, one_of(0, &[0, pid])),
    ]
}

/// Names a range of memory for those who look at the process.
const PR_SET_VMA: i32 = 0x5356_4d41;

fn opening(jail: &Jail) -> Vec<Allowed> {
    let changing =
        bits(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY);
    let for_reading = |argument: u8| {
        let reads = vec![vec![Is::Masked(argument, changing, 0)]];
        if jail.write.is_empty() { reads } else { Vec::new() }
    };
    vec![
        (libc::SYS_openat, for_reading(2)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, for_reading(1)),
    ]
}
