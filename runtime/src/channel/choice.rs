//! Select over arms that are not known before the program runs.

use super::arms::watch_end;
use super::open::Rules;
use super::receiver::offer_to_meet;
use super::select::{Arm, JoinArm, Watches, select_by};
use super::{Backpressure, Receiver, Sender};
use crate::clock;
use crate::context::Context;
use crate::handle::TaskHandle;
use crate::timer::{DueArm, Ticks};
use gorun_shm::ring::mpmc::Ring;
use gorun_worker::codec::Portable;
use gorun_worker::end::End;
use gorun_worker::porter::Which;
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// Says which of any number of channels, tasks, timers and contexts is ready, for arms that are not known before the
/// program runs. Made once and asked again and again, it looks first at one arm after the other in turn, so that none
/// starves, then where something was lately, and only then at all.
///
/// Being ready is a hint: somebody else may be faster. So take with `try_recv`, `try_send` or `try_wait`, and ask again if
/// there is nothing. An arm that has ended for good is ready for ever: make a new `Select` without it.
///
/// ```
/// use gorun_runtime::{Select, channel};
///
/// let channels: Vec<_> = (0..100).map(|_| channel::<u32>(1)).collect();
/// let mut select = Select::new();
/// for (_, receiver) in &channels {
///     select.recv(receiver);
/// }
/// channels[42].0.send(7)?;
/// let index = select.ready();
/// assert_eq!((index, channels[index].1.try_recv()), (42, Ok(7)));
/// assert_eq!(select.try_ready(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a select waits only in `ready`"]
#[derive(Default)]
pub struct Select<'a> {
    arms: Vec<ReadyArm<'a>>,
    /// Whose turn it is: that is looked at first, whatever the others do.
    turn: Cell<usize>,
    /// Which was ready last: a busy one among many is found at once.
    latest: Cell<usize>,
}

/// An arm that is only looked at.
enum ReadyArm<'a> {
    Recv(Side<'a>),
    Send(Side<'a>, Rules),
    /// An end that is no good: using it says why.
    Bad,
    Other(Box<dyn Arm + Send + 'a>),
}

/// An end and its ring, worked out once.
#[derive(Clone, Copy)]
struct Side<'a> {
    end: &'a End,
    ring: Ring<'a>,
}

impl<'a> Side<'a> {
    fn of(end: &'a End) -> Self {
        Self { end, ring: end.ring() }
    }
}

impl ReadyArm<'_> {
    /// A cheap look: what it does not find, `attempt` may.
    #[inline]
    fn probe(&self) -> bool {
        match self {
            Self::Recv(side) => side.ring.has_message(),
            other => other.attempt(),
        }
    }
}

impl Arm for ReadyArm<'_> {
    fn attempt(&self) -> bool {
        match self {
            Self::Recv(Side { ring, .. }) => ring.has_message() || ring.is_spent(),
            Self::Send(Side { ring, .. }, rules) => {
                let is_met = !rules.is_rendezvous || ring.header().not_empty().has_waiter();
                let never_waits = rules.backpressure != Backpressure::Wait;
                ring.standing().refuses() || is_met && (never_waits || ring.has_room())
            }
            Self::Bad => true,
            Self::Other(arm) => arm.attempt(),
        }
    }

    fn watch<'b>(&'b self, watches: &mut Watches<'b>) {
        match self {
            Self::Recv(side) => watch_end(Some(side.end), Which::NotEmpty, watches),
            Self::Send(side, _) => watch_end(Some(side.end), Which::NotFull, watches),
            Self::Bad => watches.over(),
            Self::Other(arm) => arm.watch(watches),
        }
    }

    fn needs_words(&self) -> bool {
        matches!(self, Self::Other(arm) if arm.needs_words())
    }

    fn spin_ticks(&self) -> u64 {
        match self {
            Self::Recv(side) | Self::Send(side, _) => side.end.terms().spin_ticks,
            Self::Bad | Self::Other(_) => 0,
        }
    }

    fn about_to_sleep(&self) {
        if let Self::Recv(side) = self {
            offer_to_meet(side.end);
        }
    }

    fn pass_on(&self) {
        match self {
            Self::Recv(side) => side.ring.pass_on_message(),
            Self::Send(side, _) => side.ring.pass_on_room(),
            Self::Other(arm) => arm.pass_on(),
            Self::Bad => {}
        }
    }

    fn is_looked_at(&self) -> bool {
        true
    }
}

