//! Runner: a started attempt as its handle sees it, whether policies watch it or not.

use super::passage::{Passage, Whereabouts};
use crate::book::Outcome;
use crate::context::Quarry;
use crate::dispatch::{Dispatcher, Ticket};
use crate::error::{Place, TaskError};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// See the module's head.
pub(super) enum Runner {
    Bare(Ticket),
    Watched(Arc<Passage>),
}

impl Runner {
    /// Where it is.
    pub(super) fn whereabouts(&self, dispatcher: &Dispatcher) -> Whereabouts {
        match self {
            Self::Bare(ticket) if dispatcher.is_done(ticket) => Whereabouts::Ended,
            Self::Bare(ticket) => Whereabouts::Running(*ticket),
            Self::Watched(passage) => passage.whereabouts(),
        }
    }

    /// What a context ends of it.
    pub(super) fn quarry(&self) -> Quarry {
        match self {
            Self::Bare(ticket) => Quarry::Task(*ticket),
            Self::Watched(passage) => {
                let passage: Weak<Passage> = Arc::downgrade(passage);
                Quarry::Attempt(passage)
            }
        }
    }

    /// Has the waker called when it has ended; false if it has.
    pub(super) fn ask_to_be_woken(&self, dispatcher: &Dispatcher, waker: &Waker) -> bool {
        match self {
            Self::Bare(ticket) => dispatcher.ask_to_be_woken(ticket, waker),
            Self::Watched(passage) => passage.ask_to_be_woken(waker),
        }
    }

    /// The outcome of one that has ended.
    pub(super) fn take(&self, dispatcher: &Dispatcher) -> Result<Outcome, TaskError> {
        match self {
            Self::Bare(ticket) => dispatcher.take(ticket).ok_or(TaskError::Decode { place: Place::Slot }),
            Self::Watched(passage) => passage.take(),
        }
    }

    pub(super) fn cancel(&self, dispatcher: &Dispatcher) -> bool {
        match self {
            Self::Bare(ticket) => dispatcher.cancel(ticket),
            Self::Watched(passage) => passage.cancel(),
        }
    }

    pub(super) fn kill(&self, dispatcher: &Dispatcher) -> bool {
        match self {
            Self::Bare(ticket) => dispatcher.kill(ticket),
            Self::Watched(passage) => passage.kill(),
        }
    }

    /// How long it took, or has taken by now; only policies look at that.
    pub(super) fn took_ns(&self) -> Option<u64> {
        match self {
            Self::Bare(_) => None,
            Self::Watched(passage) => Some(passage.took_ns()),
        }
    }

    /// Tells a breaker how it ended.
    pub(super) fn report(&self, outcome: Result<(), &TaskError>) {
        if let Self::Watched(passage) = self {
            passage.report(outcome);
        }
    }

    /// Nobody will take its outcome.
    pub(super) fn abandon(&self, dispatcher: &Dispatcher) {
        match self {
            Self::Bare(ticket) => dispatcher.detach(ticket),
            Self::Watched(passage) => passage.abandon(),
        }
    }
}
