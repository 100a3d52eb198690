//! Reader-writer lock: a value in shared memory that many threads of all processes read, or one writes.

use super::future::{ReadFuture, WriteFuture};
use super::mutex::{marked, refusal};
use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, Waiting};
use super::{LockError, LockResult, SyncError, WaitError, held};
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::lock::{self, Claim, Marks, Owner, Primitive, Protected, ReadHold, Taken, WriteHold};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A value that many threads of all processes read at a time, or one writes.
///
/// A writer that waits keeps new readers out, so it does not starve; readers may, where writers never pause. A thread that
/// reads may read again whoever waits. Readers that are killed are given back without further notice.
/// Each process's readers are counted apart, which takes 1 KiB of shared memory beside the value.
///
/// ```
/// use gorun_runtime::{Task, sync::RwLock};
///
/// let limits = RwLock::new([10_u32, 20]);
/// let reader = Task::with(limits.clone(), |limits: RwLock<[u32; 2]>| limits.read().unwrap()[1]);
/// assert_eq!(reader.go().join()?, 20);
/// limits.write().unwrap()[0] = 11;
/// assert_eq!(*limits.read().unwrap(), [11, 20]);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
pub struct RwLock<T: Plain> {
    inner: Result<Arc<Inner<T>>, SyncError>,
}

pub(super) struct Inner<T: Plain> {
    pub(super) place: Place<lock::RwLock>,
    value: Protected<T>,
}

