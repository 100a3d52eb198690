//! Message: an encoded value on its way through a slot, in place or in a block, with the blocks it carries.
//!
//! ```text
//! inline    payload words 0..4     the encoded bytes, at most 32
//! block     payload words 0..2     handle of a block: encoded bytes,
//!                                  then, with MARK_HANDLES: zeroes to a multiple of 8, 16 bytes per carried
//!                                  block, and their count in the last 8 bytes
//! ```
//! The message block passes from sender to receiver, who frees it. Carried blocks are shared ones; the receiver
//! holds them when it opens the message. Until then an input's are held by the sender's [`Sealed`], which lives
//! until the task has ended, and a result's by the worker that made it, until the receiver has freed the
//! message block (see `parcel`).

use crate::codec::{self, CodecError, Portable};
pub use crate::in_flight::InFlight;
use crate::parcel::{self, Carried};
use crate::squeeze::{self, Squeezed};
use crate::wire::status::{MARK_HANDLES, MARK_IN_BLOCK};
use gorun_shm::OwnerId;
use gorun_shm::blocks::{AllocateError, BlockHandle, BlockState, Blocks, HandleError, OwnedBlock};
use gorun_shm::slots::{INLINE_BYTES, INLINE_WORDS};
use gorun_shm::sync::Ordering;
use std::borrow::Cow;
use std::sync::Arc;
use thiserror::Error;

const HANDLE_BYTES: usize = size_of::<BlockHandle>();
const COUNT_BYTES: usize = 8;

/// Why a value could not be put into, or taken out of, a message.
#[derive(Debug, Error)]
pub enum SealError {
    /// It is larger than the limit.
    #[error("{bytes} bytes are over the limit of {limit}")]
    TooLarge {
        /// Its encoded size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No block was free for it.
    #[error("no shared memory for {bytes} bytes")]
    NoMemory {
        /// Its encoded size.
        bytes: u64,
        /// What the allocator said.
        #[source]
        cause: AllocateError,
    },
    /// It could not be encoded or decoded.
    #[error(transparent)]
    Codec(CodecError),
    /// It carries a block or a channel of another runtime.
    #[error(
        "the value carries a block or channel that belongs to another runtime; build it with this runtime"
    )]
    ForeignBlock,
    /// It carries a block or an end of a channel, and goes to another program.
    #[error("the value carries a block or an end of a channel; these do not travel between programs")]
    BetweenPrograms,
    /// A handle in the message names no block of the sender's.
    #[error("the message names a block that its sender does not hold: {0}")]
    Handle(#[source] HandleError),
    /// The bytes are not those that were sent.
    #[error("the checksum of the message is another's: it was overwritten")]
    Checksum,
    /// A channel that compresses does not carry what is not copied.
    #[error(
        "the value carries shared memory or a channel, and this channel compresses; send it through one that does not"
    )]
    NotCopied,
    /// The lengths in the message contradict each other.
    #[error("the message's lengths contradict each other")]
    Malformed,
}

/// A value ready for a slot, and everything that must live until it has arrived.
#[derive(Debug)]
pub struct Sealed {
    /// Words for the slot.
    pub payload: [u64; INLINE_WORDS],
    /// Encoded bytes, without the handles behind them.
    pub bytes: u32,
    /// [`MARK_IN_BLOCK`] and [`MARK_HANDLES`].
    pub marks: u8,
    /// The message block, if there is one.
    pub block: Option<OwnedBlock>,
    /// The blocks it carries.
    pub parcels: Vec<Carried>,
}

impl Sealed {
    /// A message without bytes.
    #[must_use]
    #[inline]
    pub fn empty() -> Self {
        Self { payload: [0; INLINE_WORDS], bytes: 0, marks: 0, block: None, parcels: Vec::new() }
    }

    /// Lets the message go with a completion: the receiver will adopt its block and hold what it carries.
    #[must_use]
    #[inline]
    pub fn hand_over_result(self) -> [u64; INLINE_WORDS] {
        if let Some(block) = self.block {
            let handle = block.into_handle();
            parcel::leave_in_transit(handle, self.parcels);
        }
        self.payload
    }

    /// Lets the message go with a descriptor; what is returned must be kept until the task has ended.
    #[must_use]
    #[inline]
    pub fn hand_over_input(self) -> InFlight {
        InFlight { message: self.block.map(OwnedBlock::into_handle), parcels: self.parcels, ends: None }
    }
}

