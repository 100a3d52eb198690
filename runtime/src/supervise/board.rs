//! Board: the breakers that host and workers share, as one process finds them.
//!
//! The host gives names; a worker asks by them. Nothing here waits.

use gorun_shm::OwnerId;
use gorun_shm::breaker::{BreakerWords, NAME_BYTES_MAX, Terms};
use gorun_shm::os::ticks;
use gorun_worker::wire::commons::Commons;
use std::fmt;
use std::sync::Arc;

/// See the module's head.
pub(crate) struct Board {
    commons: Arc<Commons>,
    me: OwnerId,
}

impl Board {
    pub(crate) fn of_host(commons: Arc<Commons>) -> Self {
        Self { commons, me: OwnerId::HOST }
    }

    pub(crate) fn of_worker(commons: Arc<Commons>, me: OwnerId) -> Self {
        Self { commons, me }
    }

    /// True if this process may give names.
    pub(super) fn is_of_host(&self) -> bool {
        self.me == OwnerId::HOST
    }

    /// The breaker of this name. Breakers have names in their order, so the first without one ends the search.
    pub(super) fn find(&self, name: &str) -> Option<Shared> {
        let used = self.commons.breakers.iter().take_while(|words| words.is_used());
        let place = used.enumerate().find(|(_, words)| words.is_named(hash(name), name.as_bytes()));
        place.map(|(index, _)| self.at(index))
    }

    /// Gives the name to the next breaker that has none; none if all have, or it is too long. The caller sees to it that
    /// nobody else does so now.
    pub(super) fn name(&self, name: &str, terms: &Terms) -> Option<Shared> {
        let index = self.commons.breakers.iter().position(|words| !words.is_used())?;
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let words = &self.commons.breakers[index];
        words.configure(terms);
        words.name(hash(name), name.as_bytes());
        Some(self.at(index))
    }

    fn at(&self, index: usize) -> Shared {
        Shared { commons: Arc::clone(&self.commons), me: self.me, index }
    }
}

/// One of them.
pub(super) struct Shared {
    commons: Arc<Commons>,
    pub(super) me: OwnerId,
    index: usize,
}

impl Shared {
    pub(super) fn words(&self) -> &BreakerWords {
        &self.commons.breakers[self.index]
    }
}

/// The moment, as the words have it.
pub(super) fn now_ms() -> u64 {
    ticks::system_ns() / 1_000_000
}

/// A process is dead: what it had under way through any breaker is forgotten.
pub(crate) fn recover_calls(commons: &Commons, dead: OwnerId) {
    let used = commons.breakers.iter().take_while(|words| words.is_used());
    used.for_each(|words| words.recover(dead, now_ms()));
}

/// FNV-1a (Fowler, Noll, Vo), and never 0.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    name.bytes().fold(0xCBF2_9CE4_8422_2325, step).max(1)
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("me", &self.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "board_trial.rs"]
mod tests;
