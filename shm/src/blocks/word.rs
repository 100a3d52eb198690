//! The state word of a block, taken apart.
//!
//! ```text
//! bits 31..16  generation   one more after every free, modulo 2^16
//! bits 15..0   code         0                   Free
//!                           1 + holder          Claimed(holder)      1..=256
//!                           257 + holder        Detached(holder)   257..=512
//!                           0x8000 + holds      Shared: `holds` counts `hold`s modulo 2^14
//!                           0xC000 + holds      Live: as Shared, but its bytes are atomics that holders write
//!                           anything else       Corrupt
//! ```
//!
//! | state    | who may leave it, and how |
//! |----------|---------------------------|
//! | Free     | anybody: `claim` -> Claimed(itself) |
//! | Claimed  | its holder: `free` -> Free, `detach` -> Detached, `share` -> Shared; after its death `recover` -> Free |
//! | Detached | its holder or who was given the handle: `pass` -> Claimed or Detached(another), `free` -> Free; after the holder's death `recover` -> Free |
//! | Shared   | a holder: `hold` -> Shared with one more hold; whoever finds no holder: -> Free |
//! | Live     | as Shared |
//! | Corrupt  | nobody: another process wrote nonsense, the block is lost |

use super::holder::Holder;

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const DETACHED: u32 = CLAIMED + Holder::COUNT as u32;
const DETACHED_END: u32 = DETACHED + Holder::COUNT as u32;
const SHARED: u32 = 0x8000;
const LIVE: u32 = 0xC000;
const HOLDS_MASK: u32 = 0x3FFF;
const CODE_MASK: u32 = 0xFFFF;

/// Who has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    /// Nobody.
    Free,
    /// One process, which may write it.
    Claimed(Holder),
    /// One process, on the way to another: nobody touches its bytes.
    Detached(Holder),
    /// The processes in its holder set, which may read it.
    Shared {
        /// How many `hold`s there were, modulo 2^14.
        holds: u16,
    },
    /// The processes in its holder set, which read and write it as atomics: a channel lies there.
    Live {
        /// As in Shared.
        holds: u16,
    },
    /// Bits that no state has: another process wrote nonsense.
    Corrupt,
}

/// A block's word: generation and state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word(pub(super) u32);

impl Word {
    /// Packs a generation and a state.
    #[must_use]
    #[inline]
    pub fn new(generation: u16, state: BlockState) -> Self {
        let code = match state {
            BlockState::Free => FREE,
            BlockState::Claimed(holder) => CLAIMED + u32::from(holder.index()),
            BlockState::Detached(holder) => DETACHED + u32::from(holder.index()),
            BlockState::Shared { holds } => SHARED | (u32::from(holds) & HOLDS_MASK),
            BlockState::Live { holds } => LIVE | (u32::from(holds) & HOLDS_MASK),
            BlockState::Corrupt => DETACHED_END,
        };
        Self(u32::from(generation) << 16 | code)
    }

    /// Which life of the block this is.
    #[must_use]
    #[inline]
    pub fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The state.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each arm's range fits what it is cut to")]
    pub fn state(self) -> BlockState {
        match self.0 & CODE_MASK {
            FREE => BlockState::Free,
            code @ CLAIMED..DETACHED => BlockState::Claimed(Holder::new((code - CLAIMED) as u8)),
            code @ DETACHED..DETACHED_END => BlockState::Detached(Holder::new((code - DETACHED) as u8)),
            code @ SHARED..LIVE => BlockState::Shared { holds: (code & HOLDS_MASK) as u16 },
            code @ LIVE..=CODE_MASK => BlockState::Live { holds: (code & HOLDS_MASK) as u16 },
            _ => BlockState::Corrupt,
        }
    }

    /// True if nobody has the block.
    #[must_use]
    #[inline]
    pub fn is_free(self) -> bool {
        self.0 & CODE_MASK == FREE
    }

    /// True if this is a shared or live life of the block with this generation.
    #[must_use]
    pub fn is_shared(self, generation: u16) -> bool {
        self.generation() == generation && self.0 & SHARED != 0
    }

    /// True if several processes may write the bytes, as atomics.
    #[must_use]
    pub fn is_live(self) -> bool {
        self.0 & CODE_MASK >= LIVE
    }

    /// The word after one more `hold` of a shared block.
    pub(super) fn held_once_more(self) -> Self {
        Self(self.0 & !HOLDS_MASK | self.0.wrapping_add(1) & HOLDS_MASK)
    }

    /// The word after this life of the block.
    #[inline]
    pub(super) fn freed(self) -> Self {
        Self::new(self.generation().wrapping_add(1), BlockState::Free)
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "generation {} {:?}", self.generation(), self.state())
    }
}
