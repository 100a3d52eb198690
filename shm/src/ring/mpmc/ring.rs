//! The steps of producers and consumers.

use super::Position;
use super::header::{Geometry, Header};
use super::word::{SlotState, SlotWord};
use crate::blocks::Holder;
use crate::sync::{AtomicU64, Ordering, fence, fence_after_exchange};

/// A channel's ring over borrowed memory, wherever it lies.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a> {
    pub(super) header: &'a Header,
    words: &'a [AtomicU64],
    geometry: Geometry,
    /// Slots less one.
    mask: u64,
    shift: u32,
}

/// A slot that the caller claimed to write. It holds up all consumers until it is published or abandoned.
#[derive(Debug)]
#[must_use = "a claim is published or abandoned"]
pub struct Claim {
    pub(super) position: Position,
}

/// What stands in a slot's word beside the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message {
    /// Bytes of payload, at most what the slot holds.
    pub length: u8,
    /// Any two bits.
    pub marks: u8,
}

/// A message that the caller took. It keeps its slot until it is released or put back.
#[derive(Debug)]
#[must_use = "a message that was taken is released or put back"]
pub struct Taken {
    pub(super) position: Position,
    /// The first position of the walk that was not released: what the head may be moved to is not behind it.
    pub(super) first_held: Position,
    pub(super) word: SlotWord,
}

/// A slot that was claimed and not released, as it was found.
pub(super) struct InUse<'a> {
    pub(super) position: Position,
    pub(super) slot: &'a AtomicU64,
    pub(super) payload: &'a [AtomicU64],
    pub(super) word: SlotWord,
}

/// Why nothing was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many messages are in the channel as it holds.
    Full,
    /// It takes no messages any more: see [`Ring::standing`].
    Over,
    /// A word is nonsense.
    Corrupt,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// No message is there.
    Empty,
    /// The next one is still being written.
    Busy,
    /// No message is there, and none will come: see [`Ring::standing`].
    Over,
    /// A word is nonsense.
    Corrupt,
}

impl Taken {
    /// Its number in the order of claims.
    #[must_use]
    #[inline]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Bytes of payload, marks, deliveries.
    #[must_use]
    #[inline]
    pub fn word(&self) -> SlotWord {
        self.word
    }
}

impl Taken {
    /// The slot's word as long as `me` has the message.
    #[inline]
    pub(super) fn reading(&self, lap: u64, me: Holder) -> SlotWord {
        let word = self.word;
        SlotWord::new(lap, me, SlotState::Reading).with(word.length(), word.marks(), word.deliveries())
    }
}

impl<'a> Ring<'a> {
    /// # Panics
    /// If there are not as many words as the geometry says.
    #[must_use]
    #[inline]
    pub fn new(header: &'a Header, words: &'a [AtomicU64], geometry: Geometry) -> Self {
        assert!(words.len() >= geometry.words(), "a word for every slot");
        let slots = geometry.slots();
        Self { header, words, geometry, mask: slots - 1, shift: slots.trailing_zeros() }
    }

    /// Claims the next slot for `me`. Of several who try, each gets another.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline]
    pub fn claim(&self, me: Holder) -> Result<Claim, Refused> {
        if self.standing().refuses() {
            return Err(Refused::Over);
        }
        let position = self.claim_next(me)?;
        crate::crash_point!("mpmc.claim.claimed");
        let claim = Claim { position };
        // Pairs with the fence in `take`, between its look at the standing and its look at the slot. Either that look finds
        // this claim, or the load here finds the end.
        fence_after_exchange();
        if self.standing().refuses() {
            self.abandon(claim, me);
            return Err(Refused::Over);
        }
        Ok(claim)
    }

