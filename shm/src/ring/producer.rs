//! Producer: the writing end of an spsc ring. See `spsc` for the layout and `README.md` for the protocol.
//!
//! One live producer per ring: it alone stores the tail. Elements become visible to the consumer when they are
//! published, at once or `publish_every` at a time; an element that was pushed and not yet published is lost
//! if this process dies.
//!
//! Progress: wait-free.

use super::elements::Elements;
use super::spsc::{AttachError, CorruptRing, Position, RingMemory, check};
use crate::plain::Plain;
use crate::sync::AtomicU64;
use thiserror::Error;

/// Why a value was not pushed. Either way the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PushError<T> {
    /// Every slot holds an element that the consumer has not released.
    #[error("ring is full")]
    Full(T),
    /// The consumer's position cannot be.
    #[error("{ring}")]
    Corrupt {
        /// What was to be pushed.
        value: T,
        /// What was found in the header.
        ring: CorruptRing,
    },
}

/// The writing end of a ring of `T` whose bytes lie in `M`.
#[derive(Debug)]
pub struct Producer<T: Plain, M: RingMemory> {
    elements: Elements<T, M>,
    /// Next position to write. Ahead of `published` by what is written and not yet visible.
    tail: Position,
    /// What the shared tail holds.
    published: Position,
    /// The consumer's position when last looked at: never ahead of the truth.
    head: Position,
    /// Publish when so many are written, 1..=capacity.
    publish_every: u64,
}

impl<T: Plain, M: RingMemory> Producer<T, M> {
    /// Becomes the producer of the ring in `memory`: of a fresh one (zeroes), or where a dead one stopped.
    ///
    /// # Errors
    /// [`AttachError::BadCapacity`] if the words are not a power of two of elements, [`AttachError::Corrupt`]
    /// if the positions contradict each other.
    pub fn attach(memory: M) -> Result<Self, AttachError> {
        let elements = Elements::new(memory)?;
        let (tail, head) = elements.memory().header().positions(elements.capacity())?;
        Ok(Self { elements, tail, published: tail, head, publish_every: 1 })
    }

    /// Publishes only every `count` pushes (1..=capacity, clamped), on [`Producer::publish`], and before a push
    /// reports a full ring. Saves a third of the time per small element in a stream.
    #[must_use]
    pub fn publish_every(mut self, count: u64) -> Self {
        self.publish_every = count.clamp(1, self.capacity());
        self
    }

