//! Context: whether work is still wanted, until when, and what goes with it, for a tree of tasks in many processes.
//!
//! A context is a value: cloned, given to tasks, sent through channels. Made from another one it ends with that at the
//! latest. What ends it by hand is its [`Canceller`], in whatever process that is; `shm/src/context.md` has the words that
//! they share. A deadline is a moment of the clock that all processes of the machine have, so it needs no words.

mod canceller;
mod done;
mod future;
mod leash;
mod recover;
mod scope;

pub use canceller::Canceller;
pub use done::{ContextError, Done};
pub use future::DoneFuture;
pub(crate) use future::Wake;
pub(crate) use leash::{Leashes, Quarry};
pub(crate) use recover::{recover, shut_all};
pub(crate) use scope::Scope;

use crate::channel::ChannelError;
use crate::channel::select::{self, Arm, Watches};
use crate::clock;
use crate::error::Rejection;
use crate::runtime::Runtime;
use gorun_shm::blocks::AllocateError;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use gorun_worker::lever::ContextPlace;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most cancellers one above the other.
pub const CANCELLERS_MAX: usize = 64;
/// Most bytes of names and values in one context: they travel with it each time.
pub const VALUES_BYTES_MAX: usize = 64 * 1024;

/// Says whether work is still wanted, in every process that has it.
///
/// It ends when its canceller says so, at its deadline, when its runtime ends, or when the context it was made from does;
/// and also when nobody is left who could cancel it, so that nobody waits in vain: see [`Canceller`].
///
/// ```
/// use gorun_runtime::{Context, Done, Task};
///
/// let (context, canceller) = Context::background().with_cancel();
/// let child = context.with_value("customer", &42_u64)?;
/// let waits = Task::with(child, |context: Context| (context.value::<u64>("customer"), context.done())).go();
/// canceller.cancel_because("the customer has left");
/// let cause = Some(String::from("the customer has left"));
/// assert_eq!(waits.join()?, (Some(42), Done::Cancelled { cause }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// None of the background.
    scope: Option<Arc<Scope>>,
}

impl Context {
    /// The root of all: never done, without a deadline, without values. It costs nothing and needs no runtime.
    #[must_use]
    pub fn background() -> Self {
        Self::default()
    }

    /// A context that its canceller can end, on the current runtime: the default one, or the one whose task this is.
    ///
    /// Where it cannot be had it is done from the start: [`Done::Unavailable`].
    pub fn with_cancel(&self) -> (Self, Canceller) {
        let made = Runtime::current().map_err(ChannelError::NoRuntime);
        made.and_then(|runtime| self.with_cancel_on(&runtime)).unwrap_or_else(|error| self.unavailable(error))
    }

    /// A context that its canceller can end, on `runtime`.
    ///
    /// # Errors
    /// [`ChannelError::NoMemory`], also with [`CANCELLERS_MAX`] cancellers above it, or that there is no runtime.
    pub fn with_cancel_on(&self, runtime: &Runtime) -> Result<(Self, Canceller), ChannelError> {
        let dispatcher = runtime.dispatcher();
        if dispatcher.is_foreign() {
            return Err(ChannelError::NoRuntime(Rejection::ForkedHost));
        }
        let scope = self.scope.as_deref().cloned().unwrap_or_default();
        let bytes = gorun_shm::context::ContextWords::BYTES as u64;
        if scope.places.len() >= CANCELLERS_MAX {
            return Err(ChannelError::NoMemory { bytes });
        }
        let made = ContextPlace::create(&dispatcher.commons.blocks, dispatcher.me);
        let (place, lever) = made.map_err(|error| match error {
            AllocateError::NotAnOwner { .. } => ChannelError::Closed,
            _ => ChannelError::NoMemory { bytes },
        })?;
        // Looked at behind the making: either this sees the end of the runtime, or that sees the context.
        let is_over = dispatcher.is_closed()
            || gorun_worker::context::duty().is_some_and(|duty| duty.is_told_to_stop());
        if is_over {
            return Err(ChannelError::Closed);
        }
        Ok((Self::of(scope.inside(place)), Canceller::of(lever)))
    }

    fn unavailable(&self, error: ChannelError) -> (Self, Canceller) {
        let scope = self.scope.as_deref().cloned().unwrap_or_default();
        (Self::of(scope.unavailable(error)), Canceller::refused())
    }

    fn of(scope: Scope) -> Self {
        Self { scope: Some(Arc::new(scope)) }
    }

