//! Which lanes have messages, which have ended, and who sleeps. `README.md` has the argument why nobody sleeps over a
//! message that is his.

use super::Table;
use super::header::{PLACE_WORDS, TableHeader};
use super::lanes::{Lanes, WORDS, bit};
use super::word::MemberId;
use crate::gate::{ArmedGate, Gate};
use crate::sync::{Ordering, fence, fence_after_exchange};

fn place_bit(slot: usize) -> (usize, u64) {
    (slot / 64 % PLACE_WORDS, 1 << (slot % 64))
}

/// A member that has said that it will sleep. Until this is dropped, others wake it.
#[derive(Debug)]
#[must_use = "who is about to sleep looks once more, then sleeps or drops this"]
pub struct Asleep<'a> {
    table: Table<'a>,
    member: MemberId,
    armed: Option<(&'a Gate, ArmedGate)>,
}

impl<'a> Asleep<'a> {
    /// The gate to sleep at, and what it held when it was armed. None for a place that there is not.
    #[must_use]
    pub fn gate(&self) -> Option<(&'a Gate, ArmedGate)> {
        self.armed
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.table.wake_no_more(self.member);
    }
}

impl TableHeader {
    /// True if [`Table::announce`] would have nothing to do: what it looks at first, for who wants it short. Call it behind the
    /// exchange that published the message.
    #[must_use]
    #[inline]
    pub fn is_told(&self, lane: usize) -> bool {
        // Pairs with the fences in `look_again` and `Gate::arm`, as those in `announce`.
        fence_after_exchange();
        let (word, bit) = bit(lane);
        // Relaxed, both: the fence does it.
        self.ready.words[word].load(Ordering::Relaxed) & bit != 0
            && self.sleepers.words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }
}

impl<'a> Table<'a> {
    /// There is a message in the lane: marks it, and wakes its owner if that sleeps, or, with `to_any`, somebody else who
    /// does. Call behind the exchange that published the message.
    #[inline]
    pub fn announce(&self, lane: usize, to_any: bool) {
        // Pairs with the fence in `look_again`: either that look finds the message, or this one finds the mark gone.
        fence_after_exchange();
        let (word, bit) = bit(lane);
        // Relaxed: the fence does it.
        if self.header.ready.words[word].load(Ordering::Relaxed) & bit == 0 {
            // SeqCst: a full exchange, behind which sleepers are looked at; Release pairs with the Acquire in `ready`.
            self.header.ready.words[word].fetch_or(bit, Ordering::SeqCst);
            crate::crash_point!("partitions.announce.marked");
            fence_after_exchange(); // Pairs with the fence in `Gate::arm`, called by `about_to_sleep`.
        }
        if self.has_sleepers() {
            self.wake_for(lane, to_any);
        }
    }

    /// Who took a message and left others wakes a sleeper for them.
    #[inline]
    pub fn pass_on(&self, open: &Lanes, turn: usize) {
        if self.has_sleepers()
            && let Some(lane) = self.ready().and(open).next_from(turn % Lanes::MAX)
        {
            self.wake_for(lane, true);
        }
    }

    #[inline]
    fn has_sleepers(&self) -> bool {
        // Relaxed: the callers' fences do the ordering where there must be one.
        self.header.sleepers.words.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    #[cold]
    fn wake_for(&self, lane: usize, to_any: bool) {
        if self.owner(lane).is_some_and(|owner| self.wake(owner.slot())) || !to_any {
            return;
        }
        let turn = self.header.turn.fetch_add(1, Ordering::Relaxed) as usize; // Relaxed: any place is as good.
        let places = self.members.len();
        let _ = (0..places).any(|step| self.wake(turn.wrapping_add(step) % places));
    }

    /// Wakes the member in a place if it sleeps and nobody else is waking it.
    fn wake(&self, slot: usize) -> bool {
        let (word, bit) = place_bit(slot);
        let sleepers = &self.header.sleepers.words[word];
        // Relaxed, both: a hint; who sleeps has armed its gate before it looked for the last time.
        if sleepers.load(Ordering::Relaxed) & bit == 0
            || sleepers.fetch_and(!bit, Ordering::Relaxed) & bit == 0
        {
            return false;
        }
        crate::crash_point!("partitions.wake.chosen");
        let Some(line) = self.members.get(slot) else { return false };
        line.gate().notify();
        true
    }

    /// Wakes all members that sleep, to look again: lanes or members have changed. Call behind the exchange that did it.
    pub fn wake_sleepers(&self) {
        fence_after_exchange(); // Pairs with the fence in `Gate::arm`, called by `about_to_sleep`.
        for slot in 0..self.members.len() {
            self.wake(slot);
        }
    }

    /// Wakes everybody, whatever the words say.
    #[cold]
    pub fn wake_everybody(&self) {
        self.members.iter().for_each(|line| line.gate().wake_all());
        self.header.changed().wake_all();
    }

    /// Announces that the member will sleep. It must look at everything once more before it does.
    pub fn about_to_sleep(&self, member: MemberId) -> Asleep<'a> {
        let (word, bit) = place_bit(member.slot());
        // Relaxed: `arm` fences behind it.
        self.header.sleepers.words[word].fetch_or(bit, Ordering::Relaxed);
        let table = *self;
        let gate = table.members.get(member.slot()).map(|line| line.gate());
        // SeqCst, where there is no gate: pairs with the fences of wakers, as the one in `arm` does.
        let armed = match gate {
            Some(gate) => Some((gate, gate.arm())),
            None => {
                fence(Ordering::SeqCst); // SeqCst: see above.
                None
            }
        };
        Asleep { table, member, armed }
    }

