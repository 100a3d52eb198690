//! The steps of producers and subscribers.

use super::cursor::{Cursor, CursorIndex};
use super::header::{BroadcastHead, BroadcastShape};
use crate::blocks::Holder;
use crate::ring::mpmc::{Header, Message, Position, Refused, SlotState, SlotWord};
use crate::sync::{AtomicU64, Ordering, fence, fence_after_exchange};

/// A broadcast over borrowed memory, wherever it lies.
#[derive(Debug, Clone, Copy)]
pub struct BroadcastRing<'a> {
    header: &'a Header,
    pub(super) head: &'a BroadcastHead,
    pub(super) cursors: &'a [Cursor],
    words: &'a [AtomicU64],
    shape: BroadcastShape,
    /// Slots less one.
    mask: u64,
    shift: u32,
}

/// What happens to messages that somebody has not read when the ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// They stay; producers are refused.
    All,
    /// The oldest gives way.
    Newest,
}

/// A slot that the caller claimed to write. It holds up all subscribers until it is published or abandoned.
#[derive(Debug)]
#[must_use = "a claim is published or abandoned"]
pub struct Claim {
    position: Position,
    /// Marks of the message that was there before: its payload is there until it is written over.
    marks: u8,
}

impl Claim {
    /// Marks of the message that was there before, whose payload can still be read; 0 if there was none, or it was forgotten.
    #[must_use]
    #[inline]
    pub fn old_marks(&self) -> u8 {
        self.marks
    }
}

/// A message at a cursor.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    position: Position,
    word: SlotWord,
}

impl Seen {
    /// Bytes of payload and marks.
    #[must_use]
    #[inline]
    pub fn word(&self) -> SlotWord {
        self.word
    }
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// No message is there.
    Empty,
    /// The next one is still being written.
    Busy,
    /// No message is there, and none will come.
    Over,
    /// So many messages are gone that this subscriber has not read. The cursor stands behind them.
    Lagged(u64),
    /// A word is nonsense.
    Corrupt,
}

impl<'a> BroadcastRing<'a> {
    /// # Panics
    /// If there are not as many words as the shape says.
    #[must_use]
    #[inline]
    pub fn new(
        header: &'a Header,
        head: &'a BroadcastHead,
        cursors: &'a [Cursor],
        words: &'a [AtomicU64],
        shape: BroadcastShape,
    ) -> Self {
        assert!(words.len() >= shape.words(), "a word for every slot");
        let slots = shape.geometry.slots();
        Self { header, head, cursors, words, shape, mask: slots - 1, shift: slots.trailing_zeros() }
    }

    /// Claims the next slot for `me`. Of several who try, each gets another.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline]
    pub fn claim(&self, me: Holder, keeping: Keeping) -> Result<Claim, Refused> {
        if self.header.standing().refuses() {
            return Err(Refused::Over);
        }
        let claim = self.claim_next(me, keeping)?;
        crate::crash_point!("broadcast.claim.claimed");
        // Pairs with the fence in `look`: either that look finds this claim, or the load here finds the end.
        fence_after_exchange();
        if self.header.standing().refuses() {
            self.abandon(claim, me);
            return Err(Refused::Over);
        }
        Ok(claim)
    }

