//! Signal masks and dispositions, set back to what a fresh program expects.
// UNSAFETY: the signal calls of the C library take raw sets and actions.
#![expect(unsafe_code, reason = "signal sets and actions are raw C structures")]

use std::mem::MaybeUninit;

/// A saved signal mask.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// Blocks every signal in the calling thread and returns what was blocked before.
#[must_use]
pub fn block_all() -> Mask {
    set_mask(&filled())
}

/// Sets the calling thread's mask back.
pub fn restore(mask: &Mask) {
    set_mask(mask);
}

/// Lets every signal through.
pub fn unblock_all() {
    set_mask(&empty());
}

fn set_mask(mask: &Mask) -> Mask {
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both point to signal sets; the call only reads the first and writes the second.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, old.as_mut_ptr()) };
    // SAFETY: zeroed bytes are a valid set, and the call above filled it.
    Mask(unsafe { old.assume_init() })
}

fn filled() -> Mask {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: points to room for one set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: filled above.
    Mask(unsafe { set.assume_init() })
}

fn empty() -> Mask {
    // SAFETY: zeroed bytes are the empty set on Linux.
    Mask(unsafe { MaybeUninit::<libc::sigset_t>::zeroed().assume_init() })
}

/// Gives every signal its default action again, but for SIGPIPE, which Rust programs ignore, and an empty
/// mask: what a task expects that starts threads and child processes of its own.
pub fn reset_all() {
    for signal in 1..=64 {
        let action = if signal == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: the standard actions are always valid; signals that refuse them (KILL, STOP, the C
        // library's own) are left as they are.
        unsafe { libc::signal(signal, action) };
    }
    unblock_all();
}
