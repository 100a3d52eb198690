//! Ticket: where an accepted task stands. With the dispatcher's books mostly, or with the keeper of jailed tasks.

use crate::book::EntryId;
use crate::dispatch::Dispatcher;
use crate::jail::Keeper;
use std::sync::Arc;

/// A task that was accepted: where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) lane: u16,
    pub(crate) position: u64,
    pub(crate) entry: EntryId,
}

/// Lane of a task that stands with the jail's keeper, under its position as number.
const JAIL: u16 = u16::MAX;

impl Ticket {
    /// Position of a task that never stood in a slot. No task gets that far, and no slot is in its lap.
    const NO_POSITION: u64 = u64::MAX - 1;

    /// Of a task that has ended without ever standing in a slot.
    pub(crate) fn of_ended(lane: u16, entry: EntryId) -> Self {
        Self { lane, position: Self::NO_POSITION, entry }
    }

    /// For the jailed task of this number.
    pub(crate) fn jailed(number: u64) -> Self {
        Self { lane: JAIL, position: number, entry: EntryId::NONE }
    }
}

impl Dispatcher {
    /// Gives the dispatcher of a host its keeper of jailed tasks, once.
    pub(crate) fn keep_jails(&self, keeper: Arc<Keeper>) {
        let _ = self.jail.set(keeper);
    }

    /// The keeper of jailed tasks; none in a worker.
    pub(crate) fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.jail.get()
    }

    /// The keeper that has the task of this ticket, if it is a jailed one.
    #[inline]
    pub(crate) fn keeper_of(&self, ticket: &Ticket) -> Option<&Keeper> {
        if ticket.lane != JAIL {
            return None;
        }
        self.jail.get().map(Arc::as_ref)
    }
}