impl<T: Plain> RwLock<T> {
    /// A lock around `value` on the current runtime. If it cannot be made, it says so at its first use.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self::try_new(value).unwrap_or_else(|reason| Self { inner: Err(reason) })
    }

    /// A lock around `value` on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new(value: T) -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?, value)
    }

    /// A lock around `value` on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime, value: T) -> Result<Self, SyncError> {
        let bytes = Protected::<T>::block_bytes(lock::RwLock::BYTES);
        let too_large = SyncError::NoMemory { bytes: bytes as u64 };
        let number = u32::try_from(size_of::<T>()).map_err(|_| too_large.clone())?;
        let recipe = Recipe { primitive: Primitive::RwLock, kind: kind_of::<Self>(), number, bytes };
        let place = Place::make(runtime, recipe, value.as_bytes())?;
        let value = Protected::of(place.block()).map_err(|_| too_large)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }

    /// Reads, beside other readers.
    ///
    /// # Errors
    /// [`LockError`]: with the guard if a writer before was killed or panicked; without if this thread writes, or the runtime
    /// ends first.
    ///
    /// # Blocking
    /// While somebody else writes, or waits to write.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let inner = self.inner()?;
        match inner.place.state().try_read(inner.place.me(), false) {
            Ok(hold) => inner.read_guard(hold),
            Err(_) => inner.read_guard(inner.wait_read(Patience::Endless)?),
        }
    }

    /// Reads, if nobody writes or waits to write.
    ///
    /// # Errors
    /// As [`RwLock::read`], and [`WaitError::WouldWait`].
    pub fn try_read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(Patience::None)
    }

    /// Reads, if that can be had before `deadline`.
    ///
    /// # Errors
    /// As [`RwLock::read`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`RwLock::read`], until the deadline.
    pub fn read_until(&self, deadline: Instant) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(Patience::until(deadline))
    }

    /// Reads, if that can be had within `timeout`.
    ///
    /// # Errors
    /// As [`RwLock::read`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`RwLock::read`], for the timeout at most.
    pub fn read_timeout(&self, timeout: Duration) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(Patience::of(timeout))
    }

    /// Reads, as a future.
    pub fn read_async(&self) -> ReadFuture<'_, T> {
        ReadFuture::new(self)
    }

    /// Writes, alone.
    ///
    /// # Errors
    /// As [`RwLock::read`]; without the guard also if this thread reads.
    ///
    /// # Blocking
    /// While anybody else reads or writes.
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(Patience::Endless)
    }

    /// Writes, if nobody reads or writes.
    ///
    /// # Errors
    /// As [`RwLock::write`], and [`WaitError::WouldWait`].
    pub fn try_write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(Patience::None)
    }

    /// Writes, if that can be had before `deadline`.
    ///
    /// # Errors
    /// As [`RwLock::write`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`RwLock::write`], until the deadline.
    pub fn write_until(&self, deadline: Instant) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(Patience::until(deadline))
    }

    /// Writes, if that can be had within `timeout`.
    ///
    /// # Errors
    /// As [`RwLock::write`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`RwLock::write`], for the timeout at most.
    pub fn write_timeout(&self, timeout: Duration) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(Patience::of(timeout))
    }

    /// Writes, as a future. Once no other writer has the lock it keeps new readers out, until it is done or dropped.
    pub fn write_async(&self) -> WriteFuture<'_, T> {
        WriteFuture::new(self)
    }

    /// Writes; if a writer before was killed or panicked, `repair` sees to the value first.
    ///
    /// # Errors
    /// [`WaitError`], as in [`RwLock::write`].
    ///
    /// # Blocking
    /// As [`RwLock::write`].
    pub fn write_or_repair(&self, repair: impl FnOnce(&mut T)) -> Result<RwLockWriteGuard<'_, T>, WaitError> {
        self.write().or_else(|error| {
            let mut guard = error.into_guard()?;
            repair(&mut guard);
            RwLockWriteGuard::mark_sound(&mut guard);
            Ok(guard)
        })
    }

    fn read_with(&self, patience: Patience) -> LockResult<RwLockReadGuard<'_, T>> {
        let inner = self.inner()?;
        inner.read_guard(inner.wait_read(patience)?)
    }

    #[inline]
    fn write_with(&self, patience: Patience) -> LockResult<RwLockWriteGuard<'_, T>> {
        let inner = self.inner()?;
        let claim = inner.place.state().try_claim(inner.place.me());
        match claim.map(Claim::try_write) {
            Ok(Ok(hold)) => inner.write_guard(hold),
            Ok(Err(claim)) => inner.write_guard(inner.wait_drained(claim, patience)?),
            Err(_) => inner.write_guard(inner.wait_write(patience)?),
        }
    }

    /// How often a writer was killed while it had the lock.
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
    pub(super) fn attempt_read(&self) -> Result<Option<ReadHold<'_>>, WaitError> {
        let (lock, me) = (self.place.state(), self.place.me());
        let again = held::is_reading(self.place.address());
        let looked = if again { Ok(()) } else { lock.look() };
        match looked.and_then(|()| lock.try_read(me, again)) {
            Ok(hold) => Ok(Some(hold)),
            Err(Taken::By(owner)) if owner != me => Ok(None),
            Err(taken) => Err(refusal(taken)),
        }
    }

    pub(super) fn attempt_claim(&self) -> Result<Option<Claim<'_>>, WaitError> {
        self.attempt_claim_as(self.place.me())
    }

    pub(super) fn attempt_claim_as(&self, me: Owner) -> Result<Option<Claim<'_>>, WaitError> {
        let lock = self.place.state();
        match lock.look().and_then(|()| lock.try_claim(me)) {
            Ok(claim) => Ok(Some(claim)),
            Err(Taken::By(owner)) if owner != me => Ok(None),
            Err(taken) => Err(refusal(taken)),
        }
    }

    #[cold]
    fn wait_read(&self, patience: Patience) -> Result<ReadHold<'_>, WaitError> {
        let lock = self.place.state();
        let waiting = Waiting { head: lock.head(), gate: lock.readable(), meanwhile: Meanwhile::Nothing };
        waiting.wait(patience, || self.attempt_read())
    }

    #[cold]
    fn wait_write(&self, patience: Patience) -> Result<WriteHold<'_>, WaitError> {
        let lock = self.place.state();
        if held::is_reading(self.place.address()) {
            return Err(WaitError::HeldHere);
        }
        let waiting = Waiting { head: lock.head(), gate: lock.writable(), meanwhile: Meanwhile::Nothing };
        let claim = waiting.wait(patience, || self.attempt_claim())?;
        self.wait_drained(claim, patience)
    }

    /// Waits until all readers have left.
    #[cold]
    fn wait_drained<'a>(&'a self, claim: Claim<'a>, patience: Patience) -> Result<WriteHold<'a>, WaitError> {
        let lock = self.place.state();
        if held::is_reading(self.place.address()) {
            claim.release();
            return Err(WaitError::HeldHere);
        }
        let mut claimed = Some(claim);
        let waiting = Waiting { head: lock.head(), gate: lock.drained(), meanwhile: Meanwhile::Nothing };
        let written = waiting.wait(patience, || {
            Ok(claimed.take().and_then(|claim| match claim.try_write() {
                Ok(hold) => Some(hold),
                Err(claim) => {
                    claimed = Some(claim);
                    None
                }
            }))
        });
        if let Some(claim) = claimed {
            claim.release();
        }
        written
    }

    #[inline]
    pub(super) fn read_guard<'a>(&'a self, hold: ReadHold<'a>) -> LockResult<RwLockReadGuard<'a, T>> {
        held::reads(self.place.address());
        let marks = hold.head().marks();
        let guard = RwLockReadGuard { hold: Some(hold), inner: self, stays: PhantomData };
        if marks.is_empty() { Ok(guard) } else { Err(marked(marks, guard)) }
    }

    #[inline]
    pub(super) fn write_guard<'a>(&'a self, hold: WriteHold<'a>) -> LockResult<RwLockWriteGuard<'a, T>> {
        held::taken();
        let marks = hold.head().marks();
        let hold = Some(hold);
        let guard = RwLockWriteGuard {
            hold,
            inner: self,
            was_panicking: std::thread::panicking(),
            stays: PhantomData,
        };
        if marks.is_empty() { Ok(guard) } else { Err(marked(marks, guard)) }
    }
}

