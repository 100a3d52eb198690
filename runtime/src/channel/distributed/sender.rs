//! The sending end of a distributed channel.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::{BatchError, Receiver, SendError, Sender};
use super::desk::Desk;
use super::future::DistributedSendFuture;
use super::gather::{GatherError, Pile, gather};
use super::member::Direct;
use super::open::{KeyFunction, key_function};
use super::wait::{Armed, wait};
use super::{DistributedStats, Key, MemberId, Moved};
use gorun_worker::codec::Portable;
use gorun_worker::parcel::Living;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all senders of a process share. Dropped in this order: when the last hold of the pile is gone, wherever it is, so
/// are those of the partitions.
pub(super) struct SenderEnds<T> {
    /// None if this process does not know it.
    pub(super) key: Option<KeyFunction<T>>,
    pub(super) desk: Arc<Desk>,
    pub(super) partitions: Vec<Sender<T>>,
    pub(super) inboxes: Vec<Sender<Direct<T>>>,
    pub(super) pile: Receiver<Pile>,
}

/// The end of a distributed channel that sends. Clones, and what becomes of them in other processes, send into the same
/// channel; receivers hear of it when the last is gone.
pub struct DistributedSender<T> {
    ends: Arc<SenderEnds<T>>,
}

/// Why a value did not go to the member it was for. It comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError<T> {
    /// That member has left, or is dead.
    #[error("that member is gone")]
    Gone(T),
    /// It could not be sent to anybody.
    #[error(transparent)]
    NotSent(SendError<T>),
}

impl<T> RouteError<T> {
    /// The value that was not sent.
    pub fn into_value(self) -> T {
        match self {
            Self::Gone(value) => value,
            Self::NotSent(error) => error.into_value(),
        }
    }
}

