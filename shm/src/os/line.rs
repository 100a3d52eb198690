//! Asking for a cache line before it is needed. Nothing but time depends on it.
//!
//! Progress: wait-free; nobody waits for the line to come.
// UNSAFETY: the prefetch instructions have no safe form on stable Rust.
#![cfg_attr(
    all(any(target_arch = "x86_64", target_arch = "aarch64"), not(any(loom, miri))),
    expect(unsafe_code, reason = "a prefetch instruction has no safe form")
)]

use crate::sync::AtomicU64;

/// Has the line of `word` brought to this processor, to be written: whoever has it gives it up.
#[inline]
pub fn fetch_to_write(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    // SAFETY: PREFETCHW changes nothing that a program can see, faults on no address, and is an instruction without effect
    // on processors that do not know it.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(any(loom, miri))))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    let _ = word;
}
