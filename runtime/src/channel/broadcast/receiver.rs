//! The receiving end of a broadcast.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::waits::{Waits, wait};
use super::BroadcastStats;
use super::open::keeping_of;
use crate::channel::{ChannelError, RecvError};
use crate::error::Rejection;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::ring::broadcast::{BroadcastRing, BroadcastShape, Miss};
use gorun_worker::broadcast::{Copied, Subscription};
use gorun_worker::codec::Portable;
use gorun_worker::parcel;
use gorun_worker::porter::{self, Errand, ErrandId, Post, Which};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::future::Future;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A subscriber of a broadcast: it receives every message that is sent from its beginning on.
///
/// A clone is another subscriber at the same place: it receives what this one has still to receive. Dropped, or dead with its
/// process, a subscriber holds up nobody. One that is sent as input of a task keeps its place here until the task has it; of a task
/// with retries, which may need it again, until the handle is gone.
pub struct BroadcastReceiver<T> {
    place: Result<Arc<Subscription>, ChannelError>,
    values: PhantomData<fn() -> T>,
}

/// A subscriber that waits for a message.
struct Taking<'a>(&'a Subscription);

impl Waits for Taking<'_> {
    type Found = Result<Copied, Miss>;

    #[inline]
    fn look(&mut self) -> Option<Self::Found> {
        match self.0.take(keeping_of(self.0.terms())) {
            Err(Miss::Empty | Miss::Busy) => None,
            found => Some(found),
        }
    }

    fn gate(&self) -> &Gate {
        self.0.held().header().not_empty()
    }

    fn arm(&self) -> (ArmedGate, bool) {
        (self.gate().arm(), true)
    }
}

impl<T: Portable> BroadcastReceiver<T> {
    /// Receives the next value.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when everything was received and nothing will come; [`RecvError::Lagged`] once when messages were
    /// missed; [`RecvError::Unreadable`] for a message that is no `T`.
    ///
    /// # Blocking
    /// While there is nothing to receive and a sender is left.
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::Endless)
    }

    /// Receives the next value if it is there now.
    ///
    /// # Errors
    /// As [`BroadcastReceiver::recv`], and [`RecvError::Empty`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::None)
    }

    /// Receives the next value if it comes before `deadline`.
    ///
    /// # Errors
    /// As [`BroadcastReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`BroadcastReceiver::recv`], until the deadline.
    pub fn recv_until(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.recv_with(Patience::until(deadline))
    }

    /// Receives the next value if it comes within `timeout`.
    ///
    /// # Errors
    /// As [`BroadcastReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`BroadcastReceiver::recv`], for the timeout at most.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_with(Patience::of(timeout))
    }

    /// Receives the next value, as a future.
    pub fn recv_async(&mut self) -> BroadcastRecvFuture<'_, T> {
        BroadcastRecvFuture { receiver: self, asked: None }
    }

    /// What is there now, without waiting. Messages that were missed or cannot be read are counted and passed over.
    pub fn drain(&mut self) -> BroadcastDrain<'_, T> {
        BroadcastDrain { receiver: self }
    }

    /// Values until nothing will come any more, waiting for each. Messages that were missed or cannot be read are counted and passed
    /// over.
    pub fn iter(&mut self) -> BroadcastIter<&mut Self> {
        BroadcastIter { receiver: self }
    }

    #[inline]
    fn recv_with(&mut self, patience: Patience) -> Result<T, RecvError> {
        let place = self.place().map_err(RecvError::NoChannel)?;
        let mut taking = Taking(place);
        let found = match taking.look() {
            Some(found) => Some(found),
            None => wait(&mut taking, patience, place.terms().spin_ticks),
        };
        match found {
            Some(found) => opened(place, found),
            None if patience == Patience::None => Err(RecvError::Empty),
            None => Err(RecvError::TimedOut),
        }
    }
}

#[inline]
fn opened<T: Portable>(place: &Subscription, found: Result<Copied, Miss>) -> Result<T, RecvError> {
    let ring = place.ring();
    let copied = found.map_err(|miss| match miss {
        Miss::Empty | Miss::Busy => RecvError::Empty,
        Miss::Lagged(missed) => RecvError::Lagged(missed),
        Miss::Corrupt => RecvError::Damaged,
        Miss::Over if ring.header().standing().is_shut() => RecvError::Closed,
        Miss::Over => RecvError::Disconnected,
    })?;
    ring.notify_room();
    copied.decode().map_err(|error| {
        ring.header().unreadable.add_shared(1);
        RecvError::Unreadable { reason: error.to_string() }
    })
}

pub(super) fn capacity_of(ring: &BroadcastRing<'_>) -> usize {
    usize::try_from(ring.shape().capacity()).unwrap_or(usize::MAX)
}

impl<T> BroadcastReceiver<T> {
    pub(super) fn of(place: Arc<Subscription>) -> Self {
        Self { place: Ok(place), values: PhantomData }
    }

    pub(super) fn refused(reason: ChannelError) -> Self {
        Self { place: Err(reason), values: PhantomData }
    }

    fn place(&self) -> Result<&Arc<Subscription>, ChannelError> {
        let place = self.place.as_ref().map_err(Clone::clone)?;
        if place.held().is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        Ok(place)
    }