/// Access for reading to the value of a [`RwLock`].
#[must_use = "dropped at once, the lock is given back at once"]
pub struct RwLockReadGuard<'a, T: Plain> {
    /// None only while it is dropped.
    hold: Option<ReadHold<'a>>,
    inner: &'a Inner<T>,
    /// As std's guards, it stays with its thread.
    stays: PhantomData<std::sync::RwLockReadGuard<'a, ()>>,
}

/// Access for writing to the value of a [`RwLock`].
#[must_use = "dropped at once, the lock is given back at once"]
pub struct RwLockWriteGuard<'a, T: Plain> {
    /// None only while it is dropped.
    hold: Option<WriteHold<'a>>,
    inner: &'a Inner<T>,
    was_panicking: bool,
    /// As std's guards, it stays with its thread.
    stays: PhantomData<std::sync::RwLockWriteGuard<'a, ()>>,
}

impl<T: Plain> RwLockWriteGuard<'_, T> {
    /// The value is whole again: those to come are not told of the dead any more.
    pub fn mark_sound(guard: &mut Self) {
        guard.inner.place.state().head().clear_marks();
    }
}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.inner.value.get(self.hold.as_ref().expect("held until dropped"))
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.inner.value.get(self.hold.as_ref().expect("held until dropped"))
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.value.get_mut(self.hold.as_mut().expect("held until dropped"))
    }
}

impl<T: Plain> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        held::reads_no_more(self.inner.place.address());
        if !self.inner.place.is_foreign() {
            hold.unlock();
        }
    }
}

impl<T: Plain> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        held::given_back();
        if self.inner.place.is_foreign() {
            return;
        }
        if std::thread::panicking() && !self.was_panicking {
            hold.head().mark(Marks::POISONED);
        }
        hold.unlock();
    }
}

impl<T: Plain> Clone for RwLock<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T: Plain> Serialize for RwLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.as_ref().map_err(S::Error::custom)?.place.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for RwLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::RwLock, kind_of::<Self>())?;
        let value = Protected::of(place.block()).map_err(serde::de::Error::custom)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("RwLock");
        match self.try_read().or_else(LockError::into_guard) {
            Ok(guard) => told.field("value", &*guard).finish(),
            Err(refused) => told.field("value", &format_args!("<{refused}>")).finish(),
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
