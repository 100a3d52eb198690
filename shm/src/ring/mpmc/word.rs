//! The word of a channel's slot, taken apart.
//!
//! ```text
//! bits 63..24  lap         position / slots, modulo 2^40
//!      23..16  holder      who writes or reads, or has written
//!      15..8   length      bytes of payload in the slot
//!       7..5   deliveries  how often the message was taken and given back; stays at 7
//!       4..3   marks       the caller's
//!       2..0   state
//! ```
//!
//! | state   | who may leave it, and how |
//! |---------|---------------------------|
//! | Empty   | a producer: `claim` -> Writing(itself) |
//! | Writing | its holder: `publish` -> Full, `abandon` -> Dead; of a dead holder the recoverer -> Dead |
//! | Full    | a consumer: `take` -> Reading(itself); who published it: `withdraw` -> Dead |
//! | Reading | its holder: `release` -> Empty of the next lap, `put_back` -> Full; who finds it overdue: `seize_overdue` -> Reading(itself), delivered once more; of a dead holder the recoverer -> Full, or -> Empty of the next lap |
//! | Dead    | any consumer that passes: -> Empty of the next lap |

use crate::blocks::Holder;

/// Most deliveries that are counted.
pub const DELIVERIES_MAX: u8 = 7;
/// Largest value of the marks.
pub const MARKS_MAX: u8 = 3;

const LAP_SHIFT: u32 = 24;
const LAP_BITS: u32 = 40;
const STATE_MASK: u64 = 7;

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Free for the message of its lap.
    Empty,
    /// Its holder writes.
    Writing,
    /// Holds a message.
    Full,
    /// Its holder reads, or keeps the message until it is acknowledged.
    Reading,
    /// Claimed and never published: there is no message in this lap.
    Dead,
    /// Bits that no state has: another process wrote nonsense.
    Corrupt,
}

/// A slot's word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotWord(pub(in crate::ring) u64);

impl SlotWord {
    #[inline]
    pub(in crate::ring) fn new(lap: u64, holder: Holder, state: SlotState) -> Self {
        let state = match state {
            SlotState::Empty => 0,
            SlotState::Writing => 1,
            SlotState::Full => 2,
            SlotState::Reading => 3,
            SlotState::Dead => 4,
            SlotState::Corrupt => STATE_MASK,
        };
        Self(lap << LAP_SHIFT | u64::from(holder.index()) << 16 | state)
    }

    /// The same with length, marks and deliveries of a message.
    #[inline]
    pub(in crate::ring) fn with(self, length: u8, marks: u8, deliveries: u8) -> Self {
        let deliveries = deliveries.min(DELIVERIES_MAX);
        let marks = marks & MARKS_MAX;
        Self(self.0 | u64::from(length) << 8 | u64::from(deliveries) << 5 | u64::from(marks) << 3)
    }

    /// The same Reading word with another holder, delivered once more: no two holders of a message have the same word.
    #[inline]
    pub(super) fn seized_by(self, holder: Holder) -> Self {
        let word = Self(self.0 & !(0xFF << 16 | u64::from(DELIVERIES_MAX) << 5));
        let deliveries = self.deliveries().saturating_add(1).min(DELIVERIES_MAX);
        Self(word.0 | u64::from(holder.index()) << 16 | u64::from(deliveries) << 5)
    }

    /// How many laps the word is ahead of `lap`; behind is negative.
    #[inline]
    pub(in crate::ring) fn ahead_of(self, lap: u64) -> i64 {
        // Both shifted up, so that the difference wraps where the lap does and keeps its sign.
        let distance = (self.0 & !((1 << LAP_SHIFT) - 1)).wrapping_sub(lap << LAP_SHIFT);
        distance.cast_signed() >> (64 - LAP_BITS)
    }

    #[inline]
    pub(in crate::ring) fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    /// The state.
    #[inline]
    #[must_use]
    pub fn state(self) -> SlotState {
        match self.0 & STATE_MASK {
            0 => SlotState::Empty,
            1 => SlotState::Writing,
            2 => SlotState::Full,
            3 => SlotState::Reading,
            4 => SlotState::Dead,
            _ => SlotState::Corrupt,
        }
    }

    /// Who writes or reads. Of a Full slot who published it.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub fn holder(self) -> Holder {
        Holder::new((self.0 >> 16) as u8)
    }

    /// Bytes of payload in the slot.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub fn length(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The caller's marks.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub fn marks(self) -> u8 {
        (self.0 >> 3) as u8 & MARKS_MAX
    }

    /// How often the message was taken and given back.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "takes bits out of the word")]
    pub fn deliveries(self) -> u8 {
        (self.0 >> 5) as u8 & DELIVERIES_MAX
    }
}

impl std::fmt::Debug for SlotWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lap {} {:?} of {:?}", self.lap(), self.state(), self.holder())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        let word = SlotWord::new(0xFF_1234_5678, Holder::new(77), SlotState::Full).with(200, 3, 9);
        assert_eq!(
            (word.lap(), word.holder(), word.state()),
            (0xFF_1234_5678, Holder::new(77), SlotState::Full)
        );
        assert_eq!((word.length(), word.marks(), word.deliveries()), (200, 3, DELIVERIES_MAX));
    }

    #[test]
    fn laps_are_compared_across_their_wrap() {
        let word = |lap| SlotWord::new(lap, Holder::HOST, SlotState::Empty);
        assert_eq!(word(5).ahead_of(4), 1);
        assert_eq!(word(4).ahead_of(5), -1);
        assert_eq!(word(0).ahead_of((1 << LAP_BITS) - 1), 1);
        assert_eq!(word((1 << LAP_BITS) - 1).ahead_of(1 << LAP_BITS), -1);
        assert_eq!(word(3).ahead_of((7 << LAP_BITS) + 3), 0);
    }
}
