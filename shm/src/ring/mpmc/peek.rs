//! Looking at messages without taking them: loads only, so that a mapping that cannot be written is enough.

use super::Position;
use super::ring::Ring;
use super::word::{SlotState, SlotWord};
use crate::sync::{AtomicU64, Ordering, fence};

/// A message that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number in the order of claims.
    pub position: Position,
    /// Bytes of payload, marks, deliveries, who published it.
    pub word: SlotWord,
}

impl Ring<'_> {
    /// Looks at the oldest message at `from` or behind that nobody has taken, and copies the first words of its payload
    /// out; none if there is no such message now, or the next one is still being written.
    ///
    /// The copy is one of the message at that position: it was there, untaken, before and after the copying. `check` is
    /// called between the two, for what the payload names.
    pub fn peek(
        &self,
        from: Position,
        words: &mut [u64],
        mut check: impl FnMut(&Seen, &[u64]),
    ) -> Option<Seen> {
        // Acquire: as in `take_next`.
        let head = self.header().head.position.load(Ordering::Acquire);
        let mut position = head.max(from);
        for _ in 0..self.geometry().slots() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with the Release in `publish`.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Full) => {
                    let seen = Seen { position, word };
                    for (word, place) in words.iter_mut().zip(self.payload(position)) {
                        *word = place.load(Ordering::Relaxed); // Relaxed: the fence below orders it.
                    }
                    check(&seen, words);
                    if is_still(slot, word) {
                        return Some(seen);
                    }
                }
                // What is being written is not passed, as consumers do not pass it: it comes before what is behind it.
                (0, SlotState::Empty | SlotState::Writing | SlotState::Corrupt) => return None,
                (ahead, _) if ahead < 0 => return None,
                _ => {}
            }
            position = position.wrapping_add(1);
        }
        None
    }
}

/// True if nobody has taken the message meanwhile: then nobody has written over what was read.
fn is_still(slot: &AtomicU64, word: SlotWord) -> bool {
    // Acquire: pairs with the full fence in `claim`, which stands between a producer's exchange and its writing: a copy that
    // saw any of that sees the exchange here.
    fence(Ordering::Acquire);
    slot.load(Ordering::Relaxed) == word.0 // Relaxed: the fence came before.
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{Geometry, Header, Message};
    use super::*;
    use crate::blocks::Holder;

    #[test]
    fn what_is_being_written_is_not_passed_and_what_is_being_read_is() {
        let geometry = Geometry::new(4, 1).unwrap();
        let header = Header::default();
        let words: Vec<AtomicU64> = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
        let ring = Ring::new(&header, &words, geometry);
        let (me, message) = (Holder::HOST, Message { length: 8, marks: 0 });
        let look = |from| {
            let mut seen = [0];
            ring.peek(from, &mut seen, |_, _| {}).map(|found| (found.position, seen[0]))
        };
        let (first, second) = (ring.claim(me).unwrap(), ring.claim(me).unwrap());
        ring.publish(second, me, message, &[8]);
        assert_eq!(look(0), None, "the first comes before it");
        ring.publish(first, me, message, &[7]);
        assert_eq!((look(0), look(1), look(2)), (Some((0, 7)), Some((1, 8)), None));
        let taken = ring.take(me).unwrap();
        assert_eq!(look(0), Some((1, 8)));
        ring.put_back(taken, me);
        assert_eq!(look(0), Some((0, 7)));
        let taken = ring.take(me).unwrap();
        ring.release(taken, me);
        assert_eq!(look(0), Some((1, 8)));
    }
}