    /// Another subscriber, from now on.
    ///
    /// # Errors
    /// [`ChannelError::NoPlace`] if there are too many.
    pub fn subscribe(&self) -> Result<Self, ChannelError> {
        self.place()?.anew().map(Self::of).map_err(|_| no_place())
    }

    /// Ends sending: nothing more can be sent, by anybody; what was sent before is still received. False if it was closed
    /// already.
    pub fn close(&self) -> bool {
        self.place().is_ok_and(|place| place.ring().header().close())
    }

    /// True if nothing will be sent any more: it was closed, no sender is left, or the runtime has ended. There may be something to
    /// receive still.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.place().map_or(true, |place| place.ring().header().standing().is_over())
    }

    /// Messages that this subscriber has not received yet.
    #[must_use]
    pub fn len(&self) -> usize {
        let ahead = self.place().map_or(0, |place| place.ring().ahead_of(place.index()));
        usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    /// True if it has received everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages the broadcast holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.place().map_or(0, |place| capacity_of(&place.ring()))
    }

    /// Numbers of the broadcast.
    #[must_use]
    pub fn stats(&self) -> BroadcastStats {
        self.place().map_or_else(|_| BroadcastStats::default(), |place| BroadcastStats::of(&place.ring()))
    }
}

fn no_place() -> ChannelError {
    ChannelError::NoPlace { most: BroadcastShape::CURSORS }
}

impl<T> Clone for BroadcastReceiver<T> {
    /// Another subscriber at the same place. If there are too many, its first use says so.
    fn clone(&self) -> Self {
        match self.place() {
            Ok(place) => place.again().map_or_else(|_| Self::refused(no_place()), Self::of),
            Err(reason) => Self::refused(reason),
        }
    }
}

/// See [`BroadcastReceiver::drain`].
#[derive(Debug)]
pub struct BroadcastDrain<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
}

impl<T: Portable> Iterator for BroadcastDrain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_readable(|| self.receiver.try_recv())
    }
}

/// See [`BroadcastReceiver::iter`].
#[derive(Debug)]
pub struct BroadcastIter<R> {
    receiver: R,
}

impl<T: Portable> Iterator for BroadcastIter<&mut BroadcastReceiver<T>> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_readable(|| self.receiver.recv())
    }
}

impl<T: Portable> Iterator for BroadcastIter<BroadcastReceiver<T>> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_readable(|| self.receiver.recv())
    }
}

impl<R> FusedIterator for BroadcastIter<R> where Self: Iterator {}

impl<T: Portable> IntoIterator for BroadcastReceiver<T> {
    type Item = T;
    type IntoIter = BroadcastIter<Self>;

    fn into_iter(self) -> BroadcastIter<Self> {
        BroadcastIter { receiver: self }
    }
}

impl<'a, T: Portable> IntoIterator for &'a mut BroadcastReceiver<T> {
    type Item = T;
    type IntoIter = BroadcastIter<Self>;

    fn into_iter(self) -> BroadcastIter<&'a mut BroadcastReceiver<T>> {
        self.iter()
    }
}

fn next_readable<T>(mut receive: impl FnMut() -> Result<T, RecvError>) -> Option<T> {
    loop {
        match receive() {
            Ok(value) => return Some(value),
            Err(RecvError::Unreadable { .. } | RecvError::Lagged(_)) => {}
            Err(_) => return None,
        }
    }
}

/// See [`BroadcastReceiver::recv_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct BroadcastRecvFuture<'a, T> {
    receiver: &'a mut BroadcastReceiver<T>,
    asked: Option<ErrandId>,
}

/// Wakes the future when there may be something for it.
struct Wake {
    post: Post,
    place: Arc<Subscription>,
    waker: Waker,
}

impl Errand for Wake {
    fn post(&self) -> &Post {
        &self.post
    }

    fn is_done(&self) -> bool {
        let ring = self.place.ring();
        ring.has_message(self.place.index()) || ring.header().standing().is_over()
    }

    fn finish(self: Box<Self>) {
        self.waker.wake();
    }
}

impl<T: Portable> Future for BroadcastRecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        drop(this.asked.take().and_then(porter::recall));
        let place = match this.receiver.place() {
            Ok(place) => place,
            Err(reason) => return Poll::Ready(Err(RecvError::NoChannel(reason))),
        };
        if let Some(found) = Taking(place).look() {
            return Poll::Ready(opened(place, found));
        }
        let (post, waker) = (place.held().post(Which::NotEmpty), context.waker().clone());
        this.asked = porter::send(Box::new(Wake { post, place: Arc::clone(place), waker }));
        if this.asked.is_none() {
            // Nobody can wake it: it is polled again at once.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<T> Drop for BroadcastRecvFuture<'_, T> {
    fn drop(&mut self) {
        drop(self.asked.take().and_then(porter::recall));
    }
}

impl<T> fmt::Debug for BroadcastRecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastRecvFuture").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<T> Serialize for BroadcastReceiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::pack_subscription(self.place.as_ref().map_err(S::Error::custom)?, serializer)
    }
}

impl<'de, T> Deserialize<'de> for BroadcastReceiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = parcel::unpack_subscription(deserializer)?;
        if place.terms().kind != kind_of::<T>() {
            return Err(D::Error::custom("that is a subscriber of another kind of broadcast"));
        }
        Ok(Self::of(place))
    }
}

impl<T> fmt::Debug for BroadcastReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastReceiver")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}
