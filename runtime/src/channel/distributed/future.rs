//! Sending and receiving as futures, for any executor. The porter of the process waits for all of them.

use super::super::{RecvError, SendError, SendFuture};
use super::desk::Desk;
use super::member::Outlook;
use super::receiver::{DistributedReceiver, ReceiverEnds};
use gorun_worker::codec::Portable;
use gorun_worker::porter::{self, Errand, ErrandId, Post, Which};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Wakes a future when there may be something for it.
struct Wake<T> {
    post: Post,
    ends: Arc<ReceiverEnds<T>>,
    outlook: Arc<Outlook>,
    waker: Waker,
}

impl<T> Errand for Wake<T> {
    fn post(&self) -> &Post {
        &self.post
    }

    fn is_done(&self) -> bool {
        let has_ended = self.ends.pile.end().map_or(true, |end| self.ends.how_it_ended(end).is_some());
        let has_straggled = self.outlook.straggler().is_some_and(|lane| !self.ends.is_flowing(lane));
        self.outlook.has_changed(has_ended) || has_straggled
    }

    fn finish(self: Box<Self>) {
        self.waker.wake();
    }
}

/// See [`DistributedReceiver::recv_async`].
#[must_use = "a future does nothing before it is awaited"]
pub struct DistributedRecvFuture<'a, T> {
    receiver: &'a mut DistributedReceiver<T>,
    /// At the member's own gate, and where the end is told.
    asked: [Option<ErrandId>; 2],
}

impl<'a, T> DistributedRecvFuture<'a, T> {
    pub(super) fn new(receiver: &'a mut DistributedReceiver<T>) -> Self {
        Self { receiver, asked: [None, None] }
    }

    /// Ends the wait, if there was one; true if it had come to an end by itself.
    fn recall(&mut self) -> bool {
        let mut was_woken = false;
        for id in self.asked.iter_mut().filter_map(Option::take) {
            was_woken |= porter::recall(id).is_none();
        }
        // Only now: until they are recalled, the porter says that the member sleeps.
        if let Some(member) = &self.receiver.member {
            member.is_awake();
        }
        was_woken
    }
}

impl<T: Portable> DistributedRecvFuture<'_, T> {
    /// Has the waker called when there may be something.
    fn ask(&mut self, context: &Context<'_>) {
        let DistributedReceiver { member, ends } = &*self.receiver;
        let posts = member.as_ref().and_then(|member| {
            let outlook = Arc::new(member.outlook());
            let end = match outlook.straggler().and_then(|lane| ends.end(lane)) {
                Some(straggler) => Post::at(straggler.place(), Which::NotEmpty),
                None => Post::at(ends.pile.end().ok()?.place(), Which::NotFull),
            };
            Some(([outlook.post()?, end], outlook))
        });
        if let Some((posts, outlook)) = posts {
            self.asked = posts.map(|post| {
                let (ends, outlook, waker) =
                    (Arc::clone(ends), Arc::clone(&outlook), context.waker().clone());
                porter::send(Box::new(Wake { post, ends, outlook, waker }))
            });
        }
        if self.asked.iter().any(Option::is_none) {
            // Nobody can wait for it: it is polled again at once.
            context.waker().wake_by_ref();
        }
    }
}

impl<T: Portable> Future for DistributedRecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.recall();
        match this.receiver.try_recv() {
            Err(RecvError::Empty) => {
                this.ask(context);
                Poll::Pending
            }
            received => Poll::Ready(received),
        }
    }
}

impl<T> Drop for DistributedRecvFuture<'_, T> {
    fn drop(&mut self) {
        if self.recall()
            && let Some(member) = &self.receiver.member
        {
            member.pass_on();
        }
    }
}

/// See [`DistributedSender::send_async`](super::DistributedSender::send_async).
#[must_use = "a future does nothing before it is awaited"]
pub struct DistributedSendFuture<T>(State<T>);

enum State<T> {
    Waiting { sent: SendFuture<T>, partition: usize, desk: Arc<Desk> },
    Refused(Option<SendError<T>>),
}

impl<T> DistributedSendFuture<T> {
    pub(super) fn new(sent: SendFuture<T>, partition: usize, desk: &Arc<Desk>) -> Self {
        Self(State::Waiting { sent, partition, desk: Arc::clone(desk) })
    }

    pub(super) fn refused(error: SendError<T>) -> Self {
        Self(State::Refused(Some(error)))
    }
}

impl<T> Unpin for DistributedSendFuture<T> {}

impl<T: Portable> Future for DistributedSendFuture<T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waiting { sent, partition, desk } => {
                let sent = Pin::new(sent).poll(context);
                if matches!(sent, Poll::Ready(Ok(()))) {
                    desk.announce(*partition);
                }
                sent
            }
            State::Refused(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}

impl<T> fmt::Debug for DistributedRecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedRecvFuture").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for DistributedSendFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistributedSendFuture").finish_non_exhaustive()
    }
}