impl<T: Portable> DistributedSender<T> {
    /// Sends a value to the partition of its key. Messages of a key stand in the order of their sender.
    ///
    /// # Errors
    /// As [`Sender::send`]; [`SendError::Unsendable`] in the host, of a channel that a task has opened: use
    /// [`send_to_key`](Self::send_to_key) there.
    ///
    /// # Blocking
    /// While its partition is full, unless the channel's [`Backpressure`](super::super::Backpressure) is another.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::Endless)
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// As [`DistributedSender::send`], and [`SendError::Full`].
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::None)
    }

    /// Sends a value if there is room before `deadline`.
    ///
    /// # Errors
    /// As [`DistributedSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`DistributedSender::send`], until the deadline.
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::until(deadline))
    }

    /// Sends a value if there is room within `timeout`.
    ///
    /// # Errors
    /// As [`DistributedSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`DistributedSender::send`], for the timeout at most.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::of(timeout))
    }

    /// Sends a value to the partition of `key`, whatever its own key is.
    ///
    /// # Errors
    /// As [`Sender::send`].
    ///
    /// # Blocking
    /// As [`DistributedSender::send`].
    pub fn send_to_key<K: Hash + ?Sized>(&self, key: &K, value: T) -> Result<(), SendError<T>> {
        self.post(self.partition_of(Key::of(key)), value, Patience::Endless)
    }

    /// Sends all values, one after the other. Returns how many there were.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent; pass `&mut iterator` to keep those behind it.
    ///
    /// # Blocking
    /// As [`DistributedSender::send`].
    pub fn send_batch(&self, values: impl IntoIterator<Item = T>) -> Result<usize, BatchError<T>> {
        let mut sent = 0;
        for value in values {
            self.send(value).map_err(|error| BatchError { sent, error })?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Sends a value when there is room, as a future.
    pub fn send_async(&self, value: T) -> DistributedSendFuture<T> {
        let Some(key) = self.ends.key else { return DistributedSendFuture::refused(unknown_key(value)) };
        let partition = self.partition_of(key(&value));
        let sent = self.ends.partitions[partition].send_async(value);
        DistributedSendFuture::new(sent, partition, &self.ends.desk)
    }

    #[inline]
    fn send_with(&self, value: T, patience: Patience) -> Result<(), SendError<T>> {
        let Some(key) = self.ends.key else { return Err(unknown_key(value)) };
        let partition = self.partition_of(key(&value));
        self.post(partition, value, patience)
    }

    #[inline]
    fn post(&self, partition: usize, value: T, patience: Patience) -> Result<(), SendError<T>> {
        let SenderEnds { desk, partitions, .. } = &*self.ends;
        let sent = partitions[partition].send_with(value, patience);
        if sent.is_ok() {
            desk.announce(partition);
        }
        sent
    }

    /// Sends a value to one member. If that goes before it has received it, another gets it.
    ///
    /// # Errors
    /// [`RouteError::Gone`] if it is gone already; else as [`Sender::send`].
    ///
    /// # Blocking
    /// While the inbox of that member is full.
    pub fn route(&self, member: MemberId, value: T) -> Result<(), RouteError<T>> {
        self.deliver(member, Direct { only: 0, value })
    }

    /// Sends a copy of the value to every member; returns to how many. Those that join afterwards get none, and what a member
    /// has not received when it goes nobody gets.
    ///
    /// To have one copy in memory for all, send a [`SharedSlice`](crate::SharedSlice) or [`Block`](crate::Block).
    ///
    /// # Errors
    /// As [`Sender::send`]; some members may have it.
    ///
    /// # Blocking
    /// While the inbox of a member is full.
    pub fn broadcast(&self, value: &T) -> Result<usize, SendError<T>>
    where
        T: Clone,
    {
        let mut reached = 0;
        for member in self.members() {
            match self.deliver(member, Direct { only: member.to_word(), value: value.clone() }) {
                Ok(()) => reached += 1,
                Err(RouteError::Gone(_)) => {}
                Err(RouteError::NotSent(error)) => return Err(error),
            }
        }
        Ok(reached)
    }

    /// Shares the items out evenly, in turn, to all members; each gets its own in order. If one goes, what it has not received
    /// goes to others; without members the items wait in the partitions. Returns how many there were.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent.
    ///
    /// # Blocking
    /// While the inbox of the member whose turn it is is full.
    pub fn scatter(&self, items: impl IntoIterator<Item = T>) -> Result<usize, BatchError<T>> {
        let mut members = self.members();
        let mut sent = 0;
        for mut value in items {
            loop {
                let Some(member) = members.get(sent % members.len().max(1)).copied() else {
                    let partition = sent % self.partitions();
                    self.post(partition, value, Patience::Endless)
                        .map_err(|error| BatchError { sent, error })?;
                    break;
                };
                match self.deliver(member, Direct { only: 0, value }) {
                    Ok(()) => break,
                    Err(RouteError::NotSent(error)) => return Err(BatchError { sent, error }),
                    Err(RouteError::Gone(back)) => {
                        value = back;
                        members.retain(|other| *other != member);
                        if members.is_empty() {
                            members = self.members();
                        }
                    }
                }
            }
            sent += 1;
        }
        Ok(sent)
    }

    /// Collects what members [`contribute`](super::DistributedReceiver::contribute): waits until each that is a member now has,
    /// has gone, or the time is over. What was left before, by members that have gone since too, comes along.
    ///
    /// One `gather` at a time: of two, each gets a part.
    ///
    /// ```
    /// use gorun_runtime::{Channel, DistributedReceiver, Key, Runtime};
    /// use std::time::Duration;
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// let (sender, receiver) = Channel::<u64>::bounded(64).distributed(|n| Key::of(n)).open_on(&runtime)?;
    /// let adds = runtime.task(receiver, |mut receiver: DistributedReceiver<u64>| {
    ///     let sum: u64 = receiver.iter().sum();
    ///     receiver.contribute(sum).is_ok()
    /// });
    /// sender.send_batch(1..=10)?;
    /// sender.close();
    /// assert_eq!(adds.join(), Ok(true));
    /// let sums = sender.gather::<u64>(Duration::from_secs(60));
    /// assert_eq!(sums.into_iter().map(|(_, sum)| sum).collect::<Vec<_>>(), [Ok(55)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Blocking
    /// Until then.
    pub fn gather<R: Portable>(&self, timeout: Duration) -> Vec<(MemberId, Result<R, GatherError>)> {
        gather(&self.ends.desk, &self.ends.pile, Patience::of(timeout))
    }

    /// Sends into the inbox of a member, as long as that lives.
    fn deliver(&self, member: MemberId, direct: Direct<T>) -> Result<(), RouteError<T>> {
        let table = self.ends.desk.table();
        let Some(inbox) = self.ends.inboxes.get(member.slot()) else {
            return Err(RouteError::Gone(direct.value));
        };
        let end = match inbox.end() {
            Ok(end) => end,
            Err(reason) => {
                let value = direct.value;
                return Err(RouteError::NotSent(SendError::NoChannel { value, reason }));
            }
        };
        let mut waiting = Some(direct);
        let attempt = || {
            let direct = waiting.take()?;
            if !table.is_live(member) {
                return Some(Err(RouteError::Gone(direct.value)));
            }
            match inbox.send_with(direct, Patience::None) {
                Ok(()) => Some(Ok(())),
                Err(SendError::Full(direct)) => {
                    waiting = Some(direct);
                    None
                }
                Err(error) => Some(Err(RouteError::NotSent(with_value(error, |direct| direct.value)))),
            }
        };
        let arm = || Armed::at(end.ring().header().not_full(), table.header().changed());
        let sent = wait(Patience::Endless, self.ends.desk.standard().spin_ticks, attempt, arm, || true);
        table.announce(table.inbox(member.slot()), false);
        // Others may wait for room too.
        end.ring().pass_on_room();
        sent.unwrap_or(Ok(()))
    }
}

#[cold]
fn unknown_key<T>(value: T) -> SendError<T> {
    let reason =
        "a task has opened this channel, and the host does not know its key function; use `send_to_key`"
            .into();
    SendError::Unsendable { value, reason }
}

/// The same error about another value.
pub(super) fn with_value<A, B>(error: SendError<A>, other: impl FnOnce(A) -> B) -> SendError<B> {
    match error {
        SendError::Full(value) => SendError::Full(other(value)),
        SendError::TimedOut(value) => SendError::TimedOut(other(value)),
        SendError::Closed(value) => SendError::Closed(other(value)),
        SendError::Disconnected(value) => SendError::Disconnected(other(value)),
        SendError::Damaged(value) => SendError::Damaged(other(value)),
        SendError::Unsendable { value, reason } => SendError::Unsendable { value: other(value), reason },
        SendError::Done { value, reason } => SendError::Done { value: other(value), reason },
        SendError::NoChannel { value, reason } => SendError::NoChannel { value: other(value), reason },
    }
}

impl<T> DistributedSender<T> {
    pub(super) fn of(ends: SenderEnds<T>) -> Self {
        Self { ends: Arc::new(ends) }
    }

    #[cfg(test)]
    pub(super) fn block(&self) -> gorun_shm::blocks::SharedBlock {
        self.ends.desk.living().0
    }

    /// Closes the channel: nothing more can be sent, by anybody; what was sent before is still received, and can be
    /// gathered. False if it was closed already.
    pub fn close(&self) -> bool {
        let SenderEnds { desk, partitions, inboxes, .. } = &*self.ends;
        if desk.is_foreign() {
            return false;
        }
        for partition in partitions {
            partition.close();
        }
        for inbox in inboxes {
            inbox.close();
        }
        desk.table().close()
    }

    /// True if nothing can be sent any more: the channel was closed, no receiver is left, or the runtime has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ends.partitions.first().is_none_or(Sender::is_closed)
    }

    /// How many partitions there are.
    #[must_use]
    #[inline]
    pub fn partitions(&self) -> usize {
        self.ends.partitions.len()
    }

    /// The partition of a key. It stays the same.
    #[must_use]
    #[inline]
    pub fn partition_of(&self, key: Key) -> usize {
        key.partition(self.ends.partitions.len())
    }

    /// Whose the partition is now; nobody's while it changes hands, or without members.
    #[must_use]
    pub fn owner_of(&self, partition: usize) -> Option<MemberId> {
        self.ends.desk.table().owner(partition).filter(|_| partition < self.partitions())
    }

    /// All members, in all processes.
    #[must_use]
    pub fn members(&self) -> Vec<MemberId> {
        self.ends.desk.live()
    }

    /// Gives partitions to other members, as few as make all about equal, by what was sent into each since the last time this was
    /// called. Says which; each changes hands as soon as its owner asks for another message. A partition that was moved
    /// stays where it is until it is moved again, or its member goes.
    pub fn balance(&self) -> Vec<Moved> {
        self.ends.desk.balance(self.ends.partitions.iter().map(|partition| partition.stats().sent))
    }

    /// Numbers of the channel.
    #[must_use]
    pub fn stats(&self) -> DistributedStats {
        self.ends.desk.stats(self.ends.partitions.iter().map(|partition| {
            let stats = partition.stats();
            (partition.len(), stats.sent, stats.received)
        }))
    }
}

