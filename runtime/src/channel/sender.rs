//! The sending end.

use super::future::SendFuture;
use super::open::{Rules, kind_of};
use super::patience::{Patience, Waiting};
use super::{Backpressure, BatchError, ChannelError, ChannelStats, SendError};
use crate::error::Rejection;
use gorun_shm::ring::mpmc::{Claim, Message, Position, Refused, Role};
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::letter::{self, Draft, Letter, Withdrawn};
use gorun_worker::parcel;
use gorun_worker::transit::OnItsWay;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait of `try_send` for a receiver of a rendezvous that has said that it waits.
const HAND_OVER: Duration = Duration::from_millis(1);

/// Receivers hear of a batch so often: soon enough to be at work while the rest of it is sent.
const TOLD_EVERY: usize = 32;

/// The end of a channel that sends. Clones, and what becomes of them in other processes, send into the same channel;
/// receivers hear of it when the last is gone.
pub struct Sender<T> {
    end: Result<Arc<End>, ChannelError>,
    values: PhantomData<fn(T)>,
}

/// Why a claim was refused, without the value.
#[derive(Debug)]
pub(super) enum NoClaim {
    Full,
    TimedOut,
    Closed,
    Disconnected,
    Damaged,
    Unsendable,
}

impl NoClaim {
    pub(super) fn with<T>(self, value: T) -> SendError<T> {
        match self {
            Self::Full => SendError::Full(value),
            Self::TimedOut => SendError::TimedOut(value),
            Self::Closed => SendError::Closed(value),
            Self::Disconnected => SendError::Disconnected(value),
            Self::Damaged => SendError::Damaged(value),
            Self::Unsendable => SendError::Unsendable { value, reason: "the value cannot travel".into() },
        }
    }
}

impl<T: Portable> Sender<T> {
    /// Sends a value.
    ///
    /// # Errors
    /// [`SendError`] with the value: the channel is closed, no receiver is left, the value cannot travel, or the channel is
    /// full and rejects.
    ///
    /// # Blocking
    /// While the channel is full, unless its [`Backpressure`] is another; of a rendezvous until it was received.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.send_at_once(&value) { Ok(()) } else { self.send_with(value, Patience::Endless) }
    }

    /// Sends a value if there is room now. Into a rendezvous only if a receiver waits, for which it may wait a moment.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`SendError::Full`].
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        if self.send_at_once(&value) { Ok(()) } else { self.send_with(value, Patience::None) }
    }

    /// Sends a value if there is room before `deadline`.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Sender::send`], until the deadline.
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::until(deadline))
    }

    /// Sends a value if there is room within `timeout`.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`SendError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Sender::send`], for the timeout at most.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_with(value, Patience::of(timeout))
    }

    /// Sends a value when there is room, as a future.
    pub fn send_async(&self, value: T) -> SendFuture<T> {
        SendFuture::new(self.clone(), value)
    }

    /// Sends all values, one after the other, and wakes receivers less often than so many `send`s would.
    ///
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`BatchError`] at the first that is not sent; pass `&mut iterator` to keep those behind it.
    ///
    /// # Blocking
    /// As [`Sender::send`].
    pub fn send_batch(&self, values: impl IntoIterator<Item = T>) -> Result<usize, BatchError<T>> {
        let mut sent = 0;
        for value in values {
            if let Err(error) = self.send_quietly(value) {
                self.announce();
                return Err(BatchError { sent, error });
            }
            sent += 1;
            if sent % TOLD_EVERY == 0 {
                self.announce();
            }
        }
        self.announce();
        Ok(sent)
    }

    /// What most sends are: a small value, and there is room. False if there is more to it, and nothing has happened.
    #[inline]
    fn send_at_once(&self, value: &T) -> bool {
        self.post_at_once(value).map(|end| end.ring().notify_message()).is_some()
    }

    /// [`Sender::send_at_once`], but receivers are not told.
    #[inline]
    fn post_at_once(&self, value: &T) -> Option<&End> {
        let end = self.end.as_ref().ok()?;
        if end.is_foreign() || !Rules::are_plain(&end.terms()) {
            return None;
        }
        let mut draft = Draft::blank();
        let message = draft.write(value, end)?;
        let claim = end.ring().claim(end.me()).ok()?;
        end.ring().publish(claim, end.me(), message, draft.words(message));
        Some(end)
    }

    fn announce(&self) {
        if let Ok(end) = &self.end {
            end.ring().notify_message();
        }
    }

    /// Sends without waking a receiver, unless there is no room.
    fn send_quietly(&self, value: T) -> Result<(), SendError<T>> {
        if self.post_at_once(&value).is_some() {
            return Ok(());
        }
        // Before a wait for room: whoever makes it may be asleep.
        self.announce();
        self.send_with(value, Patience::Endless)
    }

    #[cold]
    pub(super) fn send_with(&self, value: T, patience: Patience) -> Result<(), SendError<T>> {
        let end = match self.end() {
            Ok(end) => end,
            Err(reason) => return Err(SendError::NoChannel { value, reason }),
        };
        let letter = match Letter::seal(&value, end) {
            Ok(letter) => letter,
            Err(reason) => return Err(SendError::Unsendable { value, reason: reason.to_string() }),
        };
        let rules = self.rules(end);
        if rules.is_rendezvous {
            return meet(end, letter, patience).map_err(|refused| refused.with(value));
        }
        match claim(end, rules, patience) {
            Ok(claim) => {
                let (_, way) = letter.post(claim, end);
                way.into_iter().for_each(OnItsWay::stay);
                let ring = end.ring();
                ring.notify_message();
                ring.pass_on_room();
                Ok(())
            }
            Err(refused) => Err(refused.with(value)),
        }
    }
}

