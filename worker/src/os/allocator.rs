//! The C library's allocator, told to keep freed memory of a worker for its next task.
// UNSAFETY: mallopt is a plain C call.
#![expect(unsafe_code, reason = "mallopt has no safe form")]

/// Freed bytes that a worker keeps instead of giving them back to the kernel.
const KEPT_BYTES: libc::c_int = 32 << 20;

/// Keeps up to 32 MiB of freed memory per worker: a task that decodes a megabyte otherwise pays 256 page faults
/// for it, every time. Does nothing for a program that brings its own allocator.
pub fn keep_freed_pages() {
    // SAFETY: the call only sets a number; the process has one thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES) };
}
