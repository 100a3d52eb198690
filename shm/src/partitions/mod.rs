//! Partitions: who receives from which ring of a distributed channel, in memory that all its processes write.
//!
//! A table has members, which come, go and are killed, and **lanes**: first the partitions, then one inbox for each place a
//! member can have. It says who owns each lane, which lanes have messages, and who sleeps. The rings themselves lie
//! elsewhere, and so does the rule which member ought to own which lane. `README.md` beside this file holds the
//! protocol.
//!
//! Progress: every operation is lock-free; none waits.

mod header;
mod lanes;
mod members;
mod ready;
mod word;

pub use header::{LaneWords, MemberLine, Shape, Standard, TableError, TableHeader};
pub use lanes::Lanes;
pub use members::Recovered;
pub use ready::Asleep;
pub use word::MemberId;

/// A table over borrowed memory, wherever it lies.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    header: &'a TableHeader,
    members: &'a [MemberLine],
    lanes: &'a [LaneWords],
}

impl<'a> Table<'a> {
    /// The table of as many members and lanes as there are lines.
    ///
    /// # Panics
    /// If those are more than a table can have.
    #[must_use]
    #[inline]
    pub fn new(header: &'a TableHeader, members: &'a [MemberLine], lanes: &'a [LaneWords]) -> Self {
        assert!(
            members.len() <= Shape::MEMBERS_MAX && lanes.len() <= Lanes::MAX,
            "as many as there are bits"
        );
        Self { header, members, lanes }
    }

    /// The header, for its numbers and the gate at which the table's changes are waited for.
    #[must_use]
    pub fn header(&self) -> &'a TableHeader {
        self.header
    }

    /// Lanes: partitions, then inboxes.
    #[must_use]
    #[inline]
    pub fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Partitions.
    #[must_use]
    #[inline]
    pub fn partition_count(&self) -> usize {
        self.lanes.len().saturating_sub(self.members.len())
    }

    /// Places for members.
    #[must_use]
    #[inline]
    pub fn places(&self) -> usize {
        self.members.len()
    }

    /// The lane that is the inbox of whoever has that place.
    #[must_use]
    #[inline]
    pub fn inbox(&self, slot: usize) -> usize {
        self.partition_count() + slot
    }
}
