//! The receiving end of a distributed channel.

use super::super::error::{RecvError, SendError};
use super::super::patience::Patience;
use super::super::{ChannelError, Receiver, Sender};
use super::desk::Desk;
use super::future::DistributedRecvFuture;
use super::gather::{Pile, Reply, contribute};
use super::member::{Direct, Inner, KeyedDelivery, Look, Member};
use super::sender::check_ends;
use super::wait::{Armed, wait};
use super::{DistributedStats, Key, MemberId, Moved};
use crate::error::Rejection;
use gorun_shm::ring::mpmc::Role;
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::parcel::Living;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all receivers of a process share. Dropped in this order.
pub(super) struct ReceiverEnds<T> {
    pub(super) desk: Arc<Desk>,
    pub(super) partitions: Vec<Receiver<T>>,
    pub(super) inboxes: Vec<Receiver<Direct<T>>>,
    pub(super) pile: Sender<Pile>,
}

/// The end of a distributed channel that receives.
///
/// With its first `recv`, `take` or [`join`](Self::join) it becomes a **member** and partitions are given to it; when it is
/// dropped, or its process is killed, they go to the others, with the messages in them. One that has not joined, such as
/// the one that `open` returns, has none. Clones, and what becomes of them in tasks, are members of their own.
///
/// A member that does not ask for messages and is not dropped keeps its partitions: others help with what is in them,
/// unless the channel is strict.
pub struct DistributedReceiver<T> {
    /// Before the ends: leaving comes before the last end goes.
    pub(super) member: Option<Member>,
    pub(super) ends: Arc<ReceiverEnds<T>>,
}