impl<'a> Select<'a> {
    /// One without arms.
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, arm: ReadyArm<'a>) -> usize {
        self.arms.push(arm);
        self.arms.len() - 1
    }

    /// Adds a receiver: ready when there is something to receive, or the channel has ended. Returns the arm's index: arms are
    /// counted from 0 in the order of adding.
    pub fn recv<T: Portable>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(receiver.end().map_or(ReadyArm::Bad, |end| ReadyArm::Recv(Side::of(end))))
    }

    /// Adds a sender: ready when there is room, or the channel refuses. Of a rendezvous when somebody waits to receive.
    pub fn send<T: Portable>(&mut self, sender: &'a Sender<T>) -> usize {
        let arm = |end| ReadyArm::Send(Side::of(end), sender.rules(end));
        self.add(sender.end().map_or(ReadyArm::Bad, |end| arm(end)))
    }

    /// Adds a task: ready when `join` would not wait.
    pub fn join<R: Portable>(&mut self, handle: &'a TaskHandle<R>) -> usize {
        self.add(ReadyArm::Other(Box::new(JoinArm::new(handle))))
    }

    /// Adds a timer or a ticker: ready when it is due.
    pub fn tick(&mut self, ticks: &'a impl Ticks) -> usize {
        self.add(ReadyArm::Other(Box::new(DueArm::new(ticks))))
    }

    /// Adds a context: ready when it is over.
    pub fn done(&mut self, context: &'a Context) -> usize {
        self.add(ReadyArm::Other(Box::new(super::select::DoneArm::new(context))))
    }

    /// How many arms it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arms.len()
    }

    /// True if it has no arms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arms.is_empty()
    }

    /// Waits until an arm is ready.
    ///
    /// # Panics
    /// Without an arm: nothing would ever be ready.
    ///
    /// # Blocking
    /// Until then. Inside a task it runs tasks of its own meanwhile.
    pub fn ready(&mut self) -> usize {
        assert!(!self.is_empty(), "a select without arms waits for ever");
        loop {
            if let Some(ready) = self.ready_until(None) {
                return ready;
            }
        }
    }

    /// Waits until an arm is ready, at most `timeout`.
    ///
    /// # Blocking
    /// Until then. Inside a task it runs tasks of its own meanwhile.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Option<usize> {
        self.ready_until(Some(clock::after(timeout)))
    }

    /// An arm that is ready now.
    pub fn try_ready(&mut self) -> Option<usize> {
        self.look()
    }

    fn ready_until(&mut self, deadline_ns: Option<u64>) -> Option<usize> {
        select_by(&self.arms, &|| self.look(), deadline_ns)
    }

    fn look(&self) -> Option<usize> {
        let turn = self.turn.get() % self.arms.len().max(1);
        self.turn.set(turn + 1);
        let latest = self.latest.get();
        let found = if self.arms.get(turn)?.attempt() {
            turn
        } else if self.arms.get(latest).is_some_and(ReadyArm::probe) {
            latest
        } else {
            self.walk(turn)?
        };
        self.latest.set(found);
        Some(found)
    }

    /// Looks at all of them, from the turn on: first for messages, of which there will be more, then for ends.
    fn walk(&self, turn: usize) -> Option<usize> {
        let (before, behind) = self.arms.split_at(turn.min(self.arms.len()));
        let find = |is_ready: fn(&ReadyArm<'a>) -> bool| {
            let found = behind.iter().position(is_ready).map(|index| turn + index);
            found.or_else(|| before.iter().position(is_ready))
        };
        find(ReadyArm::probe).or_else(|| find(ReadyArm::attempt))
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("arms", &self.arms.len()).field("latest", &self.latest).finish()
    }
}
