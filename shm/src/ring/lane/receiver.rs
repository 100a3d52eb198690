//! The receiving end of a lane.

use super::header::{LaneMemory, fence_everywhere};
use crate::gate::ArmedGate;
use crate::os::barrier::Light;
use crate::plain::Plain;
use crate::ring::consumer::Consumer;
use crate::ring::mpmc::{Nothing, Role, Standing};
use crate::ring::spsc::AttachError;

/// The receiving end of a lane whose bytes lie in `M`. One at a time: see [`super::Lane::pick_up`].
#[derive(Debug)]
pub struct LaneReceiver<T: Plain, M: LaneMemory> {
    consumer: Consumer<T, M>,
    light: Light,
    /// Nothing will be received any more, whatever comes behind the agreed end.
    is_over: bool,
}

impl<T: Plain, M: LaneMemory> LaneReceiver<T, M> {
    /// Goes on where the last receiver stopped. The caller has picked the end up.
    ///
    /// # Errors
    /// [`AttachError`] if the bytes make no sense.
    pub fn attach(memory: M) -> Result<Self, AttachError> {
        let consumer = Consumer::attach(memory)?;
        let end = consumer.memory().lane().ended_at();
        let is_over = end.is_some_and(|end| end <= consumer.position());
        Ok(Self { consumer, light: Light::register(), is_over })
    }

    /// Receives the next value.
    ///
    /// # Errors
    /// [`Nothing`].
    #[inline]
    pub fn try_receive(&mut self) -> Result<T, Nothing> {
        self.ready()?;
        match self.consumer.try_pop() {
            Ok(Some(value)) => {
                self.announce();
                Ok(value)
            }
            Ok(None) => Err(Nothing::Empty),
            Err(_) => Err(Nothing::Corrupt),
        }
    }

    /// Receives what is there into `values`, from its first; returns how many, at least one unless there is no place.
    ///
    /// # Errors
    /// [`Nothing`].
    #[inline]
    pub fn try_receive_slice(&mut self, values: &mut [T]) -> Result<usize, Nothing> {
        self.ready()?;
        let count = self.consumer.pop_slice(values).map_err(|_| Nothing::Corrupt)?;
        self.announce();
        Ok(count)
    }

    /// The next value in place, if [`LaneReceiver::ready`] has found it. It stays the next one until it is passed.
    #[cfg(not(loom))]
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.consumer.front()
    }

    /// Releases the next value without a copy, if it was found to be there.
    #[inline]
    pub fn pass(&mut self) {
        self.consumer.pass();
        self.announce();
    }

    /// Finds out whether there is a next value.
    ///
    /// # Errors
    /// [`Nothing`].
    #[inline]
    pub fn ready(&mut self) -> Result<(), Nothing> {
        match self.consumer.is_empty() {
            Ok(false) if !self.is_over => Ok(()),
            Ok(_) => self.nothing(),
            Err(_) => Err(Nothing::Corrupt),
        }
    }

    /// There is nothing to take: will there be?
    #[inline]
    fn nothing(&mut self) -> Result<(), Nothing> {
        if self.is_over {
            return Err(Nothing::Over);
        }
        let standing = self.memory().common().standing();
        if standing.is_over() { self.last_look(standing) } else { Err(Nothing::Empty) }
    }

    /// The lane was over before this look: what it does not find will not be received.
    #[cold]
    fn last_look(&mut self, standing: Standing) -> Result<(), Nothing> {
        if !standing.has_lost(Role::Sender) {
            // The sender lives: it may have looked before the end and publish behind it.
            fence_everywhere();
        }
        if !self.consumer.is_empty().map_err(|_| Nothing::Corrupt)? {
            return Ok(());
        }
        let here = self.consumer.position();
        if !standing.has_lost(Role::Sender) && self.memory().lane().end_at(here) > here {
            // The sender was first: up to there its elements are seen now.
            return match self.consumer.is_empty() {
                Ok(false) => Ok(()),
                _ => Err(Nothing::Corrupt),
            };
        }
        self.is_over = true;
        Err(Nothing::Over)
    }

    /// Something was released: the sender is woken if it waits for room.
    #[inline]
    fn announce(&mut self) {
        self.light.pass();
        self.memory().common().not_full().notify_after_fence();
    }

    /// Announces that the caller will sleep until something comes. It must look once more before it does; if this says
    /// false, it must not sleep for long.
    pub fn arm(&self) -> (ArmedGate, bool) {
        let armed = self.memory().common().not_empty().arm();
        (armed, fence_everywhere())
    }

    /// Where the lane's bytes lie.
    #[inline]
    pub fn memory(&self) -> &M {
        self.consumer.memory()
    }

    /// Elements that fit.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.consumer.capacity()
    }
}
