//! What the recoverer does for a channel when a process has died.
//!
//! There is one recoverer, the host, and it acts when the death of every thread of the dead is certain, before the
//! memory of the dead is given back and before its number names another. (Where the host itself has died and others live
//! on, each of them may do it: every step is an exchange.)

use super::census::Role;
use super::ring::{InUse, Ring};
use super::word::{SlotState, SlotWord};
use crate::blocks::Holder;
use crate::sync::{AtomicU64, Ordering};

/// A message that is the dead's, or in its hands.
#[derive(Debug)]
pub struct Stuck<'a> {
    /// The slot's word as found.
    pub word: SlotWord,
    payload: &'a [AtomicU64],
}

impl Stuck<'_> {
    /// A word of the payload; 0 if there is none.
    #[must_use]
    pub fn payload(&self, index: usize) -> u64 {
        // Relaxed: the Acquire load of the slot's word came before.
        self.payload.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// What is to become of a message that the dead had taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Anybody may take it once more.
    Return,
    /// It is given up.
    Drop,
}

/// What the dead had left in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Claims that never became messages.
    pub abandoned: u32,
    /// Messages it had taken and not released: they are there again.
    pub returned: u32,
    /// Messages it had taken and not released, and that were given up.
    pub dropped: u32,
}

impl Ring<'_> {
    /// Ends what `dead` was doing with messages, for `heir`, which is the caller. [`Ring::bury`] comes after that, for
    /// all channels: messages of one may carry ends of another.
    ///
    /// `rehouse` is called for every message that `dead` has published and nobody has released, so that what it carries
    /// does not go with the dead's memory; `decide` for every message that `dead` had taken: it says what becomes of it.
    pub fn recover(
        &self,
        dead: Holder,
        heir: Holder,
        mut rehouse: impl FnMut(&Stuck<'_>),
        mut decide: impl FnMut(&Stuck<'_>) -> Fate,
    ) -> Recovered {
        let mut recovered = Recovered::default();
        for InUse { slot, payload, word, .. } in self.in_use() {
            let stuck = Stuck { word, payload };
            let is_dead = word.holder() == dead;
            match word.state() {
                SlotState::Writing if is_dead => {
                    let given_up = SlotWord::new(word.lap(), heir, SlotState::Dead);
                    recovered.abandoned += u32::from(moved(slot, word, given_up));
                }
                SlotState::Reading if is_dead => match decide(&stuck) {
                    Fate::Return => {
                        self.forget_due(payload);
                        let full = SlotWord::new(word.lap(), heir, SlotState::Full);
                        let deliveries = word.deliveries().saturating_add(1);
                        let full = full.with(word.length(), word.marks(), deliveries);
                        recovered.returned += u32::from(moved(slot, word, full));
                    }
                    Fate::Drop => {
                        let lap = word.lap().wrapping_add(1);
                        let empty = SlotWord::new(lap, heir, SlotState::Empty);
                        recovered.dropped += u32::from(moved(slot, word, empty));
                    }
                },
                SlotState::Full | SlotState::Reading => rehouse(&stuck),
                _ => {}
            }
        }
        let header = self.header();
        header.abandoned.add_shared(recovered.abandoned.into());
        header.returned.add_shared(recovered.returned.into());
        recovered
    }

    /// Takes `dead` out of both roles and wakes everybody: whoever it was about to wake, or was woken instead of, looks
    /// again.
    pub fn bury(&self, dead: Holder) {
        self.leave(Role::Sender, dead);
        self.leave(Role::Receiver, dead);
        self.wake_all();
    }
}

/// False if another recoverer was first.
fn moved(slot: &AtomicU64, from: SlotWord, to: SlotWord) -> bool {
    // Release: as in `abandon`, `put_back` and `release`. Relaxed on failure: nothing is read.
    slot.compare_exchange(from.0, to.0, Ordering::Release, Ordering::Relaxed).is_ok()
}
