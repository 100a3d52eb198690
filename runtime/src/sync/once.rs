//! Once: something that one thread of all processes does, and everybody else waits for; and a value made in this way.

use super::mutex::refusal;
use super::place::{Place, Recipe, kind_of};
use super::wait::{Meanwhile, Patience, Waiting};
use super::{OnceError, SyncError, WaitError};
use crate::runtime::Runtime;
use gorun_shm::Plain;
use gorun_shm::lock::{self, Marks, OnceTurn, Primitive, Protected, Taken};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Something that one thread of all processes does, and everybody else waits for.
///
/// If the process that is at it is killed, the next one does it instead. If it panics, everybody is told that nobody did, as
/// with std's; [`Once::call_once_force`] then tries again.
///
/// ```
/// use gorun_runtime::{Task, sync::{Mutex, Once}};
///
/// let (once, times) = (Once::new(), Mutex::new(0_u32));
/// let tasks: Vec<_> = (0..4)
///     .map(|_| Task::with((once.clone(), times.clone()), |(once, times): (Once, Mutex<u32>)| {
///         once.call_once(|| *times.lock().unwrap() += 1).unwrap();
///     }))
///     .map(|task| task.go())
///     .collect();
/// for task in tasks {
///     task.join()?;
/// }
/// assert!(once.is_completed());
/// assert_eq!(*times.lock().unwrap(), 1);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[derive(Clone)]
pub struct Once {
    place: Result<Arc<Place<lock::Once>>, SyncError>,
}

/// What became of those who tried before: see [`Once::call_once_force`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnceState(Marks);

impl OnceState {
    /// True if somebody was killed while it was at it: part of it may be done.
    #[must_use]
    pub fn is_recovered(self) -> bool {
        self.0.contains(Marks::RECOVERED)
    }

    /// True if somebody panicked while it was at it.
    #[must_use]
    pub fn is_poisoned(self) -> bool {
        self.0.contains(Marks::POISONED)
    }
}

impl Once {
    /// A once on the current runtime. If it cannot be made, it says so at its first use.
    #[expect(clippy::new_without_default, reason = "it starts the default runtime if there is none")]
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().unwrap_or_else(|reason| Self { place: Err(reason) })
    }

    /// A once on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new() -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?)
    }

    /// A once on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime) -> Result<Self, SyncError> {
        let (kind, bytes) = (kind_of::<Self>(), lock::Once::BYTES);
        let recipe = Recipe { primitive: Primitive::Once, kind, number: 0, bytes };
        Ok(Self { place: Ok(Arc::new(Place::make(runtime, recipe, &[])?)) })
    }

    /// Does it, unless it was done, and returns when it is, by whomever. After a killed one the next does all of it again.
    ///
    /// # Errors
    /// [`OnceError::Poisoned`] if somebody panicked while at it; [`WaitError::HeldHere`] inside of `work`.
    ///
    /// # Panics
    /// If `work` does.
    ///
    /// # Blocking
    /// While somebody else is at it.
    #[inline]
    pub fn call_once(&self, work: impl FnOnce()) -> Result<(), OnceError> {
        self.call(false, |_| work())
    }

    /// As [`Once::call_once`], also after a panic; `work` is told of those before.
    ///
    /// # Errors
    /// [`OnceError::Refused`].
    ///
    /// # Panics
    /// If `work` does.
    ///
    /// # Blocking
    /// As [`Once::call_once`].
    pub fn call_once_force(&self, work: impl FnOnce(OnceState)) -> Result<(), OnceError> {
        self.call(true, work)
    }

    fn call(&self, force: bool, work: impl FnOnce(OnceState)) -> Result<(), OnceError> {
        let place = self.place()?;
        if place.state().is_done() {
            return Ok(());
        }
        let Some(turn) = begin(place)? else { return Ok(()) };
        let turn = Turn { turn: Some(turn), place, on_panic: Marks::POISONED };
        let marks = place.state().head().marks();
        if marks.contains(Marks::POISONED) && !force {
            turn.give_up();
            return Err(OnceError::Poisoned);
        }
        work(OnceState(marks));
        turn.finish();
        Ok(())
    }

    /// True if it is done.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.place().is_ok_and(|place| place.state().is_done())
    }

    fn place(&self) -> Result<&Place<lock::Once>, WaitError> {
        let place = self.place.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        place.check()?;
        Ok(place)
    }
}

/// Waits for the turn to do it; none if it is done.
fn begin(place: &Place<lock::Once>) -> Result<Option<OnceTurn<'_>>, WaitError> {
    let (once, me) = (place.state(), place.me());
    let waiting = Waiting { head: once.head(), gate: once.ended(), meanwhile: Meanwhile::Nothing };
    waiting.wait(Patience::Endless, || match once.look().and_then(|()| once.begin(me)) {
        Ok(turn) => Ok(Some(Some(turn))),
        // `is_done` also makes visible what was done.
        Err(Taken::Done) if once.is_done() => Ok(Some(None)),
        Err(Taken::By(owner)) if owner != me => Ok(None),
        Err(taken) => Err(refusal(taken)),
    })
}