    /// Writes one value. Never blocks.
    ///
    /// # Errors
    /// [`PushError`] with the value.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.free_known() == 0 {
            match self.refresh() {
                Ok(0) => return Err(PushError::Full(value)),
                Ok(_) => {}
                Err(ring) => return Err(PushError::Corrupt { value, ring }),
            }
        }
        self.elements.write(self.tail, &value);
        crate::crash_point!("spsc.push.written");
        self.wrote(1);
        Ok(())
    }

    /// Writes as many of `values` as fit, from the first, and publishes them. Returns how many. Never blocks.
    ///
    /// # Errors
    /// [`CorruptRing`] if the consumer's position cannot be; nothing was written.
    #[inline]
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, CorruptRing> {
        let count = values.len().min(self.free_for(values.len())?);
        self.elements.write_run(self.tail, &values[..count]);
        crate::crash_point!("spsc.push.written");
        self.tail = self.tail.wrapping_add(count as u64);
        self.publish();
        Ok(count)
    }

    /// Hands out up to `count` free slots to be filled in place; fewer, even none, if the ring is that full.
    ///
    /// # Errors
    /// [`CorruptRing`] if the consumer's position cannot be.
    pub fn loan(&mut self, count: usize) -> Result<Loan<'_, T, M>, CorruptRing> {
        let count = count.min(self.free_for(count)?);
        Ok(Loan { producer: self, count })
    }

    /// Lets the consumer see everything written so far.
    #[inline]
    pub fn publish(&mut self) {
        self.elements.memory().header().tail.publish(self.tail);
        self.published = self.tail;
        crate::crash_point!("spsc.publish.stored");
    }

    /// Elements written (published or not) and not yet released by the consumer, as far as this end knows.
    ///
    /// # Errors
    /// [`CorruptRing`] if the consumer's position cannot be.
    pub fn len(&mut self) -> Result<u64, CorruptRing> {
        self.look()?;
        Ok(self.capacity() - self.free_known())
    }

    /// True if the consumer has released everything that was written.
    ///
    /// # Errors
    /// [`CorruptRing`] if the consumer's position cannot be.
    pub fn is_empty(&mut self) -> Result<bool, CorruptRing> {
        Ok(self.len()? == 0)
    }

    /// Number of slots.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.elements.capacity()
    }

    /// Next position to write: the number of elements ever pushed.
    #[must_use]
    pub fn position(&self) -> Position {
        self.tail
    }

    /// Where the ring's bytes lie.
    #[inline]
    pub(super) fn memory(&self) -> &M {
        self.elements.memory()
    }

    /// Free slots, with a look at the consumer's position only if none is known.
    ///
    /// # Errors
    /// [`CorruptRing`] if the consumer's position cannot be.
    #[inline]
    pub fn free(&mut self) -> Result<u64, CorruptRing> {
        match self.free_known() {
            0 => self.refresh(),
            known => Ok(known),
        }
    }

    /// The next slot in place, with an old element: free, as [`Producer::free`] has said.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn vacant(&self) -> &T {
        self.elements.get(self.tail)
    }

    /// The next slot in place, to write: free, as [`Producer::free`] has said.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn vacant_mut(&mut self) -> &mut T {
        self.elements.get_mut(self.tail)
    }

    #[inline]
    fn wrote(&mut self, count: u64) {
        self.tail = self.tail.wrapping_add(count);
        if self.tail.wrapping_sub(self.published) >= self.publish_every {
            self.publish();
        }
    }

    /// Free slots without a look at the other side. Cannot underflow: `check` keeps `head` within a capacity.
    #[inline]
    fn free_known(&self) -> u64 {
        self.capacity() - self.tail.wrapping_sub(self.head)
    }

    /// Free slots, with a look at the other side only if fewer than `wanted` are known.
    #[inline]
    fn free_for(&mut self, wanted: usize) -> Result<usize, CorruptRing> {
        let known = self.free_known();
        let free = if known < wanted as u64 { self.refresh()? } else { known };
        Ok(usize::try_from(free).unwrap_or(usize::MAX))
    }

    /// Looks at the consumer's position; returns the free slots. If there are none, publishes what is not yet
    /// published: a producer that is told so may go to sleep, and the consumer should see everything meanwhile.
    #[cold]
    fn refresh(&mut self) -> Result<u64, CorruptRing> {
        self.look()?;
        let free = self.free_known();
        if free == 0 && self.published != self.tail {
            self.publish();
        }
        Ok(free)
    }

    #[inline]
    fn look(&mut self) -> Result<(), CorruptRing> {
        let found = self.elements.memory().header().head.seen();
        self.head = check(found, self.head, self.tail)?;
        Ok(())
    }
}

impl<T: Plain, M: RingMemory> Drop for Producer<T, M> {
    fn drop(&mut self) {
        // A push that was answered with Ok is not taken back.
        if self.published != self.tail {
            self.publish();
        }
    }
}

/// The exclusive right to fill some slots of a ring. Dropped, it gives them back unpublished.
#[derive(Debug)]
#[must_use = "a loan that is not published is given back"]
pub struct Loan<'a, T: Plain, M: RingMemory> {
    producer: &'a mut Producer<T, M>,
    count: usize,
}

impl<T: Plain, M: RingMemory> Loan<'_, T, M> {
    /// Slots that may be filled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if the ring had no room at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The words of slot `index`, to be written (Relaxed is enough) in place. They hold an old element.
    ///
    /// # Panics
    /// If `index` is not below [`Loan::len`].
    #[inline]
    #[must_use]
    pub fn words(&self, index: usize) -> &[AtomicU64] {
        assert!(index < self.count, "slot {index} of a loan of {}", self.count);
        self.producer.elements.slot(self.producer.tail.wrapping_add(index as u64))
    }

    /// Writes a whole value to slot `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Loan::len`].
    #[inline]
    pub fn write(&mut self, index: usize, value: &T) {
        assert!(index < self.count, "slot {index} of a loan of {}", self.count);
        self.producer.elements.write(self.producer.tail.wrapping_add(index as u64), value);
    }

    /// Lets the consumer see the first `count` slots; the rest is given back.
    ///
    /// # Panics
    /// If `count` is more than [`Loan::len`].
    #[inline]
    pub fn publish(self, count: usize) {
        assert!(count <= self.count, "{count} slots of a loan of {}", self.count);
        crate::crash_point!("spsc.loan.written");
        self.producer.tail = self.producer.tail.wrapping_add(count as u64);
        self.producer.publish();
    }
}
