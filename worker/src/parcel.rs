//! Parcel: a shared block on its way inside a message, as a number in the encoded bytes and a handle behind them.
//!
//! An end of a channel travels in the same way: it is a hold of the channel's block, and a role in it.
//!
//! serde sees one value at a time and knows nothing of messages, so the blocks that a value carries are
//! collected beside it, per thread: `Packing` while a message is encoded, `Unpacking` while it is decoded.

use crate::broadcast::{BroadcastEnd, Subscription};
use crate::end::End;
use crate::lane::LaneEnd;
use crate::lever::Lever;
use crate::porter::{Post, Which};
use crate::transit;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, BlockState, Blocks, HandleError, SharedBlock};
use gorun_shm::ring::broadcast::BroadcastShape;
use gorun_shm::ring::mpmc::Role;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

thread_local! {
    /// True while a message is being encoded.
    static IS_PACKING: Cell<bool> = const { Cell::new(false) };
    /// How many blocks the message carries beside those in `PACKING`.
    static PACKED_BEFORE: Cell<usize> = const { Cell::new(0) };
    /// Bytes of the encoding that name blocks, instead of being the value's own.
    static NAMED_BYTES: Cell<usize> = const { Cell::new(0) };
    /// The same of what is being decoded.
    static NAMING_BYTES: Cell<usize> = const { Cell::new(0) };
    /// What is being packed.
    static PACKING: RefCell<Vec<Carried>> = const { RefCell::new(Vec::new()) };
    static UNPACKING: RefCell<Option<Vec<Carried>>> = const { RefCell::new(None) };
    static IN_TRANSIT: RefCell<Vec<Transit>> = const { RefCell::new(Vec::new()) };
}

/// Collects the blocks that a value being encoded carries; ends on drop.
#[derive(Debug)]
pub(crate) struct Packing(());

impl Packing {
    #[inline]
    pub(crate) fn begin() -> Self {
        Self::begin_after(0)
    }

    /// For one of several values of a message that carries `count` blocks already.
    #[inline]
    pub(crate) fn begin_after(count: usize) -> Self {
        IS_PACKING.with(|packing| packing.set(true));
        PACKED_BEFORE.with(|before| before.set(count));
        NAMED_BYTES.with(|named| named.set(0));
        Self(())
    }

    /// Bytes of the encoding so far that name blocks.
    #[inline]
    pub(crate) fn named_bytes(&self) -> usize {
        NAMED_BYTES.with(Cell::get)
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        PACKING.with(|place| place.borrow().len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    #[inline]
    pub(crate) fn clear(&self) {
        NAMED_BYTES.with(|named| named.set(0));
        if !self.is_empty() {
            // Dropped after the borrow ends: the last hold of a block may be among them.
            let forgotten = PACKING.with(RefCell::take);
            drop(forgotten);
        }
    }

    #[inline]
    pub(crate) fn finish(self) -> Vec<Carried> {
        PACKING.with(|place| if place.borrow().is_empty() { Vec::new() } else { place.take() })
    }
}

impl Drop for Packing {
    #[inline]
    fn drop(&mut self) {
        IS_PACKING.with(|packing| packing.set(false));
        self.clear();
    }
}

/// Offers the blocks that a message carries to the values being decoded; ends on drop. A value may be decoded while
/// another message is: by the task that an item of a range starts and waits for.
#[derive(Debug)]
pub struct Unpacking {
    outer: Option<Vec<Carried>>,
    outer_named_bytes: usize,
}

impl Unpacking {
    #[inline]
    pub(crate) fn begin(parcels: Vec<Carried>) -> Self {
        Self {
            outer: UNPACKING.with(|place| place.replace(Some(parcels))),
            outer_named_bytes: NAMING_BYTES.with(|named| named.replace(0)),
        }
    }

    /// Bytes decoded so far that name blocks.
    #[inline]
    pub(crate) fn named_bytes(&self) -> usize {
        NAMING_BYTES.with(Cell::get)
    }
}

impl Drop for Unpacking {
    #[inline]
    fn drop(&mut self) {
        NAMING_BYTES.with(|named| named.set(self.outer_named_bytes));
        let outer = self.outer.take();
        // Dropped after the borrow ends: the last hold of a block may be among them.
        let ours = UNPACKING.with(|place| place.replace(outer));
        drop(ours);
    }
}

/// A live block, which several processes write while they share it, as a serde value: what has no ends, a lock say.
#[derive(Debug, Clone)]
pub struct Living(pub SharedBlock);

impl Serialize for Living {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pack(Carried::Bytes(self.0.clone()), serializer)
    }
}

impl<'de> Deserialize<'de> for Living {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match unpack(deserializer)? {
            Carried::Bytes(block) if block.is_live() => Ok(Self(block)),
            _ => Err(D::Error::custom("a live block was expected, and something else came")),
        }
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(end) = self.again() else {
            return Err(S::Error::custom("this end of a channel belongs to another process"));
        };
        pack(Carried::End(end), serializer)
    }
}

