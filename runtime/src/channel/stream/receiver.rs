//! The receiving end of a stream.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::waits::{Waits, wait};
use super::{ChannelError, Rejection};
use crate::channel::RecvError;
use gorun_shm::Plain;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::ring::lane::{LaneMemory, LaneReceiver};
use gorun_shm::ring::mpmc::{Nothing, Role};
use gorun_worker::lane::{LaneEnd, LaneViews};
use gorun_worker::parcel;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Lane<T> = LaneReceiver<T, LaneViews>;

/// The end of a stream that receives. There is one; it can be sent to another process, which gives it up here.
///
/// Dropped, or dead with its process, it ends the stream: sends are refused from then on.
pub struct StreamReceiver<T: Plain> {
    end: Result<Arc<LaneEnd>, ChannelError>,
    /// Taken up at the first use, put down when it is sent or dropped.
    lane: RefCell<Option<Lane<T>>>,
}

impl<T: Plain> Waits for Lane<T> {
    type Found = Result<(), Nothing>;

    fn look(&mut self) -> Option<Self::Found> {
        match self.ready() {
            Err(Nothing::Empty | Nothing::Busy) => None,
            found => Some(found),
        }
    }

    fn gate(&self) -> &Gate {
        self.memory().common().not_empty()
    }

    fn arm(&self) -> (ArmedGate, bool) {
        LaneReceiver::arm(self)
    }
}

impl<T: Plain> StreamReceiver<T> {
    /// Receives the next value.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] when everything was received and nothing will come; [`RecvError::NoChannel`] if another value
    /// has this end.
    ///
    /// # Blocking
    /// While the stream is empty and there is a sender.
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::Endless)
    }

    /// Receives the next value if it is there now.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`], and [`RecvError::Empty`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_with(Patience::None)
    }

    /// Receives the next value if it comes before `deadline`.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`StreamReceiver::recv`], until the deadline.
    pub fn recv_until(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.recv_with(Patience::until(deadline))
    }

    /// Receives the next value if it comes within `timeout`.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`], and [`RecvError::TimedOut`].
    ///
    /// # Blocking
    /// As [`StreamReceiver::recv`], for the timeout at most.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_with(Patience::of(timeout))
    }

    /// Receives what is there into `values`, from its first, and waits for the first if there is none: the fastest way.
    ///
    /// Returns how many came: at least one, unless there is no place for any.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`], if not even one came.
    ///
    /// # Blocking
    /// As [`StreamReceiver::recv`], for the first.
    pub fn recv_into(&mut self, values: &mut [T]) -> Result<usize, RecvError> {
        if values.is_empty() {
            return Ok(0);
        }
        self.await_ready(Patience::Endless)?;
        let (lane, _) = self.lane()?;
        lane.try_receive_slice(values).map_err(|nothing| failure(lane, nothing))
    }

    /// Receives what is there, at most `max` values, and waits for the first if there is none.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`], if not even one came.
    ///
    /// # Blocking
    /// As [`StreamReceiver::recv`], for the first.
    pub fn recv_batch(&mut self, max: usize) -> Result<Vec<T>, RecvError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.await_ready(Patience::Endless)?;
        let mut values = vec![T::new_zeroed(); max.min(self.len().max(1))];
        let count = self.recv_into(&mut values)?;
        values.truncate(count);
        Ok(values)
    }

    /// Receives the next value in place: it is released, for the sender to write over, when what is returned is dropped.
    ///
    /// If the process dies before, or forgets it, whoever has this end next receives it once more.
    ///
    /// # Errors
    /// As [`StreamReceiver::recv`].
    ///
    /// # Blocking
    /// As [`StreamReceiver::recv`].
    pub fn recv_ref(&mut self) -> Result<StreamRef<'_, T>, RecvError> {
        self.ref_with(Patience::Endless)
    }

    /// [`StreamReceiver::recv_ref`], if a value is there now.
    ///
    /// # Errors
    /// As [`StreamReceiver::try_recv`].
    pub fn try_recv_ref(&mut self) -> Result<StreamRef<'_, T>, RecvError> {
        self.ref_with(Patience::None)
    }

    /// The next value in place if it is there now, without receiving it.
    ///
    /// # Errors
    /// As [`StreamReceiver::try_recv`].
    pub fn peek(&mut self) -> Result<&T, RecvError> {
        self.await_ready(Patience::None)?;
        let (lane, _) = self.lane()?;
        lane.front().ok_or(RecvError::Empty)
    }

    /// What is there now, without waiting.
    pub fn drain(&mut self) -> StreamDrain<'_, T> {
        StreamDrain { receiver: self }
    }

    /// Values until nothing will come any more, waiting for each.
    pub fn iter(&mut self) -> StreamIter<'_, T> {
        StreamIter { receiver: self }
    }

    #[inline]
    fn recv_with(&mut self, patience: Patience) -> Result<T, RecvError> {
        let (lane, spin_ticks) = self.lane()?;
        match lane.try_receive() {
            Ok(value) => Ok(value),
            Err(nothing) => {
                let found = wait_for(lane, nothing, patience, spin_ticks);
                found.and_then(|()| lane.try_receive().map_err(|nothing| failure(lane, nothing)))
            }
        }
    }

    fn ref_with(&mut self, patience: Patience) -> Result<StreamRef<'_, T>, RecvError> {
        self.await_ready(patience)?;
        let (lane, _) = self.lane()?;
        Ok(StreamRef { lane })
    }

    fn await_ready(&mut self, patience: Patience) -> Result<(), RecvError> {
        let (lane, spin_ticks) = self.lane()?;
        match lane.ready() {
            Ok(()) => Ok(()),
            Err(nothing) => wait_for(lane, nothing, patience, spin_ticks),
        }
    }

    /// The lane, picked up, and how long to spin at it.
    #[inline]
    fn lane(&mut self) -> Result<(&mut Lane<T>, u64), RecvError> {
        let end = self.end.as_ref().map_err(|reason| RecvError::NoChannel(reason.clone()))?;
        if end.held().is_foreign() {
            return Err(RecvError::NoChannel(ChannelError::NoRuntime(Rejection::ForkedHost)));
        }
        let lane = match self.lane.get_mut() {
            Some(lane) => lane,
            none => none.insert(pick_up(end)?),
        };
        Ok((lane, end.terms().spin_ticks))
    }
}

