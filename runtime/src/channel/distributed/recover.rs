//! The host's part in distributed channels: members that died, and the end of the runtime.

use super::desk::Desk;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{Holder, SharedBlock};
use gorun_shm::partitions::Recovered;
use gorun_worker::wire::commons::Commons;

/// Every table of the runtime, held meanwhile.
fn all(commons: &Commons) -> impl Iterator<Item = Desk> {
    let blocks = &commons.blocks;
    let held = |handle| SharedBlock::hold(blocks, handle, OwnerId::HOST).ok();
    blocks.live().into_iter().filter_map(held).filter_map(Desk::open)
}

/// Ends the memberships of a dead worker. Only the recoverer, when what the dead had taken was given back to the partitions,
/// and before its memory is.
pub(crate) fn recover(commons: &Commons, dead: OwnerId) {
    let Some(holder) = Holder::of(dead) else { return };
    for desk in all(commons) {
        let recovered = desk.table().recover(holder);
        if recovered != Recovered::default() {
            tracing::debug!(?dead, ?recovered, "a distributed channel was recovered");
        }
    }
}

/// The runtime ends, and its channels have been told: so are those who wait for any of several.
pub(crate) fn shut_all(commons: &Commons) {
    for desk in all(commons) {
        desk.table().set_all_ready();
        desk.table().wake_everybody();
    }
}