/// Encodes `value` into slot words if it fits and carries no block; `Ok(None)` if it needs a block.
///
/// # Errors
/// [`SealError::Codec`] if its `Serialize` refuses.
#[inline]
pub fn seal_inline<T: Portable>(value: &T) -> Result<Option<([u64; INLINE_WORDS], u32)>, SealError> {
    if size_of::<T>() == 0 {
        // A value without size is worth no bytes either way, but its own `Serialize` may think otherwise.
        let mut nothing = [];
        if codec::encode(value, &mut nothing)? == Some(0) {
            return Ok(Some(([0; INLINE_WORDS], 0)));
        }
    }
    let mut inline = [0_u8; INLINE_BYTES];
    if codec::is_number::<T>() {
        return Ok(codec::encode(value, &mut inline)?.map(|used| (words_of(&inline), truncate(used))));
    }
    let packing = parcel::Packing::begin();
    let used = codec::encode(value, &mut inline)?.filter(|_| packing.is_empty());
    Ok(used.map(|used| (words_of(&inline), truncate(used))))
}

/// Encodes `value` in place if it fits and carries no block, otherwise into a block of its own.
///
/// # Errors
/// [`SealError`]; nothing stays allocated.
#[inline]
pub fn seal<T: Portable>(
    value: &T,
    blocks: &Arc<Blocks>,
    owner: OwnerId,
    limit: u64,
) -> Result<Sealed, SealError> {
    match seal_inline(value)? {
        Some((payload, bytes)) => Ok(Sealed { payload, bytes, ..Sealed::empty() }),
        None => seal_in_block(value, blocks, owner, limit),
    }
}

/// Decodes a message that lies in slot words.
///
/// # Errors
/// [`CodecError::Decode`] if the bytes are not a `T`, or are said to be more than fit.
#[inline]
pub fn open_inline<T: Portable>(payload: [u64; INLINE_WORDS], bytes: u32) -> Result<T, SealError> {
    let inline = bytes_of(payload);
    let bytes = inline.get(..bytes as usize).ok_or(SealError::Malformed)?;
    Ok(codec::decode(bytes)?)
}

/// Encodes `value` into a block of its own, whatever its size.
///
/// # Errors
/// [`SealError`]; nothing stays allocated.
#[cold]
pub fn seal_in_block<T: Portable>(
    value: &T,
    blocks: &Arc<Blocks>,
    owner: OwnerId,
    limit: u64,
) -> Result<Sealed, SealError> {
    let packing = parcel::Packing::begin();
    let encoded = codec::encoded_bytes(value)?;
    if encoded > limit.min(u64::from(u32::MAX)) {
        return Err(SealError::TooLarge { bytes: encoded, limit });
    }
    let handles_at = usize::try_from(encoded).map_err(|_| SealError::Malformed)?.next_multiple_of(8);
    let carried = packing.count();
    if carried > 0 && blocks.has_strangers() {
        return Err(SealError::BetweenPrograms);
    }
    let tail = handles_bytes(carried);
    packing.clear();
    let no_memory = |cause| SealError::NoMemory { bytes: encoded, cause };
    let from = blocks.terms().compress_from;
    if from != 0 {
        let squeezed = Squeezed::of(value, handles_at, from)?;
        let bytes = squeezed.stored().next_multiple_of(8) + tail;
        let mut block = OwnedBlock::allocate_in_time(blocks, bytes, owner).map_err(no_memory)?;
        squeezed.put(&mut block)?;
        squeezed.count(blocks, owner);
        let parcels = packing.finish();
        return finish_block(block, squeezed.stored(), parcels, blocks);
    }
    let mut block = OwnedBlock::allocate_in_time(blocks, handles_at + tail, owner).map_err(no_memory)?;
    let used = codec::encode(value, &mut block.as_mut_slice()[..handles_at])?.ok_or(SealError::Malformed)?;
    blocks.record().count_copied(owner, used.saturating_sub(packing.named_bytes()) as u64);
    let parcels = packing.finish();
    if parcels.len() != carried {
        return Err(SealError::Malformed);
    }
    finish_block(block, used, parcels, blocks)
}

/// Encodes `value` into this process's own memory, to be put into a segment that it shares with nobody yet.
///
/// # Errors
/// [`SealError`]; [`SealError::ForeignBlock`] if it carries a block, which that segment cannot hold.
pub fn seal_privately<T: Portable>(value: &T, limit: u64) -> Result<Vec<u8>, SealError> {
    let packing = parcel::Packing::begin();
    let encoded = codec::encoded_bytes(value)?;
    if encoded > limit.min(u64::from(u32::MAX)) {
        return Err(SealError::TooLarge { bytes: encoded, limit });
    }
    let mut bytes = vec![0; usize::try_from(encoded).map_err(|_| SealError::Malformed)?];
    let used = codec::encode(value, &mut bytes)?.ok_or(SealError::Malformed)?;
    bytes.truncate(used);
    if packing.is_empty() { Ok(bytes) } else { Err(SealError::ForeignBlock) }
}

