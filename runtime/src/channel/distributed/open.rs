//! Opening a distributed channel.

use super::super::open::kind_of;
use super::super::{Channel, ChannelError, Receiver, Sender};
use super::Key;
use super::desk::Desk;
use super::gather::Pile;
use super::member::Direct;
use super::receiver::{DistributedReceiver, ReceiverEnds};
use super::sender::{DistributedSender, SenderEnds};
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::partitions::{Shape, Standard};
use gorun_shm::sync::Ordering;
use gorun_worker::codec::Portable;
use gorun_worker::function::{self, CodeId};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Partitions, if nobody says otherwise: enough to be shared out among some ten members, few enough for a processor's cache.
const PARTITIONS: usize = 32;
/// Places for members, if nobody says otherwise.
const MEMBERS: usize = 32;
/// Most messages in an inbox: what goes to one member is not spread.
const INBOX_CAPACITY_MAX: usize = 64;

/// Finds the key of a value.
pub(super) type KeyFunction<T> = fn(&T) -> Key;

/// A distributed channel to be opened: see [`Channel::distributed`].
#[must_use = "a channel is made by `open`"]
pub struct Distributed<T> {
    channel: Channel<T>,
    key: KeyFunction<T>,
    partitions: usize,
    members: usize,
    is_strict: bool,
}

impl<T: Portable> Channel<T> {
    /// Spreads the channel over the processes that receive from it, by a key of each value. Each partition holds as many
    /// messages as this channel was to hold, and has its policies.
    ///
    /// The key function is called in whichever process sends, so it captures nothing.
    ///
    /// ```
    /// use gorun_runtime::{Channel, DistributedReceiver, Key, Runtime};
    ///
    /// let runtime = Runtime::builder().workers(2).build()?;
    /// let channel = Channel::<(String, u64)>::bounded(64).distributed(|(name, _)| Key::of(name));
    /// let (sender, receiver) = channel.open_on(&runtime)?;
    /// let sums: Vec<_> = (0..2)
    ///     .map(|_| {
    ///         runtime.task(receiver.clone(), |mut receiver: DistributedReceiver<(String, u64)>| {
    ///             receiver.iter().map(|(_, number)| number).sum::<u64>()
    ///         })
    ///     })
    ///     .collect();
    /// for number in 1..=100 {
    ///     sender.send((format!("name {}", number % 7), number))?;
    /// }
    /// drop(sender);
    /// let sums: u64 = sums.into_iter().map(|sum| sum.join().unwrap()).sum();
    /// assert_eq!(sums, 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn distributed(self, key: fn(&T) -> Key) -> Distributed<T> {
        Distributed { channel: self, key, partitions: PARTITIONS, members: MEMBERS, is_strict: false }
    }
}

impl<T: Portable> Distributed<T> {
    /// How many partitions there are, 1 to 256; 32 if this is not called. More are shared out more evenly, and cost memory.
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// How many members there can be at once, 1 to 128; 32 if this is not called.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Only the owner of a partition receives from it, so messages of a key are received one after the other, in the order of
    /// each sender, whoever comes, goes or dies. A partition changes hands when its owner asks for another message and has none
    /// of it in hand, leaves, or is dead. Without this, who has nothing to do helps others.
    pub fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// Opens it on the current runtime: the default one, or the one whose task this is.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(self) -> Result<(DistributedSender<T>, DistributedReceiver<T>), ChannelError> {
        let runtime = Runtime::current().map_err(ChannelError::NoRuntime)?;
        self.open_on(&runtime)
    }

    /// Opens it on `runtime`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open_on(
        self,
        runtime: &Runtime,
    ) -> Result<(DistributedSender<T>, DistributedReceiver<T>), ChannelError> {
        let Self { channel, key, partitions, members, is_strict } = self;
        let bad = ChannelError::BadShape { partitions, members };
        let shape = Shape::new(partitions, members).ok_or(bad)?;
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let function = function::code_id(key as usize, || runtime.libraries())
            .map_err(|foreign| ChannelError::NoRuntime(foreign.into()))?;
        let commons = &dispatcher.commons;
        let standard = Standard {
            kind: kind_of::<T>(),
            terms: Desk::terms(is_strict),
            function: function.0,
            spin_ticks: commons.host.spin_ticks.load(Ordering::Relaxed), // Relaxed: written before the first worker.
        };
        let desk = Desk::create(&commons.blocks, dispatcher.me, shape, standard);
        let desk = Arc::new(desk.ok_or(ChannelError::NoMemory { bytes: shape.bytes() as u64 })?);
        let (senders, receivers) = rings(partitions, || channel.alike().open_on(runtime))?;
        let capacity = senders.first().map_or(0, Sender::capacity);
        if capacity == 0 {
            // Who sends would wait for somebody who has not been told yet.
            return Err(ChannelError::BadCapacity {
                asked: 0,
                most: gorun_shm::ring::mpmc::Geometry::CAPACITY_MAX as usize,
            });
        }
        let inbox = || Channel::<Direct<T>>::bounded(capacity.min(INBOX_CAPACITY_MAX)).open_on(runtime);
        let (to_inboxes, inboxes) = rings(members, inbox)?;
        let (to_pile, pile) = Channel::<Pile>::bounded(members).open_on(runtime)?;
        remember::<T>(function, key);
        let sender = SenderEnds {
            key: Some(key),
            desk: Arc::clone(&desk),
            partitions: senders,
            inboxes: to_inboxes,
            pile,
        };
        let receiver = ReceiverEnds { desk, partitions: receivers, inboxes, pile: to_pile };
        Ok((DistributedSender::of(sender), DistributedReceiver::of(receiver)))
    }
}

type Rings<T> = (Vec<Sender<T>>, Vec<Receiver<T>>);

fn rings<T>(
    count: usize,
    open: impl Fn() -> Result<(Sender<T>, Receiver<T>), ChannelError>,
) -> Result<Rings<T>, ChannelError> {
    let opened = (0..count).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    Ok(opened.into_iter().unzip())
}

/// Key functions of channels that this process has opened, by code id and type.
type Known = BTreeMap<(u64, u64), Box<dyn Any + Send>>;

static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember<T: 'static>(id: CodeId, key: KeyFunction<T>) {
    known().entry((id.0, kind_of::<T>())).or_insert_with(|| Box::new(key));
}

/// The key function of a channel that came in a message.
///
/// The host calls only what it has put there itself: its memory must not depend on what others have written. A worker takes
/// functions out of shared memory anyway.
pub(super) fn key_function<T: 'static>(desk: &Desk) -> Option<KeyFunction<T>> {
    let id = CodeId(desk.standard().function);
    let own =
        known().get(&(id.0, kind_of::<T>())).and_then(|key| key.downcast_ref::<KeyFunction<T>>().copied());
    match own {
        None if !desk.is_hosts() => function::viewer::<T, Key>(id),
        own => own,
    }
}

impl<T> Clone for Distributed<T> {
    fn clone(&self) -> Self {
        let Self { partitions, members, is_strict, key, .. } = *self;
        Self { channel: self.channel.alike(), key, partitions, members, is_strict }
    }
}

impl<T> fmt::Debug for Distributed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distributed")
            .field("partitions", &self.partitions)
            .field("members", &self.members)
            .field("is_strict", &self.is_strict)
            .finish_non_exhaustive()
    }
}