    /// A context that is over at `deadline` at the latest.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        self.until_ns(clock::nanos_of(deadline))
    }

    /// A context that is over after `timeout` at the latest.
    ///
    /// ```
    /// use gorun_runtime::{Context, Done};
    /// use std::time::Duration;
    ///
    /// let context = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(context.done(), Done::DeadlineExceeded);
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.until_ns(clock::after(timeout))
    }

    fn until_ns(&self, at_ns: u64) -> Self {
        Self::of(self.scope.as_deref().cloned().unwrap_or_default().until(at_ns))
    }

    /// A context that carries `value` too, for whoever asks for `key` and this type. It hides another one of that key.
    ///
    /// # Errors
    /// [`ContextError`] if it cannot be encoded, carries blocks or channels, or all values together are too large.
    pub fn with_value<T: Portable>(&self, key: &str, value: &T) -> Result<Self, ContextError> {
        self.scope.as_deref().cloned().unwrap_or_default().with_value(key, value).map(Self::of)
    }

    /// The value of this key; none if there is none, or it is of another type.
    #[must_use]
    pub fn value<T: Portable>(&self, key: &str) -> Option<T> {
        self.scope.as_ref()?.value(key)
    }

    /// When it is over at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline_ns().map(clock::instant_of)
    }

    /// How much time is left; none if there is no deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = |at_ns: u64| Duration::from_nanos(at_ns.saturating_sub(ticks::system_ns()));
        self.deadline_ns().map(left)
    }

    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.scope.as_ref()?.deadline_ns
    }

    /// True once it is over. Costs a few nanoseconds for each canceller above it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.done().is_some())
    }

    /// Why it is over; none while it is not. What a process has seen once it will see again.
    #[must_use]
    pub fn reason(&self) -> Option<Done> {
        self.scope.as_ref()?.done()
    }

    /// An error once it is over, for `?` in the middle of long work.
    ///
    /// # Errors
    /// Why it is over.
    pub fn check(&self) -> Result<(), Done> {
        self.reason().map_or(Ok(()), Err)
    }

    /// Waits until it is over.
    ///
    /// # Blocking
    /// Until then: for ever for a background. Inside a task it runs tasks of its own meanwhile.
    pub fn done(&self) -> Done {
        let arm = DoneArm::new(self);
        loop {
            select::select_one(&[&arm]);
            if let Some(done) = arm.finish() {
                return done;
            }
        }
    }

    /// Waits until it is over, at most `timeout`.
    ///
    /// # Blocking
    /// Until then. Inside a task it runs tasks of its own meanwhile.
    pub fn done_within(&self, timeout: Duration) -> Option<Done> {
        let arm = DoneArm::new(self);
        select::select_within(&[&arm], timeout);
        arm.finish()
    }

    /// Its end, as a future, for any executor. A context can be awaited as it is, too.
    pub fn done_async(&self) -> DoneFuture {
        DoneFuture::new(self.clone())
    }

    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }
}

impl IntoFuture for Context {
    type Output = Done;
    type IntoFuture = DoneFuture;

    fn into_future(self) -> DoneFuture {
        DoneFuture::new(self)
    }
}

impl IntoFuture for &Context {
    type Output = Done;
    type IntoFuture = DoneFuture;

    fn into_future(self) -> DoneFuture {
        self.done_async()
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.scope.as_deref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { scope: Option::<Scope>::deserialize(deserializer)?.map(Arc::new) })
    }
}

/// An arm of a select: the end of a context.
#[doc(hidden)]
#[derive(Debug)]
pub struct DoneArm<'a> {
    context: &'a Context,
    done: RefCell<Option<Done>>,
}

impl<'a> DoneArm<'a> {
    /// An arm that waits for the end of `context`.
    pub fn new(context: &'a Context) -> Self {
        Self { context, done: RefCell::new(None) }
    }

    /// Why it is over, if this arm was done.
    pub fn finish(&self) -> Option<Done> {
        self.done.take()
    }
}

impl Arm for DoneArm<'_> {
    fn attempt(&self) -> bool {
        let reason = self.context.reason();
        let is_done = reason.is_some();
        if is_done {
            self.done.replace(reason);
        }
        is_done
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        let Some(scope) = &self.context.scope else { return };
        for place in &scope.places {
            watches.gate(place.words().gate(), &|| place.post());
        }
        if let Some(at_ns) = scope.deadline_ns {
            watches.until(at_ns);
        }
    }
}
