//! Making processes: a detached copy of this program (the zygote), and forks of the zygote (workers).
// UNSAFETY: clone, fork and exec have no safe form.
#![expect(unsafe_code, reason = "clone, fork and exec have no safe form")]

use gorun_shm::sync::{AtomicU32, Ordering};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;

/// What to execute, prepared before the clone because nothing may be allocated after it.
struct Plan {
    path: *const c_char,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    stdin: c_int,
    inner_stack: *mut c_void,
    /// Descriptor of the new process in the caller's table, -1 if the kernel makes none.
    pidfd: c_int,
    errno: c_int,
}

const STACK_BYTES: usize = 64 * 1024;

/// Executes `path` as a process that is nobody's visible child: init adopts it.
///
/// An intermediate process without an exit signal stands between, so that neither `wait(-1)` nor a SIGCHLD
/// handler of the user ever sees anything. Both clones share the memory of the caller until the exec
/// (`CLONE_VM | CLONE_VFORK`), so a large heap costs nothing. The intermediate one shares the caller's descriptors too,
/// so that the new process's pidfd, which is made with it, is the caller's: its end is seen from the very beginning.
/// None on kernels before 5.2.
///
/// # Errors
/// What the kernel said of the clone or the exec, for example that `RLIMIT_NPROC` is reached.
///
/// # Blocking
/// The calling thread is suspended until the exec, about a millisecond.
pub fn execute_detached(
    path: &CStr,
    arguments: &[CString],
    environment: &[CString],
    stdin: BorrowedFd<'_>,
) -> io::Result<Option<OwnedFd>> {
    let mut outer_stack = vec![0_u8; STACK_BYTES];
    let mut inner_stack = vec![0_u8; STACK_BYTES];
    let mut plan = Plan {
        path: path.as_ptr(),
        arguments: null_terminated(arguments),
        environment: null_terminated(environment),
        stdin: stdin.as_raw_fd(),
        inner_stack: top_of(&mut inner_stack),
        pidfd: -1,
        errno: 0,
    };
    let blocked = super::signals::block_all();
    let argument = (&raw mut plan).cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: `outer` gets a stack of its own and a pointer to `plan`; CLONE_VFORK suspends this thread until
    // it has exited, so both outlive its use of them.
    let pid = unsafe { libc::clone(outer, top_of(&mut outer_stack), flags, argument) };
    let clone_error = io::Error::last_os_error();
    super::signals::restore(&blocked);
    if pid < 0 {
        return Err(clone_error);
    }
    // SAFETY: a null status pointer is allowed; the pid is our own child without an exit signal.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WCLONE) };
    // SAFETY: the kernel has just made it, in the table that this process shared with `outer`, and nobody else knows it.
    let pidfd = (plan.pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(plan.pidfd) });
    if plan.errno != 0 { Err(io::Error::from_raw_os_error(plan.errno)) } else { Ok(pidfd) }
}

/// The intermediate process: starts the real one and leaves.
extern "C" fn outer(argument: *mut c_void) -> c_int {
    let plan = argument.cast::<Plan>();
    // SAFETY: `plan` is the caller's, alive while it is suspended in clone.
    let stack = unsafe { (*plan).inner_stack };
    // SAFETY: `plan` as above; only its address is taken, for the kernel to write to.
    let pidfd = unsafe { &raw mut (*plan).pidfd };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    // SAFETY: as in `execute_detached`: own stack, and CLONE_VFORK suspends this process until the exec. With
    // CLONE_PIDFD the kernel writes a descriptor to the place that the fifth argument points to.
    let pid = unsafe { libc::clone(inner, stack, flags, argument, pidfd) };
    if pid < 0 {
        // SAFETY: `plan` as above; memory is shared, so the caller reads the error.
        unsafe { (*plan).errno = errno() };
    }
    0
}