impl<T: Portable> DistributedReceiver<T> {
    /// Receives the next value: from a partition of its own, or sent to it; else, unless the channel is strict, from any.
    ///
    /// Asking says that the last value was dealt with: partitions that are another's by now are given up first.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when everything in all partitions was received and nothing will come;
    /// [`RecvError::Unreadable`] for a message that is no `T`; [`RecvError::NoChannel`] if no place is free for a member.
    ///
    /// # Blocking
    /// While there is nothing for it and a sender is left.
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::Endless)
    }

    /// Receives the next value if it is there now.
    ///
    /// # Errors
    /// As [`DistributedReceiver::recv`], and [`RecvError::Empty`].
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::None)
    }

    /// Receives the next value if it comes before `deadline`.
    ///
    /// # Errors
    /// As [`DistributedReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`DistributedReceiver::recv`], until the deadline.
    pub fn recv_until(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.recv_with(Patience::until(deadline))
    }

    /// Receives the next value if it comes within `timeout`.
    ///
    /// # Errors
    /// As [`DistributedReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`DistributedReceiver::recv`], for the timeout at most.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_with(Patience::of(timeout))
    }

    /// Receives the next value without freeing its place: until it is acknowledged it is this process's, and if that dies, or
    /// the delivery is dropped, it comes back, and whoever has the partition then gets it.
    ///
    /// # Errors
    /// As [`DistributedReceiver::recv`].
    ///
    /// # Blocking
    /// As [`DistributedReceiver::recv`].
    pub fn take(&mut self) -> Result<KeyedDelivery<T>, RecvError> {
        self.take_with(Patience::Endless)
    }

    /// [`DistributedReceiver::take`], if a message is there now.
    ///
    /// # Errors
    /// As [`DistributedReceiver::try_recv`].
    pub fn try_take(&mut self) -> Result<KeyedDelivery<T>, RecvError> {
        self.take_with(Patience::None)
    }

    /// [`DistributedReceiver::take`], for the timeout at most.
    ///
    /// # Errors
    /// As [`DistributedReceiver::recv_timeout`].
    ///
    /// # Blocking
    /// As [`DistributedReceiver::recv_timeout`].
    pub fn take_timeout(&mut self, timeout: Duration) -> Result<KeyedDelivery<T>, RecvError> {
        self.take_with(Patience::of(timeout))
    }

    /// Values until nothing will come any more, waiting for each.
    pub fn iter(&mut self) -> DistributedIter<'_, T> {
        DistributedIter { receiver: self }
    }

    /// Leaves a value for whoever gathers: see [`DistributedSender::gather`](super::DistributedSender::gather). It is kept
    /// until then, also when this member leaves or is killed.
    ///
    /// # Errors
    /// [`SendError`] with the value: nobody is left who could gather, or it cannot travel.
    ///
    /// # Blocking
    /// While as many contributions wait as there can be members.
    pub fn contribute<R: Portable>(&mut self, value: R) -> Result<(), SendError<R>> {
        let member = match self.join() {
            Ok(member) => member,
            Err(reason) => return Err(SendError::NoChannel { value, reason }),
        };
        contribute(&self.ends.pile, Reply::new(member, value))
    }

    /// Receives the next value, as a future.
    pub fn recv_async(&mut self) -> DistributedRecvFuture<'_, T> {
        DistributedRecvFuture::new(self)
    }

    fn recv_with(&mut self, patience: Patience) -> Result<T, RecvError> {
        self.next_with(patience, ReceiverEnds::look)?.0
    }

    fn take_with(&mut self, patience: Patience) -> Result<KeyedDelivery<T>, RecvError> {
        let inboxes_at = self.ends.partitions.len();
        let look = |ends: &ReceiverEnds<T>, lane: usize, me: MemberId| match lane.checked_sub(inboxes_at) {
            None => ends
                .partitions
                .get(lane)
                .map_or(Look::Empty, |partition| seen(partition.try_take().map(Inner::Keyed))),
            Some(slot) => ends.inboxes.get(slot).map_or(Look::Empty, |inbox| {
                loop {
                    match seen(inbox.try_take()) {
                        Look::Got(Ok(delivery)) if delivery.only != 0 && delivery.only != me.to_word() => {
                            drop(delivery.ack());
                        }
                        Look::Got(delivery) => break Look::Got(delivery.map(Inner::Direct)),
                        Look::Empty => break Look::Empty,
                        Look::Over => break Look::Over,
                    }
                }
            }),
        };
        let (taken, lane) = self.next_with(patience, look)?;
        let Some(member) = &self.member else { return Err(RecvError::Empty) };
        taken.map(|taken| KeyedDelivery::new(taken, lane, member.seat()))
    }

    fn next_with<R>(
        &mut self,
        patience: Patience,
        look: impl Fn(&ReceiverEnds<T>, usize, MemberId) -> Look<Result<R, RecvError>>,
    ) -> Result<(Result<R, RecvError>, usize), RecvError> {
        self.join().map_err(RecvError::NoChannel)?;
        let Some(member) = &mut self.member else { return Err(RecvError::Empty) };
        let (ends, seat) = (&*self.ends, Arc::clone(member.seat()));
        let end = ends.pile.end().map_err(RecvError::NoChannel)?;
        let has_ended = || ends.how_it_ended(end);
        let straggler = Cell::new(None);
        let attempt = || {
            let look = |lane, me| look(ends, lane, me);
            let has_more = |lane| ends.end(lane).is_some_and(|end| end.ring().has_message());
            let attempted = member.attempt(look, has_ended, |lane| ends.is_flowing(lane), has_more);
            straggler.set(member.straggler());
            attempted
        };
        // When the last sender is gone, wherever it was, those who wait for room for their contributions are told.
        let ended = end.ring().header().not_full();
        let armed_for = Cell::new(None);
        let arm = || {
            armed_for.set(straggler.get());
            let straggler = straggler.get().and_then(|lane| ends.end(lane));
            let other = straggler.map_or(ended, |end| end.place().header().not_empty());
            Armed::member(Member::about_to_sleep(&seat), other)
        };
        let is_current = || straggler.get() == armed_for.get();
        let next = wait(patience, ends.desk.standard().spin_ticks, attempt, arm, is_current);
        let too_late = if patience == Patience::None { RecvError::Empty } else { RecvError::TimedOut };
        next.unwrap_or(Err(too_late))
    }
}

/// What a partition's own channel says, as one lane of many.
fn seen<R>(received: Result<R, RecvError>) -> Look<Result<R, RecvError>> {
    match received {
        Err(RecvError::Empty) => Look::Empty,
        Err(RecvError::Disconnected | RecvError::Closed) => Look::Over,
        received => Look::Got(received),
    }
}

impl<T: Portable> ReceiverEnds<T> {
    /// A look into one lane, for a value.
    pub(super) fn look(&self, lane: usize, me: MemberId) -> Look<Result<T, RecvError>> {
        let Some(slot) = lane.checked_sub(self.partitions.len()) else {
            return self.partitions.get(lane).map_or(Look::Empty, |partition| seen(partition.try_recv()));
        };
        let Some(inbox) = self.inboxes.get(slot) else { return Look::Empty };
        loop {
            match seen(inbox.try_recv()) {
                Look::Got(Ok(Direct { only, .. })) if only != 0 && only != me.to_word() => {}
                Look::Got(direct) => return Look::Got(direct.map(|direct| direct.value)),
                Look::Empty => return Look::Empty,
                Look::Over => return Look::Over,
            }
        }
    }
}

