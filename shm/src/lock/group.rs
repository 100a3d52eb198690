//! Group: how many members of a wait group there ever were, and how many said that they were done. Who is a member now
//! stands in the census of the group's channel.

use super::head::Head;
use crate::counters::Counter;

/// The counts of a wait group.
#[repr(C, align(64))]
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct Group {
    head: Head,
    joined: Counter,
    done: Counter,
}

impl Group {
    /// What all locks have.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// A member more.
    pub fn join(&self) {
        self.joined.add_shared(1);
    }

    /// A member was dropped by a living process.
    pub fn done(&self) {
        self.done.add_shared(1);
    }

    /// Members that were never dropped: meaningful once there are none left.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let done = self.done.get();
        self.joined.get().saturating_sub(done)
    }
}
