//! Opening a broadcast, and what one can be.

use super::super::open::{Rules, kind_of};
use super::{BroadcastReceiver, BroadcastSender};
use crate::channel::{Backpressure, ChannelError};
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::blocks::AllocateError;
use gorun_shm::ring::broadcast::{BroadcastRing, BroadcastShape, Keeping};
use gorun_shm::ring::mpmc::{Geometry, Terms};
use gorun_shm::sync::Ordering;
use gorun_worker::broadcast::BroadcastEnd;
use gorun_worker::codec::Portable;
use gorun_worker::{context, letter};
use std::marker::PhantomData;

/// A broadcast of `capacity` messages between all processes of the current runtime, with a first subscriber.
///
/// A sender waits for the slowest subscriber; [`Broadcast`] makes others. If it cannot be made, its ends say so at their first use.
///
/// ```
/// use gorun_runtime::{BroadcastReceiver, Task, broadcast_channel};
///
/// let (sender, receiver) = broadcast_channel::<String>(16);
/// let listen = |receiver: BroadcastReceiver<String>| receiver.into_iter().collect::<Vec<_>>();
/// let listeners = [receiver.clone(), receiver].map(|receiver| Task::with(receiver, listen).go());
/// for word in ["to", "whom", "it", "may", "concern"] {
///     sender.send(word.to_owned()).expect("somebody listens");
/// }
/// drop(sender);
/// for listener in listeners {
///     assert_eq!(listener.join()?.join(" "), "to whom it may concern");
/// }
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[must_use]
pub fn broadcast_channel<T: Portable>(capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    let opened = Broadcast::bounded(capacity).open();
    opened.unwrap_or_else(|reason| {
        (BroadcastSender::refused(reason.clone()), BroadcastReceiver::refused(reason))
    })
}

/// A broadcast to be opened.
#[derive(Debug, Clone)]
#[must_use = "a broadcast is made by `open`"]
pub struct Broadcast<T> {
    capacity: usize,
    backpressure: Backpressure,
    values: PhantomData<fn() -> T>,
}

impl<T: Portable> Broadcast<T> {
    /// One that holds `capacity` messages, 1 to 2^24.
    pub fn bounded(capacity: usize) -> Self {
        Self { capacity, backpressure: Backpressure::Wait, values: PhantomData }
    }

    /// What `send` does when the slowest subscriber is a whole capacity behind: wait for it, give the value back, or throw the
    /// oldest message away, so that the subscriber misses it and hears of that ([`RecvError::Lagged`]).
    ///
    /// [`RecvError::Lagged`]: crate::RecvError::Lagged
    pub fn backpressure(mut self, backpressure: Backpressure) -> Self {
        self.backpressure = backpressure;
        self
    }

    /// Opens it on the current runtime: the default one, or the one whose task this is.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(self) -> Result<(BroadcastSender<T>, BroadcastReceiver<T>), ChannelError> {
        let runtime = Runtime::current().map_err(ChannelError::NoRuntime)?;
        self.open_on(&runtime)
    }

    /// Opens it on `runtime`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open_on(
        self,
        runtime: &Runtime,
    ) -> Result<(BroadcastSender<T>, BroadcastReceiver<T>), ChannelError> {
        let bad = ChannelError::BadCapacity { asked: self.capacity, most: Geometry::CAPACITY_MAX as usize };
        let capacity = u32::try_from(self.capacity).map_err(|_| bad.clone())?;
        let shape = BroadcastShape::new(capacity, letter::words_for::<T>(false)).ok_or(bad)?;
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let commons = &dispatcher.commons;
        let rules = Rules { backpressure: self.backpressure, ..Rules::default() };
        let spin_ticks = commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the first worker.
        let terms =
            Terms { kind: kind_of::<T>(), terms: rules.to_word(), spin_ticks, compress: 0, lease_ns: 0 };
        let opened = BroadcastEnd::open(&commons.blocks, dispatcher.me, shape, terms);
        let (sender, first) = opened.map_err(|error| match error {
            AllocateError::NotAnOwner { .. } => ChannelError::Closed,
            _ => ChannelError::NoMemory { bytes: shape.bytes() as u64 },
        })?;
        // Looked at behind the making: either this sees the end of the runtime, or that sees the broadcast.
        if dispatcher.is_closed() || context::duty().is_some_and(|duty| duty.is_told_to_stop()) {
            return Err(ChannelError::Closed);
        }
        Ok((BroadcastSender::of(sender), BroadcastReceiver::of(first)))
    }
}

pub(super) fn backpressure_of(terms: Terms) -> Backpressure {
    Rules::from_word(terms.terms).backpressure
}

pub(super) fn keeping_of(terms: Terms) -> Keeping {
    match backpressure_of(terms) {
        Backpressure::OverwriteOldest => Keeping::Newest,
        Backpressure::Wait | Backpressure::Reject => Keeping::All,
    }
}

/// Numbers of a broadcast since it was opened, all processes together. Stale as soon as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BroadcastStats {
    /// Places that senders have taken, those given up among them.
    pub sent: u64,
    /// Values given back because a subscriber was too far behind: [`Backpressure::Reject`].
    pub rejected: u64,
    /// Messages thrown away before everybody had received them: [`Backpressure::OverwriteOldest`].
    pub overwritten: u64,
    /// Messages that subscribers have missed, each counted for each of them, as far as they have noticed.
    pub lagged: u64,
    /// Sends that were given up: by the dead, and at the end.
    pub abandoned: u64,
    /// Messages that could not be read, each counted for each subscriber.
    pub unreadable: u64,
}

impl BroadcastStats {
    pub(super) fn of(ring: &BroadcastRing<'_>) -> Self {
        let header = ring.header();
        Self {
            sent: header.tail(),
            rejected: header.rejected.get(),
            overwritten: header.overwritten.get(),
            lagged: ring.head().lagged.get(),
            abandoned: header.abandoned.get(),
            unreadable: header.unreadable.get(),
        }
    }
}
