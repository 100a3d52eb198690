//! The arms of a select that are channels and tasks.

use super::patience::Patience;
use super::receiver::{offer_to_meet, try_take};
use super::select::{Arm, Watches};
use super::{Receiver, RecvError, SendError, Sender};
use crate::handle::{TaskHandle, Watch, Watched};
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::porter::{Post, Which};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Adds a gate of a channel to what a select sleeps on.
pub(super) fn watch_end<'a>(end: Option<&'a End>, which: Which, watches: &mut Watches<'a>) {
    let Some(end) = end else { return watches.over() };
    let header = end.ring().header();
    let gate = match which {
        Which::NotEmpty => header.not_empty(),
        Which::NotFull => header.not_full(),
        Which::Arrived => header.arrived(),
    };
    watches.gate(gate, &|| Post::at(end.place(), which));
}

/// Receives.
pub struct RecvArm<'a, T> {
    receiver: &'a Receiver<T>,
    received: Cell<Option<Result<T, RecvError>>>,
}

impl<'a, T: Portable> RecvArm<'a, T> {
    /// An arm that receives from `receiver`.
    pub fn new(receiver: &'a Receiver<T>) -> Self {
        Self { receiver, received: Cell::new(None) }
    }

    /// What was received, if this arm was done.
    pub fn finish(&self) -> Option<Result<T, RecvError>> {
        self.received.take()
    }

    fn end(&self) -> Option<&End> {
        self.receiver.end().ok().map(|end| &**end)
    }
}

impl<T: Portable> Arm for RecvArm<'_, T> {
    fn attempt(&self) -> bool {
        let received = match self.receiver.end() {
            Ok(end) => match try_take(end) {
                Some(taken) => taken.and_then(|taken| self.receiver.receive(end, taken)),
                None => return false,
            },
            Err(reason) => Err(RecvError::NoChannel(reason)),
        };
        self.received.set(Some(received));
        true
    }

    fn watch<'b>(&'b self, watches: &mut Watches<'b>) {
        watch_end(self.end(), Which::NotEmpty, watches);
    }

    fn spin_ticks(&self) -> u64 {
        self.end().map_or(0, |end| end.terms().spin_ticks)
    }

    fn about_to_sleep(&self) {
        if let Some(end) = self.end() {
            offer_to_meet(end);
        }
    }

    fn pass_on(&self) {
        if let Some(end) = self.end() {
            end.ring().pass_on_message();
        }
    }
}

/// Sends.
pub struct SendArm<'a, T> {
    sender: &'a Sender<T>,
    value: RefCell<Option<T>>,
    sent: Cell<Option<Result<(), SendError<T>>>>,
}

impl<'a, T: Portable> SendArm<'a, T> {
    /// An arm that sends `value`.
    pub fn new(sender: &'a Sender<T>, value: T) -> Self {
        Self { sender, value: RefCell::new(Some(value)), sent: Cell::new(None) }
    }

    /// How it was sent, if this arm was done.
    pub fn finish(&self) -> Option<Result<(), SendError<T>>> {
        self.sent.take()
    }

    /// The value, if this arm was not done.
    pub(super) fn into_value(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T: Portable> Arm for SendArm<'_, T> {
    fn attempt(&self) -> bool {
        let Some(value) = self.value.take() else { return false };
        match self.sender.send_with(value, Patience::None) {
            Err(SendError::Full(value)) if self.sender.waits() => {
                self.value.replace(Some(value));
                false
            }
            sent => {
                self.sent.set(Some(sent));
                true
            }
        }
    }

    fn watch<'b>(&'b self, watches: &mut Watches<'b>) {
        watch_end(self.sender.end().ok().map(|end| &**end), Which::NotFull, watches);
    }

    fn spin_ticks(&self) -> u64 {
        self.sender.end().map_or(0, |end| end.terms().spin_ticks)
    }

    fn pass_on(&self) {
        if let Ok(end) = self.sender.end() {
            end.ring().pass_on_room();
        }
    }
}

/// Waits for the end of a task, which is joined afterwards.
pub struct JoinArm<'a, R> {
    handle: &'a TaskHandle<R>,
    place: Watch,
    is_done: Cell<bool>,
}

impl<'a, R: Portable> JoinArm<'a, R> {
    /// An arm that waits until `join` would not.
    pub fn new(handle: &'a TaskHandle<R>) -> Self {
        Self { handle, place: Watch::default(), is_done: Cell::new(false) }
    }

    /// Something, if this arm was done.
    pub fn finish(&self) -> Option<()> {
        self.is_done.get().then_some(())
    }
}

impl<R: Portable> Arm for JoinArm<'_, R> {
    fn attempt(&self) -> bool {
        self.is_done.set(self.handle.is_finished());
        self.is_done.get()
    }

    fn watch<'b>(&'b self, watches: &mut Watches<'b>) {
        if watches.is_full() && self.handle.has_told(watches.told()) {
            return;
        }
        match self.handle.watch(&self.place) {
            Watched::Word(word, expected) => watches.word(word, expected),
            Watched::Until(at_ns) => watches.until(at_ns),
            Watched::Ended => watches.over(),
        }
    }

    fn needs_words(&self) -> bool {
        true
    }
}

impl<T> fmt::Debug for RecvArm<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvArm").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendArm<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendArm").field("sender", &self.sender).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for JoinArm<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinArm").field("handle", &self.handle).finish_non_exhaustive()
    }
}
