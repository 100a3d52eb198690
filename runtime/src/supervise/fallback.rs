//! Fallback: what a task gives when it has no value of its own.

use super::cache::{Cache, CacheKey};
use super::registry::Registry;
use crate::error::TaskError;
use crate::task::Task;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use std::any::TypeId;
use std::fmt;
use std::time::Duration;

/// What a task gives instead of an error, once all its attempts have failed.
///
/// Every use is counted in `Stats::policies`, and the first of each function is told by a warning of `tracing`. The
/// errors that are the user's own choice, `Cancelled` and `Closed`, stay errors. Where the default runtime could not
/// start, `go` has nothing to count in, and its error stands too.
///
/// ```
/// use gorun_runtime::{Fallback, Task};
///
/// let broken = Task::new(|| -> u32 { panic!("no weather today") });
/// assert_eq!(broken.fallback(Fallback::value(20)).go().join(), Ok(20));
/// ```
#[must_use = "a fallback is given to `Task::fallback`"]
pub struct Fallback<R> {
    source: Source<R>,
}

enum Source<R> {
    Value(R),
    Function(fn(&TaskError) -> R),
    Cached(Cached<R>),
}

/// Functions of the cache for one type of result, which then need no bound elsewhere.
struct Cached<R> {
    ttl: Duration,
    key: u64,
    keep: fn(&Cache, CacheKey, &R, Duration),
    find: fn(&Cache, CacheKey) -> Option<R>,
}

impl<R: Portable> Fallback<R> {
    /// This value.
    pub const fn value(value: R) -> Self {
        Self { source: Source::Value(value) }
    }

    /// What `function` makes of the error. It runs in the calling process, where the handle is joined or awaited; a panic
    /// in it is the caller's.
    ///
    /// ```
    /// use gorun_runtime::{Fallback, Task, TaskError};
    ///
    /// let broken = Task::new(|| -> String { panic!("tilt") });
    /// let told = broken.fallback(Fallback::function(|error: &TaskError| error.to_string())).go().join()?;
    /// assert!(told.contains("tilt"));
    /// # Ok::<(), TaskError>(())
    /// ```
    pub const fn function(function: fn(&TaskError) -> R) -> Self {
        Self { source: Source::Function(function) }
    }

    /// The last good result of the same function with this kind of fallback, if it is not older than `ttl`; else the
    /// error stands. A runtime keeps up to 1024 results in the memory of its own process, each worker's nested tasks
    /// those of that worker. A result is kept when its handle is joined or awaited, as a clone.
    ///
    /// ```
    /// use gorun_runtime::{Fallback, Task};
    /// use std::time::Duration;
    ///
    /// let price = |fails: bool| { assert!(!fails, "no connection"); 99_u32 };
    /// let ask = |fails| Task::with(fails, price).fallback(Fallback::cached(Duration::from_secs(60))).go().join();
    /// assert_eq!((ask(false), ask(true)), (Ok(99), Ok(99)));
    /// ```
    pub fn cached(ttl: Duration) -> Self
    where
        R: Clone + Send,
    {
        let keep = |cache: &Cache, key, value: &R, ttl| {
            cache.keep(key, value.clone(), ttl, ticks::system_ns());
        };
        let find = |cache: &Cache, key| cache.find(key, ticks::system_ns());
        Self { source: Source::Cached(Cached { ttl, key: 0, keep, find }) }
    }

    /// Keeps results of [`Fallback::cached`] apart by a number that says what was asked for: a user, a hash of the
    /// input. Without it, the last good result is given whatever its input was. Other kinds of fallback do not use it.
    pub fn per_key(mut self, key: u64) -> Self {
        if let Source::Cached(cached) = &mut self.source {
            cached.key = key;
        }
        self
    }
}

