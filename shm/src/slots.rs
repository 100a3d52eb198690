//! Slot: the 64 bytes, one cache line, in which a task travels, runs and comes back.
//!
//! ```text
//! byte  0  word      lap 63..32 | owner 31..16 | flags 15..8 | state 7..0   (bits; its low half is a futex)
//!       8  shim      code id of the typed shim; after completion: run time in ticks
//!      16  function  code id of the user's function
//!      24  meta      length 63..32 | - 31..24 | attempt 23..16 | status 15..8 | marks 7..0
//!      32  payload   input, then result: 32 bytes in place, or the offset of a block
//! ```
//!
//! | state   | who may leave it, and how |
//! |---------|---------------------------|
//! | Free    | the producer: `publish` -> Ready |
//! | Ready   | whoever wins the exchange in `claim` -> Running(owner); the producer too, to cancel |
//! | Running | its owner: `finish` -> Done; the recoverer, of a dead owner or to condemn a living one: `seize` -> Running(recoverer) |
//! | Done    | the producer, once it has collected: `publish` of the next lap -> Ready |
//!
//! The lap (position / capacity) makes every word of a slot's life different, so that an exchange prepared
//! for one task can never succeed on the next one in the same slot.
//!
//! Completion and a deadline meet in one exchange: either `finish` finds the word its own, and the outcome stands, or
//! `seize` came first, and `finish` refuses. A condemned owner may have written its completion in vain, so the
//! recoverer ends the task, and with it the slot's lap, only when the condemned thread is dead.
//!
//! Progress: every operation is lock-free; `claim` of one slot fails only because another claim succeeded.

// UNSAFETY: a prefetch for writing is one instruction without a safe form.
#![cfg_attr(
    all(target_arch = "x86_64", not(loom)),
    expect(unsafe_code, reason = "prefetch has no safe form")
)]

use crate::owner::OwnerId;
use crate::sync::{AtomicU64, Ordering};

/// Bytes of input or result that fit in the slot itself.
pub const INLINE_BYTES: usize = 32;
/// Words of payload in a slot.
pub const INLINE_WORDS: usize = INLINE_BYTES / 8;

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never used.
    Free,
    /// Holds a task that nobody has claimed.
    Ready,
    /// Its owner runs the task.
    Running,
    /// Holds the outcome.
    Done,
    /// Bits that no state has: another process wrote nonsense.
    Corrupt,
}

/// A slot's word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    /// A thread of the producer's process sleeps on this slot: wake it at completion.
    pub const SLEEPER: u8 = 1;
    /// Somebody asked for a notice at completion.
    pub const NOTICE: u8 = 2;
    /// Nobody wants the result: whoever finishes the task frees what it would have handed over.
    pub const UNWANTED: u8 = 4;

    #[inline]
    fn new(lap: u32, owner: OwnerId, flags: u8, state: State) -> Self {
        let state = match state {
            State::Free => 0,
            State::Ready => 1,
            State::Running => 2,
            State::Done => 3,
            State::Corrupt => 0xFF,
        };
        Self(u64::from(lap) << 32 | u64::from(owner.bits()) << 16 | u64::from(flags) << 8 | state)
    }

    /// Which round of the ring the slot is in.
    #[must_use]
    #[inline]
    pub fn lap(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// True if the slot has moved on past `lap`. Laps are compared modulo 2^32.
    #[must_use]
    #[inline]
    pub fn is_after(self, lap: u32) -> bool {
        self.lap().wrapping_sub(lap).cast_signed() > 0
    }

    /// Why lap `lap`'s task cannot be claimed; none if it can.
    #[must_use]
    #[inline]
    pub fn refusal(self, lap: u32) -> Option<Claim> {
        match (self.lap() == lap, self.state()) {
            (true, State::Ready) => None,
            (true, State::Running | State::Done) => Some(Claim::Taken),
            (false, _) if self.is_after(lap) => Some(Claim::Gone),
            _ => Some(Claim::Empty),
        }
    }

    /// Who runs or ran the task.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes 16 bits out of the word")]
    #[inline]
    pub fn owner(self) -> OwnerId {
        OwnerId::from_bits((self.0 >> 16) as u16)
    }

    /// [`Word::SLEEPER`] and [`Word::NOTICE`] bits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes 8 bits out of the word")]
    #[inline]
    pub fn flags(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The state.
    #[must_use]
    #[inline]
    pub fn state(self) -> State {
        match self.0 & 0xFF {
            0 => State::Free,
            1 => State::Ready,
            2 => State::Running,
            3 => State::Done,
            _ => State::Corrupt,
        }
    }

    /// The half that futex calls compare.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes the low half")]
    #[inline]
    pub fn low_half(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn with_flag(self, flag: u8) -> Self {
        Self(self.0 | u64::from(flag) << 8)
    }
}

/// What a task is made of on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Code id of the shim that knows the types.
    pub shim: u64,
    /// Code id of the user's function.
    pub function: u64,
    /// Bytes of encoded input.
    pub input_bytes: u32,
    /// [`Descriptor::IN_BLOCK`] and marks of the layer above.
    pub marks: u8,
    /// Attempt number from 1.
    pub attempt: u8,
    /// The input itself, or the offset of its block in word 0.
    pub payload: [u64; INLINE_WORDS],
}

impl Descriptor {
    /// The payload lies in a block whose offset is in word 0.
    pub const IN_BLOCK: u8 = 1;
}

/// What a task leaves on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completion {
    /// How it ended, in the numbers of the layer above.
    pub status: u8,
    /// [`Descriptor::IN_BLOCK`] and marks of the layer above.
    pub marks: u8,
    /// Attempt number from 1.
    pub attempt: u8,
    /// Bytes of encoded result.
    pub result_bytes: u32,
    /// How long the task ran, in ticks.
    pub ticks: u64,
    /// The result itself, or the offset of its block in word 0.
    pub payload: [u64; INLINE_WORDS],
}

