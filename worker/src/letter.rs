//! Letter: a value on its way through a channel, in a slot or in a block that the slot names.
//!
//! ```text
//! in the slot   the encoded bytes; their count stands in the slot's word
//! in a block    word 0, 1: handle of a block as `message` has it; word 2: count of the encoded bytes in it
//! ```
//! The block is its sender's, detached, until the receiver takes it over; the host inherits it from a sender that has
//! died. What it carries is kept by the sender's `transit` meanwhile, and by the host's after its death.
//!
//! User code runs only before the slot was claimed and after it was released.

use crate::codec::{self, Portable};
use crate::end::End;
use crate::frame;
use crate::message::{self, SealError};
use crate::parcel::{self, Carried};
use crate::porter;
use crate::transit::{self, OnItsWay};
use crate::wire::status::{MARK_HANDLES, MARK_IN_BLOCK};
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Blocks, Holder, OwnedBlock};
use gorun_shm::ring::mpmc::{Claim, Fate, Geometry, Message, Position, Ring, SlotWord, Stuck, Taken};
use gorun_shm::sync::Ordering;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Marks of a slot: the value lies in a block; handles stand behind it.
const IN_BLOCK: u8 = 1;
const HANDLES: u8 = 2;
/// Words that name a block.
const BLOCK_WORDS: usize = 3;
/// Most words in a slot. Larger values are mostly handles to the heap, or worth a block.
const WORDS_MAX: usize = 15;
const _: () = assert!(WORDS_MAX <= Geometry::PAYLOAD_WORDS_MAX as usize);

/// Words of payload that slots for values of `T` should have: enough for most values of that size, with a checksum if
/// `is_summed`, and to name a block.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "15 at most")]
pub const fn words_for<T>(is_summed: bool) -> u32 {
    let words = size_of::<T>().div_ceil(8) + if is_summed { frame::SUM_BYTES.div_ceil(8) } else { 0 };
    let words = if words < BLOCK_WORDS { BLOCK_WORDS } else { words };
    let words = if words > WORDS_MAX { WORDS_MAX } else { words };
    words as u32
}

/// Words of the channel's slots that are used: a head that another process wrote may say anything.
#[inline]
fn words_of(end: &End) -> usize {
    // The last word of a slot whose message is taken for a limited time is that time.
    let words = end.geometry().payload_words() - usize::from(end.terms().lease_ns > 0);
    words.min(WORDS_MAX)
}

/// The bytes of a value that fits a slot and carries nothing beside them, which is what most values are: a letter without the
/// weight of one.
#[derive(Debug)]
pub struct Draft {
    words: [u64; WORDS_MAX],
}

impl Draft {
    /// Nothing yet.
    #[must_use]
    #[inline]
    pub fn blank() -> Self {
        Self { words: [0; WORDS_MAX] }
    }

    /// Encodes `value`; none if it needs a [`Letter`], or cannot be encoded at all.
    #[inline]
    pub fn write<T: Portable>(&mut self, value: &T, end: &End) -> Option<Message> {
        let place = &mut self.words.as_mut_bytes()[..words_of(end) * 8];
        let length = if codec::is_number::<T>() {
            codec::encode(value, place)
        } else {
            let packing = parcel::Packing::begin();
            codec::encode(value, place).map(|length| length.filter(|_| packing.is_empty()))
        };
        Some(Message { length: u8::try_from(length.ok()??).ok()?, marks: 0 })
    }

    /// What was written.
    #[must_use]
    #[inline]
    pub fn words(&self, message: Message) -> &[u64] {
        &self.words[..usize::from(message.length).div_ceil(8).min(WORDS_MAX)]
    }
}

/// A value ready for a slot.
#[derive(Debug)]
pub struct Letter {
    words: [u64; WORDS_MAX],
    message: Message,
    block: Option<OwnedBlock>,
    carried: Vec<Carried>,
}

