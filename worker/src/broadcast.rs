//! Broadcast ends: the sides of a broadcast as a process holds them, and the way of a value through it.
//!
//! ```text
//! in the slot   the encoded bytes; their count stands in the slot's word
//! in a block    word 0, 1: handle of a block as `message` has it; word 2: count of the encoded bytes in it
//! ```
//! Such a block stays its sender's, detached: nobody takes it over, each subscriber copies it out, and whoever uses the slot
//! again frees it. What it carries is kept by the sender's `transit` so long, and by the host's after its death.
//!
//! A subscription is a hold of the receivers' role and a cursor. On its way to another process it stays where it is, and the
//! other makes one of its own at the same place; so whatever happens, nothing is missed between the two.
//!
//! User code runs only before a slot was claimed and after a cursor was moved on.

use crate::codec::{self, Portable};
use crate::hold::{Hold, NOT_THAT};
use crate::message::{self, SealError};
use crate::parcel::{self, Carried, Unpacking};
use crate::porter::{Post, Which};
use crate::transit;
use crate::wire::status::MARK_HANDLES;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{AllocateError, BlockHandle, Blocks, HandleError, OwnedBlock, SharedBlock};
use gorun_shm::ring::broadcast::{
    BroadcastHead, BroadcastRing, BroadcastShape, Claim, Cursor, CursorIndex, Keeping, Miss, Seen,
};
use gorun_shm::ring::mpmc::{Header, Message, Refused, Role, Terms};
use gorun_shm::segment::{View, ViewSlice};
use gorun_shm::sync::{AtomicU64, Ordering};
use std::fmt;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Marks of a slot: the value lies in a block; handles stand behind it.
const IN_BLOCK: u8 = 1;
const HANDLES: u8 = 2;
/// Most words in a slot.
const WORDS_MAX: usize = 15;

/// A broadcast's memory as this process sees it; holds nothing.
#[derive(Debug, Clone)]
pub struct Views {
    header: View<Header>,
    head: View<BroadcastHead>,
    cursors: ViewSlice<Cursor>,
    words: ViewSlice<AtomicU64>,
    shape: BroadcastShape,
    terms: Terms,
}

impl Views {
    /// The broadcast in `block`.
    ///
    /// # Errors
    /// [`HandleError`] if there is none that fits.
    pub fn open(block: &SharedBlock) -> Result<Self, HandleError> {
        let header = block.view::<Header>(0).map_err(|_| NOT_THAT)?;
        let bytes = block.handle().bytes() as usize;
        let (shape, terms) = BroadcastShape::read(&header, bytes).map_err(|_| NOT_THAT)?;
        let head = block.view(BroadcastShape::HEAD_AT).map_err(|_| NOT_THAT)?;
        let cursors = block.view_slice(BroadcastShape::CURSORS_AT, BroadcastShape::CURSORS);
        let words = block.view_slice(BroadcastShape::SLOTS_AT, shape.words());
        let (cursors, words) = (cursors.map_err(|_| NOT_THAT)?, words.map_err(|_| NOT_THAT)?);
        Ok(Self { header, head, cursors, words, shape, terms })
    }

    /// The ring.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> BroadcastRing<'_> {
        BroadcastRing::new(&self.header, &self.head, &self.cursors, &self.words, self.shape)
    }

    /// One of its gates, while `block`, in which it lies, is held.
    #[must_use]
    pub fn post(&self, block: &SharedBlock, which: Which) -> Post {
        Post::of(self.header.clone(), block.clone(), which)
    }

    /// Words of the slots that are used: a head that another process wrote may say anything.
    #[inline]
    fn room(&self) -> usize {
        self.shape.payload_words().min(WORDS_MAX)
    }
}

/// An end that sends.
#[derive(Debug)]
pub struct BroadcastEnd {
    views: Views,
    hold: Hold,
}

