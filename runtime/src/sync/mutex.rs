//! Mutex: a value in shared memory that one thread of all processes has at a time.

use super::future::LockFuture;
use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, Waiting};
use super::{LockError, LockResult, SyncError, WaitError, held};
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::lock::{self, Marks, MutexHold, Primitive, Protected, Taken};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A value that one thread of all processes has at a time.
///
/// ```
/// use gorun_runtime::sync::{LockError, Mutex};
///
/// let scores = Mutex::new([0_u32; 4]);
/// scores.lock().unwrap()[2] = 7; // panics if an owner before was killed or panicked
/// match scores.lock() {
///     Ok(mut scores) => scores[0] += 1,
///     Err(LockError::Recovered(mut scores) | LockError::Poisoned(mut scores)) => {
///         *scores = [0; 4]; // may be half written
///         gorun_runtime::sync::MutexGuard::mark_sound(&mut scores);
///     }
///     Err(LockError::Refused(reason)) => panic!("{reason}"),
/// }
/// assert_eq!(*scores.lock().unwrap(), [1, 0, 7, 0]);
/// ```
pub struct Mutex<T: Plain> {
    inner: Result<Arc<Inner<T>>, SyncError>,
}

pub(super) struct Inner<T: Plain> {
    pub(super) place: Place<lock::Mutex>,
    value: Protected<T>,
}

impl<T: Plain> Mutex<T> {
    /// A mutex around `value` on the current runtime: the default one, or the one whose task this is. If it cannot be made,
    /// it says so at its first use.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self::try_new(value).unwrap_or_else(|reason| Self { inner: Err(reason) })
    }

    /// A mutex around `value` on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new(value: T) -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?, value)
    }

    /// A mutex around `value` on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime, value: T) -> Result<Self, SyncError> {
        let bytes = Protected::<T>::block_bytes(lock::Mutex::BYTES);
        let too_large = SyncError::NoMemory { bytes: bytes as u64 };
        let number = u32::try_from(size_of::<T>()).map_err(|_| too_large.clone())?;
        let recipe = Recipe { primitive: Primitive::Mutex, kind: kind_of::<Self>(), number, bytes };
        let place = Place::make(runtime, recipe, value.as_bytes())?;
        let value = Protected::of(place.block()).map_err(|_| too_large)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// [`LockError`]: with the guard if an owner before was killed or panicked; without if this thread has the lock already,
    /// or the runtime ends first.
    ///
    /// # Blocking
    /// While somebody else has it.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inner = self.inner()?;
        match inner.place.state().try_lock(inner.place.me()) {
            Ok(hold) => inner.guard(hold),
            Err(_) => inner.guard(inner.wait(Patience::Endless)?),
        }
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// As [`Mutex::lock`], and [`WaitError::WouldWait`].
    #[inline]
    pub fn try_lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.lock_with(Patience::None)
    }

    /// Takes the lock if it can be had before `deadline`.
    ///
    /// # Errors
    /// As [`Mutex::lock`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Mutex::lock`], until the deadline.
    pub fn lock_until(&self, deadline: Instant) -> LockResult<MutexGuard<'_, T>> {
        self.lock_with(Patience::until(deadline))
    }

    /// Takes the lock if it can be had within `timeout`.
    ///
    /// # Errors
    /// As [`Mutex::lock`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Mutex::lock`], for the timeout at most.
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<MutexGuard<'_, T>> {
        self.lock_with(Patience::of(timeout))
    }

    /// Takes the lock as a future, for any executor. The guard stays with its thread: a future that keeps it over an await
    /// cannot be sent to others.
    pub fn lock_async(&self) -> LockFuture<'_, T> {
        LockFuture::new(self)
    }

    /// Takes the lock; if an owner before was killed or panicked, `repair` sees to the value first.
    ///
    /// ```
    /// use gorun_runtime::sync::Mutex;
    ///
    /// let totals = Mutex::new([1_u64, 1]);
    /// let mut both = totals.lock_or_repair(|both| both[1] = both[0])?;
    /// both.iter_mut().for_each(|total| *total += 1);
    /// # Ok::<(), gorun_runtime::sync::WaitError>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError`], as in [`Mutex::lock`]. If `repair` panics the mutex is poisoned.
    ///
    /// # Blocking
    /// As [`Mutex::lock`].
    pub fn lock_or_repair(&self, repair: impl FnOnce(&mut T)) -> Result<MutexGuard<'_, T>, WaitError> {
        self.lock().or_else(|error| {
            let mut guard = error.into_guard()?;
            repair(&mut guard);
            MutexGuard::mark_sound(&mut guard);
            Ok(guard)
        })
    }

    fn lock_with(&self, patience: Patience) -> LockResult<MutexGuard<'_, T>> {
        let inner = self.inner()?;
        inner.guard(inner.wait(patience)?)
    }

    /// How often an owner was killed while it had the lock.
    #[must_use]
    pub fn recoveries(&self) -> u32 {
        self.inner.as_ref().map_or(0, |inner| inner.place.state().head().deaths())
    }

    #[inline]
    pub(super) fn inner(&self) -> Result<&Arc<Inner<T>>, WaitError> {
        let inner = self.inner.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        inner.place.check()?;
        Ok(inner)
    }
}