impl Letter {
    /// Encodes `value` for the channel of `end`.
    ///
    /// # Errors
    /// [`SealError`]; nothing stays allocated.
    #[inline]
    pub fn seal<T: Portable>(value: &T, end: &End) -> Result<Self, SealError> {
        if frame::is_framed(&end.terms()) {
            return Self::seal_framed(value, end);
        }
        let mut words = [0; WORDS_MAX];
        let room = words_of(end) * 8;
        let place = &mut words.as_mut_bytes()[..room];
        let length = if codec::is_number::<T>() {
            codec::encode(value, place)?
        } else {
            let packing = parcel::Packing::begin();
            codec::encode(value, place)?.filter(|_| packing.is_empty())
        };
        match length.and_then(|length| u8::try_from(length).ok()) {
            Some(length) => {
                let message = Message { length, marks: 0 };
                Ok(Self { words, message, block: None, carried: Vec::new() })
            }
            None => Self::seal_in_block(value, end),
        }
    }

    /// [`Letter::seal`] for a channel that compresses, or sums up.
    #[cold]
    fn seal_framed<T: Portable>(value: &T, end: &End) -> Result<Self, SealError> {
        let (terms, mut words) = (end.terms(), [0; WORDS_MAX]);
        let place = &mut words.as_mut_bytes()[..words_of(end) * 8];
        let packing = parcel::Packing::begin();
        let length = codec::encode(value, place)?.filter(|_| packing.is_empty());
        drop(packing);
        let length = if frame::is_summed(&terms) {
            length.and_then(|length| frame::sum_up(place, length))
        } else {
            length
        };
        // Long enough to be compressed, it lies in a block even if it fits a slot.
        let fits = length.filter(|length| terms.compress == 0 || (*length as u64) < terms.compress);
        if let Some(length) = fits.and_then(|length| u8::try_from(length).ok()) {
            let message = Message { length, marks: 0 };
            return Ok(Self { words, message, block: None, carried: Vec::new() });
        }
        let wrap = |bytes: &[u8]| frame::wrap(bytes, &terms, end.ring().header());
        frame::seal_wrapped(value, end, terms.compress == 0, wrap).map(Self::in_block)
    }

    #[cold]
    fn seal_in_block<T: Portable>(value: &T, end: &End) -> Result<Self, SealError> {
        let blocks = end.blocks();
        let limit = blocks.shape().largest_bytes();
        message::seal_in_block(value, blocks, end.me().owner(), limit).map(Self::in_block)
    }

    fn in_block(sealed: message::Sealed) -> Self {
        let mut words = [0; WORDS_MAX];
        [words[0], words[1], ..] = sealed.payload;
        words[2] = sealed.bytes.into();
        let handles = if sealed.marks & MARK_HANDLES == 0 { 0 } else { HANDLES };
        debug_assert!(sealed.marks & MARK_IN_BLOCK != 0);
        let message = Message { length: 0, marks: IN_BLOCK | handles };
        Self { words, message, block: sealed.block, carried: sealed.parcels }
    }

    /// What stands in the slot's word.
    #[must_use]
    pub fn message(&self) -> Message {
        self.message
    }

    /// Lets the letter go in the slot that was claimed for it. What it carries is on its way then; dropping that takes it
    /// back, which is for who has withdrawn the letter.
    #[inline]
    pub fn post(self, claim: Claim, end: &End) -> (Position, Option<OnItsWay>) {
        let way = self.block.and_then(|block| send_off(block, self.carried, end));
        if end.terms().lease_ns > 0 {
            end.ring().start_afresh(&claim);
        }
        (end.ring().publish(claim, end.me(), self.message, &self.words), way)
    }
}

#[cold]
fn send_off(block: OwnedBlock, carried: Vec<Carried>, end: &End) -> Option<OnItsWay> {
    let handle = block.into_handle();
    (!carried.is_empty()).then(|| transit::send_through(end, handle, carried))
}

/// Frees the block of a letter that was withdrawn.
#[cold]
pub fn take_back(end: &End, words: &Withdrawn) {
    if let Some(handle) = words.0 {
        drop(message::take_over(end.blocks(), handle, end.me().owner()));
    }
}

/// What is left of a letter that can be withdrawn: the block it lies in.
#[derive(Debug, Clone, Copy)]
pub struct Withdrawn(Option<BlockHandle>);