/// Takes an end out of the message that is being decoded.
///
/// # Errors
/// If there is none of that number.
pub fn unpack_end<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<End>, D::Error> {
    match unpack(deserializer)? {
        Carried::End(end) => Ok(end),
        _ => Err(D::Error::custom("an end of a channel was expected, and something else came")),
    }
}

/// Puts an end of a stream into the message that is being encoded.
///
/// # Errors
/// If none is, or the end belongs to another process.
pub fn pack_lane<S: Serializer>(end: &Arc<LaneEnd>, serializer: S) -> Result<S::Ok, S::Error> {
    if end.held().is_foreign() {
        return Err(S::Error::custom("this end of a stream belongs to another process"));
    }
    pack(Carried::Lane(Arc::clone(end)), serializer)
}

/// Takes an end of a stream out of the message that is being decoded.
///
/// # Errors
/// If there is none of that number.
pub fn unpack_lane<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<LaneEnd>, D::Error> {
    match unpack(deserializer)? {
        Carried::Lane(end) => Ok(end),
        _ => Err(D::Error::custom("an end of a stream was expected, and something else came")),
    }
}

/// The right to cancel a context as a serde value.
#[derive(Debug, Clone)]
pub struct Pulled(pub Arc<Lever>);

impl Serialize for Pulled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.context().is_foreign() {
            return Err(S::Error::custom("this right to cancel belongs to another process"));
        }
        pack(Carried::Lever(Arc::clone(&self.0)), serializer)
    }
}

impl<'de> Deserialize<'de> for Pulled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match unpack(deserializer)? {
            Carried::Lever(lever) => Ok(Self(lever)),
            _ => Err(D::Error::custom("a right to cancel was expected, and something else came")),
        }
    }
}

/// Puts a sending end of a broadcast into the message that is being encoded.
///
/// # Errors
/// As [`pack_lane`].
pub fn pack_broadcast<S: Serializer>(end: &Arc<BroadcastEnd>, serializer: S) -> Result<S::Ok, S::Error> {
    if end.held().is_foreign() {
        return Err(S::Error::custom("this end of a broadcast belongs to another process"));
    }
    pack(Carried::Broadcast(Arc::clone(end)), serializer)
}

/// Takes a sending end of a broadcast out of the message that is being decoded.
///
/// # Errors
/// If there is none of that number.
pub fn unpack_broadcast<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<BroadcastEnd>, D::Error> {
    match unpack(deserializer)? {
        Carried::Broadcast(end) => Ok(end),
        _ => Err(D::Error::custom("an end of a broadcast was expected, and something else came")),
    }
}

/// Puts a subscription into the message that is being encoded.
///
/// # Errors
/// As [`pack_lane`].
pub fn pack_subscription<S: Serializer>(
    subscription: &Arc<Subscription>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if subscription.held().is_foreign() {
        return Err(S::Error::custom("this subscription belongs to another process"));
    }
    pack(Carried::Subscription(Arc::clone(subscription)), serializer)
}

/// Takes a subscription out of the message that is being decoded.
///
/// # Errors
/// If there is none of that number.
pub fn unpack_subscription<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<Subscription>, D::Error> {
    match unpack(deserializer)? {
        Carried::Subscription(subscription) => Ok(subscription),
        _ => Err(D::Error::custom("a subscription was expected, and something else came")),
    }
}

