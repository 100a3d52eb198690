//! The host's part in streams: the dead leave them, and they end with the runtime.

use gorun_shm::OwnerId;
use gorun_shm::blocks::{Holder, SharedBlock};
use gorun_shm::ring::lane::LaneMemory;
use gorun_worker::lane::LaneViews;
use gorun_worker::wire::commons::Commons;

/// Calls `act` for every stream of the runtime.
fn each(commons: &Commons, mut act: impl FnMut(&LaneViews)) {
    let blocks = &commons.blocks;
    for handle in blocks.live() {
        // What cannot be held is gone; what cannot be opened is something else.
        let Ok(block) = SharedBlock::hold(blocks, handle, OwnerId::HOST) else { continue };
        if let Ok((views, ..)) = LaneViews::open(&block) {
            act(&views);
        }
    }
}

/// Takes the dead out of all streams. Only the recoverer, behind whatever keeps ends alive that the dead had sent.
pub(in super::super) fn bury(commons: &Commons, dead: Holder) {
    each(commons, |views| {
        views.lane().bury(dead);
        views.common().arrived().wake_all();
    });
}

/// The runtime ends: whoever waits at a stream is told.
pub(in super::super) fn shut(commons: &Commons) {
    each(commons, |views| {
        views.lane().shut();
    });
}
