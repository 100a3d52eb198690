//! The memory that a pair shares: a sealed memfd, mapped by both sides.
//!
//! ```text
//! 0        one control word per 128 bytes, named by Line          4096      64-byte slots
//! ```
// UNSAFETY: maps shared memory and hands out atomics in it, which no safe interface offers.
#![expect(unsafe_code, reason = "shared memory is mapped by hand to be a floor, see UNSAFETY")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

/// Where the slots begin.
pub const CONTROL_BYTES: usize = 4096;
const LINE_BYTES: usize = 128;

/// One message of a stream: a cache line.
pub type Message = [u64; 8];

/// The control words. Each has its own pair of cache lines and is used either as u32 or as u64, never as both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// u32. Bumped by the host when [`Line::Count`] holds a new run; the peer sleeps on it.
    Command,
    /// u64. What the peer shall do: the number of rounds or messages. Written by the host.
    Count,
    /// u32. The last command that the peer has finished. Written by the peer.
    Done,
    /// u64. Result of the peer's last run, e.g. a checksum. Written by the peer.
    Result,
    /// u64. Spinning ping-pong, host to peer.
    Ping,
    /// u64. Spinning ping-pong, peer to host.
    Pong,
    /// u32. Sleeping ping-pong, host to peer.
    BellPing,
    /// u32. Sleeping ping-pong, peer to host.
    BellPong,
    /// u64. Next position to write. Written by the producer.
    Tail,
    /// u64. Next position to read. Written by the consumer.
    Head,
}

/// One mapping of the shared memory of a pair.
#[derive(Debug)]
pub struct Segment {
    base: NonNull<u8>,
    bytes: usize,
    memory: OwnedFd,
}

impl Segment {
    /// Fresh memory for the control words and `slots_count` slots, which can neither shrink nor grow.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn create(slots_count: usize) -> Self {
        let bytes = CONTROL_BYTES + slots_count * size_of::<Message>();
        Self::map(sealed_memory(bytes).expect("a memfd can be had"), bytes)
    }

    /// The memory behind `memory`, which another process created.
    ///
    /// # Panics
    /// When it is no memory of a pair.
    #[must_use]
    pub fn attach(memory: OwnedFd) -> Self {
        let bytes = rustix::fs::fstat(&memory).expect("the memory has a size").st_size;
        let bytes = usize::try_from(bytes).expect("a size is not negative");
        assert!(bytes >= CONTROL_BYTES, "the control words are there");
        Self::map(memory, bytes)
    }

    /// Maps `bytes` of `memory`, touched in advance.
    fn map(memory: OwnedFd, bytes: usize) -> Self {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a null hint lets the kernel choose a free range, so no existing memory of this process is replaced.
        let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, flags, &memory, 0) };
        let base = base.expect("the segment can be mapped");
        Self { base: NonNull::new(base.cast()).expect("a mapping is never at address 0"), bytes, memory }
    }

    /// The memfd, sealed to its size, for another mapping of the same bytes.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Size in bytes, control words included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The u64 of a control line.
    #[must_use]
    pub fn word(&self, line: Line) -> &AtomicU64 {
        let pointer = self.base.as_ptr().wrapping_add(line as usize * LINE_BYTES);
        // SAFETY: the 10 lines lie inside the first 4096 mapped bytes, aligned to 128; every process accesses the line
        // only as this atomic type, and the mapping lives as long as `self`.
        unsafe { AtomicU64::from_ptr(pointer.cast()) }
    }

    /// The u32 of a control line.
    #[must_use]
    pub fn half(&self, line: Line) -> &AtomicU32 {
        let pointer = self.base.as_ptr().wrapping_add(line as usize * LINE_BYTES);
        // SAFETY: as in `word`: inside the mapping, aligned, always accessed as this atomic type, alive with `self`.
        unsafe { AtomicU32::from_ptr(pointer.cast()) }
    }

    /// Slots behind the control words.
    #[must_use]
    pub fn slots_count(&self) -> usize {
        (self.bytes - CONTROL_BYTES) / size_of::<Message>()
    }

    /// Address of slot `index`, which is aligned for a [`Message`].
    ///
    /// # Panics
    /// When `index` is not below [`Segment::slots_count`].
    #[must_use]
    pub fn slot(&self, index: usize) -> *mut Message {
        assert!(index < self.slots_count(), "slot {index} is outside the segment");
        self.base.as_ptr().wrapping_add(CONTROL_BYTES + index * size_of::<Message>()).cast()
    }

    /// Sleeps until the u32 of `line` is no longer `seen`, and gives its new value.
    #[must_use]
    pub fn sleep_while(&self, line: Line, seen: u32) -> u32 {
        loop {
            // Acquire: pairs with the Release in `wake`; what was written before the bell is seen after it.
            let value = self.half(line).load(Ordering::Acquire);
            if value != seen {
                return value;
            }
            // An error means that the value has changed or that a signal came: look again either way.
            let _ = futex::wait(self.half(line), futex::Flags::empty(), seen, None);
        }
    }

    /// Stores `value` and wakes whoever sleeps on `line`.
    pub fn wake(&self, line: Line, value: u32) {
        // Release: pairs with the Acquire in `sleep_while`.
        self.half(line).store(value, Ordering::Release);
        futex::wake(self.half(line), futex::Flags::empty(), 1).expect("a mapped word can be woken");
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: `map` made exactly this range, and every reference into it borrows `self`, which ends here.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

/// A memfd of `bytes` that can neither shrink nor grow.
fn sealed_memory(bytes: usize) -> rustix::io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("bench-pair", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, bytes as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}
