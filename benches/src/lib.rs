//! The harness of the benches: one bench is one file in `src/bin` and answers one question.
//!
//! Every bench prints rows on stdout, one JSON object per line (see [`report`]), and its progress on stderr. A row is a
//! ratio of two medians taken in the same run, with both sides alternating, because absolute numbers of a shared
//! machine mean little. `--quick` lowers sizes and runs for a smoke test.

pub mod floor;
pub mod measure;
pub mod our_ring;
pub mod pair;
pub mod report;
pub mod rivals;
pub mod segment;
