//! The host's part in contexts: what the dead had begun to cancel, whom they leave waiting, and the end of the runtime.

use gorun_shm::OwnerId;
use gorun_shm::blocks::{Holder, SharedBlock};
use gorun_worker::lever::ContextPlace;
use gorun_worker::porter;
use gorun_worker::wire::commons::Commons;

/// Every context of the runtime, held meanwhile.
fn all(commons: &Commons) -> impl Iterator<Item = ContextPlace> {
    let blocks = &commons.blocks;
    let held =
        blocks.live().into_iter().filter_map(|handle| SharedBlock::hold(blocks, handle, OwnerId::HOST).ok());
    held.filter_map(|block| ContextPlace::open(block).ok())
}

/// Ends what a dead worker had begun to cancel, and what nobody can cancel without it. Only the recoverer, behind the
/// recovery of the dead's blocks, which shows whose cancellers are gone.
pub(crate) fn recover(commons: &Commons, dead: OwnerId) {
    let Some(holder) = Holder::of(dead) else { return };
    let ended = all(commons).filter(|place| place.words().recover(holder, place.is_abandoned())).count();
    if ended > 0 {
        tracing::debug!(?dead, ended, "contexts were ended");
    }
    porter::look_again();
}

/// The runtime ends: whoever waits for a context is told.
pub(crate) fn shut_all(commons: &Commons) {
    all(commons).for_each(|place| place.words().shut());
}
