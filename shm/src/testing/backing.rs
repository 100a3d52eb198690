//! Backing: where a shared structure's bytes lie, so that one test runs over all the places there are.

use crate::segment::{Segment, Shared, View, ViewSlice};
use std::sync::Arc;

/// Where the bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// On the heap, both sides through the same addresses.
    Heap,
    /// In one private mapping, both sides through the same addresses.
    Private,
    /// In a shared file mapped twice, each side through its own addresses: what two processes see.
    MappedTwice,
}

impl Backing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Heap, Self::Private, Self::MappedTwice];

    /// Zeroed bytes for one header `H` and `count` elements `E`, as the two sides see them.
    ///
    /// # Panics
    /// If the system gives no memory.
    #[must_use]
    pub fn sides<H: Shared + Default, E: Shared + Default>(self, count: usize) -> Sides<H, E> {
        match self {
            Self::Heap => {
                let elements = (0..count).map(|_| E::default()).collect();
                let place = Place::Heap(Arc::new((H::default(), elements)));
                Sides { near: place.clone(), far: place }
            }
            Self::Private => {
                let segment = Segment::private(segment_bytes::<H, E>(count)).expect("map private memory");
                let place = Place::mapped(&segment, count);
                Sides { near: place.clone(), far: place }
            }
            Self::MappedTwice => {
                let bytes = segment_bytes::<H, E>(count);
                let near = Segment::create("gorun-test", bytes).expect("create a segment");
                let far = twin(&near);
                Sides { near: Place::mapped(&near, count), far: Place::mapped(&far, count) }
            }
        }
    }
}

/// One structure as its two sides see it.
#[derive(Debug)]
pub struct Sides<H: Shared, E: Shared> {
    near: Place<H, E>,
    far: Place<H, E>,
}

impl<H: Shared, E: Shared> Sides<H, E> {
    /// The header and elements through the addresses of the producer's side.
    #[must_use]
    pub fn near(&self) -> (&H, &[E]) {
        self.near.get()
    }

    /// The header and elements through the addresses of the consumer's side.
    #[must_use]
    pub fn far(&self) -> (&H, &[E]) {
        self.far.get()
    }
}

#[derive(Debug)]
enum Place<H: Shared, E: Shared> {
    Heap(Arc<(H, Vec<E>)>),
    Mapped(View<H>, ViewSlice<E>),
}

impl<H: Shared, E: Shared> Place<H, E> {
    fn mapped(segment: &Arc<Segment>, count: usize) -> Self {
        let header = segment.view(0).expect("the header fits");
        let elements = segment.view_slice(elements_offset::<H>(), count).expect("the elements fit");
        Self::Mapped(header, elements)
    }

    fn get(&self) -> (&H, &[E]) {
        match self {
            Self::Heap(place) => (&place.0, &place.1),
            Self::Mapped(header, elements) => (header, elements),
        }
    }
}

impl<H: Shared, E: Shared> Clone for Place<H, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Heap(place) => Self::Heap(Arc::clone(place)),
            Self::Mapped(header, elements) => Self::Mapped(header.clone(), elements.clone()),
        }
    }
}

/// A second mapping of the same bytes.
fn twin(segment: &Arc<Segment>) -> Arc<Segment> {
    let file = segment.file().expect("a created segment has a file");
    let file = file.try_clone_to_owned().expect("duplicate a descriptor");
    Segment::attach(file, segment.bytes()).expect("map the segment again")
}

/// Elements begin on a page of their own.
fn elements_offset<H>() -> u64 {
    size_of::<H>().next_multiple_of(4096) as u64
}

fn segment_bytes<H, E>(count: usize) -> usize {
    size_of::<H>().next_multiple_of(4096) + (size_of::<E>() * count).max(1)
}
