//! The sending end of a stream.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::waits::{Waits, wait};
use super::{ChannelError, Rejection};
use crate::channel::{BatchError, SendError};
use gorun_shm::Plain;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::ring::lane::{LaneLoan, LaneMemory, LaneSender};
use gorun_shm::ring::mpmc::{Refused, Role, Standing};
use gorun_worker::lane::{LaneEnd, LaneViews};
use gorun_worker::parcel;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Lane<T> = LaneSender<T, LaneViews>;

/// The end of a stream that sends. There is one; it can be sent to another process, which gives it up here.
///
/// Dropped, or dead with its process, it ends the stream: the receiver hears of that when it has received everything.
pub struct StreamSender<T: Plain> {
    end: Result<Arc<LaneEnd>, ChannelError>,
    /// Taken up at the first use, put down when it is sent or dropped.
    lane: RefCell<Option<Lane<T>>>,
}

impl<T: Plain> Waits for Lane<T> {
    type Found = Result<(), Refused>;

    fn look(&mut self) -> Option<Self::Found> {
        match self.ready() {
            Err(Refused::Full) => None,
            found => Some(found),
        }
    }

    fn gate(&self) -> &Gate {
        self.memory().common().not_full()
    }

    fn arm(&self) -> (ArmedGate, bool) {
        LaneSender::arm(self)
    }
}

impl<T: Plain> StreamSender<T> {
    /// Sends a value. The receiver sees it at once.
    ///
    /// # Errors
    /// [`SendError`] with the value: the stream is closed, the receiver is gone, or another value has this end.
    ///
    /// # Blocking
    /// While the stream is full.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::Endless)
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// As [`StreamSender::send`], and [`SendError::Full`].
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::None)
    }

    /// Sends a value if there is room before `deadline`.
    ///
    /// # Errors
    /// As [`StreamSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`StreamSender::send`], until the deadline.
    pub fn send_until(&mut self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::until(deadline))
    }

    /// Sends a value if there is room within `timeout`.
    ///
    /// # Errors
    /// As [`StreamSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`StreamSender::send`], for the timeout at most.
    pub fn send_timeout(&mut self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::of(timeout))
    }

    /// Sends all of `values`, as many at a time as there is room for: the fastest way.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent.
    ///
    /// # Blocking
    /// As [`StreamSender::send`].
    pub fn send_slice(&mut self, values: &[T]) -> Result<(), BatchError<T>> {
        let mut sent = 0;
        while let Some(next) = values.get(sent) {
            let mut batch = || -> Result<usize, SendError<T>> {
                let (lane, spin_ticks) = self.lane().map_err(|reason| no_channel(*next, reason))?;
                match lane.try_send_slice(&values[sent..]) {
                    Ok(count) => Ok(count),
                    Err(Refused::Full) => match wait(lane, Patience::Endless, spin_ticks) {
                        Some(Err(refused)) => Err(refusal(lane, *next, refused)),
                        _ => Ok(0),
                    },
                    Err(refused) => Err(refusal(lane, *next, refused)),
                }
            };
            match batch() {
                Ok(count) => sent += count,
                Err(error) => return Err(BatchError { sent, error }),
            }
        }
        Ok(())
    }

    /// Sends as many of `values` as there is room for now, from the first; returns how many, at least one.
    ///
    /// # Errors
    /// As [`StreamSender::try_send`], with the first value.
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, SendError<T>> {
        let Some(first) = values.first() else { return Ok(0) };
        let (lane, _) = self.lane().map_err(|reason| no_channel(*first, reason))?;
        lane.try_send_slice(values).map_err(|refused| refusal(lane, *first, refused))
    }

    /// Sends all values, a few at a time.
    ///
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent; up to 31 behind it were taken from the iterator too.
    ///
    /// # Blocking
    /// As [`StreamSender::send`].
    pub fn send_batch(&mut self, values: impl IntoIterator<Item = T>) -> Result<usize, BatchError<T>> {
        /// Publishing so many at once is as good as more.
        const AT_ONCE: usize = 32;
        let (mut values, mut sent) = (values.into_iter(), 0);
        let mut batch = Vec::with_capacity(AT_ONCE);
        loop {
            batch.extend(values.by_ref().take(AT_ONCE));
            if batch.is_empty() {
                return Ok(sent);
            }
            self.send_slice(&batch).map_err(|error| BatchError { sent: sent + error.sent, ..error })?;
            sent += batch.len();
            batch.clear();
        }
    }

    /// A free place in the stream, to write the next value where it will be read.
    ///
    /// ```
    /// # let (mut sender, mut receiver) = gorun_runtime::stream::<[u64; 512]>(4);
    /// let mut page = sender.loan()?;
    /// page.fill(7);
    /// page.publish().expect("there is a receiver");
    /// assert_eq!(receiver.recv_ref().expect("a page came")[511], 7);
    /// # Ok::<(), gorun_runtime::SendError<()>>(())
    /// ```
    ///
    /// # Errors
    /// As [`StreamSender::send`], without a value.
    ///
    /// # Blocking
    /// As [`StreamSender::send`].
    pub fn loan(&mut self) -> Result<StreamLoan<'_, T>, SendError<()>> {
        let (lane, spin_ticks) = self.lane().map_err(|reason| no_channel((), reason))?;
        let found = match lane.look() {
            Some(found) => Some(found),
            None => wait(lane, Patience::Endless, spin_ticks),
        };
        match found.unwrap_or(Err(Refused::Full)) {
            // What was free stays free: there is no other sender.
            Ok(()) => lane.try_loan().map(StreamLoan).map_err(|_| SendError::Disconnected(())),
            Err(refused) => Err(refusal(lane, (), refused)),
        }
    }

    /// [`StreamSender::loan`], if there is room now.
    ///
    /// # Errors
    /// As [`StreamSender::loan`], and [`SendError::Full`].
    pub fn try_loan(&mut self) -> Result<StreamLoan<'_, T>, SendError<()>> {
        let (lane, _) = self.lane().map_err(|reason| no_channel((), reason))?;
        match lane.ready() {
            Ok(()) => lane.try_loan().map(StreamLoan).map_err(|_| SendError::Disconnected(())),
            Err(refused) => Err(refusal(lane, (), refused)),
        }
    }

    #[inline]
    fn send_with(&mut self, value: T, patience: Patience) -> Result<(), SendError<T>> {
        let (lane, spin_ticks) = match self.lane() {
            Ok(lane) => lane,
            Err(reason) => return Err(no_channel(value, reason)),
        };
        match lane.try_send(&value) {
            Ok(()) => Ok(()),
            Err(refused) => send_late(lane, value, refused, patience, spin_ticks),
        }
    }

    /// The lane, picked up, and how long to spin at it.
    #[inline]
    fn lane(&mut self) -> Result<(&mut Lane<T>, u64), ChannelError> {
        let end = self.end.as_ref().map_err(Clone::clone)?;
        if end.held().is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let lane = match self.lane.get_mut() {
            Some(lane) => lane,
            none => none.insert(pick_up(end)?),
        };
        Ok((lane, end.terms().spin_ticks))
    }
}