/// What a message carries beside its bytes.
#[derive(Debug, Clone)]
pub enum Carried {
    /// A shared block.
    Bytes(SharedBlock),
    /// An end of a channel.
    End(Arc<End>),
    /// An end of a stream.
    Lane(Arc<LaneEnd>),
    /// The right to cancel a context.
    Lever(Arc<Lever>),
    /// A sending end of a broadcast.
    Broadcast(Arc<BroadcastEnd>),
    /// A subscription to a broadcast.
    Subscription(Arc<Subscription>),
}

/// Tags of handles in a message.
const BYTES: u8 = 0;
const SENDER: u8 = 1;
const RECEIVER: u8 = 2;
const LANE_SENDER: u8 = 3;
const LANE_RECEIVER: u8 = 4;
const LEVER: u8 = 5;
const BROADCAST: u8 = 6;
/// A subscription: this and the number of its cursor.
const SUBSCRIPTION: u8 = 128;
const _: () = assert!(BroadcastShape::CURSORS == 128);

impl Carried {
    fn block(&self) -> &SharedBlock {
        match self {
            Self::Bytes(block) => block,
            Self::End(end) => end.block(),
            Self::Lane(end) => end.held().block(),
            Self::Lever(lever) => lever.block(),
            Self::Broadcast(end) => end.held().block(),
            Self::Subscription(subscription) => subscription.held().block(),
        }
    }

    pub(crate) fn blocks(&self) -> &Arc<Blocks> {
        self.block().blocks()
    }

    /// The handle as it stands in a message.
    pub(crate) fn handle(&self) -> BlockHandle {
        let tag = match self {
            Self::Bytes(_) => BYTES,
            Self::End(end) if end.role() == Role::Sender => SENDER,
            Self::End(_) => RECEIVER,
            Self::Lane(end) if end.held().role() == Role::Sender => LANE_SENDER,
            Self::Lane(_) => LANE_RECEIVER,
            Self::Lever(_) => LEVER,
            Self::Broadcast(_) => BROADCAST,
            Self::Subscription(subscription) => SUBSCRIPTION | subscription.index(),
        };
        self.block().handle().tagged(tag)
    }

    /// Holds what a handle of a message names, for `owner`, which is this process.
    pub(crate) fn hold(
        blocks: &Arc<Blocks>,
        tagged: BlockHandle,
        owner: OwnerId,
    ) -> Result<Self, HandleError> {
        let (handle, tag) = tagged.untagged();
        let block = || SharedBlock::hold(blocks, handle, owner);
        match tag {
            BYTES => block().map(Self::Bytes),
            SENDER => End::hold(block()?, Role::Sender).map(Self::End),
            RECEIVER => End::hold(block()?, Role::Receiver).map(Self::End),
            LANE_SENDER => LaneEnd::hold(block()?, Role::Sender).map(Self::Lane),
            LANE_RECEIVER => LaneEnd::hold(block()?, Role::Receiver).map(Self::Lane),
            LEVER => Lever::open(block()?).map(|lever| Self::Lever(Arc::new(lever))),
            BROADCAST => BroadcastEnd::hold(block()?).map(Self::Broadcast),
            cursor if cursor & SUBSCRIPTION != 0 => {
                Subscription::hold_like(block()?, cursor & !SUBSCRIPTION).map(Self::Subscription)
            }
            // A tag that nobody writes: refused like a class that does not exist.
            class => Err(HandleError::NoSuchClass { class }),
        }
    }

    /// True if others wait for the last of its kind to go: it must not be held a moment longer than needed.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self, Self::Bytes(_))
    }

    /// Where to wait until one that is counted has arrived.
    pub(crate) fn post(&self) -> Option<Post> {
        match self {
            Self::Bytes(_) => None,
            Self::End(end) => Some(Post::at(end.place(), Which::Arrived)),
            Self::Lane(end) => Some(end.held().post(Which::Arrived)),
            Self::Lever(lever) => Some(lever.context().post()),
            Self::Broadcast(end) => Some(end.held().post(Which::Arrived)),
            Self::Subscription(subscription) => Some(subscription.held().post(Which::Arrived)),
        }
    }

    /// One that is counted has arrived: tells whoever waits there.
    pub(crate) fn announce(&self) {
        match self {
            Self::Lever(lever) => lever.announce(),
            counted => counted.post().iter().for_each(|post| post.gate().notify()),
        }
    }
}