/// Bytes behind the encoded ones for this many carried blocks.
#[inline]
pub(crate) fn handles_bytes(carried: usize) -> usize {
    if carried == 0 { 0 } else { carried * HANDLE_BYTES + COUNT_BYTES }
}

/// Ends a block whose first `used` bytes are encoded already.
#[inline]
pub(crate) fn finish_block(
    mut block: OwnedBlock,
    used: usize,
    parcels: Vec<Carried>,
    blocks: &Arc<Blocks>,
) -> Result<Sealed, SealError> {
    let handles_at = used.next_multiple_of(8);
    let tail = handles_bytes(parcels.len());
    let mut marks = MARK_IN_BLOCK;
    let end = if tail == 0 { used } else { handles_at + tail };
    block.set_bytes(end).map_err(SealError::Handle)?;
    if tail > 0 {
        marks |= MARK_HANDLES;
        write_handles(&parcels, blocks, &mut block.as_mut_slice()[handles_at..end])?;
    }
    let payload = payload_of(block.handle());
    Ok(Sealed { payload, bytes: truncate(used), marks, block: Some(block), parcels })
}

/// A message that came back, to be sent once more. What it carries lies in the block as before.
#[must_use]
#[inline]
pub fn reseal(block: OwnedBlock, bytes: u32, parcels: Vec<Carried>) -> Sealed {
    let handles = if parcels.is_empty() { 0 } else { MARK_HANDLES };
    let payload = payload_of(block.handle());
    Sealed { payload, bytes, marks: MARK_IN_BLOCK | handles, block: Some(block), parcels }
}

#[inline]
fn write_handles(parcels: &[Carried], blocks: &Arc<Blocks>, place: &mut [u8]) -> Result<(), SealError> {
    let (handles, count) = place.split_at_mut(parcels.len() * HANDLE_BYTES);
    count.copy_from_slice(&(parcels.len() as u64).to_ne_bytes());
    for (parcel, place) in parcels.iter().zip(handles.chunks_exact_mut(HANDLE_BYTES)) {
        if !Arc::ptr_eq(parcel.blocks(), blocks) {
            return Err(SealError::ForeignBlock);
        }
        let [low, high] = parcel.handle().words();
        place[..8].copy_from_slice(&low.to_ne_bytes());
        place[8..].copy_from_slice(&high.to_ne_bytes());
    }
    Ok(())
}

/// A message at its destination.
#[derive(Debug)]
pub struct Arrival {
    inline: [u8; INLINE_BYTES],
    block: Option<OwnedBlock>,
    /// What the block held, where another program may write it still.
    copy: Option<Vec<u8>>,
    bytes: usize,
    parcels: Vec<Carried>,
    /// The bytes, if they came in a frame.
    unwrapped: Option<Vec<u8>>,
    /// Dropped after the block: its sender then sees that everything has arrived.
    _news: News,
}

/// Tells the senders of ends and the like that these have arrived, when it is dropped.
#[derive(Debug)]
struct News(Vec<Carried>);

impl News {
    #[inline]
    fn of(parcels: &[Carried]) -> Self {
        Self(parcels.iter().filter(|parcel| parcel.is_counted()).cloned().collect())
    }
}

impl Drop for News {
    #[inline]
    fn drop(&mut self) {
        self.0.iter().for_each(Carried::announce);
    }
}

impl Arrival {
    #[inline]
    fn in_block(block: OwnedBlock, bytes: usize, parcels: Vec<Carried>) -> Self {
        let _news = News::of(&parcels);
        Self {
            inline: [0; INLINE_BYTES],
            block: Some(block),
            copy: None,
            bytes,
            parcels,
            unwrapped: None,
            _news,
        }
    }

