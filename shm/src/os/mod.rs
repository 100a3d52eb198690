//! The system calls of the shared storey, one noun per file. Nothing above `shm` repeats them.

pub mod barrier;
pub mod futex;
pub mod memfd;
pub mod mmap;
#[cfg(feature = "shared_memory")]
pub mod posix;
#[cfg(feature = "crash-points")]
pub mod process;
pub mod ticks;
