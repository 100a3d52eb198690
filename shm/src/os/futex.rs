//! Sleeping on a shared 32-bit word until somebody wakes it. All futexes here are process-shared.
//!
//! Progress: `wait` blocks, `wake` never does.
// UNSAFETY: the low half of a 64-bit word is handed to the kernel as a 32-bit word.
#![cfg_attr(
    not(loom),
    expect(unsafe_code, reason = "a futex is 32 bits wide; the slot word that carries one has 64")
)]

#[cfg(not(loom))]
use crate::sync::{AtomicU32, AtomicU64};

/// The 32-bit word inside `word` that holds bits 31..0, which is what futex calls compare.
#[cfg(not(loom))]
pub fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let halves = word.as_ptr().cast::<AtomicU32>();
    let low = if cfg!(target_endian = "little") { halves } else { halves.wrapping_add(1) };
    // SAFETY: `low` points into `word`, is aligned for 32 bits, and lives as long as the borrow.
    unsafe { &*low }
}

/// The 32-bit word at the lowest address of `word`, whatever the byte order: where C puts a struct's first
/// `int`.
#[cfg(not(loom))]
pub fn first_half(word: &AtomicU64) -> &AtomicU32 {
    let first = word.as_ptr().cast::<AtomicU32>();
    // SAFETY: `first` points to the start of `word`, is aligned for 32 bits, and lives as long as the borrow.
    unsafe { &*first }
}

#[cfg(not(loom))]
mod calls {
    use crate::sync::AtomicU32;
    use rustix::thread::futex::{self, Flags, Timespec};
    use std::time::Duration;

    /// Sleeps while `word` holds `expected`, at most `timeout`. May return early for no reason.
    ///
    /// # Blocking
    /// Until a wake, a signal, the timeout, or at once if the word differs.
    pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let limit = timeout.map(|d| Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(d.subsec_nanos()),
        });
        // Every error (EAGAIN: the word differs, EINTR, ETIMEDOUT) means the same to callers: look again.
        let _ = futex::wait(word, Flags::empty(), expected, limit.as_ref());
    }

    /// Wakes at most `count` sleepers of `word`; returns how many were woken.
    pub fn wake(word: &AtomicU32, count: u32) -> usize {
        futex::wake(word, Flags::empty(), count).unwrap_or(0)
    }
}

#[cfg(loom)]
mod calls {
    use crate::sync::{AtomicU32, Ordering, spin_hint};
    use std::time::Duration;

    /// Loom's stand-in: spins until the word changes. A lost wake-up never changes it, which loom reports
    /// as a model that does not end.
    pub fn wait(word: &AtomicU32, expected: u32, _timeout: Option<Duration>) {
        // SeqCst: the kernel compares under a lock that orders it after the caller's earlier stores.
        while word.load(Ordering::SeqCst) == expected {
            spin_hint();
        }
    }

    /// The model's sleepers look by themselves.
    pub fn wake(_word: &AtomicU32, _count: u32) -> usize {
        1
    }
}

pub use calls::{wait, wake};

#[cfg(not(loom))]
pub use many::wait_any;

#[cfg(not(loom))]
mod many {
    use crate::sync::AtomicU32;
    use rustix::thread::futex::{self, Wait, WaitFlags, WaitPtr, WaitvFlags};
    use std::time::Duration;

    /// Most words one `wait_any` call may watch; the kernel's own limit.
    pub const WORDS_MAX: usize = 128;

    /// Sleeps while every `(word, expected)` still matches, at most until `timeout`. May return early.
    ///
    /// # Panics
    /// When more than [`WORDS_MAX`] words are given.
    ///
    /// # Blocking
    /// Until one of the words is woken, differs, a signal arrives, or the timeout passes.
    pub fn wait_any(words: &[(&AtomicU32, u32)], timeout: Option<Duration>) {
        assert!(words.len() <= WORDS_MAX, "futex_waitv watches at most {WORDS_MAX} words");
        let waits: Vec<Wait> = words.iter().map(|(word, expected)| wait_entry(word, *expected)).collect();
        let limit = timeout.map(deadline_after);
        // Every error means the same to callers: look again.
        let _ = futex::waitv(&waits, WaitvFlags::empty(), limit.as_ref(), futex::ClockId::Monotonic);
    }

    fn wait_entry(word: &AtomicU32, expected: u32) -> Wait {
        let mut entry = Wait::new();
        entry.val = u64::from(expected);
        entry.uaddr = WaitPtr::new(word.as_ptr().cast());
        entry.flags = WaitFlags::SIZE_U32;
        entry
    }

    fn deadline_after(timeout: Duration) -> rustix::time::Timespec {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mut deadline = now;
        deadline.tv_sec += i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX / 4);
        deadline.tv_nsec += i64::from(timeout.subsec_nanos());
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_nsec -= 1_000_000_000;
            deadline.tv_sec += 1;
        }
        deadline
    }
}

#[cfg(not(loom))]
pub use many::WORDS_MAX;
