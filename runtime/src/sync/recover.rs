//! The host's part in locks: what the dead had, and the end of the runtime.

use gorun_shm::OwnerId;
use gorun_shm::lock;
use gorun_worker::wire::commons::Commons;

/// Gives back what a dead worker had of locks. Only the recoverer, before the dead's memory is given back.
pub(crate) fn recover(commons: &Commons, dead: OwnerId) {
    let recovered = lock::recover(&commons.blocks, dead);
    if recovered > 0 {
        tracing::debug!(?dead, recovered, "locks were recovered");
    }
}

/// The runtime ends: whoever waits for a lock is told.
pub(crate) fn shut_all(commons: &Commons) {
    lock::shut(&commons.blocks);
}