/// The table that came with so many ends.
pub(super) fn check_ends<T, E: Error>(
    living: Living,
    partitions: usize,
    inboxes: usize,
) -> Result<Arc<Desk>, E> {
    let desk = Desk::open(living.0).ok_or_else(|| E::custom("no distributed channel lies there"))?;
    let table = desk.table();
    let fits = (table.partition_count(), table.places()) == (partitions, inboxes);
    if !fits || desk.standard().kind != kind_of::<T>() {
        return Err(E::custom("that is an end of another kind of distributed channel"));
    }
    Ok(Arc::new(desk))
}

impl<T> Clone for DistributedSender<T> {
    fn clone(&self) -> Self {
        Self { ends: Arc::clone(&self.ends) }
    }
}

impl<T> Serialize for DistributedSender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SenderEnds { desk, partitions, inboxes, pile, .. } = &*self.ends;
        // The pile last: what is on its way is let go of in this order.
        (desk.living(), partitions, inboxes, pile).serialize(serializer)
    }
}

impl<'de, T: 'static> Deserialize<'de> for DistributedSender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Parts<T> = (Living, Vec<Sender<T>>, Vec<Sender<Direct<T>>>, Receiver<Pile>);
        let (living, partitions, inboxes, pile) = Parts::<T>::deserialize(deserializer)?;
        let desk = check_ends::<T, D::Error>(living, partitions.len(), inboxes.len())?;
        let key = key_function::<T>(&desk);
        Ok(Self::of(SenderEnds { key, desk, partitions, inboxes, pile }))
    }
}

impl<T> fmt::Debug for DistributedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedSender")
            .field("partitions", &self.partitions())
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}