    #[inline]
    fn claim_next(&self, me: Holder) -> Result<Position, Refused> {
        let tail = &self.header.tail.position;
        let mut position = tail.load(Ordering::Acquire); // Acquire: pairs with the Release store below.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Empty) => {
                    if !self.has_room_for(position) {
                        return Err(Refused::Full);
                    }
                    let claimed = SlotWord::new(lap, me, SlotState::Writing);
                    // AcqRel: the Acquire half pairs with the Release in `release`: the payload may be written over.
                    // Release: pairs with the load above of who walks on from here. Acquire on failure: judged again.
                    let taken = slot.compare_exchange(word.0, claimed.0, Ordering::AcqRel, Ordering::Acquire);
                    if taken.is_ok() {
                        // Release: pairs with the load above: who starts from here sees all before it claimed.
                        tail.store(position.wrapping_add(1), Ordering::Release);
                        return Ok(position);
                    }
                }
                (0, SlotState::Corrupt) => return Err(Refused::Corrupt),
                (0, _) => position = position.wrapping_add(1),
                (ahead, state) if ahead > 0 => position = self.after_claimed(position, ahead, state),
                _ => return Err(Refused::Full),
            }
        }
        Err(Refused::Full)
    }

    /// The first position that may be unclaimed, given that the slot of `position` is `ahead` laps ahead: claims are made
    /// in order, so all before the slot's last claim were made too.
    #[cold]
    fn after_claimed(&self, position: Position, ahead: i64, state: SlotState) -> Position {
        let laps = ahead.unsigned_abs() - u64::from(state == SlotState::Empty);
        position.wrapping_add(laps << self.shift).wrapping_add(1)
    }

    /// True if the message one capacity before was released. With as many slots as messages that is the slot itself.
    #[inline]
    fn has_room_for(&self, position: Position) -> bool {
        let capacity = self.geometry.capacity();
        if capacity > self.mask || position < capacity {
            return true;
        }
        let (slot, lap) = self.slot(position - capacity);
        // Acquire: pairs with the Release in `release`.
        SlotWord(slot.load(Ordering::Acquire)).ahead_of(lap) > 0
    }

    /// Lets consumers see the message. The caller notifies afterwards: [`Ring::notify_message`].
    #[inline]
    pub fn publish(&self, claim: Claim, me: Holder, message: Message, payload: &[u64]) -> Position {
        let position = claim.position;
        for (place, word) in self.payload(position).iter().zip(payload) {
            place.store(*word, Ordering::Relaxed); // Relaxed: the Release store below publishes them.
        }
        crate::crash_point!("mpmc.publish.written");
        let full = self.published(position, me, message);
        // Release: pairs with the Acquire exchange in `take`. A store would be enough, a Writing slot is its holder's alone,
        // but not for `notify_message`.
        self.slot(position).0.swap(full.0, Ordering::Release);
        crate::crash_point!("mpmc.publish.full");
        position
    }

    #[inline]
    fn published(&self, position: Position, me: Holder, message: Message) -> SlotWord {
        let (_, lap) = self.slot(position);
        SlotWord::new(lap, me, SlotState::Full).with(message.length, message.marks, 0)
    }

    /// Gives a claim up: there is no message at this position.
    #[cold]
    pub fn abandon(&self, claim: Claim, me: Holder) {
        let (slot, lap) = self.slot(claim.position);
        self.header.abandoned.add_shared(1);
        // Release: pairs with the Acquire load of the consumer that passes.
        slot.store(SlotWord::new(lap, me, SlotState::Dead).0, Ordering::Release);
        // Rare, and consumers that wait for the end of a closed channel wait for this too.
        self.header.not_empty.wake_all();
    }

    /// Takes a message back that nobody has taken; false if somebody has.
    #[must_use]
    pub fn withdraw(&self, position: Position, me: Holder, message: Message) -> bool {
        let (slot, lap) = self.slot(position);
        let (full, dead) = (self.published(position, me, message), SlotWord::new(lap, me, SlotState::Dead));
        // AcqRel: the Acquire half orders what the caller does with the message's block; Release as in `abandon`.
        // Relaxed on failure: nothing is read.
        if slot.compare_exchange(full.0, dead.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        self.header.abandoned.add_shared(1);
        self.header.not_empty.wake_all();
        true
    }

    /// True once somebody has taken the message at `position`.
    #[must_use]
    #[inline]
    pub fn was_taken(&self, position: Position) -> bool {
        let (slot, lap) = self.slot(position);
        let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with the exchange in `take`.
        word.ahead_of(lap) != 0 || word.state() != SlotState::Full
    }

    /// Takes the oldest message that nobody has taken.
    ///
    /// # Errors
    /// [`Nothing`].
    #[inline]
    pub fn take(&self, me: Holder) -> Result<Taken, Nothing> {
        match self.take_next(me) {
            Err(Nothing::Empty) if self.standing().is_over() => {
                // SeqCst: pairs with the fence in `claim`. A claim that the look below does not find will find the end.
                fence(Ordering::SeqCst);
                self.take_next(me).map_err(|nothing| match nothing {
                    Nothing::Empty => Nothing::Over,
                    other => other,
                })
            }
            taken => taken,
        }
    }

    #[inline]
    fn take_next(&self, me: Holder) -> Result<Taken, Nothing> {
        // Acquire: pairs with the Release in `release`: all before it are seen released.
        let start = self.header.head.position.load(Ordering::Acquire);
        let mut position = start;
        let mut first_held = None;
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Full) => {
                    let reading = SlotWord::new(lap, me, SlotState::Reading);
                    let reading = reading.with(word.length(), word.marks(), word.deliveries());
                    // Acquire: pairs with the Release in `publish`: the payload is whole. On failure: judged again.
                    let taken =
                        slot.compare_exchange(word.0, reading.0, Ordering::Acquire, Ordering::Acquire);
                    if taken.is_ok() {
                        crate::crash_point!("mpmc.take.taken");
                        return Ok(Taken { position, first_held: first_held.unwrap_or(position), word });
                    }
                }
                (0, SlotState::Dead) => self.pass_dead(slot, word, lap),
                (0, SlotState::Reading) => {
                    first_held.get_or_insert(position);
                    position = position.wrapping_add(1);
                }
                // The message of somebody who reads may come back, so the channel is not empty yet.
                (0, SlotState::Empty) if first_held.is_none() => {
                    if position != start {
                        // The last releasers were not the first in line. Release: as in `release`.
                        self.header.head.position.store(position, Ordering::Release);
                    }
                    return Err(Nothing::Empty);
                }
                (0, SlotState::Empty | SlotState::Writing) => return Err(Nothing::Busy),
                (ahead, _) if ahead > 0 => position = self.after_released(position, ahead),
                // All slots were walked over, and others read what is in them.
                (_, state) if first_held.is_some() && state != SlotState::Corrupt => {
                    return Err(Nothing::Busy);
                }
                _ => return Err(Nothing::Corrupt),
            }
        }
        Err(Nothing::Corrupt)
    }

    /// The first position that may be unreleased, given that the slot of `position` is `ahead` laps ahead: a claim is made
    /// only over a released slot, and claims are made in order, so all before one lap less were released too.
    #[inline]
    fn after_released(&self, position: Position, ahead: i64) -> Position {
        let laps = ahead.unsigned_abs().saturating_sub(2);
        position.wrapping_add(laps << self.shift).wrapping_add(1)
    }

    /// Frees a slot whose producer gave it up.
    #[cold]
    fn pass_dead(&self, slot: &AtomicU64, word: SlotWord, lap: u64) {
        let empty = SlotWord::new(lap.wrapping_add(1), word.holder(), SlotState::Empty);
        // Release: as in `release`. Relaxed on failure: another consumer did it, and the slot is looked at again.
        if slot.compare_exchange(word.0, empty.0, Ordering::Release, Ordering::Relaxed).is_ok() {
            self.notify_room();
        }
    }

    /// Copies the first words of the payload out of a message that the caller took; returns how many.
    #[inline]
    pub fn read(&self, taken: &Taken, words: &mut [u64]) -> usize {
        let payload = self.payload(taken.position);
        for (word, place) in words.iter_mut().zip(payload) {
            *word = place.load(Ordering::Relaxed); // Relaxed: the Acquire exchange in `take` came before.
        }
        payload.len().min(words.len())
    }

    /// Frees the slot: the message is the caller's. False if it was seized from the caller: then nothing has happened.
    /// The caller notifies afterwards: [`Ring::notify_room`].
    #[inline]
    pub fn release(&self, taken: Taken, me: Holder) -> bool {
        let Taken { position, first_held, .. } = taken;
        let (slot, lap) = self.slot(position);
        let (reading, empty) =
            (taken.reading(lap, me), SlotWord::new(lap.wrapping_add(1), me, SlotState::Empty));
        // Release: pairs with the Acquire of the producer that claims it: the payload was read before. Also the exchange
        // that `notify_room` needs. Relaxed on failure: nothing is read.
        let released = slot.compare_exchange(reading.0, empty.0, Ordering::Release, Ordering::Relaxed);
        crate::crash_point!("mpmc.release.empty");
        if released.is_ok() && first_held == position {
            // Release: pairs with the load in `take_next`.
            self.header.head.position.store(position.wrapping_add(1), Ordering::Release);
        }
        released.is_ok()
    }

    /// Gives a message back, to be taken by anybody once more. Nothing happens if it was seized from the caller.
    pub fn put_back(&self, taken: Taken, me: Holder) {
        let deliveries = taken.word.deliveries().saturating_add(1);
        self.give_back(taken, me, deliveries);
    }

    pub(super) fn give_back(&self, taken: Taken, me: Holder, deliveries: u8) {
        let (slot, lap) = self.slot(taken.position);
        let word = taken.word;
        let full = SlotWord::new(lap, me, SlotState::Full).with(word.length(), word.marks(), deliveries);
        self.forget_due(self.payload(taken.position));
        // Release: pairs with the Acquire exchange in `take`. Also the exchange that `notify_message` needs. Relaxed on
        // failure: nothing is read.
        let reading = taken.reading(lap, me).0;
        if slot.compare_exchange(reading, full.0, Ordering::Release, Ordering::Relaxed).is_ok() {
            self.header.returned.add_shared(1);
            self.notify_message();
        }
    }

    /// Wakes a consumer that sleeps. Call after [`Ring::publish`], once for many.
    #[inline]
    pub fn notify_message(&self) {
        self.header.not_empty.notify_after_exchange();
    }

    /// Wakes a producer that sleeps. Call after [`Ring::release`], once for many.
    #[inline]
    pub fn notify_room(&self) {
        self.header.not_full.notify_after_exchange();
        if self.standing().is_over() && self.header.not_empty.has_waiter() {
            // Consumers wait for messages that others read, and that may come back, before they say it is over.
            self.header.not_empty.wake_all();
        }
    }

    /// Wakes the next consumer if there is something for it: by who was woken itself and took one of several.
    #[inline]
    pub fn pass_on_message(&self) {
        if self.header.not_empty.has_waiter() && self.has_message() {
            self.header.not_empty.notify_after_fence();
        }
    }

    /// Wakes the next producer if there is room for it.
    #[inline]
    pub fn pass_on_room(&self) {
        if self.header.not_full.has_waiter() && self.has_room() {
            self.header.not_full.notify_after_fence();
        }
    }

    /// Wakes everybody, to look again.
    #[cold]
    pub fn wake_all(&self) {
        self.header.wake_all();
    }

    /// True if there is a message to take. Stale as soon as it is read.
    #[must_use]
    pub fn has_message(&self) -> bool {
        let mut position = self.header.head.position.load(Ordering::Acquire); // Acquire: as in `take_next`.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: as in `take_next`.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Full) => return true,
                (0, SlotState::Reading | SlotState::Dead) => position = position.wrapping_add(1),
                (ahead, _) if ahead > 0 => position = self.after_released(position, ahead),
                _ => return false,
            }
        }
        false
    }

    /// True if nothing is left to take and nothing will come: what [`Ring::take`] calls [`Nothing::Over`].
    #[must_use]
    pub fn is_spent(&self) -> bool {
        if !self.standing().is_over() {
            return false;
        }
        fence(Ordering::SeqCst); // SeqCst: as in `take`.
        let mut position = self.header.head.position.load(Ordering::Acquire); // Acquire: as in `take_next`.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: as in `take_next`.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Dead) => position = position.wrapping_add(1),
                (0, SlotState::Full | SlotState::Reading | SlotState::Writing) => return false,
                (ahead, _) if ahead > 0 => position = self.after_released(position, ahead),
                // Empty, or nonsense, which `take` tells of.
                _ => return true,
            }
        }
        true
    }

    /// True if there is room for a message. Stale as soon as it is read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let mut position = self.header.tail.position.load(Ordering::Acquire); // Acquire: as in `claim_next`.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: as in `claim_next`.
            match (word.ahead_of(lap), word.state()) {
                (0, SlotState::Empty) => return self.has_room_for(position),
                (0, SlotState::Corrupt) => return false,
                (0, _) => position = position.wrapping_add(1),
                (ahead, state) if ahead > 0 => position = self.after_claimed(position, ahead, state),
                _ => return false,
            }
        }
        false
    }

    /// Messages in the channel, those being written or read among them. Stale as soon as it is read.
    #[must_use]
    pub fn len(&self) -> u64 {
        let head = self.header.head();
        self.header.tail().saturating_sub(head).min(self.geometry.capacity())
    }

    /// True if [`Ring::len`] is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header, with its counters and gates.
    #[must_use]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// The shape.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// An honest walk is shorter than a few laps; over scribbled words it could take for ever.
    #[inline]
    fn steps_max(&self) -> u64 {
        4 * self.mask + 64
    }

    /// The word of the slot that `position` falls in, and the lap it must be in.
    #[inline]
    pub(super) fn slot(&self, position: Position) -> (&'a AtomicU64, u64) {
        (&self.words[self.index(position)], position >> self.shift)
    }

    #[inline]
    pub(super) fn payload(&self, position: Position) -> &'a [AtomicU64] {
        let first = self.index(position) + 1;
        &self.words[first..first + self.geometry.payload_words()]
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked below the number of slots")]
    fn index(&self, position: Position) -> usize {
        (position & self.mask) as usize * self.geometry.stride()
    }

    /// Slots that were claimed and not released, oldest first, with their words as found: for the recoverer.
    pub(super) fn in_use(&self) -> impl Iterator<Item = InUse<'a>> {
        let ring = *self;
        let first = ring.header.head.position.load(Ordering::Acquire); // Acquire: as in `take_next`.
        let looked_at = (0..=ring.mask).map(move |step| {
            let position = first.wrapping_add(step);
            let (slot, lap) = ring.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            (InUse { position, slot, payload: ring.payload(position), word }, word.ahead_of(lap))
        });
        // Claims are made in order: behind an unclaimed slot there is nothing.
        looked_at
            .take_while(|(found, ahead)| *ahead != 0 || found.word.state() != SlotState::Empty)
            .map(|(found, _)| found)
    }
}

/// The gates, for who sleeps.
impl Header {
    /// Rung when there is something to take.
    #[must_use]
    #[inline]
    pub fn not_empty(&self) -> &crate::gate::Gate {
        &self.not_empty
    }

    /// Rung when there is room.
    #[must_use]
    #[inline]
    pub fn not_full(&self) -> &crate::gate::Gate {
        &self.not_full
    }
}
