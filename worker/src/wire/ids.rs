//! Names of seats, workers and lanes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place in the pool, 0..; it outlives its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seat(pub u16);

/// One life of a worker in a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    /// The place it sat in.
    pub seat: Seat,
    /// Counted from 1 for each worker that ever took the seat.
    pub generation: u32,
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}.{}", self.seat.0, self.generation)
    }
}

/// A lane of the segment: the seats' lanes come first, then one nested lane per worker record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneId(pub u16);