    /// The encoded bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match (self.unwrapped.as_ref().or(self.copy.as_ref()), &self.block) {
            (Some(bytes), _) => bytes,
            (None, Some(block)) => &block.as_slice()[..self.bytes],
            (None, None) => &self.inline[..self.bytes],
        }
    }

    /// Takes the bytes out of the frame they came in.
    pub(crate) fn unwrap(
        &mut self,
        unwrap: impl FnOnce(&[u8]) -> Result<Cow<'_, [u8]>, SealError>,
    ) -> Result<(), SealError> {
        self.unwrapped = Some(unwrap(self.bytes())?.into_owned());
        Ok(())
    }

    /// Takes the message block out, to be passed back.
    #[inline]
    pub fn take_block(&mut self) -> Option<OwnedBlock> {
        self.block.take()
    }

    /// Takes the carried blocks out, for a reader that decodes piece by piece.
    #[inline]
    pub fn unpack(&mut self) -> parcel::Unpacking {
        parcel::Unpacking::begin(std::mem::take(&mut self.parcels))
    }

    /// Decodes the whole message, and gives its block and what it carries, to be sent once more or dropped.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; all of it is freed then.
    pub(crate) fn decode_and_keep<T: Portable>(
        mut self,
    ) -> Result<(T, Option<OwnedBlock>, Vec<Carried>), CodecError> {
        let carried = self.parcels.clone();
        let value = self.decode_counted()?;
        Ok((value, self.block.take(), carried))
    }

    /// Decodes the whole message.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; carried blocks are freed then.
    #[inline]
    pub fn decode<T: Portable>(mut self) -> Result<T, CodecError> {
        if self.block.is_none() {
            return codec::decode(self.bytes());
        }
        self.decode_counted()
    }

    /// Decodes what lies in a block, and counts the bytes that are copied out of it.
    fn decode_counted<T: Portable>(&mut self) -> Result<T, CodecError> {
        let unpacking = self.unpack();
        // A frame has been opened already, and is not squeezed once more.
        let squeezes = |block: &&OwnedBlock| block.blocks().terms().compress_from != 0;
        if self.unwrapped.is_none()
            && let Some(block) = self.block.as_ref().filter(squeezes)
        {
            let bytes = squeeze::unsqueezed(self.bytes(), block.blocks())?;
            block.blocks().record().count_copied(block.owner(), bytes.len() as u64);
            return codec::decode(&bytes);
        }
        let value = codec::decode(self.bytes())?;
        if let Some(block) = &self.block {
            let own_bytes = self.bytes.saturating_sub(unpacking.named_bytes());
            block.blocks().record().count_copied(block.owner(), own_bytes as u64);
        }
        Ok(value)
    }
}

/// Opens a message that `sender` sealed for `receiver`; its block is adopted, carried blocks are held.
///
/// The words come from another process: everything is checked before it is used.
///
/// # Errors
/// [`SealError::Handle`] or [`SealError::Malformed`] if the words make no sense.
#[inline]
pub fn open(
    blocks: &Arc<Blocks>,
    sender: OwnerId,
    receiver: OwnerId,
    payload: [u64; INLINE_WORDS],
    bytes: u32,
    marks: u8,
) -> Result<Arrival, SealError> {
    let bytes = bytes as usize;
    if marks & MARK_IN_BLOCK == 0 {
        if bytes > INLINE_BYTES {
            return Err(SealError::Malformed);
        }
        return Ok(Arrival {
            inline: bytes_of(payload),
            block: None,
            copy: None,
            bytes,
            parcels: Vec::new(),
            unwrapped: None,
            _news: News(Vec::new()),
        });
    }
    open_block(blocks, sender, receiver, handle_of(payload), bytes, marks)
}

#[inline]
fn open_block(
    blocks: &Arc<Blocks>,
    sender: OwnerId,
    receiver: OwnerId,
    handle: BlockHandle,
    bytes: usize,
    marks: u8,
) -> Result<Arrival, SealError> {
    // The bytes are looked at before they are adopted only through this value, which nobody else has yet: a
    // sender that detached the block does not touch it again.
    let block = OwnedBlock::adopt(blocks, handle, sender, receiver)
        // A sender that died has left it to us.
        .or_else(|stale| OwnedBlock::from_handle(blocks, handle, receiver).map_err(|_| stale))
        .map_err(SealError::Handle)?;
    if bytes > block.as_slice().len() {
        return Err(SealError::Malformed);
    }
    let mut parcels = Vec::new();
    if marks & MARK_HANDLES != 0 {
        for handle in read_handles(block.as_slice(), bytes)? {
            parcels.push(Carried::hold(blocks, handle, receiver).map_err(SealError::Handle)?);
        }
    }
    Ok(Arrival::in_block(block, bytes, parcels))
}

/// Opens a message that lay in a channel; `sender` is who has its block now, the host for one that has died.
///
/// What it carries is held before the block is taken over: until then a recoverer of the sender, who may die at any
/// moment, finds the message and keeps all of it alive.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_from_channel(
    blocks: &Arc<Blocks>,
    receiver: OwnerId,
    handle: BlockHandle,
    bytes: usize,
    has_handles: bool,
) -> Result<Arrival, SealError> {
    let is_strange = blocks.has_strangers();
    let holds = has_handles && !is_strange;
    let parcels = if holds { hold_carried(blocks, receiver, handle, bytes)? } else { Vec::new() };
    let block = take_over(blocks, handle, receiver).map_err(SealError::Handle)?;
    if has_handles && is_strange {
        return Err(SealError::BetweenPrograms);
    }
    if bytes > block.as_slice().len() {
        return Err(SealError::Malformed);
    }
    // Another program may write it still: its bytes are read once.
    let copy = is_strange.then(|| block.copy_out(bytes));
    Ok(Arrival { copy, ..Arrival::in_block(block, bytes, parcels) })
}

