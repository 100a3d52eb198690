//! The end of a context, as a future and as an errand of the porter.

use super::{Context, Done, Scope};
use gorun_worker::porter::{self, AlarmId, Errand, ErrandId, Post};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// Calls a waker at the end of a context, until it is dropped.
#[derive(Debug)]
pub(crate) enum Wake {
    Errand(ErrandId),
    Alarm(AlarmId),
    /// Nothing will ever happen, or no thread can be had.
    Never,
}

struct Tell {
    scope: Arc<Scope>,
    first: Post,
    others: Vec<Post>,
    waker: Waker,
}

impl Errand for Tell {
    fn post(&self) -> &Post {
        &self.first
    }

    fn more_posts(&self) -> &[Post] {
        &self.others
    }

    fn until_ns(&self) -> Option<u64> {
        self.scope.deadline_ns
    }

    fn is_done(&self) -> bool {
        self.scope.is_done()
    }

    fn finish(self: Box<Self>) {
        self.waker.wake();
    }
}

impl Wake {
    /// Has the waker called when the context is over; at once if no thread can be had for it.
    pub(crate) fn at_end(context: &Context, waker: &Waker) -> Self {
        let Some(scope) = context.scope() else { return Self::Never };
        let mut posts = scope.posts();
        let asked = match (posts.pop(), scope.deadline_ns) {
            (Some(first), _) => {
                let (scope, waker) = (Arc::clone(scope), waker.clone());
                porter::send(Box::new(Tell { scope, first, others: posts, waker })).map(Self::Errand)
            }
            (None, Some(at_ns)) => porter::wake_at(at_ns, waker.clone()).map(Self::Alarm),
            (None, None) => return Self::Never,
        };
        asked.unwrap_or_else(|| {
            waker.wake_by_ref();
            Self::Never
        })
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        match *self {
            Self::Errand(id) => drop(porter::recall(id)),
            Self::Alarm(id) => drop(porter::drop_alarm(id)),
            Self::Never => {}
        }
    }
}

/// See [`Context::done_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct DoneFuture {
    context: Context,
    wake: Option<Wake>,
}

impl DoneFuture {
    pub(super) fn new(context: Context) -> Self {
        Self { context, wake: None }
    }
}

impl Future for DoneFuture {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Done> {
        self.wake = None;
        if let Some(done) = self.context.reason() {
            return Poll::Ready(done);
        }
        self.wake = Some(Wake::at_end(&self.context, context.waker()));
        Poll::Pending
    }
}

impl fmt::Debug for DoneFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoneFuture").field("context", &self.context).finish_non_exhaustive()
    }
}
