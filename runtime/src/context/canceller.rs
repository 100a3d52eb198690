//! The right to end a context.

use gorun_worker::lever::Lever;
use gorun_worker::parcel::Pulled;
use serde::de::Deserializer;
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Ends a context, in every process that has it, and with it every context that was made from it.
///
/// It is a value: clones of it, and what becomes of them in other processes, end the same context. When the last is gone
/// nobody could end the context any more, so it ends then: as [`Done::Abandoned`](super::Done::Abandoned) if that was dropped,
/// as [`Done::OwnerDied`](super::Done::OwnerDied) if its process was killed. So keep it as long as the work goes on;
/// for a context that only its deadline ends, use [`Context::with_timeout`](super::Context::with_timeout) alone.
///
/// ```
/// use gorun_runtime::{Context, Done};
///
/// let (context, canceller) = Context::background().with_cancel();
/// assert!(!context.is_done());
/// drop(canceller);
/// assert_eq!(context.reason(), Some(Done::Abandoned));
/// ```
#[derive(Debug, Clone)]
#[must_use = "the context ends when its last canceller is dropped"]
pub struct Canceller {
    /// None of a context that could not be had.
    lever: Option<Arc<Lever>>,
}

impl Canceller {
    pub(super) fn of(lever: Lever) -> Self {
        Self { lever: Some(Arc::new(lever)) }
    }

    pub(super) fn refused() -> Self {
        Self { lever: None }
    }

    /// Ends the context; false if it was over.
    pub fn cancel(&self) -> bool {
        self.cancel_because("")
    }

    /// Ends the context and says why, in up to 224 bytes; false if it was over.
    pub fn cancel_because(&self, cause: &str) -> bool {
        self.lever.as_ref().is_some_and(|lever| lever.cancel(cause))
    }
}

impl Serialize for Canceller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.lever {
            Some(lever) => Pulled(Arc::clone(lever)).serialize(serializer),
            None => Err(S::Error::custom("there is no context to cancel")),
        }
    }
}

impl<'de> Deserialize<'de> for Canceller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { lever: Some(Pulled::deserialize(deserializer)?.0) })
    }
}
