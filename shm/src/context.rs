//! Context: whether something that many processes wait for has been called off, and why, in one word.
//!
//! ```text
//! byte   0  magic
//!        8  state  bits 31..16 ender   who has claimed the right to end it, or has ended it
//!                  bits 15..8  length  bytes of the cause, 0..=224
//!                  bits  7..0  phase   0 Open  1 Claimed  2 Cancelled  3 Abandoned  4 OwnerDied  5 RuntimeEnded
//!       12  gate   rung when the state is over
//!       16  lever  handle of the block that whoever may cancel holds
//!       32  cause  text, in words
//! ```
//!
//! | phase   | who may leave it, and how |
//! |---------|---------------------------|
//! | Open    | anybody, by one exchange: to an end without a cause, or `cancel` with one -> Claimed(itself) |
//! | Claimed | its ender -> Cancelled, when the cause is written; the host after the ender's death, or at the end of the runtime |
//! | others  | nobody: over is over |
//!
//! Protocol, races and deaths: `context.md` beside this file. Progress: nothing here waits but the gate's sleepers.

use crate::blocks::Holder;
use crate::gate::Gate;
use crate::owner::OwnerId;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// First word of a context's block; changes with the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"gorunct1");

/// Words of the cause. The model has one, so that it stays small.
const CAUSE_WORDS: usize = if cfg!(loom) { 1 } else { 28 };

const OPEN: u32 = 0;
const CLAIMED: u32 = 1;
const CANCELLED: u32 = 2;
const ABANDONED: u32 = 3;
const OWNER_DIED: u32 = 4;
const RUNTIME_ENDED: u32 = 5;

/// See the module's head. Zeroes are words that were never written.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct ContextWords {
    magic: AtomicU64,
    /// Written by whoever ends it, and by the host after a death; anybody reads it.
    state: AtomicU32,
    /// Rung when the state is over.
    gate: Gate,
    /// Written once, before anybody else sees the block.
    lever: [AtomicU64; 2],
    /// Written by the ender between claim and end; read only behind an end that has a length.
    cause: [AtomicU64; CAUSE_WORDS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<ContextWords>() == ContextWords::BYTES);
#[cfg(not(loom))]
const _: () = assert!(std::mem::offset_of!(ContextWords, gate) == ContextWords::GATE_BYTE);

/// How a context ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody is left who could.
    Abandoned,
    /// Whoever could have was killed.
    OwnerDied,
    /// Its runtime has ended.
    RuntimeEnded,
}

impl Ending {
    fn phase(self) -> u32 {
        match self {
            Self::Cancelled => CANCELLED,
            Self::Abandoned => ABANDONED,
            Self::OwnerDied => OWNER_DIED,
            Self::RuntimeEnded => RUNTIME_ENDED,
        }
    }

    fn of(phase: u32) -> Option<Self> {
        match phase {
            OPEN | CLAIMED => None,
            ABANDONED => Some(Self::Abandoned),
            OWNER_DIED => Some(Self::OwnerDied),
            RUNTIME_ENDED => Some(Self::RuntimeEnded),
            // Scribbled words count as cancelled: whoever waits goes on.
            _ => Some(Self::Cancelled),
        }
    }
}

fn phase(state: u32) -> u32 {
    state & 0xFF
}

fn state(ender: OwnerId, length: u8, phase: u32) -> u32 {
    u32::from(ender.bits()) << 16 | u32::from(length) << 8 | phase
}

impl ContextWords {
    /// Bytes of a context's block.
    pub const BYTES: usize = 256;
    /// Where in it the gate lies.
    pub const GATE_BYTE: usize = 12;
    /// Most bytes of a cause.
    pub const CAUSE_BYTES_MAX: usize = CAUSE_WORDS * 8;

    /// Writes the words of an open context over zeroes. Whoever may cancel it holds the block named by `lever`.
    pub fn format(&self, lever: [u64; 2]) {
        for (place, word) in self.lever.iter().zip(lever) {
            place.store(word, Ordering::Relaxed); // Relaxed: published by the Release below.
        }
        self.magic.store(MAGIC, Ordering::Release); // Release: pairs with the Acquire in `lever`.
    }

    /// The handle of the lever's block; none if no context lies here.
    #[must_use]
    pub fn lever(&self) -> Option<[u64; 2]> {
        // Acquire: pairs with the Release in `format`. Relaxed behind it: written once, before the magic.
        let is_context = self.magic.load(Ordering::Acquire) == MAGIC;
        is_context.then(|| [self.lever[0].load(Ordering::Relaxed), self.lever[1].load(Ordering::Relaxed)])
    }

