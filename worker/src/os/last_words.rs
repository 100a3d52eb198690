//! Last words: a worker that is about to be ended by a signal of its own making writes down which and where.
//!
//! The handler runs on a stack of its own, since the other one may be what ended. It writes the cause first, then
//! walks the stack, which may itself fail in a broken process: a second fault or an alarm then ends it, and the
//! cause is kept. It leaves by the same signal with the default action, so that the death looks to everybody as it
//! would without it. User code that installs handlers of its own replaces these.
// UNSAFETY: signal handlers, alternate stacks and what they are given are raw C structures.
#![expect(unsafe_code, reason = "signal handlers have no safe form")]

use crate::function;
use crate::wire::black_box::BlackBox;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Signals that a task's own code brings about.
const FATAL: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];
/// The handler's stack: walking a stack with the unwinder takes about 10 KiB.
const STACK_BYTES: usize = 128 * 1024;
/// Seconds after which a stack walk that does not end is ended.
const WALK_SECONDS: u32 = 1;

/// The `si_code` of a SIGSYS that a system call filter sent.
const SYS_SECCOMP: c_int = 1;

/// Where this process writes, once it is a worker.
static PLACE: OnceLock<&'static BlackBox> = OnceLock::new();

/// Installs the handlers and their stack, once in the zygote: workers inherit both.
pub fn prepare() {
    // Leaked: it is needed to the end of the process, and pages of it are touched only at that end.
    let stack = Vec::<u8>::with_capacity(STACK_BYTES).leak().as_mut_ptr();
    let alternate = libc::stack_t { ss_sp: stack.cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the stack was allocated above with this size and is never freed.
    unsafe { libc::sigaltstack(&raw const alternate, std::ptr::null_mut()) };
    function::prepare();
    for signal in FATAL {
        // SAFETY: zeroed bytes are a valid action; the fields that matter are set below.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
        // SAFETY: a valid action with a handler of the type that SA_SIGINFO asks for.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// From now on this process writes to `place`.
pub fn write_to(place: &'static BlackBox) {
    // A process is one worker for all its life.
    let _ = PLACE.set(place);
}

/// Notes a panic, which may be what this process is about to abort of.
pub fn note_panic(text: &str) {
    if let Some(place) = PLACE.get() {
        place.note_panic(gorun_shm::os::ticks::now(), text);
    }
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    if let Some(place) = PLACE.get() {
        write(place, signal, info);
    }
    // The action is the default one again, so this ends the process, also where the signal came from outside and
    // would not come again by itself.
    // SAFETY: raise may be called in a handler.
    unsafe { libc::raise(signal) };
}

fn write(place: &BlackBox, signal: c_int, info: *mut libc::siginfo_t) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid record.
    let info = unsafe { &*info };
    let is_fault =
        matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE) && info.si_code > 0;
    let address = match signal {
        // SAFETY: a fault's record has an address.
        _ if is_fault => Some(unsafe { info.si_addr() }.addr()),
        libc::SIGSYS if info.si_code == SYS_SECCOMP => Some(denied_call(info)),
        _ => None,
    };
    place.note_cause(signal, info.si_code, address);
    // SAFETY: both may be called in a handler.
    unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
    // SAFETY: as above.
    unsafe { libc::alarm(WALK_SECONDS) };
    let walk = |frame: &backtrace::Frame| place.note_frame(function::id_of(frame.ip().addr()));
    // SAFETY: what it asks for is that nobody else walks at the same time; this process has one thread in the
    // handler, and if a thread of the user's walks its own stack, the worst is the alarm above.
    unsafe { backtrace::trace_unsynchronized(walk) };
}

/// What the kernel writes into the record of a SIGSYS, behind signal, error and code: see sigaction(2).
#[repr(C)]
struct DeniedCall {
    _head: [c_int; 4],
    _instruction: *mut c_void,
    number: c_int,
    _machine: u32,
}

const _: () = assert!(size_of::<DeniedCall>() <= size_of::<libc::siginfo_t>());
const _: () = assert!(align_of::<DeniedCall>() <= align_of::<libc::siginfo_t>());

/// Number of the call for which the filter sent this SIGSYS.
fn denied_call(info: &libc::siginfo_t) -> usize {
    let record = std::ptr::from_ref(info).cast::<DeniedCall>();
    // SAFETY: the record is as large and as aligned as asserted above, initialised by the kernel, and for this signal
    // and code it has these fields.
    let number = unsafe { (*record).number };
    usize::try_from(number).unwrap_or(usize::MAX)
}