/// What came of trying to claim a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The caller owns the task now.
    Claimed(Descriptor),
    /// Somebody else has it, or has finished it.
    Taken,
    /// The slot is in a later lap already: this task was finished and collected long ago.
    Gone,
    /// The slot does not hold this lap's task yet.
    Empty,
}

/// One task's place in shared memory. See the picture above.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Slot {
    /// See the bit table. Written by producer, claimer and flag setters; reads may be stale.
    word: AtomicU64,
    /// Written by the producer before Ready, by the owner before Done.
    shim: AtomicU64,
    /// Written by the producer before Ready.
    function: AtomicU64,
    /// Written by the producer before Ready, by the owner before Done.
    meta: AtomicU64,
    /// Written by the producer before Ready, by the owner before Done.
    payload: [AtomicU64; INLINE_WORDS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 64);

impl Slot {
    /// Puts a task in, for anybody to claim. Only the producer, and only when the slot is Free or collected.
    #[inline]
    pub fn publish(&self, lap: u32, descriptor: &Descriptor) {
        // Relaxed, all of these: the Release store of the word below publishes them.
        self.shim.store(descriptor.shim, Ordering::Relaxed);
        self.function.store(descriptor.function, Ordering::Relaxed);
        let meta = pack_meta(descriptor.input_bytes, descriptor.attempt, 0, descriptor.marks);
        self.meta.store(meta, Ordering::Relaxed);
        for (place, value) in self.payload.iter().zip(descriptor.payload) {
            place.store(value, Ordering::Relaxed);
        }
        crate::crash_point!("slot.publish.written");
        // Release: pairs with the Acquire in `claim`; publishes the descriptor.
        self.word.store(Word::new(lap, OwnerId::NONE, 0, State::Ready).0, Ordering::Release);
    }

    /// Asks for the slot's cache line for writing, ahead of a `publish` or a `claim`: it was last written by
    /// another process. Worth it only if that process is known to be done with the slot.
    #[inline]
    pub fn prepare(&self) {
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        // The intrinsic becomes a prefetch for reading where the target features do not name PREFETCHW, although
        // 64-bit processors have it, or take it as no operation.
        // SAFETY: a prefetch reads and writes nothing; any address is allowed.
        unsafe {
            core::arch::asm!("prefetchw [{}]", in(reg) &raw const self.word, options(nostack, preserves_flags, readonly));
        }
    }