impl<T> ReceiverEnds<T> {
    /// The end of the channel that a lane is.
    pub(super) fn end(&self, lane: usize) -> Option<&End> {
        let end = match lane.checked_sub(self.partitions.len()) {
            None => self.partitions.get(lane)?.end(),
            Some(slot) => self.inboxes.get(slot)?.end(),
        };
        end.ok().map(|end| &**end)
    }

    /// True if a lane may have new messages, as far as its own channel knows.
    pub(super) fn is_flowing(&self, lane: usize) -> bool {
        self.end(lane).is_some_and(|end| !end.ring().standing().is_over())
    }

    /// If nothing will be sent any more: what to say when everything was received.
    pub(super) fn how_it_ended(&self, pile: &End) -> Option<RecvError> {
        let standing = pile.ring().standing();
        let is_over =
            standing.has_lost(Role::Receiver) || standing.is_shut() || self.desk.table().is_closed();
        let ended = if standing.is_shut() { RecvError::Closed } else { RecvError::Disconnected };
        is_over.then_some(ended)
    }
}

impl<T> DistributedReceiver<T> {
    pub(super) fn of(ends: ReceiverEnds<T>) -> Self {
        Self { member: None, ends: Arc::new(ends) }
    }

    /// Becomes a member now, if it is none yet.
    ///
    /// # Errors
    /// [`ChannelError::TooManyMembers`] if no place is free.
    pub fn join(&mut self) -> Result<MemberId, ChannelError> {
        if self.ends.desk.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        if let Some(member) = &self.member {
            return Ok(member.id());
        }
        Ok(self.member.insert(Member::join(&self.ends.desk)?).id())
    }

    /// Stops being a member: its partitions go to the others, when its last delivery is gone. It may join again.
    pub fn leave(&mut self) {
        self.member = None;
    }

    /// Which member it is, if it has joined.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.member.as_ref().map(Member::id)
    }

    /// All members, in all processes.
    #[must_use]
    pub fn members(&self) -> Vec<MemberId> {
        self.ends.desk.live()
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.ends.partitions.len()
    }

    /// The partition of a key. It stays the same.
    #[must_use]
    pub fn partition_of(&self, key: Key) -> usize {
        key.partition(self.ends.partitions.len())
    }

    /// Whose the partition is now; nobody's while it changes hands, or without members.
    #[must_use]
    pub fn owner_of(&self, partition: usize) -> Option<MemberId> {
        self.ends.desk.table().owner(partition).filter(|_| partition < self.ends.partitions.len())
    }

    /// Gives partitions to other members: see [`DistributedSender::balance`](super::DistributedSender::balance).
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

/// See [`DistributedReceiver::iter`].
#[derive(Debug)]
pub struct DistributedIter<'a, T> {
    receiver: &'a mut DistributedReceiver<T>,
}

impl<T: Portable> Iterator for DistributedIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            match self.receiver.recv() {
                Ok(value) => return Some(value),
                // Counted, and passed over.
                Err(RecvError::Unreadable { .. }) => {}
                Err(_) => return None,
            }
        }
    }
}

impl<T: Portable> FusedIterator for DistributedIter<'_, T> {}

impl<'a, T: Portable> IntoIterator for &'a mut DistributedReceiver<T> {
    type Item = T;
    type IntoIter = DistributedIter<'a, T>;

    fn into_iter(self) -> DistributedIter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for DistributedReceiver<T> {
    /// Another receiver, which has not joined.
    fn clone(&self) -> Self {
        Self { member: None, ends: Arc::clone(&self.ends) }
    }
}

impl<T> Serialize for DistributedReceiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ReceiverEnds { desk, partitions, inboxes, pile } = &*self.ends;
        (desk.living(), partitions, inboxes, pile).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for DistributedReceiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Parts<T> = (Living, Vec<Receiver<T>>, Vec<Receiver<Direct<T>>>, Sender<Pile>);
        let (living, partitions, inboxes, pile) = Parts::<T>::deserialize(deserializer)?;
        let desk = check_ends::<T, D::Error>(living, partitions.len(), inboxes.len())?;
        Ok(Self::of(ReceiverEnds { desk, partitions, inboxes, pile }))
    }
}

impl<T> fmt::Debug for DistributedReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedReceiver")
            .field("member", &self.member())
            .field("partitions", &self.partitions())
            .finish_non_exhaustive()
    }
}