/// A turn that ends when the work unwinds.
struct Turn<'a> {
    turn: Option<OnceTurn<'a>>,
    place: &'a Place<lock::Once>,
    on_panic: Marks,
}

impl Turn<'_> {
    fn finish(mut self) {
        if let Some(turn) = self.turn.take().filter(|_| !self.place.is_foreign()) {
            turn.finish();
        }
    }

    fn give_up(mut self) {
        if let Some(turn) = self.turn.take() {
            turn.give_up(Marks::NONE);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take().filter(|_| !self.place.is_foreign()) {
            turn.give_up(self.on_panic);
        }
    }
}

/// A value in shared memory that is made once, by one thread of all processes, and then read by all without any lock.
///
/// If the process that makes it is killed, or panics, the next one makes it.
///
/// ```
/// use gorun_runtime::{Task, sync::OnceLock};
///
/// let table = OnceLock::<[u64; 3]>::new();
/// let first = Task::with(table.clone(), |table: OnceLock<[u64; 3]>| table.get_or_init(|| [1, 4, 9]).unwrap()[2]);
/// assert_eq!(first.go().join()?, 9);
/// assert_eq!(table.get(), Some(&[1, 4, 9]));
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
pub struct OnceLock<T: Plain> {
    inner: Result<Arc<Inner<T>>, SyncError>,
}

struct Inner<T: Plain> {
    place: Place<lock::Once>,
    value: Protected<T>,
}

impl<T: Plain> OnceLock<T> {
    /// Room for a value on the current runtime. If it cannot be had, it says so at its first use.
    #[expect(clippy::new_without_default, reason = "it starts the default runtime if there is none")]
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().unwrap_or_else(|reason| Self { inner: Err(reason) })
    }

    /// Room for a value on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new() -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?)
    }

    /// Room for a value on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime) -> Result<Self, SyncError> {
        let bytes = Protected::<T>::block_bytes(lock::Once::BYTES);
        let too_large = SyncError::NoMemory { bytes: bytes as u64 };
        let number = u32::try_from(size_of::<T>()).map_err(|_| too_large.clone())?;
        let recipe = Recipe { primitive: Primitive::Once, kind: kind_of::<Self>(), number, bytes };
        let place = Place::make(runtime, recipe, &[])?;
        let value = Protected::of(place.block()).map_err(|_| too_large)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }

    /// The value, if it was made.
    #[must_use]
    #[inline]
    pub fn get(&self) -> Option<&T> {
        let inner = self.inner().ok()?;
        inner.place.state().is_done().then(|| inner.value.of_done(inner.place.state()))
    }

    /// The value; `make` makes it if nobody has.
    ///
    /// # Errors
    /// [`WaitError`]: [`WaitError::HeldHere`] inside of `make`.
    ///
    /// # Panics
    /// If `make` does.
    ///
    /// # Blocking
    /// While somebody else makes it.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T, WaitError> {
        let inner = self.inner()?;
        let once = inner.place.state();
        if !once.is_done()
            && let Some(turn) = begin(&inner.place)?
        {
            let turn = Turn { turn: Some(turn), place: &inner.place, on_panic: Marks::NONE };
            let value = make();
            // A fork inside of `make` has come this far as well: there the value is the parent's to make.
            inner.place.check()?;
            if let Some(turn) = &turn.turn {
                inner.value.fill(turn, value);
            }
            turn.finish();
        }
        Ok(inner.value.of_done(once))
    }

    /// Makes the value `value` unless there is one.
    ///
    /// # Errors
    /// The value, if there is one already or none can be made.
    ///
    /// # Blocking
    /// As [`OnceLock::get_or_init`].
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut is_set = false;
        let made = self.get_or_init(|| {
            is_set = true;
            value
        });
        if made.is_ok() && is_set { Ok(()) } else { Err(value) }
    }

    #[inline]
    fn inner(&self) -> Result<&Inner<T>, WaitError> {
        let inner = self.inner.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        inner.place.check()?;
        Ok(inner)
    }
}

impl<T: Plain> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl Serialize for Once {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.place.as_ref().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::Once, kind_of::<Self>())?;
        Ok(Self { place: Ok(Arc::new(place)) })
    }
}

impl<T: Plain> Serialize for OnceLock<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.as_ref().map_err(S::Error::custom)?.place.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for OnceLock<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::decode(deserializer, Primitive::Once, kind_of::<Self>())?;
        let value = Protected::of(place.block()).map_err(serde::de::Error::custom)?;
        Ok(Self { inner: Ok(Arc::new(Inner { place, value })) })
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("is_completed", &self.is_completed()).finish_non_exhaustive()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}
