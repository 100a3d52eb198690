//! Streams: plain values from one sender to one receiver, in whatever processes, at the speed of the cache lines.
//!
//! A stream is what a channel is not: it has one sender and one receiver, which cannot be cloned, and carries only values that
//! may lie in shared memory as they are. So nothing is encoded and nothing is claimed; see `shm/src/ring/lane/README.md`.
//! The ends are values as those of a channel: they travel, and die with their process. Sending one gives it up; a value that
//! is used while another has the end is refused.

mod receiver;
mod recover;
mod sender;

pub use receiver::{StreamDrain, StreamIntoIter, StreamIter, StreamReceiver, StreamRef};
pub(super) use recover::{bury, shut};
pub use sender::{StreamLoan, StreamSender};

use super::ChannelError;
use super::open::kind_of;
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::blocks::AllocateError;
use gorun_shm::ring::lane::LaneShape;
use gorun_shm::ring::mpmc::Terms;
use gorun_shm::ring::spsc::CAPACITY_MAX;
use gorun_shm::sync::Ordering;
use gorun_worker::context;
use gorun_worker::lane::LaneEnd;

/// A stream of plain values from one sender to one receiver, for `capacity` of them, rounded up to a power of two.
///
/// If it cannot be made, its ends say so at their first use; [`stream_on`] says it at once.
///
/// ```
/// use gorun_runtime::{StreamSender, Task, stream};
///
/// let (sender, receiver) = stream::<[u32; 4]>(1024);
/// let squares = |mut sender: StreamSender<[u32; 4]>| {
///     (0..10_000).all(|n| sender.send([n, n * 2, n * 3, 0]).is_ok())
/// };
/// let squares = Task::with(sender, squares).go();
/// assert_eq!(receiver.into_iter().map(|[first, ..]| u64::from(first)).sum::<u64>(), 49_995_000);
/// assert!(squares.join()?);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
///
/// Values with pointers in them are refused by the compiler:
///
/// ```compile_fail
/// let ends = gorun_runtime::stream::<String>(16);
/// ```
#[must_use]
pub fn stream<T: Plain>(capacity: usize) -> (StreamSender<T>, StreamReceiver<T>) {
    let opened = Runtime::current().map_err(ChannelError::NoRuntime).and_then(|on| stream_on(&on, capacity));
    opened.unwrap_or_else(|reason| (StreamSender::refused(reason.clone()), StreamReceiver::refused(reason)))
}

/// [`stream`] on `runtime`.
///
/// # Errors
/// [`ChannelError`].
pub fn stream_on<T: Plain>(
    runtime: &Runtime,
    capacity: usize,
) -> Result<(StreamSender<T>, StreamReceiver<T>), ChannelError> {
    let most = usize::try_from(CAPACITY_MAX).unwrap_or(usize::MAX);
    let shape = LaneShape::of::<T>(capacity).ok_or(ChannelError::BadCapacity { asked: capacity, most })?;
    let dispatcher = runtime.dispatcher();
    if dispatcher.is_foreign() {
        return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
    }
    let commons = &dispatcher.commons;
    let spin_ticks = commons.host.spin_ticks.load(Ordering::Relaxed); // Relaxed: written before the first worker.
    let terms = Terms { kind: kind_of::<T>(), terms: 0, spin_ticks, compress: 0, lease_ns: 0 };
    let opened = LaneEnd::stream(&commons.blocks, dispatcher.me, shape, terms);
    let (sender, receiver) = opened.map_err(|error| match error {
        AllocateError::NotAnOwner { .. } => ChannelError::Closed,
        _ => ChannelError::NoMemory { bytes: shape.bytes().unwrap_or(usize::MAX) as u64 },
    })?;
    // Looked at behind the making: either this sees the end of the runtime, or that sees the stream.
    if dispatcher.is_closed() || context::duty().is_some_and(|duty| duty.is_told_to_stop()) {
        return Err(ChannelError::Closed);
    }
    Ok((StreamSender::of(sender), StreamReceiver::of(receiver)))
}