impl BroadcastEnd {
    /// A broadcast: an end that sends, and one subscription.
    ///
    /// # Errors
    /// [`AllocateError`] if there is no memory for it.
    pub fn open(
        blocks: &Arc<Blocks>,
        owner: OwnerId,
        shape: BroadcastShape,
        terms: Terms,
    ) -> Result<(Arc<Self>, Arc<Subscription>), AllocateError> {
        let not_an_owner = AllocateError::NotAnOwner { owner };
        let mut block = OwnedBlock::allocate(blocks, shape.bytes(), owner)?;
        block.as_mut_slice().fill(0);
        // Fails only over words that another process has written: then there is no such owner either.
        let block = block.enliven().map_err(|_| not_an_owner)?;
        let header = block.view::<Header>(0).map_err(|_| not_an_owner)?;
        shape.format(&header, terms);
        let sender = Self::hold(block.clone()).map_err(|_| not_an_owner)?;
        let first = Subscription::join(block, |ring, me| ring.subscribe(me)).map_err(|_| not_an_owner)?;
        Ok((sender, first))
    }

    /// A sending end of the broadcast in `block`, which this process holds. Somebody must have one meanwhile.
    pub(crate) fn hold(block: SharedBlock) -> Result<Arc<Self>, HandleError> {
        let views = Views::open(&block)?;
        let hold = Hold::join(block, views.header.clone(), Role::Sender)?;
        Ok(Arc::new(Self { views, hold }))
    }

    /// A subscription from now on.
    ///
    /// # Errors
    /// [`HandleError`] if no subscriber is left, or there are too many.
    pub fn subscribe(&self) -> Result<Arc<Subscription>, HandleError> {
        Subscription::join(self.hold.block().clone(), |ring, me| ring.subscribe(me))
    }

    /// This process's hold of it.
    #[must_use]
    #[inline]
    pub fn held(&self) -> &Hold {
        &self.hold
    }

    /// The ring.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> BroadcastRing<'_> {
        self.views.ring()
    }

    /// What its users agreed upon.
    #[must_use]
    #[inline]
    pub fn terms(&self) -> Terms {
        self.views.terms
    }

    /// Claims a slot; what the message before lay in is free then.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline]
    pub fn claim(&self, keeping: Keeping) -> Result<Claim, Refused> {
        let (ring, me) = (self.ring(), self.hold.me());
        let mut claim = ring.claim(me, keeping)?;
        if claim.old_marks() != 0 {
            self.free_old(&mut claim);
        }
        if keeping == Keeping::Newest && ring.is_overwriting(&claim) {
            ring.header().overwritten.add_shared(1);
        }
        Ok(claim)
    }

    #[cold]
    fn free_old(&self, claim: &mut Claim) {
        let mut words = [0; 3];
        self.ring().read_old(claim, &mut words);
        free(self.hold.blocks(), self.hold.me().owner(), words);
        self.ring().forget_old(claim, self.hold.me());
        // The porters of several processes may wait there.
        self.ring().header().arrived().wake_all();
    }
}

impl Drop for BroadcastEnd {
    fn drop(&mut self) {
        self.hold.leave();
        sweep_if_deserted(&self.views, &self.hold);
    }
}

/// Frees the block that a message lay in. A failure means that it was freed, or that the words are nonsense.
fn free(blocks: &Arc<Blocks>, me: OwnerId, words: [u64; 3]) {
    drop(message::take_over(blocks, BlockHandle::from_words([words[0], words[1]]), me));
}

/// Frees what lies in blocks when nobody can read it any more.
fn sweep_if_deserted(views: &Views, hold: &Hold) {
    if !hold.is_foreign() && views.header.standing().has_lost(Role::Receiver) {
        sweep(views, hold.blocks(), hold.me().owner());
    }
}

/// Frees all messages that lie in blocks.
pub fn sweep(views: &Views, blocks: &Arc<Blocks>, me: OwnerId) {
    views.ring().sweep(|_, words| free(blocks, me, words));
    views.header.arrived().wake_all();
}

/// One subscriber's place.
pub struct Subscription {
    views: Views,
    hold: Hold,
    index: CursorIndex,
}

