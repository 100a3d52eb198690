//! The receiving end.

use super::delivery::Delivery;
use super::future::RecvFuture;
use super::lease;
use super::open::{Rules, kind_of};
use super::patience::{Patience, Waiting};
use super::{ChannelError, ChannelStats, RecvError};
use crate::error::Rejection;
use gorun_shm::ring::mpmc::{Nothing, Role, Taken};
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::letter::{self, Received};
use gorun_worker::parcel;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The end of a channel that receives. Each message goes to one of the receivers, whichever is first; senders hear of it
/// when the last is gone.
pub struct Receiver<T> {
    end: Result<Arc<End>, ChannelError>,
    values: PhantomData<fn() -> T>,
}

impl<T: Portable> Receiver<T> {
    /// Receives the next value.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when everything was received and nothing will come; [`RecvError::Unreadable`] for a message
    /// that is no `T`.
    ///
    /// # Blocking
    /// While the channel is empty and a sender is left.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        match self.take_at_once() {
            Some((end, taken)) => letter::receive(taken, end, true).map_err(|error| unreadable(end, &error)),
            None => self.recv_with(Patience::Endless),
        }
    }

    /// Receives the next value if it is there now.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`RecvError::Empty`].
    #[inline]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        match self.take_at_once() {
            Some((end, taken)) => letter::receive(taken, end, true).map_err(|error| unreadable(end, &error)),
            None => self.recv_with(Patience::None),
        }
    }

    /// Receives the next value if it comes before `deadline`.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Receiver::recv`], until the deadline.
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvError> {
        self.recv_with(Patience::until(deadline))
    }

    /// Receives the next value if it comes within `timeout`.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Receiver::recv`], for the timeout at most.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_with(Patience::of(timeout))
    }

    /// Receives the next value, as a future.
    pub fn recv_async(&self) -> RecvFuture<T> {
        RecvFuture::new(self.clone())
    }

    /// Receives what is there, at most `max` values, and waits for the first if there is none.
    ///
    /// # Errors
    /// As [`Receiver::recv`], if not even one came.
    ///
    /// # Blocking
    /// As [`Receiver::recv`], for the first.
    pub fn recv_batch(&self, max: usize) -> Result<Vec<T>, RecvError> {
        let mut values = Vec::new();
        if max == 0 {
            return Ok(values);
        }
        values.push(self.recv()?);
        let end = self.end().map_err(RecvError::NoChannel)?;
        values.reserve(self.len().min(max - 1));
        if Rules::from_word(end.terms().terms).is_acked {
            values.extend(self.drain().take(max - 1));
            return Ok(values);
        }
        while values.len() < max
            && let Some(Ok(taken)) = try_take(end)
        {
            values.extend(letter::receive(taken, end, false).map_err(|error| unreadable(end, &error)).ok());
        }
        self.announce(end);
        Ok(values)
    }

    /// What is there now, without waiting.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { receiver: self }
    }

    /// Values until nothing will come any more, waiting for each.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Takes the next value without freeing its place: until it is acknowledged it is this process's, and if that dies, or the
    /// delivery is dropped, it comes back and another receiver gets it.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// # Blocking
    /// As [`Receiver::recv`].
    pub fn take(&self) -> Result<Delivery<T>, RecvError> {
        self.take_within(Patience::Endless)
    }

    /// [`Receiver::take`], if a message is there now.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`].
    pub fn try_take(&self) -> Result<Delivery<T>, RecvError> {
        self.take_within(Patience::None)
    }

    /// [`Receiver::take`], for the timeout at most.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    ///
    /// # Blocking
    /// As [`Receiver::recv_timeout`].
    pub fn take_timeout(&self, timeout: Duration) -> Result<Delivery<T>, RecvError> {
        self.take_within(Patience::of(timeout))
    }

    fn take_within(&self, patience: Patience) -> Result<Delivery<T>, RecvError> {
        let end = self.end().map_err(RecvError::NoChannel)?;
        self.again_if_lost(patience, || {
            let taken = take_with(end, patience)?;
            end.ring().pass_on_message();
            Delivery::open(Arc::clone(end), taken)
        })
    }

    /// What most receives are: a message is there. None if there is more to it, and nothing has happened.
    #[inline]
    fn take_at_once(&self) -> Option<(&End, Taken)> {
        let Ok(end) = &self.end else { return None };
        if end.is_foreign() || !Rules::are_plain(&end.terms()) {
            return None;
        }
        Some((end, end.ring().take(end.me()).ok()?))
    }

    #[cold]
    pub(super) fn recv_with(&self, patience: Patience) -> Result<T, RecvError> {
        let end = self.end().map_err(RecvError::NoChannel)?;
        self.again_if_lost(patience, || self.receive(end, take_with(end, patience)?))
    }

    /// A message that was taken away before it was read is none: the next, then.
    fn again_if_lost<R>(
        &self,
        patience: Patience,
        mut receive: impl FnMut() -> Result<R, RecvError>,
    ) -> Result<R, RecvError> {
        loop {
            match receive() {
                Err(RecvError::Empty) if patience != Patience::None => {}
                received => return received,
            }
        }
    }

    pub(super) fn receive(&self, end: &Arc<End>, taken: Taken) -> Result<T, RecvError> {
        if Rules::from_word(end.terms().terms).is_acked {
            end.ring().pass_on_message();
            return Ok(Delivery::<T>::open(Arc::clone(end), taken)?.acknowledge());
        }
        let received = Received::take(taken, end);
        self.announce(end);
        received.decode(end).map_err(|error| unreadable(end, &error))
    }

    /// There is room, and there may be more to receive.
    #[inline]
    fn announce(&self, end: &End) {
        let ring = end.ring();
        ring.notify_room();
        if Rules::from_word(end.terms().terms).is_rendezvous {
            // Some wait for their letter to be taken, others for room: it is not known who sleeps first.
            ring.header().not_full().wake_all();
        }
        ring.pass_on_message();
    }
}

