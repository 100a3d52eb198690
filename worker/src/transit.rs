//! Transit: what a message carries is held by its sender until the receiver holds it itself, which is the case when the
//! message's block has been freed.
//!
//! For ends of channels that moment matters: others wait for the last one to go. So the porter waits for it.

use crate::end::End;
use crate::parcel::{Carried, is_arrived};
use crate::porter::{self, Errand, ErrandId, Post, Which};
use gorun_shm::blocks::{BlockHandle, Blocks};
use std::sync::Arc;

struct Transit {
    post: Post,
    blocks: Arc<Blocks>,
    message: BlockHandle,
    /// Dropped when it has arrived.
    _carried: Vec<Carried>,
}

impl Errand for Transit {
    fn post(&self) -> &Post {
        &self.post
    }

    fn is_done(&self) -> bool {
        is_arrived(&self.blocks, self.message)
    }

    fn finish(self: Box<Self>) {}

    fn is_quiet(&self) -> bool {
        true
    }
}

/// Things on their way. They are let go of when they have arrived, or when this is dropped: then nobody needs them.
#[derive(Debug)]
#[must_use = "dropped, it lets go at once"]
pub struct OnItsWay(Option<ErrandId>);

impl OnItsWay {
    /// Lets go only when everything has arrived.
    pub fn stay(mut self) {
        self.0 = None;
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        drop(self.0.and_then(porter::recall));
    }
}

/// Holds what the message in the block carries, ends of channels among it, until it has arrived.
#[cold]
pub(crate) fn send_off(message: BlockHandle, carried: Vec<Carried>) -> OnItsWay {
    match carried.iter().find_map(Carried::post) {
        Some(post) => wait_at(post, message, carried),
        None => OnItsWay(None),
    }
}

/// Holds what a message carries that goes through the channel of `way`, until it has arrived.
#[cold]
pub(crate) fn send_through(way: &End, message: BlockHandle, carried: Vec<Carried>) -> OnItsWay {
    wait_at(Post::at(way.place(), Which::Arrived), message, carried)
}

pub(crate) fn wait_at(post: Post, message: BlockHandle, carried: Vec<Carried>) -> OnItsWay {
    let Some(blocks) = carried.first().map(|first| Arc::clone(first.blocks())) else { return OnItsWay(None) };
    let transit = Transit { post, blocks, message, _carried: carried };
    // Without a thread nobody could hold them: they go at once, and the receiver finds a message it cannot read.
    OnItsWay(porter::send(Box::new(transit)))
}
