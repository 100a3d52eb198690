//! Breakout: what hostile code would try in a jail, each attempt with the outcome that is right.

pub mod calls;
pub mod expected;
pub mod memory;
pub mod others;

pub use expected::{Attempt, Outcome, run_all};