impl Letter {
    /// What [`take_back`] needs.
    #[must_use]
    pub fn to_withdraw(&self) -> Withdrawn {
        Withdrawn(self.block.as_ref().map(OwnedBlock::handle))
    }
}

/// A letter out of its slot.
#[derive(Debug)]
pub struct Received {
    words: [u64; WORDS_MAX],
    length: usize,
    arrival: Option<Result<message::Arrival, SealError>>,
}

impl Received {
    /// Takes the letter out of the slot, which is free afterwards. The caller notifies senders.
    #[inline]
    pub fn take(taken: Taken, end: &End) -> Self {
        let ring = end.ring();
        let word = taken.word();
        let mut words = [0; WORDS_MAX];
        let read = ring.read(&taken, &mut words[..words_of(end)]);
        let length = usize::from(word.length()).min(read * 8);
        let arrival = (word.marks() & IN_BLOCK != 0).then(|| open(&words, word.marks(), end));
        ring.release(taken, end.me());
        Self { words, length, arrival }
    }

    /// The value.
    ///
    /// # Errors
    /// [`SealError`] if there is none in it.
    #[inline]
    pub fn decode<T: Portable>(self, end: &End) -> Result<T, SealError> {
        match self.arrival {
            None => decode_inline(&self.words.as_bytes()[..self.length], end),
            Some(arrival) => {
                let decoded = arrival.and_then(|arrival| Ok(arrival.decode()?));
                // The block is free now: the sender may let go of what it carried.
                end.ring().header().arrived().notify();
                decoded
            }
        }
    }
}

/// Takes the value out of a slot, which is free before it is decoded; senders are told of that, or will be by the caller.
///
/// # Errors
/// [`SealError`] if there is none in it.
#[inline]
pub fn receive<T: Portable>(taken: Taken, end: &End, is_told: bool) -> Result<T, SealError> {
    if taken.word().marks() & IN_BLOCK != 0 {
        return receive_block(taken, end, is_told);
    }
    let ring = end.ring();
    let mut words = [0; WORDS_MAX];
    let length = usize::from(taken.word().length()).min(words_of(end) * 8);
    ring.read(&taken, &mut words[..length.div_ceil(8)]);
    ring.release(taken, end.me());
    if is_told {
        ring.notify_room();
    }
    decode_inline(&words.as_bytes()[..length], end)
}

#[cold]
fn receive_block<T: Portable>(taken: Taken, end: &End, is_told: bool) -> Result<T, SealError> {
    let received = Received::take(taken, end);
    if is_told {
        end.ring().notify_room();
    }
    received.decode(end)
}

/// What a letter that was opened and stays in its slot keeps meanwhile: its block and what that carries.
#[derive(Debug)]
#[must_use = "dropped, the letter is gone"]
pub struct Kept(Option<(OwnedBlock, Vec<Carried>)>);

impl Kept {
    /// Lets the letter go once more, before its slot is put back.
    pub fn give_back(self, end: &End) {
        if let Some((block, carried)) = self.0 {
            send_off(block, carried, end).into_iter().for_each(OnItsWay::stay);
        }
    }
}

/// The value of a letter that stays in its slot.
///
/// # Errors
/// [`SealError`] if there is none in it; its block is free then.
pub fn open_kept<T: Portable>(taken: &Taken, end: &End) -> Result<(T, Kept), SealError> {
    let word = taken.word();
    let mut words = [0; WORDS_MAX];
    let read = end.ring().read(taken, &mut words[..words_of(end)]);
    if word.marks() & IN_BLOCK == 0 {
        let length = usize::from(word.length()).min(read * 8);
        return Ok((decode_inline(&words.as_bytes()[..length], end)?, Kept(None)));
    }
    let (value, block, carried) = open(&words, word.marks(), end)?.decode_and_keep()?;
    Ok((value, Kept(block.map(|block| (block, carried)))))
}