impl Fallback<()> {
    /// The task's function, run with the same input by a thread of this process: without isolation, as the last resort.
    /// Whatever the function did to its worker, it may now do to this process.
    ///
    /// The handle keeps the input. No deadline ends the thread, and nobody can kill it; `join`, `.await` and the others
    /// wait for it. A panic in it ends the task as `Panicked`. A runtime has up to 8 such threads, and 4096 tasks wait for
    /// them; where there is no room the task's own error stands. Dropping the handle lets a thread finish that has begun,
    /// and starts none. Inside a task this ends as `HostOnly`.
    ///
    /// ```
    /// use gorun_runtime::{Fallback, Task};
    ///
    /// // Dies wherever there is isolation.
    /// let host = std::process::id();
    /// let task = Task::with(host, |host: u32| if std::process::id() == host { 1 } else { std::process::abort() });
    /// assert_eq!(task.fallback(Fallback::thread()).go().join()?, 1);
    /// # Ok::<(), gorun_runtime::TaskError>(())
    /// ```
    pub const fn thread() -> ThreadFallback {
        ThreadFallback(())
    }
}

/// The fallback of [`Fallback::thread`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a fallback is given to `Task::fallback`"]
pub struct ThreadFallback(());

/// What [`Task::fallback`] takes: a [`Fallback`], or a [`ThreadFallback`] where the input may change threads.
pub trait IntoFallback<A, R> {
    /// Gives it to the task.
    #[doc(hidden)]
    fn guard(self, task: Task<A, R>) -> Task<A, R>;
}

impl<A: Portable, R: Portable + Send> IntoFallback<A, R> for Fallback<R> {
    fn guard(self, task: Task<A, R>) -> Task<A, R> {
        task.rescued(self)
    }
}

impl<A: Portable + Send, R: Portable + Send> IntoFallback<A, R> for ThreadFallback {
    fn guard(self, task: Task<A, R>) -> Task<A, R> {
        task.understudied(|source, registry| registry.stand_in(move || source.run()))
    }
}

/// A fallback and the function it is for.
pub(crate) trait Rescue<R>: Send {
    /// Hears of a good result.
    fn keep(&self, registry: &Registry, value: &R);

    /// What is given in place of `error`, if anything.
    fn give(self: Box<Self>, registry: &Registry, error: &TaskError) -> Option<R>;
}

struct Bound<R> {
    fallback: Fallback<R>,
    function: usize,
}

impl<R: Portable> Fallback<R> {
    /// For the function at this address.
    pub(crate) fn bind(self, function: usize) -> Box<dyn Rescue<R>>
    where
        R: Send,
    {
        Box::new(Bound { fallback: self, function })
    }
}

impl<R: Portable> Bound<R> {
    fn cache_key(&self, key: u64) -> CacheKey {
        CacheKey { function: self.function, result: TypeId::of::<R>(), key }
    }
}

impl<R: Portable + Send> Rescue<R> for Bound<R> {
    fn keep(&self, registry: &Registry, value: &R) {
        if let Source::Cached(Cached { ttl, key, keep, .. }) = &self.fallback.source {
            keep(registry.cache(), self.cache_key(*key), value, *ttl);
        }
    }

    fn give(self: Box<Self>, registry: &Registry, error: &TaskError) -> Option<R> {
        if matches!(error, TaskError::Cancelled | TaskError::Closed) {
            return None;
        }
        let function = self.function;
        let value = match self.fallback.source {
            Source::Value(value) => value,
            Source::Function(function) => function(error),
            Source::Cached(Cached { key, find, .. }) => {
                find(registry.cache(), CacheKey { function, result: TypeId::of::<R>(), key })?
            }
        };
        announce::<R>(registry, function, error);
        Some(value)
    }
}

/// Counts a use, and tells the first of each function.
pub(super) fn announce<R>(registry: &Registry, function: usize, error: &TaskError) {
    if registry.count_fallback(function) {
        let result = std::any::type_name::<R>();
        tracing::warn!(
            %error,
            result,
            "the function at {function:#x} falls back; further times are only counted"
        );
    }
}

impl<R> fmt::Debug for Fallback<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.source {
            Source::Value(_) => "value",
            Source::Function(_) => "function",
            Source::Cached(_) => "cached",
        };
        f.debug_struct("Fallback").field("kind", &kind).finish()
    }
}
