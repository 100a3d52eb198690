//! Wait group: wait until everybody of a group, in whatever process, is done or dead.
//!
//! Members are senders of a channel that nobody sends into: who has some, how they travel and what becomes of those of the
//! dead is the channel's affair. That everybody is done is the channel's end.

use super::place::{Place, Recipe, kind_of};
use super::{GroupError, SyncError, WaitError};
use crate::channel::{Channel, ChannelError, Receiver, RecvError, Sender};
use crate::runtime::Runtime;
use gorun_shm::lock::{Group, Primitive};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Waits until everybody of a group is done or dead.
///
/// Instead of Go's counter there are members, as only so the counts of the dead can be given back: [`WaitGroup::add`] makes one,
/// it travels to whoever is to do the work, a member adds more members by [`Member::add`], and is done by [`Member::done`] or
/// when it is dropped. A member whose process is killed is counted as lost, and the wait says so; one whose task never began,
/// because it was cancelled or its worker died first, was dropped with the task's input, and is done.
///
/// ```
/// use gorun_runtime::{Task, sync::{Member, WaitGroup}};
///
/// let group = WaitGroup::new();
/// for n in 0..10_u64 {
///     drop(Task::with((group.add().unwrap(), n), |(member, n): (Member, u64)| {
///         std::hint::black_box(n * n);
///         member.done();
///     }).go());
/// }
/// group.wait()?;
/// # Ok::<(), gorun_runtime::sync::GroupError>(())
/// ```
#[derive(Clone)]
pub struct WaitGroup {
    parts: Result<Arc<Parts>, SyncError>,
}

struct Parts {
    counts: Arc<Place<Group>>,
    over: Receiver<()>,
    /// Keeps the group from being over before the first member was added; gone when somebody waits.
    seed: Mutex<Option<Sender<()>>>,
}

/// Somebody whom a [`WaitGroup`] waits for, until it is done or dropped.
pub struct Member {
    counts: Arc<Place<Group>>,
    sender: Sender<()>,
}

impl WaitGroup {
    /// A group on the current runtime. If it cannot be made, it says so at its first use.
    #[expect(clippy::new_without_default, reason = "it starts the default runtime if there is none")]
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().unwrap_or_else(|reason| Self { parts: Err(reason) })
    }

    /// A group on the current runtime.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn try_new() -> Result<Self, SyncError> {
        Self::new_on(&Runtime::current().map_err(SyncError::NoRuntime)?)
    }

    /// A group on `runtime`.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn new_on(runtime: &Runtime) -> Result<Self, SyncError> {
        let (kind, bytes) = (kind_of::<Self>(), size_of::<Group>());
        let recipe = Recipe { primitive: Primitive::Group, kind, number: 0, bytes };
        let counts = Arc::new(Place::make(runtime, recipe, &[])?);
        let (seed, over) = Channel::bounded(1).open_on(runtime).map_err(|error| match error {
            ChannelError::NoMemory { bytes } => SyncError::NoMemory { bytes },
            ChannelError::NoRuntime(rejection) => SyncError::NoRuntime(rejection),
            _ => SyncError::Closed,
        })?;
        Ok(Self { parts: Ok(Arc::new(Parts { counts, over, seed: Mutex::new(Some(seed)) })) })
    }

    /// A member more, before anybody waits.
    ///
    /// # Errors
    /// [`GroupError::Over`] once somebody has waited by this handle or a clone of it, and by handles that came from other
    /// processes: members add members then.
    pub fn add(&self) -> Result<Member, GroupError> {
        let parts = self.parts()?;
        let seed = parts.seed.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = seed.clone().ok_or(GroupError::Over)?;
        Ok(Member::of(Arc::clone(&parts.counts), sender))
    }

    /// Waits until all members are done or dead.
    ///
    /// # Errors
    /// [`GroupError::Lost`] if some were killed.
    ///
    /// # Blocking
    /// So long.
    pub fn wait(&self) -> Result<(), GroupError> {
        self.wait_with(Receiver::recv)
    }

    /// Waits until all members are done or dead, for `timeout` at most.
    ///
    /// # Errors
    /// As [`WaitGroup::wait`], and [`WaitError::TimedOut`].
    ///
    /// # Blocking
    /// So long.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), GroupError> {
        self.wait_with(|over| over.recv_timeout(timeout))
    }

    fn wait_with(&self, wait: impl Fn(&Receiver<()>) -> Result<(), RecvError>) -> Result<(), GroupError> {
        let parts = self.parts()?;
        drop(parts.seed.lock().unwrap_or_else(PoisonError::into_inner).take());
        loop {
            return match wait(&parts.over) {
                // Nobody sends; but who scribbles may.
                Ok(()) => continue,
                Err(RecvError::Disconnected) => match parts.counts.state().lost() {
                    0 => Ok(()),
                    members => Err(GroupError::Lost { members }),
                },
                Err(RecvError::TimedOut) => Err(WaitError::TimedOut.into()),
                Err(RecvError::Closed) => Err(WaitError::Closed.into()),
                Err(_) => Err(WaitError::Damaged.into()),
            };
        }
    }

    fn parts(&self) -> Result<&Parts, WaitError> {
        let parts = self.parts.as_ref().map_err(|reason| WaitError::NoLock(reason.clone()))?;
        parts.counts.check()?;
        Ok(parts)
    }
}

impl Member {
    fn of(counts: Arc<Place<Group>>, sender: Sender<()>) -> Self {
        counts.state().join();
        Self { counts, sender }
    }

    /// A member more.
    #[must_use = "dropped, it is done"]
    pub fn add(&self) -> Self {
        Self::of(Arc::clone(&self.counts), self.sender.clone())
    }

    /// It is done: the same as dropping it.
    pub fn done(self) {}
}

impl Clone for Member {
    fn clone(&self) -> Self {
        self.add()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Before its sender goes, which may be the last.
        if !self.counts.is_foreign() {
            self.counts.state().done();
        }
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Travelling(&self.counts), &self.sender).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Arrived(counts), sender) = Deserialize::deserialize(deserializer)?;
        Ok(Self::of(Arc::new(counts), sender))
    }
}

impl Serialize for WaitGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.parts.as_ref().map_err(S::Error::custom)?;
        (Travelling(&parts.counts), &parts.over).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WaitGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Arrived(counts), over) = Deserialize::deserialize(deserializer)?;
        Ok(Self { parts: Ok(Arc::new(Parts { counts: Arc::new(counts), over, seed: Mutex::new(None) })) })
    }
}

struct Travelling<'a>(&'a Place<Group>);
struct Arrived(Place<Group>);

impl Serialize for Travelling<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Place::decode(deserializer, Primitive::Group, kind_of::<WaitGroup>()).map(Self)
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").finish_non_exhaustive()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}