#[cold]
fn pick_up<T: Plain>(end: &LaneEnd) -> Result<Lane<T>, ChannelError> {
    if !end.lane().pick_up(Role::Sender, end.held().me()) {
        return Err(ChannelError::InUse);
    }
    // Fails only over nonsense that another process wrote.
    LaneSender::attach(end.views()).map_err(|_| ChannelError::Closed)
}

#[cold]
fn no_channel<T>(value: T, reason: ChannelError) -> SendError<T> {
    SendError::NoChannel { value, reason }
}

/// The first attempt was refused.
#[cold]
fn send_late<T: Plain>(
    lane: &mut Lane<T>,
    value: T,
    refused: Refused,
    patience: Patience,
    spin_ticks: u64,
) -> Result<(), SendError<T>> {
    let mut refused = refused;
    while refused == Refused::Full {
        match wait(lane, patience, spin_ticks) {
            None if patience == Patience::None => return Err(SendError::Full(value)),
            None => return Err(SendError::TimedOut(value)),
            Some(_) => match lane.try_send(&value) {
                Ok(()) => return Ok(()),
                Err(again) => refused = again,
            },
        }
    }
    Err(refusal(lane, value, refused))
}

#[cold]
fn refusal<T: Plain, V>(lane: &Lane<T>, value: V, refused: Refused) -> SendError<V> {
    refusal_by(lane.memory().common().standing(), value, refused)
}

fn refusal_by<V>(standing: Standing, value: V, refused: Refused) -> SendError<V> {
    match refused {
        Refused::Full => SendError::Full(value),
        Refused::Corrupt => SendError::Damaged(value),
        Refused::Over if standing.is_closed() || standing.is_shut() => SendError::Closed(value),
        Refused::Over => SendError::Disconnected(value),
    }
}

impl<T: Plain> StreamSender<T> {
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

    /// True if nothing can be sent any more: the stream was closed, the receiver is gone, or the runtime has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().is_none_or(|end| end.lane().standing().refuses())
    }

    /// Values in the stream now.
    #[must_use]
    pub fn len(&self) -> usize {
        super::receiver::len(self.end())
    }

    /// True if there is no value in the stream now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values the stream holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        super::receiver::capacity(self.end())
    }

    /// Another value may use this end from now on.
    fn put_down(&self) {
        if let (Some(end), Some(lane)) = (self.end(), self.lane.take()) {
            drop(lane);
            end.lane().put_down(Role::Sender);
        }
    }
}

impl<T: Plain> Drop for StreamSender<T> {
    fn drop(&mut self) {
        self.put_down();
    }
}

/// A free place in a stream. Dropped, nothing was sent.
#[derive(Debug)]
#[must_use = "a loan that is not published is given back"]
pub struct StreamLoan<'a, T: Plain>(LaneLoan<'a, T, LaneViews>);

impl<T: Plain> StreamLoan<'_, T> {
    /// Sends what was written.
    ///
    /// # Errors
    /// As [`StreamSender::send`], without the value: the stream has ended meanwhile.
    #[inline]
    pub fn publish(self) -> Result<(), SendError<()>> {
        self.0.publish().map_err(|(refused, standing)| refusal_by(standing, (), refused))
    }
}

impl<T: Plain> Deref for StreamLoan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: Plain> DerefMut for StreamLoan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.value_mut()
    }
}

impl<T: Plain> Serialize for StreamSender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.end.as_ref().map_err(S::Error::custom)?;
        self.put_down();
        parcel::pack_lane(end, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for StreamSender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = parcel::unpack_lane(deserializer)?;
        if end.held().role() != Role::Sender || end.terms().kind != kind_of::<T>() || !end.is_of::<T>() {
            return Err(D::Error::custom("that is an end of another kind of stream"));
        }
        Ok(Self::of(end))
    }
}

impl<T: Plain> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