    /// Somebody else sleeps at the member's gate, which is armed: the member is to be woken there. The caller looks once more
    /// afterwards, and says so again after each wake-up.
    pub fn wake_me(&self, member: MemberId) {
        let (word, bit) = place_bit(member.slot());
        // SeqCst: with the fence, orders the bit before the caller's look. Pairs with the fences of wakers.
        self.header.sleepers.words[word].fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Ends [`Table::wake_me`].
    pub fn wake_no_more(&self, member: MemberId) {
        let (word, bit) = place_bit(member.slot());
        self.header.sleepers.words[word].fetch_and(!bit, Ordering::Relaxed); // Relaxed: a hint from here on.
    }

    /// Lanes that may have messages.
    #[must_use]
    #[inline]
    pub fn ready(&self) -> Lanes {
        let mut words = [0; WORDS];
        let used = self.lanes.len().div_ceil(64);
        for (word, place) in words.iter_mut().zip(&self.header.ready.words).take(used) {
            *word = place.load(Ordering::Acquire); // Acquire: pairs with the exchange in `announce`.
        }
        Lanes::from_words(words)
    }

    /// The caller found nothing in the lane. It must look once more: what was sent before may not be announced again.
    pub fn look_again(&self, lane: usize) {
        let (word, bit) = bit(lane);
        // SeqCst: with the fence, orders the clearing before the caller's last look.
        self.header.ready.words[word].fetch_and(!bit, Ordering::SeqCst);
        fence_after_exchange(); // Pairs with the fence in `announce`.
    }

    /// The caller has found a message at its last look, and there may be more.
    pub fn mark(&self, lane: usize) {
        let (word, bit) = bit(lane);
        self.header.ready.words[word].fetch_or(bit, Ordering::SeqCst); // SeqCst: as in `announce`.
    }

    /// All lanes may have messages.
    #[cold]
    pub fn set_all_ready(&self) {
        for lane in 0..self.lanes.len() {
            self.mark(lane);
        }
    }

    /// Ends sending: members are told. False if it was ended already.
    pub fn close(&self) -> bool {
        // SeqCst: a full exchange, behind which sleepers are looked at.
        let was_closed = self.header.closed.swap(1, Ordering::SeqCst) != 0;
        self.set_all_ready();
        self.wake_sleepers();
        !was_closed
    }

    /// True once somebody closed it.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.header.closed.load(Ordering::Acquire) != 0 // Acquire: pairs with the exchange in `close`.
    }

    /// The lane's ring will never have a message again.
    pub fn end_lane(&self, lane: usize) {
        let (word, bit) = bit(lane);
        // SeqCst: a full exchange, behind which sleepers are looked at.
        let before = self.header.over.words[word].fetch_or(bit, Ordering::SeqCst);
        if before & bit == 0 && self.is_over() {
            self.wake_sleepers();
        }
    }

    /// Lanes that will never have a message again, as far as somebody has looked.
    #[must_use]
    pub fn over(&self) -> Lanes {
        let mut words = [0; WORDS];
        for (word, place) in words.iter_mut().zip(&self.header.over.words) {
            *word = place.load(Ordering::Acquire); // Acquire: pairs with the exchange in `end_lane`.
        }
        Lanes::from_words(words)
    }

    /// True if no lane will ever have a message again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Lanes::below(self.lanes.len()).without(&self.over()).is_empty()
    }
}
