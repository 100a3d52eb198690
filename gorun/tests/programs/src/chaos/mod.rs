//! Chaos: a seeded mix of tasks, many of them doomed, on workers that are killed from outside meanwhile; then a
//! reckoning in which every outcome needs a cause.
//!
//! `plan` draws, `work` runs in the workers, `submitter` and `hunter` are the two sides, `verdict` judges.

pub mod diagnosis;
pub mod hunter;
pub mod numbers;
pub mod plan;
pub mod report;
pub mod runs;
pub mod submitter;
pub mod tally;
pub mod verdict;
pub mod vitals;
pub mod work;

pub use report::Report;
