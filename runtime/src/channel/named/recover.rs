//! What is left behind by programs that hang up or die, and by a binder that does.
//!
//! While the binder lives it is the only recoverer, as the host of a runtime is. When it dies each of the others recovers
//! what the binder had (every step of that is an exchange, so they may all do it), ends the channel, and from then on waits
//! for nobody: who dies after the binder is recovered by nobody.

use crate::channel::open::Rules;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Blocks, Holder, OwnedBlock, SharedBlock};
use gorun_shm::ring::mpmc::{Fate, Role, Stuck};
use gorun_worker::end::Place;
use gorun_worker::letter::{self, Lies};
use gorun_worker::porter;
use std::sync::Arc;

/// The binder's part when a program has hung up or died.
pub(super) fn bury_peer(place: &Place, dead: OwnerId) {
    let Some(holder) = Holder::of(dead) else { return };
    let (ring, blocks) = (place.ring(), place.block().blocks());
    let deliveries_max = Rules::from_word(place.terms().terms).deliveries_max;
    let recovered = ring.recover(
        holder,
        Holder::HOST,
        |stuck| rehouse(stuck, blocks, dead),
        |stuck| {
            rehouse(stuck, blocks, dead);
            let fate = give_back(stuck, blocks, dead, OwnerId::HOST);
            if fate == Fate::Return && deliveries_max > 0 && stuck.word.deliveries() + 1 >= deliveries_max {
                ring.header().dead_letters.add_shared(1);
                forget(stuck, blocks);
                return Fate::Drop;
            }
            fate
        },
    );
    if recovered != Default::default() {
        tracing::debug!(?dead, ?recovered, "a named channel was recovered");
    }
    ring.bury(holder);
    blocks.recover(dead);
    if ring.standing().has_lost(Role::Receiver) {
        letter::throw_away(&ring, blocks, Holder::HOST);
    }
    ring.header().arrived().wake_all();
    porter::look_again();
}

/// The others' part when the binder has hung up or died: `me` is one of them.
pub(super) fn bury_binder(blocks: &Arc<Blocks>, channel: BlockHandle, me: OwnerId) {
    let (Some(holder), Ok(block)) = (Holder::of(me), SharedBlock::hold(blocks, channel, me)) else { return };
    let Ok(place) = Place::open(block) else { return };
    let ring = place.ring();
    let recovered =
        ring.recover(Holder::HOST, holder, |_| {}, |stuck| give_back(stuck, blocks, OwnerId::HOST, me));
    tracing::debug!(?recovered, "the binder of a named channel is gone");
    ring.close();
    // Not sooner: who finds a message in somebody's hands from now on does not wait for it.
    blocks.orphan();
    ring.bury(Holder::HOST);
    ring.header().arrived().wake_all();
    porter::look_again();
}

fn block_of(stuck: &Stuck<'_>) -> Option<BlockHandle> {
    match letter::lies(stuck.word, &[stuck.payload(0), stuck.payload(1), stuck.payload(2)]) {
        Lies::InSlot(_) => None,
        Lies::InBlock { handle, .. } => Some(handle),
    }
}

/// The block of a message that the dead may have sent is the binder's, so that it does not go with the dead's memory.
fn rehouse(stuck: &Stuck<'_>, blocks: &Blocks, dead: OwnerId) {
    if let Some(handle) = block_of(stuck) {
        // Fails if the block is not the dead's.
        let _ = blocks.adopt(handle, dead, OwnerId::HOST);
    }
}

/// A message that the dead had taken can be received once more, unless its block is gone.
fn give_back(stuck: &Stuck<'_>, blocks: &Arc<Blocks>, dead: OwnerId, heir: OwnerId) -> Fate {
    let Some(handle) = block_of(stuck) else { return Fate::Return };
    match OwnedBlock::seize(blocks, handle, dead, heir) {
        Ok(block) => {
            let _ = block.into_handle();
            Fate::Return
        }
        // Not taken over yet by the dead, or another heir was first.
        Err(_) if blocks.check(handle).is_ok() => Fate::Return,
        Err(_) => Fate::Drop,
    }
}

fn forget(stuck: &Stuck<'_>, blocks: &Arc<Blocks>) {
    if let Some(handle) = block_of(stuck) {
        // A failure means that the words are nonsense.
        drop(OwnedBlock::from_handle(blocks, handle, OwnerId::HOST));
    }
}
