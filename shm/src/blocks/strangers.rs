//! Strangers: other programs that have blocks of the same allocator. They keep to no rule, they come and go, and the one
//! that looks after the dead may be gone itself.

use super::pool::Blocks;
use super::shape::Shape;
use crate::segment::{OutOfSegment, Segment};
use crate::sync::{AtomicBool, Ordering};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a process knows of the others with whom it shares blocks.
pub(super) struct Strangers {
    /// Nobody looks after the dead any more.
    is_orphaned: AtomicBool,
    /// What ends this process's part in it, when it is dropped.
    _tie: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strangers").field("is_orphaned", &self.is_orphaned).finish_non_exhaustive()
    }
}

impl Blocks {
    /// [`Blocks::new`] in a segment that other programs write too. What lies in their blocks is copied before it is
    /// looked at. `tie` is dropped with the allocator: when this process has nothing left in the segment.
    ///
    /// # Errors
    /// As [`Blocks::new`].
    pub fn among_strangers(
        segment: Arc<Segment>,
        shape: Shape,
        tie: Box<dyn Any + Send + Sync>,
    ) -> Result<Arc<Self>, OutOfSegment> {
        let strangers = Strangers { is_orphaned: AtomicBool::new(false), _tie: tie };
        Self::with(segment, shape, Some(strangers))
    }

    /// True if other programs have blocks here too.
    #[must_use]
    pub fn has_strangers(&self) -> bool {
        self.strangers.is_some()
    }

    /// From now on nobody looks after the dead: what they hold is never given back, and must not be waited for.
    pub fn orphan(&self) {
        if let Some(strangers) = &self.strangers {
            // Release: pairs with the Acquire in `is_orphaned`.
            strangers.is_orphaned.store(true, Ordering::Release);
        }
    }

    /// True once nobody looks after the dead any more.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        // Acquire: pairs with the Release in `orphan`.
        self.strangers.as_ref().is_some_and(|strangers| strangers.is_orphaned.load(Ordering::Acquire))
    }
}
