//! Scope: what a context consists of: all cancellers above it, the earliest deadline, the values.

use super::VALUES_BYTES_MAX;
use super::done::{ContextError, Done};
use crate::channel::ChannelError;
use crate::error::Rejection;
use gorun_shm::context::Ending;
use gorun_shm::os::ticks;
use gorun_worker::codec::{self, Portable};
use gorun_worker::lever::ContextPlace;
use gorun_worker::parcel::Living;
use gorun_worker::porter::Post;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::{Arc, OnceLock};

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// From the root inwards.
    pub(super) places: Vec<Arc<ContextPlace>>,
    /// Of the monotonic clock.
    pub(super) deadline_ns: Option<u64>,
    /// Later ones hide earlier ones of the same name.
    values: Vec<Arc<(String, Vec<u8>)>>,
    /// Why there is no canceller although one was asked for.
    refused: Option<ChannelError>,
    /// What this process has seen of its end.
    seen: OnceLock<Done>,
}

impl Clone for Scope {
    fn clone(&self) -> Self {
        Self {
            places: self.places.clone(),
            deadline_ns: self.deadline_ns,
            values: self.values.clone(),
            refused: self.refused.clone(),
            seen: OnceLock::new(),
        }
    }
}

impl Scope {
    pub(super) fn inside(mut self, place: ContextPlace) -> Self {
        self.places.push(Arc::new(place));
        self
    }

    pub(super) fn until(mut self, at_ns: u64) -> Self {
        self.deadline_ns = Some(self.deadline_ns.map_or(at_ns, |own| own.min(at_ns)));
        self
    }

    pub(super) fn unavailable(mut self, error: ChannelError) -> Self {
        self.refused = Some(error);
        self
    }

    pub(super) fn with_value<T: Portable>(mut self, key: &str, value: &T) -> Result<Self, ContextError> {
        let refused = |reason: codec::CodecError| ContextError::Unencodable { reason: reason.to_string() };
        let bytes = usize::try_from(codec::encoded_bytes(value).map_err(refused)?).unwrap_or(usize::MAX);
        let held: usize = self.values.iter().map(|held| held.0.len() + held.1.len()).sum();
        let all = bytes.saturating_add(held).saturating_add(key.len());
        if all > VALUES_BYTES_MAX {
            return Err(ContextError::TooLarge { bytes: all, limit: VALUES_BYTES_MAX });
        }
        let mut encoded = vec![0; bytes];
        codec::encode(value, &mut encoded).map_err(refused)?;
        self.values.retain(|held| held.0 != key);
        self.values.push(Arc::new((key.to_owned(), encoded)));
        Ok(self)
    }

    pub(super) fn value<T: Portable>(&self, key: &str) -> Option<T> {
        let found = self.values.iter().rev().find(|held| held.0 == key)?;
        codec::decode(&found.1).ok()
    }

    /// Why it is over; none while it is not.
    pub(super) fn done(&self) -> Option<Done> {
        self.seen.get().cloned().or_else(|| {
            let done = self.look()?;
            Some(self.seen.get_or_init(|| done).clone())
        })
    }

    /// [`Scope::done`], as a yes or no.
    pub(crate) fn is_done(&self) -> bool {
        self.seen.get().is_some() || self.done().is_some()
    }

    fn look(&self) -> Option<Done> {
        if let Some(error) = &self.refused {
            return Some(Done::Unavailable { reason: error.to_string() });
        }
        if let Some(done) = self.places.iter().rev().find_map(|place| ended(place)) {
            return Some(done);
        }
        let is_late = self.deadline_ns.is_some_and(|at_ns| ticks::system_ns() >= at_ns);
        is_late.then_some(Done::DeadlineExceeded)
    }

    /// Where the porter waits for its end.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.places.iter().map(|place| place.post()).collect()
    }
}

fn ended(place: &ContextPlace) -> Option<Done> {
    if place.is_foreign() {
        return Some(Done::Unavailable { reason: Rejection::ForkedHost.to_string() });
    }
    let words = place.words();
    Some(match words.ending()? {
        Ending::Cancelled => {
            let cause = words.cause().map(|cause| String::from_utf8_lossy(&cause).into_owned());
            Done::Cancelled { cause }
        }
        Ending::Abandoned => Done::Abandoned,
        Ending::OwnerDied => Done::OwnerDied,
        Ending::RuntimeEnded => Done::RuntimeEnded,
    })
}

/// As it stands in messages.
#[derive(Serialize, Deserialize)]
struct Wire {
    places: Vec<Living>,
    deadline_ns: Option<u64>,
    values: Vec<(String, Vec<u8>)>,
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(error) = &self.refused {
            return Err(S::Error::custom(error));
        }
        if self.places.iter().any(|place| place.is_foreign()) {
            return Err(S::Error::custom("this context belongs to another process"));
        }
        let places = self.places.iter().map(|place| Living(place.block().clone())).collect();
        let values = self.values.iter().map(|value| (**value).clone()).collect();
        Wire { places, deadline_ns: self.deadline_ns, values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { places, deadline_ns, values } = Wire::deserialize(deserializer)?;
        if places.len() > super::CANCELLERS_MAX {
            return Err(D::Error::custom("a context with too many cancellers above it"));
        }
        let open = |living: Living| ContextPlace::open(living.0).map(Arc::new);
        let places = places.into_iter().map(open).collect::<Result<_, _>>();
        let places =
            places.map_err(|_| D::Error::custom("a context was expected, and something else came"))?;
        let values = values.into_iter().map(Arc::new).collect();
        Ok(Self { places, deadline_ns, values, refused: None, seen: OnceLock::new() })
    }
}