impl Subscription {
    fn join(
        block: SharedBlock,
        subscribe: impl FnOnce(BroadcastRing<'_>, gorun_shm::blocks::Holder) -> Option<CursorIndex>,
    ) -> Result<Arc<Self>, HandleError> {
        let views = Views::open(&block)?;
        let hold = Hold::join(block, views.header.clone(), Role::Receiver)?;
        let index = subscribe(views.ring(), hold.me()).ok_or(NOT_THAT)?;
        Ok(Arc::new(Self { views, hold, index }))
    }

    /// A subscription of this process at the place of another, which stays there meanwhile.
    pub(crate) fn hold_like(block: SharedBlock, other: CursorIndex) -> Result<Arc<Self>, HandleError> {
        Self::join(block, |ring, me| ring.subscribe_like(other, me))
    }

    /// Another at the same place.
    ///
    /// # Errors
    /// [`HandleError`] if there are too many.
    pub fn again(&self) -> Result<Arc<Self>, HandleError> {
        Self::hold_like(self.hold.block().clone(), self.index)
    }

    /// Another from now on.
    ///
    /// # Errors
    /// As [`Subscription::again`].
    pub fn anew(&self) -> Result<Arc<Self>, HandleError> {
        Self::join(self.hold.block().clone(), |ring, me| ring.subscribe(me))
    }

    /// This process's hold of it.
    #[must_use]
    #[inline]
    pub fn held(&self) -> &Hold {
        &self.hold
    }

    /// The ring.
    #[must_use]
    #[inline]
    pub fn ring(&self) -> BroadcastRing<'_> {
        self.views.ring()
    }

    /// What its users agreed upon.
    #[must_use]
    #[inline]
    pub fn terms(&self) -> Terms {
        self.views.terms
    }

    /// Which cursor.
    #[must_use]
    #[inline]
    pub fn index(&self) -> CursorIndex {
        self.index
    }

    /// Takes the next message out. One thread at a time.
    ///
    /// # Errors
    /// [`Miss`].
    #[inline]
    pub fn take(&self, keeping: Keeping) -> Result<Copied, Miss> {
        let ring = self.ring();
        loop {
            let seen = ring.look(self.index, keeping)?;
            let copied = self.copy(&seen);
            if keeping == Keeping::All || ring.is_unchanged(&seen) {
                ring.advance(self.index, seen);
                return Ok(copied);
            }
            // A newer message took its place while it was copied: the next look says so.
        }
    }

    #[inline]
    fn copy(&self, seen: &Seen) -> Copied {
        let mut words = [0; WORDS_MAX];
        let read = self.ring().read(seen, &mut words[..self.views.room()]);
        let word = seen.word();
        if word.marks() & IN_BLOCK == 0 {
            return Copied::Inline { words, bytes: usize::from(word.length()).min(read * 8) };
        }
        Copied::Block(self.copy_block(&words, word.marks()))
    }

