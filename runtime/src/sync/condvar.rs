//! Condvar: where threads of all processes wait for a change of a value behind a mutex.

use super::mutex::MutexGuard;
use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, sleep};
use super::{LockError, LockResult, SyncError, WaitError};
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::gate::ArmedGate;
use gorun_shm::lock::{Condition, Primitive};
use gorun_shm::os::ticks;
use gorun_shm::sync::{Ordering, spin_hint};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where threads of all processes wait for a change of a value behind a [`Mutex`](super::Mutex).
///
/// As with std's, a wait may end for no reason: look at the value in a loop, or use [`Condvar::wait_while`]. Nobody who waits
/// misses a notification, also if another waiter, or who notifies, is killed just then.
///
/// ```
/// use gorun_runtime::{Task, sync::{Condvar, Mutex}};
///
/// let (ready, changed) = (Mutex::new(0_u32), Condvar::new());
/// let task = Task::with((ready.clone(), changed.clone()), |(ready, changed): (Mutex<u32>, Condvar)| {
///     *ready.lock().unwrap() = 1;
///     changed.notify_one();
/// });
/// let task = task.go();
/// let ready = changed.wait_while(ready.lock().unwrap(), |ready| *ready == 0).unwrap();
/// assert_eq!(*ready, 1);
/// task.join()?;
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[derive(Clone)]
pub struct Condvar {
    place: Result<Arc<Place<Condition>>, SyncError>,
}

/// Whether a wait ended because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// True if so.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition on the current runtime. If it cannot be made, it says so at its first use.
    #[expect(clippy::new_without_default, reason = "it starts the default runtime if there is none")]
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().unwrap_or_else(|reason| Self { place: Err(reason) })
    }

    /// A condition on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new() -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?)
    }

    /// A condition on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime) -> Result<Self, SyncError> {
        let (kind, bytes) = (kind_of::<Self>(), size_of::<Condition>());
        let recipe = Recipe { primitive: Primitive::Condition, kind, number: 0, bytes };
        Ok(Self { place: Ok(Arc::new(Place::make(runtime, recipe, &[])?)) })
    }

    /// Gives the mutex back, waits for a notification, and takes it again.
    ///
    /// # Errors
    /// As [`Mutex::lock`](super::Mutex::lock): also if the runtime ends meanwhile.
    ///
    /// # Blocking
    /// Until notified, or for no reason shorter, and then while somebody else has the mutex.
    pub fn wait<'a, T: Plain>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_with(guard, Patience::Endless)
            .map(|(guard, _)| guard)
            .map_err(|error| error.map(|(guard, _)| guard))
    }

    /// As [`Condvar::wait`], for `timeout` at most.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Blocking
    /// As [`Condvar::wait`]; the mutex may keep it for longer than the timeout.
    pub fn wait_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_with(guard, Patience::of(timeout))
    }

    /// Waits while `is_so` says that the value is not as it should be.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Blocking
    /// So long.
    pub fn wait_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut is_so: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while is_so(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`Condvar::wait_while`], for `timeout` at most.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Blocking
    /// As [`Condvar::wait_timeout`].
    pub fn wait_timeout_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut is_so: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let patience = Patience::of(timeout);
        while is_so(&mut guard) {
            let timed_out;
            (guard, timed_out) = self.wait_with(guard, patience)?;
            if timed_out.timed_out() {
                let timed_out = WaitTimeoutResult(is_so(&mut guard));
                return Ok((guard, timed_out));
            }
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    fn wait_with<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        patience: Patience,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let place = self.place()?;
        let inner = MutexGuard::inner(&guard);
        // Armed while the mutex is held: who takes it, changes the value and notifies finds the waiter.
        let armed = place.state().told().arm();
        drop(guard);
        let timed_out = self.sleep(place, armed, patience);
        if place.state().head().is_shut() {
            return Err(WaitError::Closed.into());
        }
        let result = WaitTimeoutResult(timed_out);
        match inner.guard(inner.wait(Patience::Endless)?) {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(error.map(|guard| (guard, result))),
        }
    }

    /// Spins, then sleeps until notified; true if patience was over.
    #[expect(clippy::unused_self, reason = "a step of its own of the wait above")]
    fn sleep(&self, place: &Place<Condition>, armed: ArmedGate, patience: Patience) -> bool {
        let (head, gate) = (place.state().head(), place.state().told());
        let (started, spin) = (ticks::now(), head.spin_ticks());
        let (word, expected) = gate.word(armed);
        // Relaxed, both: taking the mutex comes behind.
        while ticks::now().wrapping_sub(started) < spin {
            if word.load(Ordering::Relaxed) != expected {
                head.note_spin(Some(ticks::now().wrapping_sub(started)));
                return false;
            }
            spin_hint();
        }
        head.note_spin(None);
        // One task of this thread's own is a wake-up for no reason.
        if head.is_shut() || Meanwhile::OwnTasks.run_one() {
            return false;
        }
        match patience.left() {
            Ok(left) => sleep(left, |left| gate.wait(armed, left)),
            Err(_) => return true,
        }
        // Relaxed: as above.
        word.load(Ordering::Relaxed) == expected && patience.left().is_err()
    }

    /// Wakes one who waits, if anybody does.
    pub fn notify_one(&self) {
        if let Ok(place) = self.place() {
            place.state().notify_one();
        }
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        if let Ok(place) = self.place() {
            place.state().notify_all();
        }
    }

    fn place(&self) -> Result<&Place<Condition>, WaitError> {
        let place = self.place.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        place.check()?;
        Ok(place)
    }
}

impl Serialize for Condvar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.place.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Condvar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::Condition, kind_of::<Self>())?;
        Ok(Self { place: Ok(Arc::new(place)) })
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl<G> From<SyncError> for LockError<G> {
    fn from(reason: SyncError) -> Self {
        Self::Refused(WaitError::NoLock(reason))
    }
}
