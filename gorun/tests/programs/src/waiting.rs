//! Waiting for a condition that no descriptor tells of.

use std::time::Duration;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until `condition` holds. What ends it otherwise is the caller's watchdog.
///
/// # Blocking
/// Until then.
pub fn eventually(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::park_timeout(LOOK);
    }
}