    #[inline]
    fn claim_next(&self, me: Holder, keeping: Keeping) -> Result<Claim, Refused> {
        let mut position = self.header.tail.position.load(Ordering::Acquire); // Acquire: pairs with the store below.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            match self.judge(word, lap) {
                Judged::Claimed(laps) => position = position.wrapping_add(laps << self.shift).wrapping_add(1),
                Judged::Free => {
                    if keeping == Keeping::All && !self.has_room_for(position) {
                        return Err(Refused::Full);
                    }
                    let claimed = SlotWord::new(lap, me, SlotState::Writing).with(0, word.marks(), 0);
                    // AcqRel: Release pairs with the load above of who walks on from here. Acquire on failure: judged again.
                    let taken = slot.compare_exchange(word.0, claimed.0, Ordering::AcqRel, Ordering::Acquire);
                    if taken.is_ok() {
                        // Release: pairs with the load above: who starts from here sees all before it claimed.
                        self.header.tail.position.store(position.wrapping_add(1), Ordering::Release);
                        return Ok(Claim { position, marks: word.marks() });
                    }
                }
                Judged::Held => return Err(Refused::Full),
                Judged::Corrupt => return Err(Refused::Corrupt),
            }
        }
        Err(Refused::Full)
    }

    /// What the slot's word says of a position in `lap`.
    #[inline]
    fn judge(&self, word: SlotWord, lap: u64) -> Judged {
        match (word.ahead_of(lap), word.state()) {
            (_, SlotState::Corrupt | SlotState::Reading) => Judged::Corrupt,
            (0, SlotState::Empty) if lap == 0 => Judged::Free,
            (_, SlotState::Empty) => Judged::Corrupt,
            (-1, SlotState::Full | SlotState::Dead) => Judged::Free,
            (-1, SlotState::Writing) => Judged::Held,
            (ahead, _) if ahead >= 0 => Judged::Claimed(ahead.unsigned_abs()),
            _ => Judged::Corrupt,
        }
    }

    /// True if nobody will read the message one capacity before.
    #[inline]
    fn has_room_for(&self, position: Position) -> bool {
        let capacity = self.shape.capacity();
        // Acquire: pairs with the Release in `refresh_floor`: those messages were read before.
        let floor = self.head.floor.load(Ordering::Acquire);
        let is_below = |floor: Position| position < floor.saturating_add(capacity);
        is_below(floor) || is_below(self.refresh_floor(position))
    }

    /// The first position that nobody has claimed, or one that was claimed meanwhile.
    pub(super) fn first_unclaimed(&self) -> Position {
        let mut position = self.header.tail.position.load(Ordering::Acquire); // Acquire: as in `claim_next`.
        for _ in 0..self.steps_max() {
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: as in `claim_next`.
            match self.judge(word, lap) {
                Judged::Claimed(laps) => position = position.wrapping_add(laps << self.shift).wrapping_add(1),
                _ => break,
            }
        }
        position
    }

    /// True if somebody had not read the message that has to go for this one.
    #[must_use]
    pub fn is_overwriting(&self, claim: &Claim) -> bool {
        let Some(gone) = claim.position.checked_sub(self.shape.capacity()) else { return false };
        // Relaxed: nothing is written over on the strength of this.
        gone >= self.head.floor.load(Ordering::Relaxed) && gone >= self.refresh_floor(claim.position)
    }

    /// Copies the first words of the message that was there before the claim.
    pub fn read_old(&self, claim: &Claim, words: &mut [u64]) {
        self.copy_out(claim.position, words);
    }

    /// Whatever the old message lay in is freed: from now on the claim says that there was none.
    pub fn forget_old(&self, claim: &mut Claim, me: Holder) {
        claim.marks = 0;
        let (slot, lap) = self.slot(claim.position);
        // Release: pairs with the Acquire loads of others. A store is enough: the slot is the caller's.
        slot.store(SlotWord::new(lap, me, SlotState::Writing).0, Ordering::Release);
    }

    /// Lets subscribers see the message. The caller notifies afterwards: [`BroadcastRing::notify_message`].
    ///
    /// What the old message lay in must have been forgotten.
    #[inline]
    pub fn publish(&self, claim: Claim, me: Holder, message: Message, payload: &[u64]) -> Position {
        let (slot, lap) = self.slot(claim.position);
        // Release: pairs with the Acquire fence in `is_unchanged`: who reads a word of this payload sees the claim.
        fence(Ordering::Release);
        for (place, word) in self.payload(claim.position).iter().zip(payload) {
            place.store(*word, Ordering::Relaxed); // Relaxed: the exchange below publishes them.
        }
        crate::crash_point!("broadcast.publish.written");
        let full = SlotWord::new(lap, me, SlotState::Full).with(message.length, message.marks, 0);
        // Release: pairs with the Acquire load in `look`. An exchange, for `notify_message`.
        slot.swap(full.0, Ordering::Release);
        crate::crash_point!("broadcast.publish.full");
        claim.position
    }

    /// Gives a claim up: there is no message at this position.
    #[cold]
    pub fn abandon(&self, claim: Claim, me: Holder) {
        let (slot, lap) = self.slot(claim.position);
        self.header.abandoned.add_shared(1);
        let dead = SlotWord::new(lap, me, SlotState::Dead).with(0, claim.marks, 0);
        slot.store(dead.0, Ordering::Release); // Release: pairs with the Acquire load of who passes.
        self.header.wake_all();
    }

    /// Looks for the next message at the caller's cursor.
    ///
    /// # Errors
    /// [`Miss`].
    #[inline]
    pub fn look(&self, index: CursorIndex, keeping: Keeping) -> Result<Seen, Miss> {
        match self.look_once(index, keeping) {
            Err(Miss::Empty) if self.header.standing().is_over() => {
                // SeqCst: pairs with the fence in `claim`. A claim that the look below does not find will find the end.
                fence(Ordering::SeqCst);
                self.look_once(index, keeping).map_err(|miss| match miss {
                    Miss::Empty => Miss::Over,
                    other => other,
                })
            }
            seen => seen,
        }
    }

    #[inline]
    fn look_once(&self, index: CursorIndex, keeping: Keeping) -> Result<Seen, Miss> {
        let mut position = self.position_of(index);
        for _ in 0..self.steps_max() {
            if keeping == Keeping::Newest {
                // Relaxed: a hint, for exactness only.
                let oldest = self.header.tail().saturating_sub(self.shape.capacity());
                if oldest > position {
                    return Err(self.lag(index, position, oldest));
                }
            }
            let (slot, lap) = self.slot(position);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            match (word.ahead_of(lap), word.state()) {
                (_, SlotState::Corrupt | SlotState::Reading) => return Err(Miss::Corrupt),
                (0, SlotState::Full) => return Ok(Seen { position, word }),
                (0, SlotState::Writing) => return Err(Miss::Busy),
                (0, SlotState::Dead) => {
                    position = position.wrapping_add(1);
                    self.move_cursor(index, position);
                    self.notify_room();
                }
                (0 | -1, _) => return Err(Miss::Empty),
                (ahead, _) if ahead > 0 && keeping == Keeping::Newest => {
                    let newest = position.wrapping_add(ahead.unsigned_abs() << self.shift);
                    let oldest = newest.saturating_sub(self.shape.capacity()).wrapping_add(1);
                    return Err(self.lag(index, position, oldest.max(position.wrapping_add(1))));
                }
                _ => return Err(Miss::Corrupt),
            }
        }
        Err(Miss::Corrupt)
    }

    #[cold]
    fn lag(&self, index: CursorIndex, position: Position, oldest: Position) -> Miss {
        self.move_cursor(index, oldest);
        let missed = oldest.wrapping_sub(position);
        self.head.lagged.add_shared(missed);
        Miss::Lagged(missed)
    }

    /// Copies the first words of the payload out of a message that was seen.
    #[inline]
    pub fn read(&self, seen: &Seen, words: &mut [u64]) -> usize {
        self.copy_out(seen.position, words)
    }

    /// True if what was read of the message, here or where its payload leads, was the message's: always, unless a newer one may
    /// take its place.
    #[inline]
    #[must_use]
    pub fn is_unchanged(&self, seen: &Seen) -> bool {
        // Acquire: pairs with the Release fence in `publish`, and with the Release of who frees what the payload names.
        fence(Ordering::Acquire);
        let (slot, _) = self.slot(seen.position);
        slot.load(Ordering::Relaxed) == seen.word.0 // Relaxed: the fence came before.
    }

    /// The message was read: the cursor stands behind it. The caller notifies afterwards: [`BroadcastRing::notify_room`].
    #[inline]
    pub fn advance(&self, index: CursorIndex, seen: Seen) {
        crate::crash_point!("broadcast.advance.read");
        self.move_cursor(index, seen.position.wrapping_add(1));
        crate::crash_point!("broadcast.advance.moved");
    }

    /// Wakes all subscribers that sleep. Call after [`BroadcastRing::publish`], once for many.
    #[inline]
    pub fn notify_message(&self) {
        fence_after_exchange(); // Pairs with the fence in `Gate::arm`.
        if self.header.not_empty().has_waiter() {
            self.header.not_empty().wake_all();
        }
        // A producer one lap ahead may wait for this slot.
        self.notify_room_after_fence();
    }

    /// Wakes all producers that sleep. Call after [`BroadcastRing::advance`], once for many.
    #[inline]
    pub fn notify_room(&self) {
        fence_after_exchange(); // Pairs with the fence in `Gate::arm`.
        self.notify_room_after_fence();
    }

    #[inline]
    pub(super) fn notify_room_after_fence(&self) {
        if self.header.not_full().has_waiter() {
            self.header.not_full().wake_all();
        }
    }

    /// True if a message is there for the cursor, or it has lagged. Stale as soon as it is read.
    #[must_use]
    pub fn has_message(&self, index: CursorIndex) -> bool {
        let (slot, lap) = self.slot(self.position_of(index));
        let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: as in `look_once`.
        match word.ahead_of(lap) {
            0 => matches!(word.state(), SlotState::Full | SlotState::Dead),
            ahead => ahead > 0,
        }
    }

    /// Messages that the cursor has not read. Stale as soon as it is read.
    #[must_use]
    pub fn ahead_of(&self, index: CursorIndex) -> u64 {
        self.header.tail().saturating_sub(self.position_of(index)).min(self.shape.capacity())
    }

    /// Messages that some subscriber has not read. Stale as soon as it is read.
    #[must_use]
    pub fn len(&self) -> u64 {
        let tail = self.first_unclaimed();
        tail.saturating_sub(self.refresh_floor(tail)).min(self.shape.capacity())
    }

    /// True if [`BroadcastRing::len`] is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends what `dead` was writing, for `heir`, which is the caller: how many claims there were. `rehouse` is called for each
    /// message that is there, with its marks and first words, so that what it lies in does not go with the dead's memory.
    /// [`BroadcastRing::bury`] comes after that, for all channels.
    pub fn recover(&self, dead: Holder, heir: Holder, mut rehouse: impl FnMut(u8, [u64; 3])) -> u32 {
        let mut abandoned = 0;
        for index in 0..=self.mask {
            let (slot, _) = self.slot(index);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            match word.state() {
                SlotState::Writing if word.holder() == dead => {
                    let dead = SlotWord::new(word.lap(), heir, SlotState::Dead).with(0, word.marks(), 0);
                    // Release: as in `abandon`. A store is enough: the slot is the dead's alone.
                    slot.store(dead.0, Ordering::Release);
                    abandoned += 1;
                }
                SlotState::Full if word.marks() != 0 => rehouse(word.marks(), self.first_words(index)),
                _ => {}
            }
        }
        self.header.abandoned.add_shared(abandoned.into());
        abandoned
    }

    /// Takes `dead` out of both roles, frees its cursors, and wakes everybody.
    pub fn bury(&self, dead: Holder) {
        use crate::ring::mpmc::Role;
        self.unsubscribe_all(dead);
        self.header.leave(Role::Sender, dead);
        self.header.leave(Role::Receiver, dead);
        self.header.wake_all();
    }

    /// Takes the messages out of all slots that lie somewhere else, when nobody is left to read them; `free` gets marks and
    /// first words of each.
    pub fn sweep(&self, mut free: impl FnMut(u8, [u64; 3])) {
        for index in 0..=self.mask {
            let (slot, _) = self.slot(index);
            let word = SlotWord(slot.load(Ordering::Acquire)); // Acquire: pairs with whoever stored the word.
            if word.marks() == 0 || !matches!(word.state(), SlotState::Full | SlotState::Dead) {
                continue;
            }
            let words = self.first_words(index);
            let gone = SlotWord::new(word.lap(), word.holder(), SlotState::Dead);
            // AcqRel: the payload was read before and is the caller's. Relaxed on failure: a producer has claimed it.
            if slot.compare_exchange(word.0, gone.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                free(word.marks(), words);
            }
        }
    }

    fn first_words(&self, position: Position) -> [u64; 3] {
        let mut words = [0; 3];
        self.copy_out(position, &mut words);
        words
    }

    #[inline]
    fn copy_out(&self, position: Position, words: &mut [u64]) -> usize {
        let payload = self.payload(position);
        for (word, place) in words.iter_mut().zip(payload) {
            *word = place.load(Ordering::Relaxed); // Relaxed: the Acquire load of the slot's word came before.
        }
        payload.len().min(words.len())
    }

    /// The head in common with channels, with its counters and gates.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// The broadcast's own head.
    #[must_use]
    pub fn head(&self) -> &'a BroadcastHead {
        self.head
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> BroadcastShape {
        self.shape
    }

    /// An honest walk is shorter than a few laps; over scribbled words it could take for ever.
    #[inline]
    fn steps_max(&self) -> u64 {
        4 * self.mask + 64
    }

    /// The word of the slot that `position` falls in, and the lap it must be in.
    #[inline]
    fn slot(&self, position: Position) -> (&'a AtomicU64, u64) {
        (&self.words[self.index(position)], position >> self.shift)
    }

    #[inline]
    fn payload(&self, position: Position) -> &'a [AtomicU64] {
        let first = self.index(position) + 1;
        &self.words[first..first + self.shape.payload_words()]
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked below the number of slots")]
    fn index(&self, position: Position) -> usize {
        (position & self.mask) as usize * self.shape.geometry.stride()
    }
}

/// What a slot's word says of a position.
enum Judged {
    /// It may be claimed.
    Free,
    /// It was claimed, and the same slot so many laps later too.
    Claimed(u64),
    /// The producer of the lap before still writes.
    Held,
    /// Nonsense.
    Corrupt,
}
