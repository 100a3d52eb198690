//! A segmentation fault on demand, to show what a crash of one task costs: that task.

// UNSAFETY: a real invalid memory access is the purpose; nothing safe ends a process the way a wild pointer does.
#![expect(unsafe_code, reason = "a real segmentation fault is what --crash-every shows")]

use std::hint::black_box;
use std::process;
use std::ptr;

/// In the first page, which Linux never maps. Not null, since debug builds turn a null write into an abort.
const UNMAPPED_ADDRESS: usize = 8;

/// Ends the process with SIGSEGV. For worker processes only.
pub(crate) fn segfault() -> ! {
    let target = black_box(ptr::without_provenance_mut::<u8>(UNMAPPED_ADDRESS));
    // SAFETY: not sound, on purpose: `write_volatile` wants a pointer valid for writes, and this one is valid for
    // nothing. The store is volatile, so it is done as written; the page is unmapped, so the processor refuses it and
    // the kernel ends this process. No memory changes, and nothing runs after it.
    unsafe { target.write_volatile(1) };
    process::abort()
}
