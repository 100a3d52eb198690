//! Delivery: a message that was taken and not acknowledged.

use super::RecvError;
use super::open::Rules;
use super::receiver::unreadable;
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
    held: Option<(Taken, Kept)>,
    end: Arc<End>,
}

impl<T: Portable> Delivery<T> {
    pub(super) fn open(end: Arc<End>, taken: Taken) -> Result<Self, RecvError> {
        let deliveries = taken.word().deliveries().saturating_add(1);
        match letter::open_kept::<T>(&taken, &end) {
            Ok((value, kept)) => Ok(Self { value: Some(value), deliveries, held: Some((taken, kept)), end }),
            Err(error) => {
                let error = unreadable(&end, &error);
                // Nobody will ever read it.
                letter::throw_one_away(taken, &end.ring(), end.blocks(), end.me());
                Err(error)
            }
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
    pub fn ack(mut self) -> Option<T> {
        if let Some((taken, kept)) = self.held.take() {
            drop(kept);
            let ring = self.end.ring();
            ring.header().arrived().notify();
            ring.release(taken, self.end.me());
            ring.notify_room();
        }
        self.value.take()
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
        let Some((taken, kept)) = self.held.take() else { return };
        // The value may hold ends and blocks that the message carries too.
        self.value = None;
        if self.end.is_foreign() {
            std::mem::forget(kept);
            return;
        }
        let ring = self.end.ring();
        let deliveries_max = Rules::from_word(self.end.terms().terms).deliveries_max;
        if deliveries_max > 0 && self.deliveries >= deliveries_max {
            ring.header().dead_letters.add_shared(1);
            drop(kept);
            ring.release(taken, self.end.me());
            ring.notify_room();
            return;
        }
        kept.give_back(&self.end);
        ring.put_back(taken, self.end.me());
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("value", &self.value).field("deliveries", &self.deliveries).finish()
    }
}
