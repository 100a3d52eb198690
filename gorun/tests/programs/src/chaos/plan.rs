//! Plan: which kinds of tasks there are, how often each is drawn, and how it is meant to end.

use super::numbers::Numbers;
use crate::Death;
use gorun::Evidence;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a task is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number in, a number out.
    Quick,
    /// Five kilobytes in and out.
    Bulky,
    /// An item of a map.
    Item,
    /// Starts tasks of its own and waits for them.
    Nested,
    /// One that was started by a task.
    Inner,
    /// Has a deadline, and ends long before it.
    InTime,
    /// Fails.
    Doomed(Doom),
}

/// How a task fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doom {
    /// Takes its worker with it.
    Death(Death),
    /// Allocates until its address space ends, which aborts.
    MemoryBomb,
    /// Opens descriptors until there are no more, then exits.
    Descriptors,
    /// Panics.
    Panic,
    /// Loops until it is killed at its deadline.
    Endless,
    /// Stops its process until it is killed at its deadline.
    Stop,
}

/// A time that no task needs, however loaded the machine is.
pub const AMPLE: Duration = Duration::from_secs(60);
/// Exit code of a task that has used up its descriptors.
pub const NO_DESCRIPTORS: i32 = 77;

/// How many draws of a thousand give what, in this order.
const WEIGHTS: [(u64, Kind); 14] = [
    (560, Kind::Quick),
    (170, Kind::Bulky),
    (100, Kind::Nested),
    (100, Kind::InTime),
    (12, Kind::Item),
    (20, Kind::Doomed(Doom::Panic)),
    (6, Kind::Doomed(Doom::Death(Death::Segfault))),
    (6, Kind::Doomed(Doom::Death(Death::Abort))),
    (5, Kind::Doomed(Doom::Death(Death::StackOverflow))),
    (6, Kind::Doomed(Doom::Death(Death::Kill))),
    (3, Kind::Doomed(Doom::MemoryBomb)),
    (3, Kind::Doomed(Doom::Descriptors)),
    (2, Kind::Doomed(Doom::Endless)),
    (2, Kind::Doomed(Doom::Stop)),
];

/// The next task's kind. What the weights leave over of a thousand exits with a code.
pub fn draw(numbers: &mut Numbers) -> Kind {
    let mut left = numbers.draw() % 1000;
    for (weight, kind) in WEIGHTS {
        if left < weight {
            return kind;
        }
        left -= weight;
    }
    let code = i32::try_from(numbers.between(0, 256)).unwrap_or(0);
    Kind::Doomed(Doom::Death(Death::Exit(code)))
}

impl Kind {
    /// True if a death of its worker may cost it together with a task that the worker ran meanwhile.
    #[must_use]
    pub fn waits_inside(self) -> bool {
        self == Self::Nested
    }

    /// True if each of its runs is noted, not only those of a share.
    #[must_use]
    pub fn is_always_noted(self) -> bool {
        matches!(self, Self::Nested | Self::Doomed(_))
    }
}

impl Doom {
    /// True if only a deadline ends it.
    #[must_use]
    pub fn needs_a_deadline(self) -> bool {
        matches!(self, Self::Endless | Self::Stop)
    }

    /// True if the evidence tells of exactly this end.
    #[must_use]
    pub fn is_told_by(self, evidence: &Evidence) -> bool {
        match self {
            Self::Death(death) => death.is_told_by(evidence),
            Self::MemoryBomb => Death::Abort.is_told_by(evidence),
            Self::Descriptors => Death::Exit(NO_DESCRIPTORS).is_told_by(evidence),
            Self::Panic | Self::Endless | Self::Stop => false,
        }
    }
}