#[cold]
fn pick_up<T: Plain>(end: &LaneEnd) -> Result<Lane<T>, RecvError> {
    if !end.lane().pick_up(Role::Receiver, end.held().me()) {
        return Err(RecvError::NoChannel(ChannelError::InUse));
    }
    LaneReceiver::attach(end.views()).map_err(|_| RecvError::Damaged)
}

/// The first look found nothing.
#[cold]
fn wait_for<T: Plain>(
    lane: &mut Lane<T>,
    nothing: Nothing,
    patience: Patience,
    spin_ticks: u64,
) -> Result<(), RecvError> {
    if nothing != Nothing::Empty {
        return Err(failure(lane, nothing));
    }
    match wait(lane, patience, spin_ticks) {
        Some(found) => found.map_err(|nothing| failure(lane, nothing)),
        None if patience == Patience::None => Err(RecvError::Empty),
        None => Err(RecvError::TimedOut),
    }
}

#[cold]
fn failure<T: Plain>(lane: &Lane<T>, nothing: Nothing) -> RecvError {
    match nothing {
        Nothing::Empty | Nothing::Busy => RecvError::Empty,
        Nothing::Corrupt => RecvError::Damaged,
        Nothing::Over if lane.memory().common().standing().is_shut() => RecvError::Closed,
        Nothing::Over => RecvError::Disconnected,
    }
}

pub(super) fn len(end: Option<&LaneEnd>) -> usize {
    end.map_or(0, |end| usize::try_from(end.lane().len().min(end.capacity())).unwrap_or(usize::MAX))
}