    /// The word now. Seeing Done also makes the outcome visible.
    #[inline]
    pub fn word(&self) -> Word {
        // Acquire: pairs with the swap in `finish`; makes the completion readable.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Tries to become the owner of lap `lap`'s task.
    #[inline]
    pub fn claim(&self, lap: u32, owner: OwnerId) -> Claim {
        let mut seen = self.word();
        loop {
            if let Some(refusal) = seen.refusal(lap) {
                return refusal;
            }
            let running = Word::new(lap, owner, seen.flags(), State::Running);
            // Acquire: pairs with the Release in `publish`; the descriptor is read below.
            // Release is not needed: the claimer has published nothing. Acquire on failure: `seen` is judged.
            match self.word.compare_exchange_weak(seen.0, running.0, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Claim::Claimed(self.descriptor()),
                Err(found) => seen = Word(found),
            }
        }
    }

    /// Writes the outcome and makes it visible. Only the owner of a Running slot.
    ///
    /// Returns the flags that were set: whom to wake, whom to send a notice.
    ///
    /// # Errors
    /// The word, if the task was seized meanwhile: the caller is condemned, and must touch nothing shared any more.
    #[inline]
    pub fn finish(&self, lap: u32, owner: OwnerId, completion: &Completion) -> Result<u8, Word> {
        // Relaxed, all of these: the swap of the word below publishes them.
        self.shim.store(completion.ticks, Ordering::Relaxed);
        let meta =
            pack_meta(completion.result_bytes, completion.attempt, completion.status, completion.marks);
        self.meta.store(meta, Ordering::Relaxed);
        for (place, value) in self.payload.iter().zip(completion.payload) {
            place.store(value, Ordering::Relaxed);
        }
        crate::crash_point!("slot.finish.written");
        let done = Word::new(lap, owner, 0, State::Done);
        let mut seen = Word::new(lap, owner, 0, State::Running);
        loop {
            // Release on success: pairs with the Acquire in `word` and publishes the completion. It is an exchange, not
            // a store, so that a flag set by `set_flag` is either returned here or finds Done, and a `seize` that came
            // first is found. Relaxed on failure: only retried, or refused, and then nothing is read.
            match self.word.compare_exchange(seen.0, done.0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(seen.flags()),
                Err(found) => seen = Word(found),
            }
            if seen.lap() != lap || seen.state() != State::Running || seen.owner() != owner {
                return Err(seen);
            }
        }
    }

    /// Asks to be woken (or told) at completion of lap `lap`.
    ///
    /// Returns the word with the flag in it, or `Err` with the word if the task is already done or gone.
    #[inline]
    pub fn set_flag(&self, lap: u32, flag: u8) -> Result<Word, Word> {
        let mut seen = self.word();
        loop {
            if seen.lap() != lap || !matches!(seen.state(), State::Ready | State::Running) {
                return Err(seen);
            }
            let flagged = seen.with_flag(flag);
            // AcqRel: the exchange with `finish`'s swap is on one word, so one of the two sees the other.
            // Acquire on failure: Done makes the outcome readable.
            match self.word.compare_exchange_weak(seen.0, flagged.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(flagged),
                Err(found) => seen = Word(found),
            }
        }
    }

    /// Takes over a task that `dead` was running, so that its end can be written. Only the recoverer.
    ///
    /// Where `dead` still lives this condemns it: its `finish` will refuse, and the recoverer kills it and ends the task
    /// only after the death of the thread that ran it is certain.
    #[inline]
    pub fn seize(&self, lap: u32, dead: OwnerId, recoverer: OwnerId) -> bool {
        let mut seen = self.word();
        while seen.lap() == lap && seen.state() == State::Running && seen.owner() == dead {
            let seized = Word::new(lap, recoverer, seen.flags(), State::Running);
            // Acquire on both: nothing is published by taking over; a failure is judged again.
            match self.word.compare_exchange_weak(seen.0, seized.0, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return true,
                Err(found) => seen = Word(found),
            }
        }
        false
    }

    /// The outcome. Meaningful after [`Slot::word`] said Done for the lap of interest.
    #[inline]
    pub fn completion(&self) -> Completion {
        // Relaxed, all of these: the caller's Acquire load of the word came before.
        let meta = self.meta.load(Ordering::Relaxed);
        Completion {
            status: byte(meta, 8),
            marks: byte(meta, 0),
            attempt: byte(meta, 16),
            result_bytes: (meta >> 32) as u32,
            ticks: self.shim.load(Ordering::Relaxed),
            payload: self.payload(),
        }
    }

    /// The task as it stands there. Meaningful while it is Ready, if the word is the same afterwards, and while it is
    /// Running: what its runner may have written of an outcome then changes all but the function.
    #[inline]
    pub fn task(&self) -> Descriptor {
        self.descriptor()
    }

    /// The futex word that changes at completion, with what it holds while `word` is in force.
    #[cfg(not(loom))]
    #[inline]
    pub fn futex(&self) -> &crate::sync::AtomicU32 {
        crate::os::futex::low_half(&self.word)
    }

    #[inline]
    fn descriptor(&self) -> Descriptor {
        // Relaxed, all of these: the Acquire exchange in `claim`, or the caller's Acquire load, came before.
        let meta = self.meta.load(Ordering::Relaxed);
        Descriptor {
            shim: self.shim.load(Ordering::Relaxed),
            function: self.function.load(Ordering::Relaxed),
            input_bytes: (meta >> 32) as u32,
            marks: byte(meta, 0),
            attempt: byte(meta, 16),
            payload: self.payload(),
        }
    }

    #[inline]
    fn payload(&self) -> [u64; INLINE_WORDS] {
        std::array::from_fn(|word| self.payload[word].load(Ordering::Relaxed)) // Relaxed: as its callers say.
    }
}

#[inline]
fn pack_meta(length: u32, attempt: u8, status: u8, marks: u8) -> u64 {
    u64::from(length) << 32 | u64::from(attempt) << 16 | u64::from(status) << 8 | u64::from(marks)
}

#[expect(clippy::cast_possible_truncation, reason = "takes 8 bits out of the word")]
#[inline]
fn byte(word: u64, shift: u32) -> u8 {
    (word >> shift) as u8
}
