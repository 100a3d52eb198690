//! Select: waits for whichever of several things comes first, with one sleep for all of them.
//!
//! Each arm is tried; if none succeeds, all their words are armed, all are tried once more, and the thread sleeps on all
//! of them in one system call. Which arm is tried first goes round, so that none starves.

use super::patience::Patience;
use super::receiver::try_take;
use super::{Receiver, RecvError, SendError, Sender};
use crate::handle::{TaskHandle, Watch, Watched};
use gorun_shm::gate::Gate;
use gorun_shm::os::{futex, ticks};
use gorun_shm::sync::AtomicU32;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use gorun_worker::end::End;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

/// Most arms of one select: the kernel can wait for so many words at once.
const ARMS_MAX: usize = futex::WORDS_MAX;

/// Something that a select may wait for. Made by [`select!`](crate::select).
pub trait Arm {
    /// Tries it; true if it is done.
    fn attempt(&self) -> bool;
    /// What tells that another attempt is worth it. Whoever asks attempts once more before it sleeps.
    fn watch(&self) -> Watched<'_>;
    /// The caller is about to sleep until then.
    fn about_to_sleep(&self) {}
    /// Another arm was done: passes on the wake-up that may have been meant for this.
    fn pass_on(&self) {}
}

fn watch_gate(gate: &Gate) -> Watched<'_> {
    let (word, expected) = gate.word(gate.arm());
    Watched::Word(word, expected)
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

    fn watch(&self) -> Watched<'_> {
        self.end().map_or(Watched::Ended, |end| watch_gate(end.ring().header().not_empty()))
    }

    fn about_to_sleep(&self) {
        if let Some(end) = self.end() {
            super::receiver::offer_to_meet(end);
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

    fn watch(&self) -> Watched<'_> {
        let end = self.sender.end().ok();
        end.map_or(Watched::Ended, |end| watch_gate(end.ring().header().not_full()))
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

    fn watch(&self) -> Watched<'_> {
        self.handle.watch(&self.place)
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

/// Tries all arms once; true if one was done.
pub fn select_now(arms: &[&dyn Arm]) -> bool {
    attempt_one(arms)
}

/// Waits until one arm is done.
///
/// # Panics
/// With more than 128 arms.
///
/// # Blocking
/// Until then. Inside a task it runs tasks of its own meanwhile.
pub fn select_one(arms: &[&dyn Arm]) {
    let _ = select_with(arms, None);
}

/// Waits until one arm is done, at most `timeout`; true if one was.
///
/// # Panics
/// With more than 128 arms.
///
/// # Blocking
/// Until then. Inside a task it runs tasks of its own meanwhile.
pub fn select_within(arms: &[&dyn Arm], timeout: Duration) -> bool {
    let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    select_with(arms, Some(ticks::system_ns().saturating_add(nanos)))
}

fn attempt_one(arms: &[&dyn Arm]) -> bool {
    thread_local! {
        static TURN: Cell<usize> = const { Cell::new(0) };
    }
    let turn = TURN.replace(TURN.get().wrapping_add(1));
    let count = arms.len().max(1);
    let done =
        (0..arms.len()).map(|step| turn.wrapping_add(step) % count).find(|index| arms[*index].attempt());
    if let Some(done) = done {
        for (index, arm) in arms.iter().enumerate() {
            if index != done {
                arm.pass_on();
            }
        }
    }
    done.is_some()
}

fn select_with(arms: &[&dyn Arm], deadline_ns: Option<u64>) -> bool {
    assert!(arms.len() <= ARMS_MAX, "a select has at most {ARMS_MAX} arms");
    let duty = context::duty();
    loop {
        if attempt_one(arms) {
            return true;
        }
        if duty.as_ref().is_some_and(|duty| duty.run_one()) {
            continue;
        }
        let now = ticks::system_ns();
        if deadline_ns.is_some_and(|deadline| now >= deadline) {
            return false;
        }
        let mut until_ns = deadline_ns;
        let mut words: Vec<(&AtomicU32, u32)> = Vec::with_capacity(arms.len());
        let mut is_late = false;
        for arm in arms {
            match arm.watch() {
                Watched::Word(word, expected) => words.push((word, expected)),
                Watched::Until(at_ns) => until_ns = Some(until_ns.map_or(at_ns, |until| until.min(at_ns))),
                Watched::Ended => is_late = true,
            }
        }
        if is_late {
            continue;
        }
        if attempt_one(arms) {
            return true;
        }
        arms.iter().for_each(|arm| arm.about_to_sleep());
        let left = until_ns.map(|until| Duration::from_nanos(until.saturating_sub(now)));
        let sleep = || match (words.is_empty(), left) {
            (true, left) => std::thread::park_timeout(left.unwrap_or(Duration::MAX)),
            (false, left) => futex::wait_any(&words, left),
        };
        match &duty {
            Some(duty) => duty.wait_in_task(sleep),
            None => sleep(),
        }
    }
}

/// Waits for whichever of several channels, tasks and times comes first, and does what its arm says.
///
/// ```text
/// recv(receiver) -> pattern => expression,        pattern: Result<T, RecvError>
/// send(sender, value) -> pattern => expression,   pattern: Result<(), SendError<T>>
/// join(handle) => expression,                     the task has ended: `handle.join()` does not wait
/// default => expression,                          last: nothing was ready
/// timeout(duration) => expression,                last: nothing came in time
/// ```
///
/// Exactly one arm is done. Each arm needs its comma. Waiting takes one sleep for all arms.
/// A value that was not sent is dropped; so that it is not lost, send a clone.
///
/// ```
/// use gorun_runtime::{channel, select};
/// use std::time::Duration;
///
/// let (numbers, received) = channel::<u32>(1);
/// let (_texts, others) = channel::<String>(1);
/// numbers.send(7)?;
/// let seen = select! {
///     recv(received) -> number => number.unwrap_or(0),
///     recv(others) -> text => text.map_or(0, |_| 1),
///     timeout(Duration::from_secs(60)) => 2,
/// };
/// assert_eq!(seen, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! select {
    (@ [$($arms:tt)*] recv($receiver:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::RecvArm::new(&$receiver)) $value => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] send($sender:expr, $sent:expr) -> $value:pat => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::SendArm::new(&$sender, $sent)) $value => $body }] $($rest)*)
    };
    (@ [$($arms:tt)*] join($handle:expr) => $body:expr, $($rest:tt)*) => {
        $crate::select!(@ [$($arms)* { arm ($crate::channel::select::JoinArm::new(&$handle)) () => $body }] $($rest)*)
    };
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*] default => $default:expr $(,)?) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_now(&[$(&$arm as &dyn $crate::channel::select::Arm),*]);
        $crate::select!(@done [$({ $arm $value => $body })*] $default)
    }};
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*] timeout($timeout:expr) => $late:expr $(,)?) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_within(&[$(&$arm as &dyn $crate::channel::select::Arm),*], $timeout);
        $crate::select!(@done [$({ $arm $value => $body })*] $late)
    }};
    (@ [$({ $arm:ident ($make:expr) $value:pat => $body:expr })*]) => {{
        $(let $arm = $make;)*
        $crate::channel::select::select_one(&[$(&$arm as &dyn $crate::channel::select::Arm),*]);
        $crate::select!(@done [$({ $arm $value => $body })*] ::core::unreachable!("one arm was done"))
    }};
    (@done [{ $arm:ident $value:pat => $body:expr } $($rest:tt)*] $else:expr) => {
        if let ::core::option::Option::Some(done) = $arm.finish() {
            match done { $value => $body }
        } else {
            $crate::select!(@done [$($rest)*] $else)
        }
    };
    (@done [] $else:expr) => { $else };
    (@ $($rest:tt)*) => {
        ::core::compile_error!("an arm of select! is `recv(receiver) -> pattern => expression,`, `send(sender, value) -> pattern => expression,`, `join(handle) => expression,`, or last `default => expression` or `timeout(duration) => expression`")
    };
    ($($arms:tt)+) => { $crate::select!(@ [] $($arms)+) };
}