/// The value of a letter that was taken for a limited time: copied, because it may be taken away meanwhile; then there is
/// none. Its block stays on its way until [`let_go`].
///
/// # Errors
/// [`SealError`] if there is no value in it.
pub fn open_copy<T: Portable>(taken: &Taken, end: &End) -> Result<Option<T>, SealError> {
    let (ring, word, me) = (end.ring(), taken.word(), end.me());
    let mut words = [0; WORDS_MAX];
    let read = ring.read(taken, &mut words[..words_of(end)]);
    let ours = |result| if ring.holds(taken, me) { result } else { Ok(None) };
    if word.marks() & IN_BLOCK == 0 {
        let length = usize::from(word.length()).min(read * 8);
        return ours(decode_inline(&words.as_bytes()[..length], end).map(Some));
    }
    let handle = BlockHandle::from_words([words[0], words[1]]);
    let bytes = usize::try_from(words[2]).map_err(|_| SealError::Malformed)?;
    let copied = end.blocks().words(handle).map_err(SealError::Handle).map(|block| {
        // Relaxed: the Acquire exchange in `take` came before; that nobody wrote meanwhile is looked at afterwards.
        block.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<u64>>()
    });
    let carried = if word.marks() & HANDLES == 0 {
        Ok(Vec::new())
    } else {
        message::hold_carried(end.blocks(), me.owner(), handle, bytes)
    };
    if !ring.holds(taken, me) {
        return Ok(None);
    }
    let (copied, carried) = (copied?, carried?);
    let stored = copied.as_bytes().get(..bytes).ok_or(SealError::Malformed)?;
    let (terms, _unpacking) = (end.terms(), parcel::Unpacking::begin(carried));
    if !frame::is_framed(&terms) {
        return Ok(Some(codec::decode(stored)?));
    }
    let limit = usize::try_from(end.blocks().shape().largest_bytes()).unwrap_or(usize::MAX);
    Ok(Some(codec::decode(&frame::unwrap(stored, &terms, limit)?)?))
}

/// Frees the slot of a letter that was taken for a limited time, and what it lay in; false if it was taken away meanwhile.
pub fn let_go(taken: Taken, end: &End) -> bool {
    let (ring, marks) = (end.ring(), taken.word().marks());
    let mut words = [0; BLOCK_WORDS];
    ring.read(&taken, &mut words);
    if !ring.release(taken, end.me()) {
        return false;
    }
    if marks & IN_BLOCK != 0 {
        let handle = BlockHandle::from_words([words[0], words[1]]);
        // A failure means that the words are nonsense.
        drop(message::take_over(end.blocks(), handle, end.me().owner()));
        ring.header().arrived().notify();
    }
    ring.notify_room();
    true
}

#[cold]
fn open(words: &[u64; WORDS_MAX], marks: u8, end: &End) -> Result<message::Arrival, SealError> {
    let handle = BlockHandle::from_words([words[0], words[1]]);
    let bytes = usize::try_from(words[2]).map_err(|_| SealError::Malformed)?;
    let has_handles = marks & HANDLES != 0;
    let mut arrival = message::open_from_channel(end.blocks(), end.me().owner(), handle, bytes, has_handles)?;
    let terms = end.terms();
    if frame::is_framed(&terms) {
        let limit = usize::try_from(end.blocks().shape().largest_bytes()).unwrap_or(usize::MAX);
        arrival.unwrap(|bytes| frame::unwrap(bytes, &terms, limit))?;
    }
    Ok(arrival)
}

/// The value of a message that lay in its slot.
#[inline]
fn decode_inline<T: Portable>(bytes: &[u8], end: &End) -> Result<T, SealError> {
    let bytes = if frame::is_summed(&end.terms()) { frame::summed(bytes)? } else { bytes };
    codec::decode(bytes).map_err(SealError::Codec)
}

/// Throws away all messages that are in the channel.
pub fn throw_away(ring: &Ring<'_>, blocks: &Arc<Blocks>, me: Holder) {
    while let Ok(taken) = ring.take(me) {
        throw_one_away(taken, ring, blocks, me);
    }
}

/// Throws a message away.
pub fn throw_one_away(taken: Taken, ring: &Ring<'_>, blocks: &Arc<Blocks>, me: Holder) {
    let mut words = [0; BLOCK_WORDS];
    ring.read(&taken, &mut words);
    if taken.word().marks() & IN_BLOCK != 0 {
        // A failure means that the words are nonsense.
        let handle = BlockHandle::from_words([words[0], words[1]]);
        drop(message::take_over(blocks, handle, me.owner()));
        ring.header().arrived().notify();
    }
    ring.release(taken, me);
    ring.notify_room();
}

