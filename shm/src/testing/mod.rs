//! What the tests of shared structures stand on: backings to try them over, real deaths, and a limit on hangs.

mod backing;
mod death;
mod watchdog;

pub use backing::{Backing, Sides};
pub use death::CrashTest;
pub use watchdog::Watchdog;