fn pack<S: Serializer>(carried: Carried, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(carry(carried).map_err(S::Error::custom)?)
}

/// Puts a block beside the message that is being encoded; gives its number there. `named_bytes` is what naming it takes.
pub(crate) fn pack_block(block: &SharedBlock, named_bytes: usize) -> Result<u32, &'static str> {
    let number = carry(Carried::Bytes(block.clone()))?;
    NAMED_BYTES.with(|named| named.set(named.get() + named_bytes));
    Ok(number)
}

/// The block of this number, which is no live one, beside the message that is being decoded.
pub(crate) fn unpack_block(number: u32, named_bytes: usize) -> Result<SharedBlock, &'static str> {
    match carried(number)? {
        Carried::Bytes(block) if !block.is_live() => {
            NAMING_BYTES.with(|named| named.set(named.get() + named_bytes));
            Ok(block)
        }
        _ => Err("a block was expected, and a channel came"),
    }
}

const ELSEWHERE: &str =
    "a shared block or a channel travels only in tasks, results and channels of its runtime";

/// Refuses to encode for anything but a message.
pub(crate) fn check_packing() -> Result<(), &'static str> {
    if IS_PACKING.with(Cell::get) { Ok(()) } else { Err(ELSEWHERE) }
}

fn carry(carried: Carried) -> Result<u32, &'static str> {
    check_packing()?;
    PACKING.with(|place| {
        let mut parcels = place.borrow_mut();
        parcels.push(carried);
        u32::try_from(PACKED_BEFORE.with(Cell::get) + parcels.len() - 1).map_err(|_| "too many blocks")
    })
}

fn carried(number: u32) -> Result<Carried, &'static str> {
    let parcel = UNPACKING.with(|place| place.borrow().as_ref()?.get(number as usize).cloned());
    parcel.ok_or("the message carries no block of this number")
}

fn unpack<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Carried, D::Error> {
    carried(u32::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Blocks of a result that its receiver may not hold yet.
#[derive(Debug)]
struct Transit {
    message: BlockHandle,
    parcels: Vec<Carried>,
}

/// Keeps `parcels` held by this thread until the message block has been freed by its receiver.
#[inline]
pub(crate) fn leave_in_transit(message: BlockHandle, parcels: Vec<Carried>) {
    if parcels.is_empty() {
        return;
    }
    if parcels.iter().any(Carried::is_counted) {
        // Others may wait for the last of them to go: these must not stay a moment longer than needed.
        return transit::send_off(message, parcels).stay();
    }
    IN_TRANSIT.with(|transits| {
        let mut transits = transits.borrow_mut();
        transits.retain(|transit| !has_arrived(transit));
        transits.push(Transit { message, parcels });
    });
}

/// Lets go of what has arrived; true if something has not. An idle worker calls this before it sleeps.
pub(crate) fn sweep_transit() -> bool {
    IN_TRANSIT.with(|transits| {
        let Ok(mut transits) = transits.try_borrow_mut() else { return true };
        transits.retain(|transit| !has_arrived(transit));
        !transits.is_empty()
    })
}

/// Lets go of everything: its receiver is this very thread, and holds it.
pub(crate) fn let_go() {
    let transits = IN_TRANSIT.with(RefCell::take);
    drop(transits);
}

fn has_arrived(transit: &Transit) -> bool {
    let Some(parcel) = transit.parcels.first() else { return true };
    is_arrived(parcel.blocks(), transit.message)
}

/// True once the receiver of a message has freed its block.
pub(crate) fn is_arrived(blocks: &Blocks, message: BlockHandle) -> bool {
    // The receiver holds what the message carries before it frees the message block, and not before it has
    // adopted it: so only another life of the block, or none, is proof.
    let found = blocks.check(message);
    !found.is_ok_and(|block| matches!(block.state, BlockState::Detached(_) | BlockState::Claimed(_)))
}
