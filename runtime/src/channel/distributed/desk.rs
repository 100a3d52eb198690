//! Desk: the table of a distributed channel as a process holds it.

use super::super::ChannelError;
use crate::error::Rejection;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{Blocks, Holder, OwnedBlock, SharedBlock};
use gorun_shm::partitions::{LaneWords, MemberId, MemberLine, Shape, Standard, Table, TableHeader};
use gorun_shm::segment::{View, ViewSlice};
use gorun_worker::os::fork;
use gorun_worker::parcel::Living;
use gorun_worker::porter::Post;
use std::fmt;
use std::sync::Arc;

/// A bit of the terms: one consumer per partition.
const STRICT: u64 = 1;

/// A table, held.
pub(super) struct Desk {
    header: View<TableHeader>,
    members: ViewSlice<MemberLine>,
    lanes: ViewSlice<LaneWords>,
    standard: Standard,
    /// Forks behind this process when the table was opened.
    forks: u32,
    block: SharedBlock,
}

impl Desk {
    /// A fresh table; none if there is no memory for it.
    pub(super) fn create(
        blocks: &Arc<Blocks>,
        me: OwnerId,
        shape: Shape,
        standard: Standard,
    ) -> Option<Self> {
        let mut block = OwnedBlock::allocate(blocks, shape.bytes(), me).ok()?;
        block.as_mut_slice().fill(0);
        let block = block.enliven().ok()?;
        block.view::<TableHeader>(0).ok()?.format(shape, standard);
        Self::open(block)
    }

    /// The table in a block; none if there is none that fits.
    pub(super) fn open(block: SharedBlock) -> Option<Self> {
        let header = block.view::<TableHeader>(0).ok()?;
        let (shape, standard) = header.read(block.handle().bytes() as usize).ok()?;
        let members = block.view_slice(Shape::HEADER_BYTES, shape.places()).ok()?;
        let lanes = block.view_slice(shape.lanes_at(), shape.lanes()).ok()?;
        Some(Self { header, members, lanes, standard, forks: fork::forks(), block })
    }

    #[inline]
    pub(super) fn table(&self) -> Table<'_> {
        Table::new(&self.header, &self.members, &self.lanes)
    }

    /// There is a message in the partition, published by an exchange: whoever ought to know is told.
    #[inline]
    pub(super) fn announce(&self, partition: usize) {
        if !self.header.is_told(partition) {
            self.table().announce(partition, !self.is_strict());
        }
    }

    pub(super) fn standard(&self) -> Standard {
        self.standard
    }

    /// True if each partition has one consumer at a time.
    #[inline]
    pub(super) fn is_strict(&self) -> bool {
        self.standard.terms & STRICT != 0
    }

    pub(super) fn terms(is_strict: bool) -> u64 {
        if is_strict { STRICT } else { 0 }
    }

    /// True in a process that was forked from the one it belongs to.
    pub(super) fn is_foreign(&self) -> bool {
        fork::forks() != self.forks
    }

    /// This process makes itself a member.
    pub(super) fn join(&self) -> Result<MemberId, ChannelError> {
        if self.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let most = self.table().places();
        let me = Holder::of(self.block.owner()).ok_or(ChannelError::Closed)?;
        self.table().join(me).ok_or(ChannelError::TooManyMembers { most })
    }

    /// True if it is the host's hold.
    pub(super) fn is_hosts(&self) -> bool {
        self.block.owner() == OwnerId::HOST
    }

    /// Where the member sleeps.
    pub(super) fn post(&self, member: MemberId) -> Option<Post> {
        let at = Shape::HEADER_BYTES + member.slot() * size_of::<MemberLine>();
        let line = self.block.view::<MemberLine>(at).ok()?;
        Some(Post::of_member(line, self.block.clone()))
    }

    /// For messages.
    pub(super) fn living(&self) -> Living {
        Living(self.block.clone())
    }

    /// Who lives now, lowest place first.
    pub(super) fn live(&self) -> Vec<MemberId> {
        self.table().live().collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.is_foreign() {
            // The hold is the parent's: this process, its fork, must not let go of it.
            std::mem::forget(self.block.clone());
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("block", &self.block)
            .field("standard", &self.standard)
            .finish_non_exhaustive()
    }
}
