//! The sending end of a broadcast.

use super::super::open::kind_of;
use super::super::patience::Patience;
use super::super::waits::{Waits, wait};
use super::open::{backpressure_of, keeping_of};
use super::{BroadcastReceiver, BroadcastStats};
use crate::channel::{Backpressure, BatchError, ChannelError, SendError};
use crate::error::Rejection;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::ring::broadcast::{BroadcastShape, Claim};
use gorun_shm::ring::mpmc::Refused;
use gorun_worker::broadcast::{BroadcastEnd, Leaflet};
use gorun_worker::codec::Portable;
use gorun_worker::parcel;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The end of a broadcast that sends. Clones, and what becomes of them in other processes, send to the same subscribers; these hear
/// of it when the last is gone.
pub struct BroadcastSender<T> {
    end: Result<Arc<BroadcastEnd>, ChannelError>,
    values: PhantomData<fn(T)>,
}

/// A sender that waits for a slot.
struct Claiming<'a>(&'a BroadcastEnd);

impl Waits for Claiming<'_> {
    type Found = Result<Claim, Refused>;

    fn look(&mut self) -> Option<Self::Found> {
        match self.0.claim(keeping_of(self.0.terms())) {
            Err(Refused::Full) => None,
            found => Some(found),
        }
    }

    fn gate(&self) -> &Gate {
        self.0.held().header().not_full()
    }

    fn arm(&self) -> (ArmedGate, bool) {
        (self.gate().arm(), true)
    }
}

impl<T: Portable> BroadcastSender<T> {
    /// Sends a value to everybody who subscribes now.
    ///
    /// # Errors
    /// [`SendError`] with the value: it was closed, no subscriber is left, the value cannot travel, or a subscriber is too far
    /// behind and the broadcast rejects.
    ///
    /// # Blocking
    /// While the slowest subscriber is a whole capacity behind, unless the [`Backpressure`] is another.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::Endless, true)
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// As [`BroadcastSender::send`], and [`SendError::Full`].
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::None, true)
    }

    /// Sends a value if there is room before `deadline`.
    ///
    /// # Errors
    /// As [`BroadcastSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`BroadcastSender::send`], until the deadline.
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::until(deadline), true)
    }

    /// Sends a value if there is room within `timeout`.
    ///
    /// # Errors
    /// As [`BroadcastSender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`BroadcastSender::send`], for the timeout at most.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::of(timeout), true)
    }

    /// Sends all values, one after the other, and wakes subscribers less often than so many `send`s would.
    ///
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent; pass `&mut iterator` to keep those behind it.
    ///
    /// # Blocking
    /// As [`BroadcastSender::send`].
    pub fn send_batch(&self, values: impl IntoIterator<Item = T>) -> Result<usize, BatchError<T>> {
        let mut sent = 0;
        let all = || {
            for value in values {
                self.send_with(value, Patience::Endless, false)
                    .map_err(|error| BatchError { sent, error })?;
                sent += 1;
            }
            Ok(sent)
        };
        let result = all();
        if let Ok(end) = self.end() {
            end.ring().notify_message();
        }
        result
    }

    #[inline]
    fn send_with(&self, value: T, patience: Patience, notifies: bool) -> Result<(), SendError<T>> {
        let end = match self.end() {
            Ok(end) => end,
            Err(reason) => return Err(SendError::NoChannel { value, reason }),
        };
        let leaflet = match Leaflet::seal(&value, end) {
            Ok(leaflet) => leaflet,
            Err(reason) => return Err(SendError::Unsendable { value, reason: reason.to_string() }),
        };
        match end.claim(keeping_of(end.terms())) {
            Ok(claim) => leaflet.post(claim, end),
            Err(refused) => match claim_late(end, refused, patience) {
                Ok(claim) => leaflet.post(claim, end),
                Err(None) => return Err(SendError::TimedOut(value)),
                Err(Some(refused)) => return Err(refusal(end, value, refused)),
            },
        }
        if notifies {
            end.ring().notify_message();
        }
        Ok(())
    }
}

/// The first attempt was refused. None if time was over.
#[cold]
fn claim_late(end: &BroadcastEnd, refused: Refused, patience: Patience) -> Result<Claim, Option<Refused>> {
    if refused != Refused::Full {
        return Err(Some(refused));
    }
    if backpressure_of(end.terms()) == Backpressure::Reject {
        end.ring().header().rejected.add_shared(1);
        return Err(Some(Refused::Full));
    }
    if patience == Patience::None {
        return Err(Some(Refused::Full));
    }
    // Of a batch nobody may have been told yet.
    end.ring().notify_message();
    match wait(&mut Claiming(end), patience, end.terms().spin_ticks) {
        Some(claimed) => claimed.map_err(Some),
        None => Err(None),
    }
}

#[cold]
fn refusal<T>(end: &BroadcastEnd, value: T, refused: Refused) -> SendError<T> {
    let standing = end.ring().header().standing();
    match refused {
        Refused::Full => SendError::Full(value),
        Refused::Corrupt => SendError::Damaged(value),
        Refused::Over if standing.is_closed() || standing.is_shut() => SendError::Closed(value),
        Refused::Over => SendError::Disconnected(value),
    }
}

impl<T> BroadcastSender<T> {
    pub(super) fn of(end: Arc<BroadcastEnd>) -> Self {
        Self { end: Ok(end), values: PhantomData }
    }

    pub(super) fn refused(reason: ChannelError) -> Self {
        Self { end: Err(reason), values: PhantomData }
    }

    fn end(&self) -> Result<&Arc<BroadcastEnd>, ChannelError> {
        let end = self.end.as_ref().map_err(Clone::clone)?;
        if end.held().is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        Ok(end)
    }

    /// A subscriber from now on.
    ///
    /// # Errors
    /// [`ChannelError::NoPlace`] if no subscriber is left, which ends a broadcast for good, or there are too many.
    pub fn subscribe(&self) -> Result<BroadcastReceiver<T>, ChannelError> {
        let no_place = ChannelError::NoPlace { most: BroadcastShape::CURSORS };
        self.end()?.subscribe().map(BroadcastReceiver::of).map_err(|_| no_place)
    }

    /// Ends sending: nothing more can be sent, by anybody; what was sent before is still received. False if it was closed
    /// already.
    pub fn close(&self) -> bool {
        self.end().is_ok_and(|end| end.ring().header().close())
    }

    /// True if nothing can be sent any more: it was closed, no subscriber is left, or the runtime has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().map_or(true, |end| end.ring().header().standing().refuses())
    }

    /// Messages that some subscriber has not received yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end().map_or(0, |end| usize::try_from(end.ring().len()).unwrap_or(usize::MAX))
    }

    /// True if everybody has received everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end().map_or(0, |end| super::receiver::capacity_of(&end.ring()))
    }

    /// Numbers of the broadcast.
    #[must_use]
    pub fn stats(&self) -> BroadcastStats {
        self.end().map_or_else(|_| BroadcastStats::default(), |end| BroadcastStats::of(&end.ring()))
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone(), values: PhantomData }
    }
}

impl<T> Serialize for BroadcastSender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::pack_broadcast(self.end.as_ref().map_err(S::Error::custom)?, serializer)
    }
}

impl<'de, T> Deserialize<'de> for BroadcastSender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = parcel::unpack_broadcast(deserializer)?;
        if end.terms().kind != kind_of::<T>() {
            return Err(D::Error::custom("that is an end of another kind of broadcast"));
        }
        Ok(Self::of(end))
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}