impl<T: Plain> Inner<T> {
    /// Takes the lock, if it can be had now.
    pub(super) fn attempt(&self) -> Result<Option<MutexHold<'_>>, Taken> {
        let mutex = self.place.state();
        match mutex.look().and_then(|()| mutex.try_lock(self.place.me())) {
            Ok(hold) => Ok(Some(hold)),
            Err(Taken::By(owner)) if owner != self.place.me() => Ok(None),
            Err(taken) => Err(taken),
        }
    }

    pub(super) fn wait(&self, patience: Patience) -> Result<MutexHold<'_>, WaitError> {
        let mutex = self.place.state();
        let (head, gate) = (mutex.head(), mutex.freed());
        let waiting = Waiting { head, gate, meanwhile: Meanwhile::Nothing };
        waiting.wait(patience, || self.attempt().map_err(refusal))
    }

    #[inline]
    pub(super) fn guard<'a>(&'a self, hold: MutexHold<'a>) -> LockResult<MutexGuard<'a, T>> {
        held::taken();
        let marks = hold.head().marks();
        let hold = Some(hold);
        let guard =
            MutexGuard { hold, inner: self, was_panicking: std::thread::panicking(), stays: PhantomData };
        if marks.is_empty() { Ok(guard) } else { Err(marked(marks, guard)) }
    }
}

/// What to say of a lock that was not taken and will not be.
#[cold]
pub(super) fn refusal(taken: Taken) -> WaitError {
    match taken {
        Taken::By(_) => WaitError::HeldHere,
        Taken::Done | Taken::Corrupt => WaitError::Damaged,
    }
}

#[cold]
pub(super) fn marked<G>(marks: Marks, guard: G) -> LockError<G> {
    if marks.contains(Marks::RECOVERED) { LockError::Recovered(guard) } else { LockError::Poisoned(guard) }
}

/// Access to the value of a [`Mutex`]; gives it back when dropped. It stays with the thread that took the lock.
#[must_use = "dropped at once, the lock is given back at once"]
pub struct MutexGuard<'a, T: Plain> {
    /// None only while it is dropped.
    hold: Option<MutexHold<'a>>,
    inner: &'a Inner<T>,
    was_panicking: bool,
    /// As std's guards, it stays with its thread.
    stays: PhantomData<std::sync::MutexGuard<'a, ()>>,
}

impl<'a, T: Plain> MutexGuard<'a, T> {
    /// The value is whole again: those to come are not told of the dead any more.
    pub fn mark_sound(guard: &mut Self) {
        guard.inner.place.state().head().clear_marks();
    }

    pub(super) fn inner(guard: &Self) -> &'a Inner<T> {
        guard.inner
    }

    #[inline]
    fn hold(&self) -> &MutexHold<'a> {
        self.hold.as_ref().expect("held until dropped")
    }
}

impl<T: Plain> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.inner.value.get(self.hold())
    }
}

impl<T: Plain> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.value.get_mut(self.hold.as_mut().expect("held until dropped"))
    }
}

impl<T: Plain> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        held::given_back();
        if self.inner.place.is_foreign() {
            // The parent has the lock, and this process, its fork, never had it.
            return;
        }
        if std::thread::panicking() && !self.was_panicking {
            hold.head().mark(Marks::POISONED);
        }
        hold.unlock();
    }
}

impl<T: Plain> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T: Plain> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.as_ref().map_err(S::Error::custom)?.place.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::Mutex, kind_of::<Self>())?;
        let value = Protected::of(place.block()).map_err(serde::de::Error::custom)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Mutex");
        match self.try_lock().or_else(LockError::into_guard) {
            Ok(guard) => told.field("value", &*guard).finish(),
            Err(refused) => told.field("value", &format_args!("<{refused}>")).finish(),
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain> fmt::Debug for Inner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}
