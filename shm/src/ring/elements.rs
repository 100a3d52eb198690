//! Elements of a ring: plain values copied in and out of shared words.
//!
//! The two ends order their accesses by the ring's positions: a slot is written only between the consumer's
//! release and the producer's publication, and read only between the publication and the next release. An end
//! that does not keep to this can tear a value and do no other harm, since any bytes are a [`Plain`] value.
//!
//! Progress: wait-free.
// UNSAFETY: an element is moved in and out of its words by one wide copy.
#![cfg_attr(not(loom), expect(unsafe_code, reason = "copying word by word was measured a third slower"))]

use super::spsc::{AttachError, CAPACITY_MAX, Position, RingMemory};
use crate::plain::Plain;
use crate::sync::AtomicU64;
use moves::{load, store};
use std::marker::PhantomData;

/// The slots of a ring of `T`.
#[derive(Debug)]
pub(super) struct Elements<T, M> {
    memory: M,
    /// Number of slots, a power of two.
    capacity: u64,
    values: PhantomData<fn() -> T>,
}

impl<T: Plain, M: RingMemory> Elements<T, M> {
    /// Words of one element.
    const EACH: usize = {
        assert!(
            size_of::<T>() > 0 && size_of::<T>().is_multiple_of(8),
            "ring elements are whole 8-byte words"
        );
        assert!(align_of::<T>() <= 8, "ring elements lie on 8-byte words");
        size_of::<T>() / 8
    };

    pub(super) fn new(memory: M) -> Result<Self, AttachError> {
        let words = memory.words().len();
        let capacity = (words / Self::EACH) as u64;
        let whole = words.is_multiple_of(Self::EACH);
        if !whole || !capacity.is_power_of_two() || capacity > CAPACITY_MAX {
            return Err(AttachError::BadCapacity { words, each: Self::EACH });
        }
        Ok(Self { memory, capacity, values: PhantomData })
    }

    #[inline]
    pub(super) fn memory(&self) -> &M {
        &self.memory
    }

    #[inline]
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The words of the slot that `position` falls in.
    #[inline]
    pub(super) fn slot(&self, position: Position) -> &[AtomicU64] {
        let first = self.index(position) * Self::EACH;
        &self.memory.words()[first..first + Self::EACH]
    }

    #[inline]
    pub(super) fn write(&self, position: Position, value: &T) {
        store(self.slot(position), value);
    }

    #[inline]
    pub(super) fn read(&self, position: Position) -> T {
        load(self.slot(position))
    }

    /// Writes `values` to consecutive slots; at most one capacity of them.
    #[inline]
    pub(super) fn write_run(&self, position: Position, values: &[T]) {
        let (until_end, from_start) = self.runs(position);
        for (place, value) in until_end.chain(from_start).zip(values) {
            store(place, value);
        }
    }

    /// Reads consecutive slots into `values`; at most one capacity of them.
    #[inline]
    pub(super) fn read_run(&self, position: Position, values: &mut [T]) {
        let (until_end, from_start) = self.runs(position);
        for (place, value) in until_end.chain(from_start).zip(values) {
            *value = load(place);
        }
    }

    /// The slots from `position` to the end of the words, and those before it from the start.
    #[inline]
    fn runs(&self, position: Position) -> (Slots<'_>, Slots<'_>) {
        let (before, after) = self.memory.words().split_at(self.index(position) * Self::EACH);
        (after.chunks_exact(Self::EACH), before.chunks_exact(Self::EACH))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked below the capacity, which came from a usize")]
    fn index(&self, position: Position) -> usize {
        (position & (self.capacity - 1)) as usize
    }
}

type Slots<'a> = std::slice::ChunksExact<'a, AtomicU64>;

/// Outside models an element is moved as a whole. Written word by word, a 64-byte element fills the store
/// buffer with eight entries instead of four, and a stream between two cores takes a third longer.
#[cfg(not(loom))]
mod moves {
    use crate::plain::Plain;
    use crate::sync::AtomicU64;

    #[inline]
    pub(super) fn store<T: Plain>(place: &[AtomicU64], value: &T) {
        assert!(size_of_val(place) == size_of::<T>());
        let place = place.as_ptr().cast_mut().cast::<T>();
        // SAFETY: `place` is valid for writes of `size_of::<T>()` bytes (asserted; atomics may be written
        // through a shared borrow) and aligned (`EACH` refuses more than a word's alignment). No thread that
        // keeps to the protocol accesses the slot meanwhile.
        unsafe { place.write(*value) }
    }

    #[inline]
    pub(super) fn load<T: Plain>(place: &[AtomicU64]) -> T {
        assert!(size_of_val(place) == size_of::<T>());
        let place = place.as_ptr().cast::<T>();
        // SAFETY: `place` is valid for reads of `size_of::<T>()` bytes and aligned, as in `store`; any bytes
        // are a `T: Plain`. No thread that keeps to the protocol writes the slot before the release, and the
        // copy is complete by then: it cannot sink below a Release store.
        unsafe { place.read() }
    }
}

/// In models an element is moved word by word, so that loom sees each access and its order.
#[cfg(loom)]
mod moves {
    use crate::plain::Plain;
    use crate::sync::{AtomicU64, Ordering};

    pub(super) fn store<T: Plain>(place: &[AtomicU64], value: &T) {
        for (word, bytes) in place.iter().zip(value.as_bytes().as_chunks::<8>().0) {
            // Relaxed: the Release store of the ring's tail publishes the words.
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    pub(super) fn load<T: Plain>(place: &[AtomicU64]) -> T {
        let mut value = T::new_zeroed();
        for (word, bytes) in place.iter().zip(value.as_mut_bytes().as_chunks_mut::<8>().0) {
            // Relaxed: the Acquire load of the ring's tail came before, the Release store of its head after.
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        value
    }
}
