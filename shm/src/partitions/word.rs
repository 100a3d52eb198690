//! The words of a table, taken apart.
//!
//! ```text
//! member  bits 63..32  generation  lives of members in this place, 1.. ; wraps
//!              15..8   holder      whose process it is
//!               1..0   state       0 nobody, 1 live, 2 leaving
//!
//! owner   bits 63..32  generation  of the member
//!               7..0   place + 1   0 is nobody
//! ```
//!
//! | state   | who may leave it, and how |
//! |---------|---------------------------|
//! | nobody  | who joins: -> live, generation + 1 |
//! | live    | the member: -> leaving; of a dead one the recoverer: -> nobody |
//! | leaving | the member: -> nobody; of a dead one the recoverer: -> nobody |

use crate::blocks::Holder;
use std::fmt;

const GENERATION_SHIFT: u32 = 32;
const HOLDER_SHIFT: u32 = 8;
const STATE_MASK: u64 = 3;

/// Names one life of a member: its place in the table, and how manieth life of that place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    slot: u8,
    generation: u32,
}

impl MemberId {
    #[expect(clippy::cast_possible_truncation, reason = "places are fewer than 128")]
    pub(super) fn new(slot: usize, generation: u32) -> Self {
        Self { slot: slot as u8, generation }
    }

    /// Its place, which others have had before and will have after it.
    #[must_use]
    #[inline]
    pub fn slot(self) -> usize {
        self.slot.into()
    }

    /// Which life of that place.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// As one word, never 0.
    #[must_use]
    #[inline]
    pub fn to_word(self) -> u64 {
        u64::from(self.generation) << GENERATION_SHIFT | (u64::from(self.slot) + 1)
    }

    /// The member in a word; none in 0, and none of a place that there is not.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub fn from_word(word: u64, places: usize) -> Option<Self> {
        let slot = (word as u8).checked_sub(1)?;
        (usize::from(slot) < places).then_some(Self { slot, generation: (word >> GENERATION_SHIFT) as u32 })
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Where a place in the table is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Nobody,
    Live,
    Leaving,
}

/// A member's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemberWord(pub(super) u64);

impl MemberWord {
    pub(super) fn new(generation: u32, holder: Holder, state: State) -> Self {
        let state = match state {
            State::Nobody => 0,
            State::Live => 1,
            State::Leaving => 2,
        };
        let holder = u64::from(holder.index()) << HOLDER_SHIFT;
        Self(u64::from(generation) << GENERATION_SHIFT | holder | state)
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub(super) fn holder(self) -> Holder {
        Holder::new((self.0 >> HOLDER_SHIFT) as u8)
    }

    /// What another process scribbled counts as somebody who is leaving: it owns nothing, and its place is not used.
    pub(super) fn state(self) -> State {
        match self.0 & STATE_MASK {
            0 => State::Nobody,
            1 => State::Live,
            _ => State::Leaving,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_give_back_what_was_put_in() {
        let word = MemberWord::new(u32::MAX, Holder::new(77), State::Leaving);
        assert_eq!((word.generation(), word.holder()), (u32::MAX, Holder::new(77)));
        assert_eq!(word.state(), State::Leaving);
        let id = MemberId::new(127, 9);
        assert_eq!(MemberId::from_word(id.to_word(), 128), Some(id));
    }

    #[test]
    fn nobody_and_places_that_are_not_there_are_no_member() {
        assert_eq!(MemberId::from_word(0, 128), None);
        assert_eq!(MemberId::from_word(7 << 32, 128), None);
        assert_eq!(MemberId::from_word(MemberId::new(5, 1).to_word(), 5), None);
    }
}
