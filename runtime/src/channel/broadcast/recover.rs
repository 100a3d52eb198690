//! The host's part in broadcasts: what the dead leave behind in them, and their end with the runtime.

use gorun_shm::OwnerId;
use gorun_shm::blocks::{Holder, SharedBlock};
use gorun_shm::ring::mpmc::Role;
use gorun_worker::broadcast::{self, Views};
use gorun_worker::porter::Which;
use gorun_worker::wire::commons::Commons;

/// Calls `act` for every broadcast of the runtime, which is held meanwhile.
fn each(commons: &Commons, mut act: impl FnMut(&Views, &SharedBlock)) {
    let blocks = &commons.blocks;
    for handle in blocks.live() {
        // What cannot be held is gone; what cannot be opened is something else.
        let Ok(block) = SharedBlock::hold(blocks, handle, OwnerId::HOST) else { continue };
        if let Ok(views) = Views::open(&block) {
            act(&views, &block);
        }
    }
}

/// Takes over what a dead worker was writing, and what its messages lie in. Before any role of the dead ends.
pub(in super::super) fn rehouse(commons: &Commons, dead: Holder) {
    each(commons, |views, block| {
        let post = views.post(block, Which::Arrived);
        let keep = |marks, words| broadcast::rehouse(marks, words, dead.owner(), &commons.blocks, &post);
        let abandoned = views.ring().recover(dead, Holder::HOST, keep);
        if abandoned > 0 {
            tracing::debug!(?dead, abandoned, "a broadcast was recovered");
        }
    });
}

/// Takes the dead out of all broadcasts, and frees its cursors.
pub(in super::super) fn bury(commons: &Commons, dead: Holder) {
    each(commons, |views, _| {
        views.ring().bury(dead);
        if views.ring().header().standing().has_lost(Role::Receiver) {
            broadcast::sweep(views, &commons.blocks, OwnerId::HOST);
        }
        views.ring().header().arrived().wake_all();
    });
}

/// The runtime ends: whoever waits at a broadcast is told.
pub(in super::super) fn shut(commons: &Commons) {
    each(commons, |views, _| {
        views.ring().header().shut();
    });
}
