//! The words that host, zygote and workers speak: numbers, records and the map of the segment.
//!
//! A change here changes [`map::LAYOUT_VERSION`].

pub mod black_box;
pub mod commons;
pub mod control;
pub mod ids;
pub mod map;
pub mod profile;
pub mod quarantine;
pub mod recorder;
pub mod status;
