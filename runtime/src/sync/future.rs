//! Taking locks as futures, for any executor. A thread of the process, the porter, waits for all of them.

use super::mutex::{Mutex, MutexGuard, refusal};
use super::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use super::semaphore::{Semaphore, SemaphorePermit};
use super::{LockResult, WaitError};
use gorun_shm::Plain;
use gorun_shm::lock::{Claim, Owner, Taken};
use gorun_worker::porter::{self, Errand, ErrandId, Post};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Wakes a future when there may be something for it.
struct Wake<C> {
    post: Post,
    is_ready: C,
    waker: Waker,
}

impl<C: Fn() -> bool + Send> Errand for Wake<C> {
    fn post(&self) -> &Post {
        &self.post
    }

    fn is_done(&self) -> bool {
        (self.is_ready)()
    }

    fn finish(self: Box<Self>) {
        self.waker.wake();
    }
}

/// A wish that the porter knows of.
#[derive(Debug, Default)]
struct Asked(Option<ErrandId>);

impl Asked {
    /// Has the context's waker called when `is_ready` says so; if nobody can, at once.
    fn ask(
        &mut self,
        post: Option<Post>,
        context: &Context<'_>,
        is_ready: impl Fn() -> bool + Send + 'static,
    ) {
        let waker = context.waker().clone();
        self.0 = post.and_then(|post| porter::send(Box::new(Wake { post, is_ready, waker })));
        if self.0.is_none() {
            context.waker().wake_by_ref();
        }
    }

    /// Takes the wish back; true if it was fulfilled already.
    fn recall(&mut self) -> bool {
        self.0.take().is_some_and(|asked| porter::recall(asked).is_none())
    }
}

fn can_change(looked: Result<(), Taken>) -> bool {
    matches!(looked, Err(Taken::By(_)))
}

/// See [`Mutex::lock_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct LockFuture<'a, T: Plain> {
    mutex: &'a Mutex<T>,
    asked: Asked,
}

impl<'a, T: Plain> LockFuture<'a, T> {
    pub(super) fn new(mutex: &'a Mutex<T>) -> Self {
        Self { mutex, asked: Asked::default() }
    }
}

impl<'a, T: Plain> Future for LockFuture<'a, T> {
    type Output = LockResult<MutexGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.asked.recall();
        let inner = match self.mutex.inner() {
            Ok(inner) => inner,
            Err(refused) => return Poll::Ready(Err(refused.into())),
        };
        match inner.attempt() {
            Ok(Some(hold)) => return Poll::Ready(inner.guard(hold)),
            // That it is this thread's is no reason: another future of this thread may have it.
            Ok(None) | Err(Taken::By(_)) => {}
            Err(taken) => return Poll::Ready(Err(refusal(taken).into())),
        }
        if inner.place.state().head().is_shut() {
            return Poll::Ready(Err(WaitError::Closed.into()));
        }
        let (post, asked) = (inner.place.post(gorun_shm::lock::Mutex::freed), Arc::clone(inner));
        self.asked.ask(post, context, move || {
            let mutex = asked.place.state();
            !can_change(mutex.look()) || mutex.head().is_shut()
        });
        Poll::Pending
    }
}

impl<T: Plain> Drop for LockFuture<'_, T> {
    fn drop(&mut self) {
        if self.asked.recall()
            && let Ok(inner) = self.mutex.inner()
        {
            // It was woken for a lock that it does not take, or has taken already: another may look.
            inner.place.state().freed().notify();
        }
    }
}

/// See [`RwLock::read_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct ReadFuture<'a, T: Plain> {
    lock: &'a RwLock<T>,
    asked: Asked,
}

impl<'a, T: Plain> ReadFuture<'a, T> {
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        Self { lock, asked: Asked::default() }
    }
}

impl<'a, T: Plain> Future for ReadFuture<'a, T> {
    type Output = LockResult<RwLockReadGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.asked.recall();
        let inner = match self.lock.inner() {
            Ok(inner) => inner,
            Err(refused) => return Poll::Ready(Err(refused.into())),
        };
        match inner.attempt_read() {
            Ok(Some(hold)) => return Poll::Ready(inner.read_guard(hold)),
            Ok(None) | Err(WaitError::HeldHere) => {}
            Err(refused) => return Poll::Ready(Err(refused.into())),
        }
        if inner.place.state().head().is_shut() {
            return Poll::Ready(Err(WaitError::Closed.into()));
        }
        let (post, asked) = (inner.place.post(gorun_shm::lock::RwLock::readable), Arc::clone(inner));
        self.asked.ask(post, context, move || {
            let lock = asked.place.state();
            !can_change(lock.look()) || lock.head().is_shut()
        });
        Poll::Pending
    }
}