/// Takes over the block of a message in a channel, whoever has it.
///
/// # Errors
/// [`HandleError`] if it is not on its way.
pub(crate) fn take_over(
    blocks: &Arc<Blocks>,
    handle: BlockHandle,
    receiver: OwnerId,
) -> Result<OwnedBlock, HandleError> {
    loop {
        let found = blocks.check(handle)?;
        let BlockState::Detached(holder) = found.state else {
            return OwnedBlock::from_handle(blocks, handle, receiver);
        };
        match OwnedBlock::adopt(blocks, handle, holder.owner(), receiver) {
            Ok(block) => return Ok(block),
            // The recoverer took it over from the dead in between: from it, then.
            Err(HandleError::Stale { .. }) if holder.owner() != OwnerId::HOST => {}
            Err(refused) => return Err(refused),
        }
    }
}

/// Holds everything that a message carries whose block is on its way.
///
/// # Errors
/// As [`open`]; nothing stays held.
pub(crate) fn hold_carried(
    blocks: &Arc<Blocks>,
    receiver: OwnerId,
    handle: BlockHandle,
    bytes: usize,
) -> Result<Vec<Carried>, SealError> {
    let words = blocks.words(handle).map_err(SealError::Handle)?;
    let table = words.get(bytes.div_ceil(8)..).ok_or(SealError::Malformed)?;
    // Relaxed: the message was published with Release and taken with Acquire. Nobody writes the bytes of a block that
    // is on its way; what nonsense there may be is found when it is held.
    let word = |index: usize| table.get(index).map(|word| word.load(Ordering::Relaxed));
    let count = table.len().checked_sub(1).and_then(&word).ok_or(SealError::Malformed)?;
    if count.checked_mul(2) != Some(table.len() as u64 - 1) {
        return Err(SealError::Malformed);
    }
    let mut carried = Vec::new();
    for pair in (0..table.len() - 1).step_by(2) {
        let (Some(low), Some(high)) = (word(pair), word(pair + 1)) else { return Err(SealError::Malformed) };
        let tagged = BlockHandle::from_words([low, high]);
        carried.push(Carried::hold(blocks, tagged, receiver).map_err(SealError::Handle)?);
    }
    Ok(carried)
}

#[inline]
fn read_handles(block: &[u8], encoded: usize) -> Result<Vec<BlockHandle>, SealError> {
    let table = block.get(encoded.next_multiple_of(8)..).ok_or(SealError::Malformed)?;
    let (handles, count) =
        table.split_at_checked(table.len().wrapping_sub(COUNT_BYTES)).ok_or(SealError::Malformed)?;
    let count: [u8; COUNT_BYTES] = count.try_into().map_err(|_| SealError::Malformed)?;
    if handles.len() % HANDLE_BYTES != 0 || u64::from_ne_bytes(count) != (handles.len() / HANDLE_BYTES) as u64
    {
        return Err(SealError::Malformed);
    }
    Ok(handles
        .chunks_exact(HANDLE_BYTES)
        .map(|bytes| BlockHandle::from_words([word(bytes, 0), word(bytes, 8)]))
        .collect())
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Payload words that name a block.
#[must_use]
#[inline]
pub fn payload_of(handle: BlockHandle) -> [u64; INLINE_WORDS] {
    let [low, high] = handle.words();
    [low, high, 0, 0]
}

/// The block that payload words name; not checked yet.
#[must_use]
#[inline]
pub fn handle_of(payload: [u64; INLINE_WORDS]) -> BlockHandle {
    BlockHandle::from_words([payload[0], payload[1]])
}

#[inline]
fn words_of(bytes: &[u8; INLINE_BYTES]) -> [u64; INLINE_WORDS] {
    std::array::from_fn(|index| word(bytes, index * 8))
}

#[inline]
fn bytes_of(words: [u64; INLINE_WORDS]) -> [u8; INLINE_BYTES] {
    let mut bytes = [0; INLINE_BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "callers checked against the limit of 32 bits")]
#[inline]
fn truncate(bytes: usize) -> u32 {
    debug_assert!(u32::try_from(bytes).is_ok());
    bytes as u32
}