    #[cold]
    fn copy_block(&self, words: &[u64; WORDS_MAX], marks: u8) -> Result<Box<Large>, SealError> {
        let handle = BlockHandle::from_words([words[0], words[1]]);
        let bytes = usize::try_from(words[2]).map_err(|_| SealError::Malformed)?;
        let (blocks, me) = (self.hold.blocks(), self.hold.me().owner());
        let place = blocks.words(handle).map_err(SealError::Handle)?;
        let place = place.get(..bytes.div_ceil(8)).ok_or(SealError::Malformed)?;
        // Relaxed: the Acquire load of the slot's word came before. What a newer message did to it meanwhile is found out
        // afterwards.
        let copy = place.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let is_carrying = marks & HANDLES != 0;
        let carried =
            if is_carrying { message::hold_carried(blocks, me, handle, bytes)? } else { Vec::new() };
        Ok(Box::new(Large { words: copy, bytes, carried }))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.hold.is_foreign() {
            return;
        }
        self.ring().unsubscribe(self.index);
        self.hold.leave();
        sweep_if_deserted(&self.views, &self.hold);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("hold", &self.hold)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// A message out of its slot.
#[derive(Debug)]
pub enum Copied {
    /// It lay in the slot.
    Inline {
        /// The slot's words.
        words: [u64; WORDS_MAX],
        /// Of which so many bytes are the value's.
        bytes: usize,
    },
    /// It lay in a block, or the words that said so were nonsense.
    Block(Result<Box<Large>, SealError>),
}

/// A message out of its block.
#[derive(Debug)]
pub struct Large {
    words: Vec<u64>,
    bytes: usize,
    carried: Vec<Carried>,
}

impl Copied {
    /// The value.
    ///
    /// # Errors
    /// [`SealError`] if there is none in it.
    #[inline]
    pub fn decode<T: Portable>(self) -> Result<T, SealError> {
        match self {
            Self::Inline { words, bytes } => Ok(codec::decode(&words.as_bytes()[..bytes])?),
            Self::Block(large) => {
                let Large { words, bytes, carried } = *large?;
                let _unpacking = Unpacking::begin(carried);
                Ok(codec::decode(&words.as_bytes()[..bytes])?)
            }
        }
    }
}

/// A value ready for a slot.
#[derive(Debug)]
pub struct Leaflet {
    words: [u64; WORDS_MAX],
    message: Message,
    block: Option<OwnedBlock>,
    carried: Vec<Carried>,
}

impl Leaflet {
    /// Encodes `value` for the broadcast of `end`.
    ///
    /// # Errors
    /// [`SealError`]; nothing stays allocated.
    #[inline]
    pub fn seal<T: Portable>(value: &T, end: &BroadcastEnd) -> Result<Self, SealError> {
        let mut words = [0; WORDS_MAX];
        let place = &mut words.as_mut_bytes()[..end.views.room() * 8];
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

    #[cold]
    fn seal_in_block<T: Portable>(value: &T, end: &BroadcastEnd) -> Result<Self, SealError> {
        let blocks = end.hold.blocks();
        let sealed =
            message::seal_in_block(value, blocks, end.hold.me().owner(), blocks.shape().largest_bytes())?;
        let mut words = [0; WORDS_MAX];
        [words[0], words[1], ..] = sealed.payload;
        words[2] = sealed.bytes.into();
        let handles = if sealed.marks & MARK_HANDLES == 0 { 0 } else { HANDLES };
        let message = Message { length: 0, marks: IN_BLOCK | handles };
        Ok(Self { words, message, block: sealed.block, carried: sealed.parcels })
    }

    /// Lets it go in the slot that was claimed for it. The caller notifies.
    #[inline]
    pub fn post(self, claim: Claim, end: &BroadcastEnd) {
        if let Some(block) = self.block {
            let handle = block.into_handle();
            if !self.carried.is_empty() {
                transit::wait_at(end.hold.post(Which::Arrived), handle, self.carried).stay();
            }
        }
        end.ring().publish(claim, end.hold.me(), self.message, &self.words);
    }
}

/// The host's part for a message whose sender may be `dead`: what it lies in, and what it carries, is the host's from now on,
/// until its slot is used again.
pub fn rehouse(marks: u8, words: [u64; 3], dead: OwnerId, blocks: &Arc<Blocks>, post: &Post) {
    let handle = BlockHandle::from_words([words[0], words[1]]);
    let bytes = usize::try_from(words[2]).unwrap_or(usize::MAX);
    // Held first: whoever frees the block meanwhile lets go of what it carries.
    let carried = (marks & HANDLES != 0)
        .then(|| message::hold_carried(blocks, OwnerId::HOST, handle, bytes).ok())
        .flatten();
    if blocks.adopt(handle, dead, OwnerId::HOST).is_ok()
        && let Some(carried) = carried.filter(|carried| !carried.is_empty())
    {
        transit::wait_at(post.clone(), handle, carried).stay();
    }
}