/// The process to be: its own session, the socket as standard input, then the new image.
extern "C" fn inner(argument: *mut c_void) -> c_int {
    let plan = argument.cast::<Plan>();
    // SAFETY: setsid only fails for a group leader, which a fresh process is not. A session of its own keeps
    // the terminal's Ctrl-C away from running tasks.
    unsafe { libc::setsid() };
    // SAFETY: `plan` is the original caller's, which is suspended until the exec below.
    let stdin = unsafe { (*plan).stdin };
    // SAFETY: plain descriptor numbers; the caller keeps `stdin` open.
    unsafe { libc::dup2(stdin, 0) };
    super::signals::unblock_all();
    // SAFETY: `plan` as above.
    let path = unsafe { (*plan).path };
    // SAFETY: `plan` as above; a shared borrow of its vector, which nobody else uses meanwhile.
    let arguments = unsafe { &(*plan).arguments }.as_ptr();
    // SAFETY: as above.
    let environment = unsafe { &(*plan).environment }.as_ptr();
    // SAFETY: all three point to live null-terminated data prepared by the caller.
    unsafe { libc::execve(path, arguments, environment) };
    // SAFETY: `plan` as above; memory is shared, so the caller reads the error.
    unsafe { (*plan).errno = errno() };
    crate::exit::EXEC
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

fn top_of(stack: &mut [u8]) -> *mut c_void {
    let end = stack.as_mut_ptr().wrapping_add(stack.len());
    end.wrapping_sub(end.addr() % 16).cast()
}

/// Which side of a fork the caller is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(i32),
}

/// Forks the calling process, which must have one thread only.
///
/// # Errors
/// What the kernel said, for example that `RLIMIT_NPROC` is reached.
pub fn fork() -> io::Result<Side> {
    // SAFETY: the zygote has one thread, so the child's memory is in a consistent state.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// Ends this process at once, without running destructors or exit handlers.
pub fn leave(code: i32) -> ! {
    // SAFETY: `_exit` may be called at any time.
    unsafe { libc::_exit(code) }
}

/// How many forks lie between this process and the one that first asked, so that state can tell whether it was
/// made before a fork. Registers itself at the first call.
#[must_use]
#[inline]
pub fn forks() -> u32 {
    REGISTERED.call_once(count_forks);
    FORKS.load(Ordering::Relaxed) // Relaxed: written before any other thread of the process exists.
}

#[cold]
fn count_forks() {
    // SAFETY: the handler only adds to an atomic and duplicates descriptors, both allowed after a fork.
    unsafe { libc::pthread_atfork(None, None, Some(forked_child)) };
}

static REGISTERED: std::sync::Once = std::sync::Once::new();
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Descriptors that stand for the host's life, plus one; 0 is free. A fork of the host must not hold them.
static HOST_ONLY: [AtomicU32; HOST_ONLY_MAX] = [const { AtomicU32::new(0) }; HOST_ONLY_MAX];
/// Two for each runtime: room for two thousand runtimes in one process.
const HOST_ONLY_MAX: usize = 4096;

extern "C" fn forked_child() {
    FORKS.fetch_add(1, Ordering::Relaxed); // Relaxed: the process has one thread now.
    for place in &HOST_ONLY {
        if let Some(descriptor) = place.swap(0, Ordering::Relaxed).checked_sub(1) {
            replace_by_null(descriptor.cast_signed());
        }
    }
}

/// Puts `/dev/null` where the descriptor was: its owner in this process still has the number and will close it.
fn replace_by_null(descriptor: c_int) {
    // SAFETY: a constant path and flags; open is allowed after a fork.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if null >= 0 {
        // SAFETY: both are descriptor numbers of this process.
        unsafe { libc::dup3(null, descriptor, libc::O_CLOEXEC) };
        // SAFETY: opened above and not used again.
        unsafe { libc::close(null) };
    }
}

/// Keeps forks of this process from holding `descriptor`: what it stands for would outlive the host otherwise.
pub fn keep_from_forks(descriptor: BorrowedFd<'_>) {
    let _ = forks();
    let mark = descriptor.as_raw_fd().cast_unsigned() + 1;
    // With more runtimes than places, a fork of the host would keep the last ones alive until it ends.
    let _ = HOST_ONLY.iter().find(|place| {
        // Relaxed: only the value itself matters.
        place.compare_exchange(0, mark, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
}

/// Ends [`keep_from_forks`], before the descriptor is closed.
pub fn allow_in_forks(descriptor: BorrowedFd<'_>) {
    let mark = descriptor.as_raw_fd().cast_unsigned() + 1;
    for place in &HOST_ONLY {
        // Relaxed: only the value itself matters.
        let _ = place.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}
