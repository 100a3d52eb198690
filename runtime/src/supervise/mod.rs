//! Supervise: what is done about tasks that fail. Policies are pure where they can be: time and randomness come in.

mod backoff;
mod breaker;
mod budget;
mod cache;
mod circuit;
mod fallback;
mod guarded;
mod registry;
mod retry;

pub use backoff::Backoff;
pub use breaker::{BreakerSettings, BreakerState};
pub use budget::RetryBudget;
pub use circuit::BreakerHandle;
pub use fallback::Fallback;
pub(crate) use fallback::Rescue;
pub(crate) use guarded::{Attempt, Guarded, Launch, Standing};
pub(crate) use registry::Registry;
pub use retry::Retry;

use crate::task::Kind;

/// Turns a task into what starts each of its attempts.
pub(crate) type Launcher<A, R> = fn(Kind<A, R>) -> Launch;

/// What a task asks to be guarded by.
pub(crate) struct Guards<A, R> {
    /// With what starts each attempt, which only a task with an input that may change threads has.
    pub(crate) retry: Option<(Retry, Launcher<A, R>)>,
    pub(crate) rescue: Option<Box<dyn Rescue<R>>>,
    /// Name of the breaker.
    pub(crate) breaker: Option<Box<str>>,
}

impl<A, R> Default for Guards<A, R> {
    fn default() -> Self {
        Self { retry: None, rescue: None, breaker: None }
    }
}