#[cold]
pub(super) fn unreadable(end: &End, error: &impl fmt::Display) -> RecvError {
    end.ring().header().unreadable.add_shared(1);
    RecvError::Unreadable { reason: error.to_string() }
}

/// One attempt to take a message; none if there is none, and waiting may help.
#[inline]
pub(super) fn try_take(end: &End) -> Option<Result<Taken, RecvError>> {
    match end.ring().take(end.me()) {
        Ok(taken) => Some(Ok(taken)),
        // Between programs, and the one that looks after the dead is gone: who is at the message may never end.
        Err(Nothing::Busy) if end.blocks().is_orphaned() => Some(Err(RecvError::Disconnected)),
        Err(Nothing::Empty | Nothing::Busy) if lease::take_back_overdue(end) => try_take(end),
        Err(Nothing::Empty | Nothing::Busy) => None,
        Err(Nothing::Over) if end.ring().standing().is_shut() => Some(Err(RecvError::Closed)),
        Err(Nothing::Over) => Some(Err(RecvError::Disconnected)),
        Err(Nothing::Corrupt) => Some(Err(RecvError::Damaged)),
    }
}

/// The receiver goes to sleep: in a rendezvous, whoever only sends to one that waits tries again.
pub(super) fn offer_to_meet(end: &End) {
    if Rules::from_word(end.terms().terms).is_rendezvous {
        end.ring().header().not_full().wake_all();
    }
}

fn take_with(end: &End, patience: Patience) -> Result<Taken, RecvError> {
    let ring = end.ring();
    let wait = Waiting {
        gate: ring.header().not_empty(),
        spin_ticks: end.terms().spin_ticks,
        end,
        gathered: |end| end.ring().len(),
        about_to_sleep: &|| offer_to_meet(end),
    };
    let taken = if end.terms().lease_ns > 0 {
        lease::wait(end, patience, &wait)
    } else {
        patience.wait(&wait, || try_take(end))
    };
    let too_late = if patience == Patience::None { RecvError::Empty } else { RecvError::TimedOut };
    taken.unwrap_or(Err(too_late))
}

pub(super) fn capacity_of(end: &End) -> usize {
    if Rules::from_word(end.terms().terms).is_rendezvous {
        return 0;
    }
    usize::try_from(end.geometry().capacity()).unwrap_or(usize::MAX)
}

impl<T> Receiver<T> {
    pub(super) fn of(end: Arc<End>) -> Self {
        Self { end: Ok(end), values: PhantomData }
    }

    pub(super) fn refused(reason: ChannelError) -> Self {
        Self { end: Err(reason), values: PhantomData }
    }

    pub(super) fn end(&self) -> Result<&Arc<End>, ChannelError> {
        let end = self.end.as_ref().map_err(Clone::clone)?;
        if end.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        Ok(end)
    }

    /// Closes the channel: nothing more can be sent, by anybody; what was sent before is still received. False if it was
    /// closed already.
    pub fn close(&self) -> bool {
        self.end().is_ok_and(|end| end.ring().close())
    }

    /// True if nothing will be sent any more: the channel was closed, no sender is left, or the runtime has ended. There may
    /// be something to receive still.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().map_or(true, |end| end.ring().standing().is_over())
    }

    /// Messages in the channel now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end().map_or(0, |end| usize::try_from(end.ring().len()).unwrap_or(usize::MAX))
    }

    /// True if there is no message in the channel now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages the channel holds; 0 of a rendezvous.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end().map_or(0, |end| capacity_of(end))
    }

    /// Numbers of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.end().map_or_else(|_| ChannelStats::default(), |end| ChannelStats::of(end.ring().header()))
    }
}

/// See [`Receiver::drain`].
#[derive(Debug)]
pub struct Drain<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: Portable> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_readable(|| self.receiver.try_recv())
    }
}

/// See [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: Portable> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_readable(|| self.receiver.recv())
    }
}

impl<T: Portable> FusedIterator for Iter<'_, T> {}

impl<'a, T: Portable> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Messages that nobody can read are counted and passed over.
fn next_readable<T>(mut receive: impl FnMut() -> Result<T, RecvError>) -> Option<T> {
    loop {
        match receive() {
            Ok(value) => return Some(value),
            Err(RecvError::Unreadable { .. }) => {}
            Err(_) => return None,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone(), values: PhantomData }
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = parcel::unpack_end(deserializer)?;
        if end.role() != Role::Receiver || end.terms().kind != kind_of::<T>() {
            return Err(D::Error::custom("that is an end of another kind of channel"));
        }
        Ok(Self::of(end))
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