pub(super) fn capacity(end: Option<&LaneEnd>) -> usize {
    end.map_or(0, |end| usize::try_from(end.capacity()).unwrap_or(usize::MAX))
}

impl<T: Plain> StreamReceiver<T> {
    pub(super) fn of(end: Arc<LaneEnd>) -> Self {
        Self { end: Ok(end), lane: RefCell::new(None) }
    }

    pub(super) fn refused(reason: ChannelError) -> Self {
        Self { end: Err(reason), lane: RefCell::new(None) }
    }

    fn end(&self) -> Option<&LaneEnd> {
        self.end.as_deref().ok().filter(|end| !end.held().is_foreign())
    }

    /// Closes the stream: nothing more can be sent; what was sent before is still received. False if it was closed already.
    pub fn close(&self) -> bool {
        self.end().is_some_and(|end| end.lane().close())
    }

    /// True if nothing will be sent any more: the stream was closed, the sender is gone, or the runtime has ended. There may
    /// be something to receive still.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().is_none_or(|end| end.lane().standing().is_over())
    }

    /// Values in the stream now.
    #[must_use]
    pub fn len(&self) -> usize {
        len(self.end())
    }

    /// True if there is no value in the stream now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values the stream holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        capacity(self.end())
    }

    /// Another value may use this end from now on.
    fn put_down(&self) {
        if let (Some(end), Some(lane)) = (self.end(), self.lane.take()) {
            drop(lane);
            end.lane().put_down(Role::Receiver);
        }
    }
}

impl<T: Plain> Drop for StreamReceiver<T> {
    fn drop(&mut self) {
        self.put_down();
    }
}

/// A value in its place in the stream, which is released when this is dropped.
#[derive(Debug)]
pub struct StreamRef<'a, T: Plain> {
    lane: &'a mut Lane<T>,
}

impl<T: Plain> Deref for StreamRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.lane.front() {
            Some(value) => value,
            None => unreachable!("found before this was made, and passed by nobody else"),
        }
    }
}

impl<T: Plain> Drop for StreamRef<'_, T> {
    fn drop(&mut self) {
        self.lane.pass();
    }
}

/// See [`StreamReceiver::drain`].
#[derive(Debug)]
pub struct StreamDrain<'a, T: Plain> {
    receiver: &'a mut StreamReceiver<T>,
}

impl<T: Plain> Iterator for StreamDrain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

/// See [`StreamReceiver::iter`].
#[derive(Debug)]
pub struct StreamIter<'a, T: Plain> {
    receiver: &'a mut StreamReceiver<T>,
}

impl<T: Plain> Iterator for StreamIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T: Plain> FusedIterator for StreamIter<'_, T> {}

impl<'a, T: Plain> IntoIterator for &'a mut StreamReceiver<T> {
    type Item = T;
    type IntoIter = StreamIter<'a, T>;

    fn into_iter(self) -> StreamIter<'a, T> {
        self.iter()
    }
}

impl<T: Plain> IntoIterator for StreamReceiver<T> {
    type Item = T;
    type IntoIter = StreamIntoIter<T>;

    fn into_iter(self) -> StreamIntoIter<T> {
        StreamIntoIter { receiver: self }
    }
}

/// Values until nothing will come any more, waiting for each.
#[derive(Debug)]
pub struct StreamIntoIter<T: Plain> {
    receiver: StreamReceiver<T>,
}

impl<T: Plain> Iterator for StreamIntoIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T: Plain> FusedIterator for StreamIntoIter<T> {}

impl<T: Plain> Serialize for StreamReceiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.end.as_ref().map_err(S::Error::custom)?;
        self.put_down();
        parcel::pack_lane(end, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for StreamReceiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = parcel::unpack_lane(deserializer)?;
        if end.held().role() != Role::Receiver || end.terms().kind != kind_of::<T>() || !end.is_of::<T>() {
            return Err(D::Error::custom("that is an end of another kind of stream"));
        }
        Ok(Self::of(end))
    }
}

impl<T: Plain> fmt::Debug for StreamReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReceiver")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
