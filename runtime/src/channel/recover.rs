//! The host's part in channels: what the dead leave behind in them, and their end with the runtime.

use super::open::Rules;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{Holder, SharedBlock};
use gorun_shm::ring::mpmc::{Fate, Role};
use gorun_worker::end::Place;
use gorun_worker::letter::{self, Heir};
use gorun_worker::porter::{self, Post, Which};
use gorun_worker::wire::commons::Commons;

/// Every channel of the runtime, held meanwhile.
fn all(commons: &Commons) -> Vec<Place> {
    let blocks = &commons.blocks;
    let held =
        blocks.live().into_iter().filter_map(|handle| SharedBlock::hold(blocks, handle, OwnerId::HOST).ok());
    // What cannot be opened was scribbled over, or its maker has not come so far.
    held.filter_map(|block| Place::open(block).ok()).collect()
}

/// Takes over what a dead worker had in channels. Only the recoverer, before the dead's memory is given back.
pub(crate) fn recover(commons: &Commons, dead: OwnerId) {
    let Some(holder) = Holder::of(dead) else { return };
    let places = all(commons);
    for place in &places {
        let heir = Heir { blocks: &commons.blocks, post: Post::at(place, Which::Arrived) };
        let deliveries_max = Rules::from_word(place.terms().terms).deliveries_max;
        let ring = place.ring();
        let recovered = ring.recover(
            holder,
            Holder::HOST,
            |stuck| letter::rehouse(stuck, dead, &heir),
            |stuck| match letter::give_back(stuck, dead, &heir) {
                // Given back first: then its block is the host's, and not the dead's, to be freed.
                Fate::Return if deliveries_max > 0 && stuck.word.deliveries() + 1 >= deliveries_max => {
                    ring.header().dead_letters.add_shared(1);
                    letter::forget(stuck, &heir);
                    Fate::Drop
                }
                fate => fate,
            },
        );
        if recovered != Default::default() {
            tracing::debug!(?dead, ?recovered, "a channel was recovered");
        }
    }
    super::broadcast::rehouse(commons, holder);
    // Only now: messages that were kept alive above may carry the last ends of other channels.
    for place in &places {
        place.ring().bury(holder);
        if place.ring().standing().has_lost(Role::Receiver) {
            letter::throw_away(&place.ring(), &commons.blocks, Holder::HOST);
        }
        place.ring().header().arrived().wake_all();
    }
    super::distributed::recover(commons, dead);
    super::stream::bury(commons, holder);
    super::broadcast::bury(commons, holder);
    porter::look_again();
}

/// The runtime ends: whoever waits at a channel is told.
pub(crate) fn shut_all(commons: &Commons) {
    for place in all(commons) {
        place.ring().shut();
    }
    super::distributed::shut_all(commons);
    super::stream::shut(commons);
    super::broadcast::shut(commons);
}
