//! Barrier: a place where so many threads of all processes meet.

use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, Waiting};
use super::{BarrierError, SyncError, WaitError};
use crate::runtime::Runtime;
use gorun_shm::lock::{self, Arrival, Primitive};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place where so many threads of all processes meet, again and again.
///
/// Whoever may be to come and dies must not keep the others waiting. Nobody knows who that is, so the barrier breaks, for good,
/// if a process is killed that has a handle of it, or if a handle is dropped by a panic. A task that waits for its start in a
/// queue has none yet: if it is cancelled, or its worker dies before it has read its input, the others wait on;
/// [`Barrier::wait_timeout`] bounds that.
///
/// ```
/// use gorun_runtime::{Runtime, sync::Barrier};
///
/// let runtime = Runtime::builder().workers(2).build().unwrap();
/// let barrier = Barrier::new_on(&runtime, 3).unwrap();
/// let tasks = [1, 2].map(|_| runtime.task(barrier.clone(), |barrier: Barrier| barrier.wait().is_ok()));
/// barrier.wait()?;
/// assert!(tasks.into_iter().all(|task| task.join() == Ok(true)));
/// # Ok::<(), gorun_runtime::sync::BarrierError>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    handle: Result<Arc<Handle>, SyncError>,
}

/// One of the handles that the process counts in the barrier.
struct Handle(Place<lock::Barrier>);

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.0.is_foreign() {
            self.0.state().exit(self.0.holder());
        }
    }
}

/// Who a participant was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// True for one participant of each round: the last to come.
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.0
    }
}

impl Barrier {
    /// A barrier for `participants` on the current runtime. If it cannot be made, it says so at its first use.
    #[must_use]
    pub fn new(participants: u32) -> Self {
        Self::try_new(participants).unwrap_or_else(|reason| Self { handle: Err(reason) })
    }

    /// A barrier for `participants`, 1 to 2^24 - 1, on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new(participants: u32) -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?, participants)
    }

    /// A barrier for `participants`, 1 to 2^24 - 1, on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime, participants: u32) -> Result<Self, SyncError> {
        let most = lock::Barrier::PARTICIPANTS_MAX;
        if !(1..=most).contains(&participants) {
            return Err(SyncError::BadCount { asked: participants.into(), most: most.into() });
        }
        let (kind, bytes) = (kind_of::<Self>(), size_of::<lock::Barrier>());
        let recipe = Recipe { primitive: Primitive::Barrier, kind, number: participants, bytes };
        Ok(Self::of(Place::make(runtime, recipe, &[])?))
    }

    fn of(place: Place<lock::Barrier>) -> Self {
        place.state().enter(place.holder());
        Self { handle: Ok(Arc::new(Handle(place))) }
    }

    /// Waits until all have come.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if somebody who may have been to come is dead.
    ///
    /// # Blocking
    /// So long.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_with(Patience::Endless)
    }

    /// Waits until all have come, for `timeout` at most: then it goes away as if it had never come.
    ///
    /// # Errors
    /// As [`Barrier::wait`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// So long.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_with(Patience::of(timeout))
    }

    fn wait_with(&self, patience: Patience) -> Result<BarrierWaitResult, BarrierError> {
        let place = self.place()?;
        let barrier = place.state();
        let round = match barrier.arrive(place.number()).map_err(|lock::Broken| BarrierError::Broken)? {
            Arrival::Last => return Ok(BarrierWaitResult(true)),
            Arrival::Waits { round } => round,
        };
        let (head, gate) = (barrier.head(), barrier.opened());
        let waiting = Waiting { head, gate, meanwhile: Meanwhile::OwnTasks };
        let opened = match waiting.wait(patience, || Ok(barrier.has_opened(round))) {
            Ok(opened) => opened,
            // Whoever could not leave any more has met the others.
            Err(_) if !barrier.leave(round) => barrier.has_opened(round).unwrap_or(Ok(())),
            Err(refused) => return Err(refused.into()),
        };
        opened.map(|()| BarrierWaitResult(false)).map_err(|lock::Broken| BarrierError::Broken)
    }

    /// True if somebody who may have been to come is dead.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.place().is_ok_and(|place| place.state().is_broken())
    }

    fn place(&self) -> Result<&Place<lock::Barrier>, WaitError> {
        let handle = self.handle.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        handle.0.check()?;
        Ok(&handle.0)
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(place) = self.place()
        {
            place.state().break_up();
        }
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.as_ref().map_err(S::Error::custom)?.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Place::decode(deserializer, Primitive::Barrier, kind_of::<Self>()).map(Self::of)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("is_broken", &self.is_broken()).finish_non_exhaustive()
    }
}
