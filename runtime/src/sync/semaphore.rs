//! Semaphore: so many permits for the threads of all processes.

use super::future::AcquireFuture;
use super::mutex::refusal;
use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, Waiting};
use super::{SyncError, WaitError};
use crate::runtime::Runtime;
use gorun_shm::lock::{self, Permit, Primitive, Slots, Taken};
use gorun_shm::segment::ViewSlice;
use gorun_shm::sync::AtomicU64;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many permits for the threads of all processes. The permits of a process that is killed come back.
///
/// ```
/// use gorun_runtime::{Task, sync::Semaphore};
///
/// let connections = Semaphore::new(2);
/// let tasks: Vec<_> = (0..8_u64)
///     .map(|n| Task::with((connections.clone(), n), |(connections, n): (Semaphore, u64)| {
///         let _permit = connections.acquire().unwrap(); // two at a time from here on
///         n * n
///     }))
///     .map(|task| task.go())
///     .collect();
/// assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<u64>(), 140);
/// assert_eq!(connections.available(), 2);
/// ```
#[derive(Clone)]
pub struct Semaphore {
    inner: Result<Arc<Inner>, SyncError>,
}

pub(super) struct Inner {
    pub(super) place: Place<lock::Semaphore>,
    words: ViewSlice<AtomicU64>,
}

impl Semaphore {
    /// Most permits there can be.
    pub const PERMITS_MAX: u32 = lock::Semaphore::PERMITS_MAX;

    /// A semaphore with `permits` permits on the current runtime. If it cannot be made, it says so at its first use.
    #[must_use]
    pub fn new(permits: u32) -> Self {
        Self::try_new(permits).unwrap_or_else(|reason| Self { inner: Err(reason) })
    }

    /// A semaphore with `permits` permits, 1 to [`Semaphore::PERMITS_MAX`], on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new(permits: u32) -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?, permits)
    }

    /// A semaphore with `permits` permits, 1 to [`Semaphore::PERMITS_MAX`], on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime, permits: u32) -> Result<Self, SyncError> {
        if !(1..=Self::PERMITS_MAX).contains(&permits) {
            return Err(SyncError::BadCount { asked: permits.into(), most: Self::PERMITS_MAX.into() });
        }
        let bytes = lock::Semaphore::BYTES + lock::Semaphore::words(permits) * size_of::<u64>();
        let recipe =
            Recipe { primitive: Primitive::Semaphore, kind: kind_of::<Self>(), number: permits, bytes };
        let inner = Inner::of(Place::make(runtime, recipe, &[])?);
        Ok(Self { inner: Ok(Arc::new(inner.ok_or(SyncError::NoMemory { bytes: bytes as u64 })?)) })
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// [`WaitError`].
    ///
    /// # Blocking
    /// Until one is free. Nobody is in line: of several who wait, any gets it.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(1, Patience::Endless)
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`], and [`WaitError::WouldWait`].
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(1, Patience::None)
    }

    /// Takes a permit if one is free before `deadline`.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Semaphore::acquire`], until the deadline.
    pub fn acquire_until(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(1, Patience::until(deadline))
    }

    /// Takes a permit if one is free within `timeout`.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Semaphore::acquire`], for the timeout at most.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(1, Patience::of(timeout))
    }

    /// Takes a permit, as a future.
    pub fn acquire_async(&self) -> AcquireFuture<'_> {
        AcquireFuture::new(self)
    }

    /// Takes `permits` permits. Of those who want several one collects at a time, and keeps what it has got, so that it comes to
    /// its end however many single permits others take meanwhile.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`], and [`WaitError::TooMany`].
    ///
    /// # Blocking
    /// Until so many have become free.
    pub fn acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(permits, Patience::Endless)
    }

    /// Takes `permits` permits if so many are free. For a moment it may have some of them also where it fails.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_many`], and [`WaitError::WouldWait`].
    pub fn try_acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(permits, Patience::None)
    }

    /// Takes `permits` permits if so many can be had within `timeout`.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_many`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// As [`Semaphore::acquire_many`], for the timeout at most.
    pub fn acquire_many_timeout(
        &self,
        permits: u32,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, WaitError> {
        self.acquire_with(permits, Patience::of(timeout))
    }

    fn acquire_with(&self, asked: u32, patience: Patience) -> Result<SemaphorePermit<'_>, WaitError> {
        let inner = self.inner()?;
        let permits = inner.place.number();
        if asked > permits {
            return Err(WaitError::TooMany { asked, permits });
        }
        let mut collected = SemaphorePermit { first: None, rest: Vec::new(), inner };
        if asked == 1 {
            collected.first = Some(inner.wait(patience)?);
        } else if asked > 1 {
            inner.wait_for_turn(patience)?;
            let got: Result<(), WaitError> = (0..asked).try_for_each(|_| {
                collected.rest.push(inner.wait(patience)?);
                Ok(())
            });
            inner.place.state().pass_turn();
            got?;
        }
        Ok(collected)
    }

    /// Permits that are free now. Stale as soon as it is read.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.inner().map_or(0, |inner| inner.slots().free())
    }

    /// How often a process was killed that had permits.
    #[must_use]
    pub fn recoveries(&self) -> u32 {
        self.inner().map_or(0, |inner| inner.place.state().head().deaths())
    }

    pub(super) fn inner(&self) -> Result<&Arc<Inner>, WaitError> {
        let inner = self.inner.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        inner.place.check()?;
        Ok(inner)
    }
}

