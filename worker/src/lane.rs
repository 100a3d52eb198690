//! Lane end: one side of a stream as a process holds it, and its way from process to process.
//!
//! Holding an end keeps its side of the stream alive; using it takes a word in the lane, which one value at a time has:
//! `pick_up`. So a value that was sent and kept all the same, or arrived twice, cannot disturb the one that is in use.

use crate::hold::{Hold, NOT_THAT};
use gorun_shm::OwnerId;
use gorun_shm::blocks::{AllocateError, Blocks, HandleError, OwnedBlock, SharedBlock};
use gorun_shm::plain::Plain;
use gorun_shm::ring::lane::{Lane, LaneHead, LaneMemory, LaneShape};
use gorun_shm::ring::mpmc::{Header, Role, Terms};
use gorun_shm::ring::spsc::{RingHeader, RingMemory};
use gorun_shm::segment::{View, ViewSlice};
use gorun_shm::sync::AtomicU64;
use std::sync::Arc;

/// A lane's memory as this process sees it; holds nothing.
#[derive(Debug, Clone)]
pub struct LaneViews {
    common: View<Header>,
    head: View<LaneHead>,
    ring: View<RingHeader>,
    words: ViewSlice<AtomicU64>,
}

impl RingMemory for LaneViews {
    #[inline]
    fn header(&self) -> &RingHeader {
        &self.ring
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl LaneMemory for LaneViews {
    #[inline]
    fn common(&self) -> &Header {
        &self.common
    }

    #[inline]
    fn head(&self) -> &LaneHead {
        &self.head
    }
}

impl LaneViews {
    /// The lane in `block`, and what its users agreed upon.
    ///
    /// # Errors
    /// [`HandleError`] if there is none that fits.
    pub fn open(block: &SharedBlock) -> Result<(Self, LaneShape, Terms), HandleError> {
        let common = block.view::<Header>(0).map_err(|_| NOT_THAT)?;
        let bytes = block.handle().bytes() as usize;
        let (shape, terms) = LaneShape::read(&common, bytes).map_err(|_| NOT_THAT)?;
        let head = block.view(LaneShape::HEAD_AT).map_err(|_| NOT_THAT)?;
        let ring = block.view(LaneShape::RING_AT).map_err(|_| NOT_THAT)?;
        let words = shape.words().ok_or(NOT_THAT)?;
        let words = block.view_slice(LaneShape::WORDS_AT, words).map_err(|_| NOT_THAT)?;
        Ok((Self { common, head, ring, words }, shape, terms))
    }
}

/// One side of a stream.
#[derive(Debug)]
pub struct LaneEnd {
    views: LaneViews,
    shape: LaneShape,
    terms: Terms,
    hold: Hold,
}

impl LaneEnd {
    /// A stream: its two ends.
    ///
    /// # Errors
    /// [`AllocateError`] if there is no memory for it.
    pub fn stream(
        blocks: &Arc<Blocks>,
        owner: OwnerId,
        shape: LaneShape,
        terms: Terms,
    ) -> Result<(Arc<Self>, Arc<Self>), AllocateError> {
        let not_an_owner = AllocateError::NotAnOwner { owner };
        let bytes = shape.bytes().unwrap_or(usize::MAX);
        let mut block = OwnedBlock::allocate(blocks, bytes, owner)?;
        // What lies behind the head is written before it is read.
        block.as_mut_slice()[..LaneShape::WORDS_AT].fill(0);
        // Fails only over words that another process has written: then there is no such owner either.
        let block = block.enliven().map_err(|_| not_an_owner)?;
        let header = block.view::<Header>(0).map_err(|_| not_an_owner)?;
        shape.format(&header, terms);
        let sender = Self::hold(block.clone(), Role::Sender).map_err(|_| not_an_owner)?;
        let receiver = Self::hold(block, Role::Receiver).map_err(|_| not_an_owner)?;
        Ok((sender, receiver))
    }

    /// An end of the stream in `block`, which this process holds. Somebody must have an end of that role meanwhile.
    pub(crate) fn hold(block: SharedBlock, role: Role) -> Result<Arc<Self>, HandleError> {
        let (views, shape, terms) = LaneViews::open(&block)?;
        let hold = Hold::join(block, views.common.clone(), role)?;
        Ok(Arc::new(Self { views, shape, terms, hold }))
    }

    /// This process's hold of it.
    #[must_use]
    #[inline]
    pub fn held(&self) -> &Hold {
        &self.hold
    }

    /// What its users agreed upon.
    #[must_use]
    #[inline]
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// True if its elements are as long as a `T`.
    #[must_use]
    pub fn is_of<T: Plain>(&self) -> bool {
        self.shape.is_of::<T>()
    }

    /// Elements that fit.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.shape.capacity()
    }

    /// The lane without its elements.
    #[must_use]
    #[inline]
    pub fn lane(&self) -> Lane<'_> {
        self.views.lane()
    }

    /// The memory, for the only user of this end.
    #[must_use]
    pub fn views(&self) -> LaneViews {
        self.views.clone()
    }
}
