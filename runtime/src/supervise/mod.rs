//! Supervise: what is done about tasks that fail. Policies are pure where they can be: time and randomness come in.

mod backoff;
mod board;
mod breaker;
mod budget;
mod bulkhead;
mod cache;
mod circuit;
mod fallback;
mod flight;
mod guarded;
mod hedge;
mod line;
mod pace;
mod passage;
mod recent;
mod registry;
mod retry;
mod runner;
mod substitute;

pub use backoff::Backoff;
pub(crate) use board::{Board, recover_calls};
pub use breaker::{BreakerSettings, BreakerState};
pub use budget::RetryBudget;
pub use bulkhead::{BulkheadHandle, BulkheadSettings};
pub use circuit::BreakerHandle;
pub(crate) use circuit::BreakerName;
pub(crate) use fallback::Rescue;
pub use fallback::{Fallback, IntoFallback, ThreadFallback};
pub(crate) use guarded::{Attempt, Guarded, Source, Standing};
pub use hedge::Hedge;
pub use pace::{RateLimit, RateLimitHandle};
pub(crate) use passage::Passage;
pub(crate) use registry::Registry;
pub use retry::Retry;

use crate::task::Kind;
use std::sync::Arc;
use substitute::StandIn;

/// Keeps what a task is made of for further attempts.
pub(crate) type Keeper<A, R> = fn(Kind<A, R>) -> Box<dyn Source<R>>;

/// Has a task's function run by a thread of the host; none if there is no thread.
pub(crate) type Understudy<R> = fn(Box<dyn Source<R>>, &Registry) -> Option<Arc<dyn StandIn<R>>>;

/// What a task asks to be guarded by.
pub(crate) struct Guards<A, R> {
    /// Only for a task with an input that may change threads.
    pub(crate) keeper: Option<Keeper<A, R>>,
    pub(crate) policies: Policies<R>,
}

/// What is done about a task. Policies of a runtime go by their name.
pub(crate) struct Policies<R> {
    pub(crate) retry: Option<Retry>,
    pub(crate) hedge: Option<Hedge>,
    pub(crate) rescue: Option<Box<dyn Rescue<R>>>,
    /// In place of a rescue.
    pub(crate) understudy: Option<Understudy<R>>,
    pub(crate) breaker: Option<BreakerName>,
    pub(crate) bulkhead: Option<Box<str>>,
    pub(crate) rate_limit: Option<Box<str>>,
}

impl<R> Policies<R> {
    /// True if each attempt is watched by the host, from before it is started until after it has ended.
    fn watch(&self) -> bool {
        self.breaker.is_some()
            || self.bulkhead.is_some()
            || self.rate_limit.is_some()
            || self.hedge.as_ref().is_some_and(Hedge::remembers)
    }

    /// One of those that only the host has.
    fn of_host(&self) -> Option<&'static str> {
        let asked = [
            (self.breaker.as_ref().is_some_and(|name| name.key.is_some()), "a breaker with a key"),
            (self.bulkhead.is_some(), "a bulkhead"),
            (self.rate_limit.is_some(), "a rate limit"),
            (self.hedge.is_some(), "a hedge"),
            (self.understudy.is_some(), "a fallback on a thread"),
        ];
        asked.into_iter().find_map(|(is_asked, what)| is_asked.then_some(what))
    }
}

impl<A, R> Default for Guards<A, R> {
    fn default() -> Self {
        Self { keeper: None, policies: Policies::default() }
    }
}

impl<R> Default for Policies<R> {
    fn default() -> Self {
        Self {
            retry: None,
            hedge: None,
            rescue: None,
            understudy: None,
            breaker: None,
            bulkhead: None,
            rate_limit: None,
        }
    }
}