impl Inner {
    fn of(place: Place<lock::Semaphore>) -> Option<Self> {
        let words = lock::Semaphore::words(place.number().min(Semaphore::PERMITS_MAX));
        let words = place.block().view_slice(lock::Semaphore::BYTES, words).ok()?;
        (place.number() <= Semaphore::PERMITS_MAX).then_some(Self { place, words })
    }

    pub(super) fn slots(&self) -> Slots<'_> {
        Slots::new(self.place.state(), &self.words, self.place.number())
    }

    fn wait(&self, patience: Patience) -> Result<Permit, WaitError> {
        let (slots, holder) = (self.slots(), self.place.holder());
        if let Some(permit) = slots.try_acquire(holder) {
            return Ok(permit);
        }
        let semaphore = self.place.state();
        let (head, gate) = (semaphore.head(), semaphore.freed());
        let waiting = Waiting { head, gate, meanwhile: Meanwhile::Nothing };
        let permit = waiting.wait(patience, || Ok(slots.try_acquire(holder)))?;
        slots.pass_on();
        Ok(permit)
    }

    fn wait_for_turn(&self, patience: Patience) -> Result<(), WaitError> {
        let semaphore = self.place.state();
        let me = self.place.me();
        let (head, gate) = (semaphore.head(), semaphore.turns());
        let waiting = Waiting { head, gate, meanwhile: Meanwhile::Nothing };
        waiting.wait(patience, || match semaphore.take_turn(me) {
            Ok(()) => Ok(Some(())),
            Err(Taken::By(_)) => Ok(None),
            Err(taken) => Err(refusal(taken)),
        })
    }

    pub(super) fn permit(&self, permit: Permit) -> SemaphorePermit<'_> {
        SemaphorePermit { first: Some(permit), rest: Vec::new(), inner: self }
    }
}

/// Permits of a [`Semaphore`], given back when dropped. Any thread of the process may drop them.
#[must_use = "dropped at once, the permit is given back at once"]
pub struct SemaphorePermit<'a> {
    first: Option<Permit>,
    /// Beside the first.
    rest: Vec<Permit>,
    inner: &'a Inner,
}

impl SemaphorePermit<'_> {
    /// How many permits it is.
    #[must_use]
    pub fn permits(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if self.inner.place.is_foreign() {
            return;
        }
        let slots = self.inner.slots();
        self.first.take().into_iter().chain(self.rest.drain(..)).for_each(|permit| slots.release(permit));
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.as_ref().map_err(S::Error::custom)?.place.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::Semaphore, kind_of::<Self>())?;
        let inner = Inner::of(place).ok_or_else(|| D::Error::custom("that is no semaphore"))?;
        Ok(Self { inner: Ok(Arc::new(inner)) })
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit").field("permits", &self.permits()).finish_non_exhaustive()
    }
}
