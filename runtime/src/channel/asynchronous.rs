//! Ends of channels as `Stream` and `Sink`, for combinators and any executor.

use super::future::{RecvFuture, SendFuture};
use super::patience::Patience;
use super::{Receiver, RecvError, SendError, Sender};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use gorun_worker::codec::Portable;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Values until nothing will come any more. Dropping it, or a future that waits for its next value, loses no message.
///
/// Messages that nobody can read are counted and passed over, as by [`Receiver::iter`].
#[must_use = "a stream does nothing before it is polled"]
pub struct RecvStream<T> {
    next: RecvFuture<T>,
    has_ended: bool,
}

impl<T> Receiver<T> {
    /// Its values as a stream.
    pub fn stream(&self) -> RecvStream<T> {
        self.clone().into_stream()
    }

    /// The same, of this end itself.
    pub fn into_stream(self) -> RecvStream<T> {
        RecvStream { next: RecvFuture::new(self), has_ended: false }
    }
}

impl<T: Portable> Stream for RecvStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        while !self.has_ended {
            match ready!(self.next.step(context)) {
                Ok(value) => return Poll::Ready(Some(value)),
                Err(RecvError::Unreadable { .. }) => {}
                Err(_) => self.has_ended = true,
            }
        }
        Poll::Ready(None)
    }
}

impl<T: Portable> FusedStream for RecvStream<T> {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

/// Takes values and sends them one after the other.
///
/// A value that it has taken and could not send yet it keeps until it can: flush it, or it is lost with the sink. Closing
/// the sink lets go of its end of the channel, and does not close the channel for others.
#[must_use = "a sink does nothing before it is polled"]
pub struct SendSink<T> {
    /// None once it was closed.
    sender: Option<Sender<T>>,
    /// What was taken and is not sent yet.
    sending: Option<SendFuture<T>>,
}

impl<T> Sender<T> {
    /// A sink that sends.
    pub fn sink(&self) -> SendSink<T> {
        self.clone().into_sink()
    }

    /// The same, of this end itself.
    pub fn into_sink(self) -> SendSink<T> {
        SendSink { sender: Some(self), sending: None }
    }
}

impl<T> Unpin for SendSink<T> {}

impl<T: Portable> SendSink<T> {
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        if let Some(sending) = &mut self.sending {
            let sent = ready!(Pin::new(sending).poll(context));
            self.sending = None;
            return Poll::Ready(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Portable> Sink<T> for SendSink<T> {
    type Error = SendError<T>;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        self.poll_sent(context)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), SendError<T>> {
        debug_assert!(self.sending.is_none(), "`poll_ready` said that there is room");
        let Some(sender) = &self.sender else { return Err(SendError::Closed(value)) };
        match sender.send_with(value, Patience::None) {
            Err(SendError::Full(value)) if sender.waits() => {
                self.sending = Some(sender.send_async(value));
                Ok(())
            }
            sent => sent,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        self.poll_sent(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        ready!(self.poll_sent(context))?;
        self.sender = None;
        Poll::Ready(Ok(()))
    }
}

impl<T> fmt::Debug for RecvStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("next", &self.next).field("has_ended", &self.has_ended).finish()
    }
}

impl<T> fmt::Debug for SendSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSink")
            .field("sender", &self.sender)
            .field("is_sending", &self.sending.is_some())
            .finish()
    }
}
