//! Sending and receiving as futures, for any executor. A thread of the process, the porter, waits for all of them.

use super::patience::Patience;
use super::receiver::try_take;
use super::sender::Posted;
use super::{Receiver, RecvError, SendError, Sender};
use gorun_shm::ring::mpmc::Ring;
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::porter::{self, Errand, ErrandId, Post, Which};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What a future waits for.
type Condition = Box<dyn Fn(&Ring<'_>) -> bool + Send>;

/// Wakes a future when there may be something for it.
struct Wake {
    post: Post,
    end: Arc<End>,
    is_ready: Condition,
    waker: Waker,
}

impl Errand for Wake {
    fn post(&self) -> &Post {
        &self.post
    }

    fn is_done(&self) -> bool {
        (self.is_ready)(&self.end.ring())
    }

    fn finish(self: Box<Self>) {
        self.waker.wake();
    }
}

/// Has the context's waker called; if nobody can, the future is polled again at once.
fn wake_later(
    end: &Arc<End>,
    which: Which,
    context: &Context<'_>,
    is_ready: impl Fn(&Ring<'_>) -> bool + Send + 'static,
) -> Option<ErrandId> {
    let post = Post::at(end.place(), which);
    let (end, is_ready, waker) = (Arc::clone(end), Box::new(is_ready), context.waker().clone());
    let id = porter::send(Box::new(Wake { post, end, is_ready, waker }));
    if id.is_none() {
        context.waker().wake_by_ref();
    }
    id
}

/// See [`Receiver::recv_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct RecvFuture<T> {
    receiver: Receiver<T>,
    asked: Option<ErrandId>,
}

impl<T> RecvFuture<T> {
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        Self { receiver, asked: None }
    }
}

impl<T: Portable> RecvFuture<T> {
    /// One step; can be taken again after it was ready, for the next value.
    pub(super) fn step(&mut self, context: &Context<'_>) -> Poll<Result<T, RecvError>> {
        drop(self.asked.take().and_then(porter::recall));
        let end = match self.receiver.end() {
            Ok(end) => end,
            Err(reason) => return Poll::Ready(Err(RecvError::NoChannel(reason))),
        };
        match try_take(end) {
            Some(taken) => Poll::Ready(taken.and_then(|taken| self.receiver.receive(end, taken))),
            None => {
                // An end that others hold up, by what they have taken and may give back, is told of by its gate.
                let is_ready = |ring: &Ring<'_>| ring.has_message() || ring.is_spent();
                self.asked = wake_later(end, Which::NotEmpty, context, is_ready);
                Poll::Pending
            }
        }
    }
}

impl<T: Portable> Future for RecvFuture<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.step(context)
    }
}

impl<T> Drop for RecvFuture<T> {
    fn drop(&mut self) {
        if self.asked.take().and_then(porter::recall).is_none()
            && let Ok(end) = self.receiver.end()
        {
            // It may have been woken for a message that it does not take: another gets it.
            end.ring().pass_on_message();
        }
    }
}

/// See [`Sender::send_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct SendFuture<T> {
    sender: Sender<T>,
    value: Option<T>,
    /// In a rendezvous: the letter that nobody has taken yet.
    posted: Option<Posted>,
    asked: Option<ErrandId>,
}

impl<T> SendFuture<T> {
    pub(super) fn new(sender: Sender<T>, value: T) -> Self {
        Self { sender, value: Some(value), posted: None, asked: None }
    }
}

impl<T> Unpin for SendFuture<T> {}

impl<T: Portable> SendFuture<T> {
    /// One step of a rendezvous; none if it must wait.
    fn meet(&mut self, end: &Arc<End>, context: &Context<'_>) -> Option<Result<(), SendError<T>>> {
        if self.posted.is_none() {
            let value = self.value.as_ref()?;
            match Posted::try_post(value, end) {
                Some(Ok(posted)) => self.posted = Some(posted),
                Some(Err(refused)) => return self.value.take().map(|value| Err(refused.with(value))),
                None => {
                    let is_ready = |ring: &Ring<'_>| ring.has_room() || ring.standing().refuses();
                    self.asked = wake_later(end, Which::NotFull, context, is_ready);
                    return None;
                }
            }
        }
        let position = self.posted.as_ref()?.position();
        let is_ready = move |ring: &Ring<'_>| ring.was_taken(position) || ring.standing().refuses();
        if !is_ready(&end.ring()) {
            self.asked = wake_later(end, Which::NotFull, context, is_ready);
            return None;
        }
        let value = self.value.take()?;
        match self.posted.take()?.settle(end) {
            Ok(()) => Some(Ok(())),
            Err(refused) => Some(Err(refused.with(value))),
        }
    }
}

impl<T: Portable> Future for SendFuture<T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        drop(this.asked.take().and_then(porter::recall));
        let end = this.sender.end().ok().map(Arc::clone);
        if let Some(end) = end.as_ref().filter(|end| this.sender.rules(end).is_rendezvous) {
            return this.meet(end, context).map_or(Poll::Pending, Poll::Ready);
        }
        let Some(value) = this.value.take() else { return Poll::Ready(Ok(())) };
        match (this.sender.send_with(value, Patience::None), end) {
            (Err(SendError::Full(value)), Some(end)) if this.sender.rules(&end).waits() => {
                this.value = Some(value);
                let is_ready = |ring: &Ring<'_>| ring.has_room() || ring.standing().refuses();
                this.asked = wake_later(&end, Which::NotFull, context, is_ready);
                Poll::Pending
            }
            (sent, _) => Poll::Ready(sent),
        }
    }
}

impl<T> Drop for SendFuture<T> {
    fn drop(&mut self) {
        let was_woken = self.asked.take().and_then(porter::recall).is_none();
        let Ok(end) = self.sender.end() else { return };
        if let Some(posted) = self.posted.take() {
            // Taken meanwhile or not: nobody asks any more.
            let _ = posted.settle(end);
        } else if was_woken {
            // It may have been woken for room that it does not take: another gets it.
            end.ring().pass_on_room();
        }
    }
}

impl<T> fmt::Debug for RecvFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").field("sender", &self.sender).finish_non_exhaustive()
    }
}
