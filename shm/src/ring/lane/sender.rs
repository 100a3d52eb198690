//! The sending end of a lane.

use super::header::{LaneMemory, fence_everywhere};
use crate::gate::ArmedGate;
use crate::os::barrier::Light;
use crate::plain::Plain;
use crate::ring::mpmc::{Refused, Role, Standing};
use crate::ring::producer::{Loan, Producer, PushError};
use crate::ring::spsc::{AttachError, Position};

/// The sending end of a lane whose bytes lie in `M`. One at a time: see [`super::Lane::pick_up`].
#[derive(Debug)]
pub struct LaneSender<T: Plain, M: LaneMemory> {
    producer: Producer<T, M>,
    light: Light,
}

impl<T: Plain, M: LaneMemory> LaneSender<T, M> {
    /// Goes on where the last sender stopped. The caller has picked the end up.
    ///
    /// # Errors
    /// [`AttachError`] if the bytes make no sense.
    pub fn attach(memory: M) -> Result<Self, AttachError> {
        Ok(Self { producer: Producer::attach(memory)?, light: Light::register() })
    }

    /// Sends a value.
    ///
    /// # Errors
    /// [`Refused`]; the value was not, and will not be, received.
    #[inline]
    pub fn try_send(&mut self, value: &T) -> Result<(), Refused> {
        if self.memory().common().standing().refuses() {
            return Err(Refused::Over);
        }
        match self.producer.try_push(*value) {
            Ok(()) => self.announce(1).map(|_| ()),
            Err(PushError::Full(_)) => Err(Refused::Full),
            Err(PushError::Corrupt { .. }) => Err(Refused::Corrupt),
        }
    }

    /// Sends as many of `values` as there is room for, from the first; returns how many.
    ///
    /// # Errors
    /// [`Refused`], if not even the first was sent.
    #[inline]
    pub fn try_send_slice(&mut self, values: &[T]) -> Result<usize, Refused> {
        if self.memory().common().standing().refuses() {
            return Err(Refused::Over);
        }
        match self.producer.push_slice(values) {
            Ok(0) if values.is_empty() => Ok(0),
            Ok(0) => Err(Refused::Full),
            Ok(count) => self.announce(count),
            Err(_) => Err(Refused::Corrupt),
        }
    }

    /// Finds out whether there is room for a value.
    ///
    /// # Errors
    /// [`Refused`].
    #[inline]
    pub fn ready(&mut self) -> Result<(), Refused> {
        if self.memory().common().standing().refuses() {
            return Err(Refused::Over);
        }
        match self.producer.free() {
            Ok(0) => Err(Refused::Full),
            Ok(_) => Ok(()),
            Err(_) => Err(Refused::Corrupt),
        }
    }

    /// A free slot, to be filled in place.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_loan(&mut self) -> Result<LaneLoan<'_, T, M>, Refused> {
        self.ready()?;
        Ok(LaneLoan { sender: self })
    }

    /// The last `count` elements were published: the receiver is woken, or it turns out that there is none any more.
    #[inline]
    fn announce(&mut self, count: usize) -> Result<usize, Refused> {
        self.light.pass();
        let common = self.memory().common();
        if common.standing().refuses() {
            return self.settle(count);
        }
        common.not_empty().notify_after_fence();
        Ok(count)
    }

    /// The lane turned out to be over behind the publication: how many of the last `count` elements are received all the
    /// same?
    #[cold]
    fn settle(&mut self, count: usize) -> Result<usize, Refused> {
        let tail = self.producer.position();
        let lane = self.memory().lane();
        let standing = lane.standing();
        let end: Position =
            if standing.has_lost(Role::Receiver) { lane.received() } else { lane.end_at(tail) };
        let lost = usize::try_from(tail.saturating_sub(end)).unwrap_or(usize::MAX);
        match count.saturating_sub(lost) {
            0 => Err(Refused::Over),
            kept => {
                lane.wake_receiver();
                Ok(kept)
            }
        }
    }

    /// Announces that the caller will sleep until there is room. It must look once more before it does; if this says false,
    /// it must not sleep for long.
    pub fn arm(&self) -> (ArmedGate, bool) {
        let armed = self.memory().common().not_full().arm();
        (armed, fence_everywhere())
    }

    /// Where the lane's bytes lie.
    #[inline]
    pub fn memory(&self) -> &M {
        self.producer.memory()
    }

    /// Elements that fit.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.producer.capacity()
    }
}

/// A free slot, for the sender alone. Dropped, it is free again.
#[derive(Debug)]
#[must_use = "a loan that is not published is given back"]
pub struct LaneLoan<'a, T: Plain, M: LaneMemory> {
    sender: &'a mut LaneSender<T, M>,
}

impl<T: Plain, M: LaneMemory> LaneLoan<'_, T, M> {
    /// The value in place: an old one, until it is written.
    #[cfg(not(loom))]
    #[inline]
    #[must_use]
    pub fn value(&self) -> &T {
        self.sender.producer.vacant()
    }

    /// The value in place, to write.
    #[cfg(not(loom))]
    #[inline]
    #[must_use]
    pub fn value_mut(&mut self) -> &mut T {
        self.sender.producer.vacant_mut()
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// [`Refused::Over`]: it was not, and will not be, received; with what has become of the lane.
    #[inline]
    pub fn publish(self) -> Result<(), (Refused, Standing)> {
        let published = match self.sender.producer.loan(1) {
            Ok(loan) => {
                Loan::publish(loan, 1);
                self.sender.announce(1)
            }
            Err(_) => Err(Refused::Corrupt),
        };
        match published {
            Ok(_) => Ok(()),
            Err(refused) => Err((refused, self.sender.memory().common().standing())),
        }
    }
}
