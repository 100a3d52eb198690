//! The memory of a named channel: a segment of its own, with an allocator in which the channel and its large values lie.
//!
//! ```text
//! byte 0     magic, version, schema, bytes, block handle (2 words)     written once, before anybody else sees it
//!      4096  blocks, as `Limits` plans them; the channel is one
//! ```
//! Nothing in it is believed by its binder, whose own copy of these numbers is in its own memory; who connects compares the
//! two once.

use super::NamedError;
use super::packet::{VERSION, Welcome};
use crate::channel::ChannelError;
use gorun_shm::blocks::{AllocateError, Blocks, Limits, Shape};
use gorun_shm::ring::mpmc::{Geometry, Terms};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{OwnerId, Segment, SegmentError};
use gorun_worker::end::End;
use std::any::Any;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const MAGIC: u64 = u64::from_le_bytes(*b"gorunns1");
const HEADER_WORDS: usize = 6;
/// Where the blocks begin: on a page of their own.
const BLOCKS_START: u64 = 4096;
/// A runtime's count of blocks, divided: the memory is a reservation, and small ones are planned sooner.
const DIVISOR: u32 = 8;
/// Longest value that travels unless the binder says otherwise.
pub(super) const VALUE_BYTES_MAX: u64 = 16 << 20;

/// A fresh memory and the channel in it.
pub(super) struct Fresh {
    pub(super) segment: Arc<Segment>,
    pub(super) limits: Limits,
    pub(super) ends: (Arc<End>, Arc<End>),
}

/// Makes the memory for a channel of this shape, whose values have up to `value_bytes` bytes.
pub(super) fn make(geometry: Geometry, terms: Terms, value_bytes: u64) -> Result<Fresh, NamedError> {
    let largest = value_bytes.max(geometry.bytes() as u64).next_power_of_two();
    let limits = Limits::FULL.divided_by(DIVISOR).cut_at(largest);
    let (shape, end) = Shape::plan(BLOCKS_START, &limits);
    let bytes = usize::try_from(end).unwrap_or(usize::MAX);
    let segment = Segment::create("gorun-named", bytes)?;
    let blocks = open(&segment, shape, Box::new(()))?;
    let ends = End::channel(&blocks, OwnerId::HOST, geometry, terms).map_err(|error| match error {
        AllocateError::NotAnOwner { .. } => ChannelError::Closed,
        _ => ChannelError::NoMemory { bytes: geometry.bytes() as u64 },
    })?;
    let handle = ends.0.block().handle().words();
    let header = header(&segment)?;
    for (place, word) in header.iter().zip([MAGIC, VERSION, terms.kind, end, handle[0], handle[1]]) {
        place.store(word, Ordering::Relaxed); // Relaxed: the socket that brings the memory to others orders it.
    }
    Ok(Fresh { segment, limits, ends })
}

/// The memory that came with a welcome, and its allocator. `tie` goes when nothing of this process is left in it.
pub(super) fn attach(
    welcome: &Welcome,
    file: OwnedFd,
    is_observer: bool,
    tie: Box<dyn Any + Send + Sync>,
) -> Result<(Arc<Segment>, Arc<Blocks>), NamedError> {
    let bytes = usize::try_from(welcome.bytes).unwrap_or(usize::MAX);
    let segment = if is_observer { Segment::observe(file, bytes) } else { Segment::attach(file, bytes) }?;
    let handle = welcome.block().words();
    let expected = [MAGIC, VERSION, welcome.schema, welcome.bytes, handle[0], handle[1]];
    let found = header(&segment)?;
    // Relaxed: written before the socket brought it here.
    if found.iter().map(|word| word.load(Ordering::Relaxed)).ne(expected) {
        return Err(no_segment(&segment));
    }
    let (shape, _) = Shape::plan(BLOCKS_START, &welcome.limits);
    let blocks = open(&segment, shape, tie)?;
    Ok((segment, blocks))
}

fn header(segment: &Arc<Segment>) -> Result<gorun_shm::ViewSlice<AtomicU64>, NamedError> {
    segment.view_slice(0, HEADER_WORDS).map_err(|_| no_segment(segment))
}

fn open(
    segment: &Arc<Segment>,
    shape: Shape,
    tie: Box<dyn Any + Send + Sync>,
) -> Result<Arc<Blocks>, NamedError> {
    Blocks::among_strangers(Arc::clone(segment), shape, tie).map_err(|_| no_segment(segment))
}

fn no_segment(segment: &Segment) -> NamedError {
    let bytes = segment.bytes() as u64;
    SegmentError::Refused { bytes, cause: io::Error::from(io::ErrorKind::InvalidData) }.into()
}
