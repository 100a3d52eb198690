//! The only storey of gorun where two processes touch the same bytes.
//!
//! Segments, slots, rings, doorbells, blocks and counters, each with its protocol written in the README.md of
//! its folder and checked by a model. Everything above this crate talks to shared memory through it.

// The derive in `gorun-macros` names this crate by its outside name; so does this crate.
extern crate self as gorun_shm;

pub mod blocks;
pub mod breaker;
pub mod context;
pub mod counters;
pub mod crash;
pub mod doorbell;
pub mod gate;
pub mod histogram;
pub mod lock;
pub mod os;
pub mod owner;
pub mod partitions;
pub mod plain;
pub mod ring;
#[cfg(not(loom))]
pub mod segment;
pub mod seqlock;
pub mod slots;
pub mod sync;
#[cfg(all(feature = "testing", not(loom)))]
pub mod testing;

pub use owner::OwnerId;
pub use plain::Plain;
#[cfg(not(loom))]
pub use segment::{OutOfSegment, Segment, SegmentError, Shared, View, ViewSlice};