/// The host's part for a message whose sender may be `dead`: what it lies in, and what it carries, is the host's from now
/// on, until somebody receives it.
pub fn rehouse(stuck: &Stuck<'_>, dead: OwnerId, end: &Heir<'_>) {
    let marks = stuck.word.marks();
    if marks & IN_BLOCK == 0 {
        return;
    }
    let handle = BlockHandle::from_words([stuck.payload(0), stuck.payload(1)]);
    let bytes = usize::try_from(stuck.payload(2)).unwrap_or(usize::MAX);
    // Held first: whoever takes the block over meanwhile holds what it carries before.
    let carried = (marks & HANDLES != 0)
        .then(|| message::hold_carried(end.blocks, OwnerId::HOST, handle, bytes).ok())
        .flatten();
    if end.blocks.adopt(handle, dead, OwnerId::HOST).is_ok()
        && let Some(carried) = carried.filter(|carried| !carried.is_empty())
    {
        transit::wait_at(end.post.clone(), handle, carried).stay();
    }
}

/// The host's part for a message that `dead` had taken: true if it can be received once more.
pub fn give_back(stuck: &Stuck<'_>, dead: OwnerId, end: &Heir<'_>) -> Fate {
    if stuck.word.marks() & IN_BLOCK == 0 {
        return Fate::Return;
    }
    let handle = BlockHandle::from_words([stuck.payload(0), stuck.payload(1)]);
    rehouse(stuck, dead, end);
    match OwnedBlock::seize(end.blocks, handle, dead, OwnerId::HOST) {
        Ok(block) => {
            let carried = held_again(stuck, &block, end);
            let handle = block.into_handle();
            if !carried.is_empty() {
                transit::wait_at(end.post.clone(), handle, carried).stay();
            }
            Fate::Return
        }
        // Not taken over yet by the dead: it is on its way still.
        Err(_) if end.blocks.check(handle).is_ok() => Fate::Return,
        Err(_) => Fate::Drop,
    }
}

/// Frees what a message lies in that is given up instead of being given back.
pub fn forget(stuck: &Stuck<'_>, end: &Heir<'_>) {
    if stuck.word.marks() & IN_BLOCK != 0 {
        let handle = BlockHandle::from_words([stuck.payload(0), stuck.payload(1)]);
        drop(message::take_over(end.blocks, handle, OwnerId::HOST));
    }
}

/// What a message carries that the dead had taken over; its sender has seen it arrive, and the dead's holds are about to go.
fn held_again(stuck: &Stuck<'_>, block: &OwnedBlock, end: &Heir<'_>) -> Vec<Carried> {
    let bytes = usize::try_from(stuck.payload(2)).unwrap_or(usize::MAX);
    if stuck.word.marks() & HANDLES == 0 {
        return Vec::new();
    }
    message::hold_carried(end.blocks, OwnerId::HOST, block.handle(), bytes).unwrap_or_default()
}

/// Where the value of a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    /// In its slot: so many bytes.
    InSlot(usize),
    /// In this block.
    InBlock {
        /// The block, unchecked.
        handle: BlockHandle,
        /// Encoded bytes in it.
        bytes: u64,
    },
}

/// Where the value of a message lies, for who looks at it without taking it.
#[must_use]
pub fn lies(word: SlotWord, payload: &[u64]) -> Lies {
    let at = |index: usize| payload.get(index).copied().unwrap_or(0);
    if word.marks() & IN_BLOCK == 0 {
        return Lies::InSlot(usize::from(word.length()).min(payload.len() * 8));
    }
    Lies::InBlock { handle: BlockHandle::from_words([at(0), at(1)]), bytes: at(2) }
}

/// The host, as it takes over a channel's messages from the dead.
#[derive(Debug)]
pub struct Heir<'a> {
    /// The allocator.
    pub blocks: &'a Arc<Blocks>,
    /// Where it waits until what messages carry has arrived.
    pub post: porter::Post,
}
