//! Sending and receiving for as long as a context says that it is wanted.

use super::arms::{RecvArm, SendArm};
use super::select::{self, DoneArm};
use super::{Receiver, RecvError, SendError, Sender};
use crate::context::Context;
use gorun_worker::codec::Portable;

impl<T: Portable> Receiver<T> {
    /// Receives the next value if it comes before the context is over.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`RecvError::Done`].
    ///
    /// # Blocking
    /// As [`Receiver::recv`], until the context is over.
    ///
    /// ```
    /// use gorun_runtime::{Context, Done, RecvError, channel};
    /// use std::time::Duration;
    ///
    /// let (_sender, receiver) = channel::<u32>(1);
    /// let context = Context::background().with_timeout(Duration::from_millis(2));
    /// assert_eq!(receiver.recv_in(&context), Err(RecvError::Done(Done::DeadlineExceeded)));
    /// ```
    pub fn recv_in(&self, context: &Context) -> Result<T, RecvError> {
        context.check().map_err(RecvError::Done)?;
        let (receive, done) = (RecvArm::new(self), DoneArm::new(context));
        loop {
            select::select_one(&[&receive, &done]);
            if let Some(received) = receive.finish() {
                return received;
            }
            if let Some(reason) = done.finish() {
                return Err(RecvError::Done(reason));
            }
        }
    }
}

impl<T: Portable> Sender<T> {
    /// Sends a value if there is room before the context is over.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`SendError::Done`].
    ///
    /// # Blocking
    /// As [`Sender::send`], until the context is over.
    pub fn send_in(&self, context: &Context, value: T) -> Result<(), SendError<T>> {
        if let Some(reason) = context.reason() {
            return Err(SendError::Done { value, reason });
        }
        let (send, done) = (SendArm::new(self, value), DoneArm::new(context));
        loop {
            select::select_one(&[&send, &done]);
            if let Some(sent) = send.finish() {
                return sent;
            }
            if let Some(reason) = done.finish() {
                return match send.into_value() {
                    Some(value) => Err(SendError::Done { value, reason }),
                    None => Ok(()),
                };
            }
        }
    }
}