    /// Rung when the context is over.
    #[must_use]
    #[inline]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// How it ended; none while it has not.
    #[must_use]
    #[inline]
    pub fn ending(&self) -> Option<Ending> {
        // Acquire: pairs with the exchanges that end it; what the ender did before is seen.
        Ending::of(phase(self.state.load(Ordering::Acquire)))
    }

    /// What was said when it was cancelled.
    #[must_use]
    pub fn cause(&self) -> Option<Vec<u8>> {
        let state = self.state.load(Ordering::Acquire); // Acquire: pairs with the Release in `cancel`.
        let length = (state >> 8 & 0xFF) as usize;
        if phase(state) != CANCELLED || length == 0 {
            return None;
        }
        // Relaxed: the Acquire load came before.
        let bytes = self.cause.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        Some(bytes.take(length).collect())
    }

    /// Cancels it; false if it is over, or somebody else is about to end it. Of a longer cause the first
    /// [`ContextWords::CAUSE_BYTES_MAX`] bytes are kept.
    pub fn cancel(&self, me: Holder, cause: &[u8]) -> bool {
        let cause = &cause[..cause.len().min(Self::CAUSE_BYTES_MAX)];
        let length = u8::try_from(cause.len()).unwrap_or(0);
        if length == 0 {
            return self.end(me, Ending::Cancelled);
        }
        let claimed = state(me.owner(), 0, CLAIMED);
        // Relaxed, both: nothing is read or published by the claim; the exchange below does that.
        if self.state.compare_exchange(OPEN, claimed, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        crate::crash_point!("context.cancel.claimed");
        for (place, bytes) in self.cause.iter().zip(cause.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_ne_bytes(word), Ordering::Relaxed); // Relaxed: published by the Release below.
        }
        crate::crash_point!("context.cancel.written");
        let over = state(me.owner(), length, CANCELLED);
        // Release: pairs with the Acquire in `cause` and `ending`. Relaxed on failure: the runtime has ended meanwhile.
        let ended = self.state.compare_exchange(claimed, over, Ordering::Release, Ordering::Relaxed).is_ok();
        crate::crash_point!("context.cancel.over");
        self.gate.wake_all();
        ended
    }

    /// Ends it without a cause; false if it is over, or somebody is about to cancel it.
    pub fn end(&self, me: Holder, ending: Ending) -> bool {
        let over = state(me.owner(), 0, ending.phase());
        // Release: pairs with the Acquire in `ending`. Relaxed on failure: nothing is read.
        let ended = self.state.compare_exchange(OPEN, over, Ordering::Release, Ordering::Relaxed).is_ok();
        if ended {
            crate::crash_point!("context.end.over");
            self.gate.wake_all();
        }
        ended
    }

    /// The runtime ends: it is over, whoever was about to cancel it. Only the host.
    pub fn shut(&self) {
        let over = state(OwnerId::HOST, 0, RUNTIME_ENDED);
        let mut seen = self.state.load(Ordering::Relaxed); // Relaxed: the exchange decides.
        while Ending::of(phase(seen)).is_none() {
            // Release: as in `end`. Relaxed on failure: only tried again.
            match self.state.compare_exchange(seen, over, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => seen = found,
            }
        }
        self.gate.wake_all();
    }

    /// Finishes what `dead` had begun: what it claimed is cancelled, without a cause, and sleepers are woken whom it had not
    /// woken. `is_abandoned` says that nobody is left who could cancel it. True if this ended it. Only the host.
    pub fn recover(&self, dead: Holder, is_abandoned: bool) -> bool {
        let seen = self.state.load(Ordering::Acquire); // Acquire: as in `ending`; the dead writes no more.
        let is_theirs = seen >> 16 == u32::from(dead.owner().bits());
        let over = match phase(seen) {
            OPEN if is_abandoned => state(dead.owner(), 0, OWNER_DIED),
            CLAIMED if is_theirs => state(dead.owner(), 0, CANCELLED),
            OPEN | CLAIMED => return false,
            _ => {
                if is_theirs {
                    self.gate.wake_all();
                }
                return false;
            }
        };
        // Release: as in `end`. Relaxed on failure: somebody alive was faster, and wakes.
        let ended = self.state.compare_exchange(seen, over, Ordering::Release, Ordering::Relaxed).is_ok();
        if ended {
            self.gate.wake_all();
        }
        ended
    }
}

#[cfg(loom)]
impl ContextWords {
    /// Claims it as a process does that is killed before its next step: for models only.
    pub fn leave_claimed(&self, dead: Holder) -> bool {
        let claimed = state(dead.owner(), 0, CLAIMED);
        self.state.compare_exchange(OPEN, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