impl<T> Sender<T> {
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

    /// True if a send that finds no room may find some later.
    pub(super) fn waits(&self) -> bool {
        self.end().is_ok_and(|end| self.rules(end).waits())
    }

    pub(super) fn rules(&self, end: &End) -> Rules {
        Rules::from_word(end.terms().terms)
    }

    /// Closes the channel: nothing more can be sent, by anybody; what was sent before is still received. False if it was
    /// closed already.
    pub fn close(&self) -> bool {
        self.end().is_ok_and(|end| end.ring().close())
    }

    /// True if nothing can be sent any more: the channel was closed, no receiver is left, or the runtime has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().map_or(true, |end| end.ring().standing().refuses())
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
        self.end().map_or(0, |end| super::receiver::capacity_of(end))
    }

    /// Numbers of the channel.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.end().map_or_else(|_| ChannelStats::default(), |end| ChannelStats::of(end.ring().header()))
    }
}

/// One attempt at a slot; none if there is no room, and waiting may help.
pub(super) fn try_claim(end: &End, rules: Rules) -> Option<Result<Claim, NoClaim>> {
    let ring = end.ring();
    loop {
        return match ring.claim(end.me()) {
            Ok(claim) => Some(Ok(claim)),
            Err(Refused::Over) => Some(Err(ended(end))),
            Err(Refused::Corrupt) => Some(Err(NoClaim::Damaged)),
            Err(Refused::Full) => match rules.backpressure {
                Backpressure::Wait => None,
                Backpressure::Reject => {
                    ring.header().rejected.add_shared(1);
                    Some(Err(NoClaim::Full))
                }
                Backpressure::OverwriteOldest => match ring.take(end.me()) {
                    Ok(oldest) => {
                        ring.header().overwritten.add_shared(1);
                        letter::throw_one_away(oldest, &ring, end.blocks(), end.me());
                        continue;
                    }
                    // The others are about to free a slot, or it is free already.
                    Err(_) => None,
                },
            },
        };
    }
}

fn ended(end: &End) -> NoClaim {
    let standing = end.ring().standing();
    if standing.is_closed() || standing.is_shut() { NoClaim::Closed } else { NoClaim::Disconnected }
}

fn claim(end: &End, rules: Rules, patience: Patience) -> Result<Claim, NoClaim> {
    let claimed = patience.wait(&Waiting::for_room(end), || try_claim(end, rules));
    claimed.unwrap_or(Err(if patience == Patience::None { NoClaim::Full } else { NoClaim::TimedOut }))
}

/// A letter in a rendezvous that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Posted {
    position: Position,
    message: Message,
    withdrawn: Withdrawn,
    way: Option<OnItsWay>,
}

impl Posted {
    fn post(letter: Letter, claim: Claim, end: &End) -> Self {
        let (message, withdrawn) = (letter.message(), letter.to_withdraw());
        let (position, way) = letter.post(claim, end);
        end.ring().notify_message();
        Self { position, message, withdrawn, way }
    }

    /// Posts a value if there is no other letter; none if there is.
    pub(super) fn try_post<T: Portable>(value: &T, end: &End) -> Option<Result<Self, NoClaim>> {
        let Ok(letter) = Letter::seal(value, end) else { return Some(Err(NoClaim::Unsendable)) };
        let claimed = try_claim(end, Rules::from_word(end.terms().terms))?;
        Some(claimed.map(|claim| Self::post(letter, claim, end)))
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Takes the letter back if nobody has taken it.
    pub(super) fn settle(self, end: &End) -> Result<(), NoClaim> {
        let Self { position, message, withdrawn, way } = self;
        let ring = end.ring();
        if !ring.withdraw(position, end.me(), message) {
            way.into_iter().for_each(OnItsWay::stay);
            return Ok(());
        }
        letter::take_back(end, &withdrawn);
        // Others wait for this place.
        ring.header().not_full().wake_all();
        Err(if ring.standing().refuses() { ended(end) } else { NoClaim::TimedOut })
    }
}

/// Sends into a rendezvous: waits until the letter was taken, or takes it back.
fn meet(end: &End, letter: Letter, patience: Patience) -> Result<(), NoClaim> {
    let header = end.ring().header();
    let is_hasty = patience == Patience::None;
    if is_hasty && !header.not_empty().has_waiter() {
        return Err(NoClaim::Full);
    }
    let claim = claim(end, Rules::from_word(end.terms().terms), patience)?;
    let posted = Posted::post(letter, claim, end);
    await_taken(end, posted.position, if is_hasty { Patience::of(HAND_OVER) } else { patience });
    posted.settle(end).map_err(|refused| match refused {
        NoClaim::TimedOut if is_hasty => NoClaim::Full,
        other => other,
    })
}

/// Waits until the letter was taken, or patience or the channel is over.
fn await_taken(end: &End, position: Position, patience: Patience) {
    let ring = end.ring();
    let is_over = || (ring.was_taken(position) || ring.standing().refuses()).then_some(());
    // Patience that is over is found by the caller.
    let _ = patience.wait(&Waiting::for_room(end), is_over);
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone(), values: PhantomData }
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = parcel::unpack_end(deserializer)?;
        if end.role() != Role::Sender || end.terms().kind != kind_of::<T>() {
            return Err(D::Error::custom("that is an end of another kind of channel"));
        }
        Ok(Self::of(end))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
