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

/// Largest alignment of an element.
const ALIGN_MAX: usize = 64;

/// Words from one element to the next.
pub(super) const fn words_each<T>() -> usize {
    let words = size_of::<T>().div_ceil(8);
    if words == 0 { 1 } else { words }
}

/// The slots of a ring of `T`.
#[derive(Debug)]
pub(super) struct Elements<T, M> {
    memory: M,
    /// Number of slots, a power of two.
    capacity: u64,
    values: PhantomData<fn() -> T>,
}

impl<T: Plain, M: RingMemory> Elements<T, M> {
    /// Words of one element: whole ones, and enough for its alignment if the first is aligned.
    const EACH: usize = {
        assert!(align_of::<T>() <= ALIGN_MAX, "ring elements are aligned to a cache line at most");
        words_each::<T>()
    };

    pub(super) fn new(memory: M) -> Result<Self, AttachError> {
        let words = memory.words().len();
        let capacity = (words / Self::EACH) as u64;
        let whole = words.is_multiple_of(Self::EACH);
        let aligned = memory.words().as_ptr().cast::<T>().is_aligned();
        if !whole || !aligned || !capacity.is_power_of_two() || capacity > CAPACITY_MAX {
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

    /// The element in place. No thread may write the slot meanwhile, which the caller's place in the protocol says.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn get(&self, position: Position) -> &T {
        moves::get(self.slot(position))
    }

    /// The element in place, to write.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn get_mut(&mut self, position: Position) -> &mut T {
        moves::get_mut(self.slot(position))
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
        assert!(size_of_val(place) >= size_of::<T>());
        let place = place.as_ptr().cast_mut().cast::<T>();
        // SAFETY: `place` is valid for writes of `size_of::<T>()` bytes (asserted; atomics may be written
        // through a shared borrow) and aligned (`new` checked the first, and a slot is as long as some elements).
        // No thread that keeps to the protocol accesses the slot meanwhile.
        unsafe { place.write(*value) }
    }

    #[inline]
    pub(super) fn load<T: Plain>(place: &[AtomicU64]) -> T {
        assert!(size_of_val(place) >= size_of::<T>());
        let place = place.as_ptr().cast::<T>();
        // SAFETY: `place` is valid for reads of `size_of::<T>()` bytes and aligned, as in `store`; any bytes
        // are a `T: Plain`. No thread that keeps to the protocol writes the slot before the release, and the
        // copy is complete by then: it cannot sink below a Release store.
        unsafe { place.read() }
    }

    #[inline]
    pub(super) fn get<T: Plain>(place: &[AtomicU64]) -> &T {
        assert!(size_of_val(place) >= size_of::<T>());
        let place = place.as_ptr().cast::<T>();
        // SAFETY: as in `load`; it lives as long as the borrow of the end, during which this end does not release it.
        unsafe { &*place }
    }

    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the words are atomics, which may be written through a shared borrow"
    )]
    pub(super) fn get_mut<T: Plain>(place: &[AtomicU64]) -> &mut T {
        assert!(size_of_val(place) >= size_of::<T>());
        let place = place.as_ptr().cast_mut().cast::<T>();
        // SAFETY: as in `store`, for reads too: any bytes are a `T: Plain`. The caller borrows the end mutably, which
        // alone may use the slot, and the consumer does not read it before it is published.
        unsafe { &mut *place }
    }
}

/// In models an element is moved word by word, so that loom sees each access and its order.
#[cfg(loom)]
mod moves {
    use crate::plain::Plain;
    use crate::sync::{AtomicU64, Ordering};

    pub(super) fn store<T: Plain>(place: &[AtomicU64], value: &T) {
        for (word, bytes) in place.iter().zip(value.as_bytes().chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            // Relaxed: the Release store of the ring's tail publishes the words.
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
    }

    pub(super) fn load<T: Plain>(place: &[AtomicU64]) -> T {
        let mut value = T::new_zeroed();
        for (word, bytes) in place.iter().zip(value.as_mut_bytes().chunks_mut(8)) {
            // Relaxed: the Acquire load of the ring's tail came before, the Release store of its head after.
            let whole = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&whole[..bytes.len()]);
        }
        value
    }
}