impl<T: Plain> Drop for ReadFuture<'_, T> {
    fn drop(&mut self) {
        // A writer that leaves wakes all readers: none is woken in another's place.
        self.asked.recall();
    }
}

/// See [`RwLock::write_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct WriteFuture<'a, T: Plain> {
    lock: &'a RwLock<T>,
    /// Once no other writer has it: what keeps new readers out.
    claim: Option<Claim<'a>>,
    asked: Asked,
}

impl<'a, T: Plain> WriteFuture<'a, T> {
    pub(super) fn new(lock: &'a RwLock<T>) -> Self {
        Self { lock, claim: None, asked: Asked::default() }
    }
}

impl<'a, T: Plain> Future for WriteFuture<'a, T> {
    type Output = LockResult<RwLockWriteGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.asked.recall();
        let inner = match this.lock.inner() {
            Ok(inner) => inner,
            Err(refused) => return Poll::Ready(Err(refused.into())),
        };
        if this.claim.is_none() {
            // Thread 0 is nobody: the claim goes where the future goes.
            match inner.attempt_claim_as(Owner::new(inner.place.holder(), 0)) {
                Ok(claim) => this.claim = claim,
                Err(WaitError::HeldHere) => {}
                Err(refused) => return Poll::Ready(Err(refused.into())),
            }
        }
        match this.claim.take().map(Claim::try_write) {
            Some(Ok(hold)) => return Poll::Ready(inner.write_guard(hold)),
            Some(Err(claim)) => this.claim = Some(claim),
            None => {}
        }
        let lock = inner.place.state();
        if lock.head().is_shut() {
            return Poll::Ready(Err(WaitError::Closed.into()));
        }
        let asked = Arc::clone(inner);
        if this.claim.is_some() {
            let post = inner.place.post(gorun_shm::lock::RwLock::drained);
            this.asked.ask(post, context, move || {
                let lock = asked.place.state();
                !lock.has_readers() || lock.head().is_shut()
            });
        } else {
            let post = inner.place.post(gorun_shm::lock::RwLock::writable);
            this.asked.ask(post, context, move || {
                let lock = asked.place.state();
                !can_change(lock.look()) || lock.head().is_shut()
            });
        }
        Poll::Pending
    }
}

impl<T: Plain> Drop for WriteFuture<'_, T> {
    fn drop(&mut self) {
        let was_woken = self.asked.recall();
        let Ok(inner) = self.lock.inner() else { return };
        match self.claim.take() {
            Some(claim) => claim.release(),
            None if was_woken => inner.place.state().writable().notify(),
            None => {}
        }
    }
}

/// See [`Semaphore::acquire_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct AcquireFuture<'a> {
    semaphore: &'a Semaphore,
    asked: Asked,
}

impl<'a> AcquireFuture<'a> {
    pub(super) fn new(semaphore: &'a Semaphore) -> Self {
        Self { semaphore, asked: Asked::default() }
    }
}

impl<'a> Future for AcquireFuture<'a> {
    type Output = Result<SemaphorePermit<'a>, WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.asked.recall();
        let inner = match self.semaphore.inner() {
            Ok(inner) => inner,
            Err(refused) => return Poll::Ready(Err(refused)),
        };
        if let Some(permit) = inner.slots().try_acquire(inner.place.holder()) {
            inner.slots().pass_on();
            return Poll::Ready(Ok(inner.permit(permit)));
        }
        if inner.place.state().head().is_shut() {
            return Poll::Ready(Err(WaitError::Closed));
        }
        let (post, asked) = (inner.place.post(gorun_shm::lock::Semaphore::freed), Arc::clone(inner));
        self.asked
            .ask(post, context, move || asked.slots().free() > 0 || asked.place.state().head().is_shut());
        Poll::Pending
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        if self.asked.recall()
            && let Ok(inner) = self.semaphore.inner()
        {
            // It may have been woken for a permit that it does not take: another gets it.
            inner.slots().pass_on();
        }
    }
}

impl<T: Plain> fmt::Debug for LockFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockFuture").finish_non_exhaustive()
    }
}

impl<T: Plain> fmt::Debug for ReadFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFuture").finish_non_exhaustive()
    }
}

impl<T: Plain> fmt::Debug for WriteFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture").finish_non_exhaustive()
    }
}
