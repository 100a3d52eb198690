//! Consumer: the reading end of an spsc ring. See `spsc` for the layout and `README.md` for the protocol.
//!
//! One live consumer per ring: it alone stores the head. An element is released as soon as it was copied out;
//! if this process dies between the two, the next consumer reads it again.
//!
//! Progress: wait-free.

use super::elements::Elements;
use super::spsc::{AttachError, CorruptRing, Position, RingMemory, check};
use crate::plain::Plain;

/// The reading end of a ring of `T` whose bytes lie in `M`.
#[derive(Debug)]
pub struct Consumer<T: Plain, M: RingMemory> {
    elements: Elements<T, M>,
    /// Next position to take; the shared head holds the same.
    head: Position,
    /// The producer's position when last looked at: never ahead of the truth.
    tail: Position,
}

impl<T: Plain, M: RingMemory> Consumer<T, M> {
    /// Becomes the consumer of the ring in `memory`: of a fresh one (zeroes), or where a dead one stopped.
    ///
    /// # Errors
    /// [`AttachError::BadCapacity`] if the words are not a power of two of elements, [`AttachError::Corrupt`]
    /// if the positions contradict each other.
    pub fn attach(memory: M) -> Result<Self, AttachError> {
        let elements = Elements::new(memory)?;
        let (tail, head) = elements.memory().header().positions(elements.capacity())?;
        Ok(Self { elements, head, tail })
    }

    /// Takes the oldest element, if one is published. Never blocks.
    ///
    /// # Errors
    /// [`CorruptRing`] if the producer's position cannot be.
    #[inline]
    pub fn try_pop(&mut self) -> Result<Option<T>, CorruptRing> {
        if self.ready_known() == 0 && self.refresh()? == 0 {
            return Ok(None);
        }
        let value = self.elements.read(self.head);
        crate::crash_point!("spsc.pop.read");
        self.release(1);
        Ok(Some(value))
    }

    /// Takes the oldest elements into `values`, from its first; returns how many. Never blocks.
    ///
    /// # Errors
    /// [`CorruptRing`] if the producer's position cannot be; nothing was taken.
    #[inline]
    pub fn pop_slice(&mut self, values: &mut [T]) -> Result<usize, CorruptRing> {
        let known = self.ready_known();
        let ready = if known < values.len() as u64 { self.refresh()? } else { known };
        let count = values.len().min(usize::try_from(ready).unwrap_or(usize::MAX));
        if count > 0 {
            self.elements.read_run(self.head, &mut values[..count]);
            crate::crash_point!("spsc.pop.read");
            self.release(count as u64);
        }
        Ok(count)
    }

    /// The oldest element in place, if one is known to be there: after [`Consumer::is_empty`] said no. It stays until it is
    /// passed.
    #[cfg(not(loom))]
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        (self.ready_known() > 0).then(|| self.elements.get(self.head))
    }

    /// Releases the oldest element without a copy, if one is known to be there.
    #[inline]
    pub fn pass(&mut self) {
        if self.ready_known() > 0 {
            self.release(1);
        }
    }

    /// Where the ring's bytes lie.
    #[inline]
    pub(super) fn memory(&self) -> &M {
        self.elements.memory()
    }

    /// Elements that are published and not yet taken.
    ///
    /// # Errors
    /// [`CorruptRing`] if the producer's position cannot be.
    pub fn len(&mut self) -> Result<u64, CorruptRing> {
        self.refresh()
    }

    /// True if there is nothing to take.
    ///
    /// # Errors
    /// [`CorruptRing`] if the producer's position cannot be.
    #[inline]
    pub fn is_empty(&mut self) -> Result<bool, CorruptRing> {
        Ok(self.ready_known() == 0 && self.refresh()? == 0)
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.elements.capacity()
    }

    /// Next position to take: the number of elements ever taken.
    #[must_use]
    pub fn position(&self) -> Position {
        self.head
    }

    /// Elements to take without a look at the other side.
    #[inline]
    fn ready_known(&self) -> u64 {
        self.tail.wrapping_sub(self.head)
    }

    /// Looks at the producer's position; returns the elements to take.
    #[inline]
    fn refresh(&mut self) -> Result<u64, CorruptRing> {
        let found = self.elements.memory().header().tail.seen();
        self.tail = check(found, self.tail, self.head.wrapping_add(self.capacity()))?;
        Ok(self.ready_known())
    }

    #[inline]
    fn release(&mut self, count: u64) {
        self.head = self.head.wrapping_add(count);
        self.elements.memory().header().head.publish(self.head);
        crate::crash_point!("spsc.pop.released");
    }
}
