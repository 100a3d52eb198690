//! Death word: a robust mutex that a worker's thread holds for life, so that the kernel marks its death.
//!
//! When a thread ends, in whatever way, the kernel walks its robust list before it tears the address space
//! down, marks each word `OWNER_DIED` and wakes a waiter. That tells the host of a death within microseconds
//! whatever the size of the dead. The list belongs to the C library, so the word is a real
//! `pthread_mutex_t`, and user code may hold robust mutexes of its own beside it.
// UNSAFETY: the pthread calls take pointers to the mutex bytes in shared memory.
#![expect(unsafe_code, reason = "robust mutexes exist only in the C library")]

use crate::wire::control::DeathWord;
use gorun_shm::sync::{AtomicU32, Ordering};
use std::io;
use std::mem::MaybeUninit;

const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
const WAITERS: u32 = libc::FUTEX_WAITERS;

const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= size_of::<DeathWord>());

/// Makes the word a fresh mutex and locks it for the calling thread, for the rest of its life.
///
/// # Errors
/// What the C library said, or `Unsupported` if its mutex does not carry the thread id where the kernel marks
/// it (then only the pidfd tells of the death).
pub fn hold(word: &DeathWord) -> io::Result<()> {
    let mutex = std::ptr::from_ref(&word.words).cast::<libc::pthread_mutex_t>().cast_mut();
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    // SAFETY: `attributes` is room for one attribute object.
    check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: initialised above.
    check(unsafe {
        libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED)
    })?;
    // SAFETY: initialised above.
    check(unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) })?;
    // SAFETY: `mutex` points to 64 writable aligned bytes in the segment, mapped for the process's life, and
    // no other thread uses this record's word: the host gives a record to one worker at a time.
    check(unsafe { libc::pthread_mutex_init(mutex, attributes.as_ptr()) })?;
    // SAFETY: initialised above.
    check(unsafe { libc::pthread_mutex_lock(mutex) })?;
    // The kernel wakes somebody at the owner's death only if this bit says that somebody waits.
    // Relaxed: the kernel reads it in this thread's own exit.
    let held = futex(word).fetch_or(WAITERS, Ordering::Relaxed);
    let thread = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or(0);
    if held & libc::FUTEX_TID_MASK != thread {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(())
}

/// The futex word that the kernel changes at the holder's death.
#[must_use]
pub fn futex(word: &DeathWord) -> &AtomicU32 {
    // glibc keeps the lock word in the first 32 bits; `hold` verifies that on the machine it runs on.
    first_half(word)
}

/// What the word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nobody has held it yet.
    Unborn,
    /// Its holder lives; the value is what a futex wait should expect.
    Alive(u32),
    /// Its holder died.
    Dead,
}

/// The thread that holds a word with the value of [`Sign::Alive`]; a worker's is its process's id.
#[must_use]
pub fn thread(value: u32) -> i32 {
    (value & libc::FUTEX_TID_MASK).cast_signed()
}

/// Reads the word.
#[must_use]
pub fn sign(word: &DeathWord) -> Sign {
    // Acquire: pairs with the kernel's update at death, which comes after the dead thread's last store.
    let value = futex(word).load(Ordering::Acquire);
    match value {
        value if value & OWNER_DIED != 0 => Sign::Dead,
        value if value & WAITERS == 0 || value & libc::FUTEX_TID_MASK == 0 => Sign::Unborn,
        value => Sign::Alive(value),
    }
}

/// Clears the word for the record's next worker. Only after the last one's death was confirmed.
pub fn clear(word: &DeathWord) {
    for part in &word.words {
        part.store(0, Ordering::Release); // Release: pairs with the Acquire in `sign`.
    }
}

fn first_half(word: &DeathWord) -> &AtomicU32 {
    gorun_shm::os::futex::first_half(&word.words[0])
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}
