//! Delivery: a message that was taken and not acknowledged.

use super::open::Rules;
use super::receiver::unreadable;
use super::{AckError, RecvError, lease};
use gorun_shm::ring::mpmc::Taken;
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::letter::{self, Kept};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value that keeps its place in the channel until it is acknowledged.
///
/// Dropped, or when its process is killed, the message comes back to its place and is delivered again, to any receiver; after
/// [`deliveries_max`](super::Channel::deliveries_max) deliveries it is given up instead.
///
/// The ring has so many places as the channel holds messages, and they are used in order: a delivery that is kept for long
/// makes senders wait once the others have come round to it.
#[must_use = "a delivery that is dropped is delivered again"]
pub struct Delivery<T> {
    value: Option<T>,
    deliveries: u8,
    /// None once it was acknowledged.
    held: Option<(Taken, Hold)>,
    end: Arc<End>,
}

/// What keeps the message meanwhile.
enum Hold {
    /// This process has what it lies in.
    Kept(Kept),
    /// Nothing: it may be taken away.
    Leased,
}

impl<T: Portable> Delivery<T> {
    pub(super) fn open(end: Arc<End>, taken: Taken) -> Result<Self, RecvError> {
        let deliveries = taken.word().deliveries().saturating_add(1);
        let opened = if end.terms().lease_ns > 0 {
            lease::begin(&end, &taken);
            letter::open_copy::<T>(&taken, &end).map(|value| (value, Hold::Leased))
        } else {
            letter::open_kept::<T>(&taken, &end).map(|(value, kept)| (Some(value), Hold::Kept(kept)))
        };
        match opened {
            Ok((Some(value), hold)) => {
                Ok(Self { value: Some(value), deliveries, held: Some((taken, hold)), end })
            }
            // Taken away before it was read: this process was stopped for so long.
            Ok((None, _)) => Err(RecvError::Empty),
            Err(error) => {
                let error = unreadable(&end, &error);
                // Nobody will ever read it.
                letter::let_go(taken, &end);
                Err(error)
            }
        }
    }

    /// Acknowledges the message and gives its value, whether or not it was in time.
    pub(super) fn acknowledge(mut self) -> T {
        self.settle();
        self.value()
    }

    fn value(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("taken out here only, which takes the delivery"),
        }
    }
}

impl<T> Delivery<T> {
    /// How often the message was delivered, this time included; stays at 8.
    #[must_use]
    pub fn deliveries(&self) -> u8 {
        self.deliveries
    }

    /// The message was dealt with: its place is free.
    ///
    /// # Errors
    /// [`AckError::TooLate`] if its time was over, and somebody else has it or will: see
    /// [`Channel::ack_within`](super::Channel::ack_within).
    pub fn ack(mut self) -> Result<T, AckError> {
        if !self.settle() {
            return Err(AckError::TooLate);
        }
        self.value.take().ok_or(AckError::TooLate)
    }

    /// Frees the message's place; false if it was taken away.
    fn settle(&mut self) -> bool {
        let end = &self.end;
        match self.held.take() {
            None => false,
            Some((taken, Hold::Leased)) => letter::let_go(taken, end),
            Some((taken, Hold::Kept(kept))) => {
                drop(kept);
                let ring = end.ring();
                ring.header().arrived().notify();
                let released = ring.release(taken, end.me());
                ring.notify_room();
                released
            }
        }
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("taken out by `ack` only, which takes the delivery"),
        }
    }
}

impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        let Some((taken, hold)) = self.held.take() else { return };
        // The value may hold ends and blocks that the message carries too.
        self.value = None;
        if self.end.is_foreign() {
            std::mem::forget(hold);
            return;
        }
        let end = Arc::clone(&self.end);
        let ring = end.ring();
        let deliveries_max = Rules::from_word(self.end.terms().terms).deliveries_max;
        if deliveries_max > 0 && self.deliveries >= deliveries_max {
            self.held = Some((taken, hold));
            if self.settle() {
                ring.header().dead_letters.add_shared(1);
            }
            return;
        }
        if let Hold::Kept(kept) = hold {
            kept.give_back(&self.end);
        }
        ring.put_back(taken, self.end.me());
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("value", &self.value).field("deliveries", &self.deliveries).finish()
    }
}
