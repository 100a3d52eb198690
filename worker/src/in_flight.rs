//! In flight: what a sender keeps of a message that was handed over, until it needs it no longer.

use crate::parcel::Carried;
use crate::transit::{self, OnItsWay};
use gorun_shm::blocks::BlockHandle;

/// What a sender keeps of an input until the task has ended.
#[derive(Debug, Default)]
pub struct InFlight {
    /// The message block, passed to whoever runs the task.
    pub message: Option<BlockHandle>,
    /// The blocks it carries, held meanwhile.
    pub parcels: Vec<Carried>,
    /// Ends of channels among them, once they are kept by themselves: see [`InFlight::without_ends`].
    pub ends: Option<OnItsWay>,
}

impl InFlight {
    /// Lets ends of channels go when whoever runs the task has them, instead of when the task has ended: others may wait
    /// for the last end to go.
    #[must_use]
    #[inline]
    pub fn without_ends(mut self) -> Self {
        if self.parcels.iter().any(Carried::is_counted) {
            self.send_ends_off();
        }
        self
    }

    #[cold]
    fn send_ends_off(&mut self) {
        let Some(message) = self.message else { return };
        let (ends, blocks) = self.parcels.drain(..).partition(Carried::is_counted);
        self.parcels = blocks;
        self.ends = Some(transit::send_off(message, ends));
    }

    /// True if nothing needs to be kept.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.message.is_none() && self.parcels.is_empty() && self.ends.is_none()
    }
}
