//! Timer and Ticker: moments to wait for, alone, in a select, or as futures; no thread is needed for any of them.
//!
//! A blocking wait sleeps until the moment; an asynchronous one leaves an alarm with the porter. Both hear of it when the
//! moment is changed. As moments of the clock that all processes share, they travel as plain numbers.

use crate::channel::select::{self, Arm, Watches};
use crate::clock;
use crate::handle::Told;
use futures_core::Stream;
use gorun_shm::os::ticks;
use gorun_shm::sync::Ordering;
use gorun_worker::porter::{self, AlarmId};
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Shortest period of a ticker.
pub const PERIOD_MIN: Duration = Duration::from_micros(1);

/// What a timer or a ticker gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it was due; never later than now.
    pub due: Instant,
    /// How many earlier ones nobody has taken, and nobody will.
    pub missed: u64,
}

/// When to fire next, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Schedule {
    /// Of the monotonic clock; none if it is stopped, or has fired for good.
    next_ns: Option<u64>,
    /// None of a timer.
    period_ns: Option<u64>,
}

/// A schedule, and whom to tell when it is changed.
#[derive(Debug)]
#[doc(hidden)]
pub struct Clockwork {
    schedule: Mutex<Schedule>,
    /// Changed with the schedule, for who sleeps.
    changed: Told,
    /// Of the future or stream that it is.
    waker: Mutex<Option<Waker>>,
    /// Selects for which the kernel has no word left.
    listeners: Mutex<Vec<Weak<Told>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clockwork {
    fn new(next_ns: Option<u64>, period_ns: Option<u64>) -> Self {
        let schedule = Mutex::new(Schedule { next_ns, period_ns });
        Self { schedule, changed: Told::default(), waker: Mutex::default(), listeners: Mutex::default() }
    }

    fn schedule(&self) -> Schedule {
        *lock(&self.schedule)
    }

    /// Fires if it is time.
    fn fire(&self) -> Option<Tick> {
        let now_ns = ticks::system_ns();
        let mut schedule = lock(&self.schedule);
        let next_ns = schedule.next_ns.filter(|next_ns| *next_ns <= now_ns)?;
        let (due_ns, missed) = match schedule.period_ns {
            None => {
                schedule.next_ns = None;
                (next_ns, 0)
            }
            // Due times stay multiples of the period from the first on, however late anybody comes.
            Some(period_ns) => {
                let missed = (now_ns - next_ns) / period_ns;
                let due_ns = next_ns + missed * period_ns;
                schedule.next_ns = Some(due_ns.saturating_add(period_ns));
                (due_ns, missed)
            }
        };
        drop(schedule);
        Some(Tick { due: clock::instant_of(due_ns), missed })
    }

    /// True if it would fire now.
    fn is_due(&self) -> bool {
        self.schedule().next_ns.is_some_and(|next_ns| next_ns <= ticks::system_ns())
    }

    /// Sets the schedule and tells everybody; true if it was going.
    fn set(&self, change: impl FnOnce(&mut Schedule)) -> bool {
        let mut schedule = lock(&self.schedule);
        let was_going = schedule.next_ns.is_some();
        change(&mut schedule);
        drop(schedule);
        self.changed.tell();
        let (waker, listeners) = (lock(&self.waker).take(), std::mem::take(&mut *lock(&self.listeners)));
        waker.into_iter().for_each(Waker::wake);
        listeners.iter().filter_map(Weak::upgrade).for_each(|told| told.tell());
        was_going
    }

    /// Waits until it fires; none once it is stopped, or `deadline_ns` came first.
    fn wait(&self, timeout: Option<Duration>) -> Option<Tick> {
        let arm = WaitArm { clockwork: self, tick: Cell::new(None) };
        match timeout {
            None => select::select_one(&[&arm]),
            Some(timeout) => {
                select::select_within(&[&arm], timeout);
            }
        }
        arm.tick.get()
    }

    /// One step of a future: ready with none once it is stopped.
    fn poll(&self, asked: &mut Option<Asked>, context: &Context<'_>) -> Poll<Option<Tick>> {
        *asked = None;
        // Left first: a change behind the looks below finds it.
        let before = lock(&self.waker).replace(context.waker().clone());
        drop(before);
        if let Some(tick) = self.fire() {
            return Poll::Ready(Some(tick));
        }
        let Some(next_ns) = self.schedule().next_ns else { return Poll::Ready(None) };
        *asked = porter::wake_at(next_ns, context.waker().clone()).map(Asked);
        if asked.is_none() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        if watches.is_full() {
            let mut listeners = lock(&self.listeners);
            listeners.retain(|told| told.strong_count() > 0);
            listeners.push(Arc::downgrade(watches.told()));
        } else {
            // Acquire: pairs with the Release in `tell`: the schedule is looked at behind it.
            watches.word(self.changed.word(), self.changed.word().load(Ordering::Acquire));
        }
        if let Some(next_ns) = self.schedule().next_ns {
            watches.until(next_ns);
        }
    }
}

/// An alarm of a future, until it is dropped.
#[derive(Debug)]
struct Asked(AlarmId);

impl Drop for Asked {
    fn drop(&mut self) {
        drop(porter::drop_alarm(self.0));
    }
}

/// Fires, or ends because it is stopped.
struct WaitArm<'a> {
    clockwork: &'a Clockwork,
    tick: Cell<Option<Tick>>,
}

impl Arm for WaitArm<'_> {
    fn attempt(&self) -> bool {
        self.tick.set(self.clockwork.fire());
        self.tick.get().is_some() || self.clockwork.schedule().next_ns.is_none()
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        self.clockwork.watch(watches);
    }

    fn needs_words(&self) -> bool {
        true
    }
}

/// Something that ticks, for an arm of a select.
pub trait Ticks: sealed::Ticks {}

mod sealed {
    pub trait Ticks {
        fn clockwork(&self) -> &super::Clockwork;
    }
}

impl sealed::Ticks for Timer {
    fn clockwork(&self) -> &Clockwork {
        &self.clockwork
    }
}

impl sealed::Ticks for Ticker {
    fn clockwork(&self) -> &Clockwork {
        &self.clockwork
    }
}

impl Ticks for Timer {}
impl Ticks for Ticker {}

/// An arm of a select: a timer or a ticker that fires. One that is stopped never does.
#[doc(hidden)]
#[derive(Debug)]
pub struct TickArm<'a> {
    clockwork: &'a Clockwork,
    tick: Cell<Option<Tick>>,
}

impl<'a> TickArm<'a> {
    /// An arm that takes the tick.
    pub fn new(ticks: &'a impl Ticks) -> Self {
        Self { clockwork: ticks.clockwork(), tick: Cell::new(None) }
    }

    /// The tick, if this arm was done.
    pub fn finish(&self) -> Option<Tick> {
        self.tick.take()
    }
}

impl Arm for TickArm<'_> {
    fn attempt(&self) -> bool {
        self.tick.set(self.clockwork.fire());
        self.tick.get().is_some()
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        self.clockwork.watch(watches);
    }

    fn needs_words(&self) -> bool {
        true
    }
}

/// As [`TickArm`], but leaves the tick where it is.
pub(crate) struct DueArm<'a>(&'a Clockwork);

impl<'a> DueArm<'a> {
    pub(crate) fn new(ticks: &'a impl Ticks) -> Self {
        Self(ticks.clockwork())
    }
}

impl Arm for DueArm<'_> {
    fn attempt(&self) -> bool {
        self.0.is_due()
    }

    fn watch<'a>(&'a self, watches: &mut Watches<'a>) {
        self.0.watch(watches);
    }

    fn needs_words(&self) -> bool {
        true
    }
}

/// Fires once, at a moment.
///
/// It can be waited for, is an arm of [`select!`](crate::select), and is a future for any executor. Threads may share a
/// reference to it: one of them gets the tick. Sent to another process it is a copy there, for the same moment.
///
/// ```
/// use gorun_runtime::{Timer, channel, select};
/// use std::time::Duration;
///
/// let timer = Timer::after(Duration::from_millis(2));
/// let (_sender, receiver) = channel::<u32>(1);
/// let is_late = select! {
///     recv(receiver) -> _ => false,
///     tick(timer) -> _ => true,
/// };
/// assert!(is_late);
/// assert_eq!(timer.wait(), None, "it fires once");
/// timer.reset(Duration::from_millis(1));
/// assert!(timer.wait().is_some());
/// ```
#[derive(Debug)]
pub struct Timer {
    clockwork: Clockwork,
    asked: Option<Asked>,
}

impl Timer {
    /// One that fires after so long.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self { clockwork: Clockwork::new(Some(clock::after(wait)), None), asked: None }
    }

    /// One that fires at that moment; at once if it has passed.
    #[must_use]
    pub fn at(moment: Instant) -> Self {
        Self { clockwork: Clockwork::new(Some(clock::nanos_of(moment)), None), asked: None }
    }

    /// Waits until it fires; none if it is stopped, or has fired already.
    ///
    /// # Blocking
    /// Until then. Inside a task it runs tasks of its own meanwhile.
    pub fn wait(&self) -> Option<Tick> {
        self.clockwork.wait(None)
    }

    /// [`Timer::wait`], at most so long.
    ///
    /// # Blocking
    /// Until then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Tick> {
        self.clockwork.wait(Some(timeout))
    }

    /// The tick if it is due and nobody has taken it.
    pub fn try_wait(&self) -> Option<Tick> {
        self.clockwork.fire()
    }

    /// Stops it: whoever waits for it goes on without a tick. False if it has fired or was stopped.
    pub fn stop(&self) -> bool {
        self.clockwork.set(|schedule| schedule.next_ns = None)
    }

    /// Sets it to so long from now, whether it has fired or not; whoever waits for it waits for the new moment. True if it
    /// had not fired.
    pub fn reset(&self, wait: Duration) -> bool {
        self.clockwork.set(|schedule| schedule.next_ns = Some(clock::after(wait)))
    }

    /// When it will fire; none if it has, or was stopped.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.clockwork.schedule().next_ns.map(clock::instant_of)
    }
}

/// The tick; none if it is stopped, or has fired already. `(&mut timer).await` keeps the timer.
impl Future for Timer {
    type Output = Option<Tick>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Tick>> {
        let Self { clockwork, asked } = &mut *self;
        clockwork.poll(asked, context)
    }
}

/// Fires again and again, at multiples of a period from its start: late ticks do not delay later ones, and those that
/// nobody was there for are skipped and counted.
///
/// It can be waited for, iterated over, is an arm of [`select!`](crate::select), and a `Stream` for any executor. Threads
/// may share a reference to it: each tick goes to one of them. Sent to another process it is a copy there, in step.
///
/// ```
/// use gorun_runtime::Ticker;
/// use std::time::Duration;
///
/// let ticker = Ticker::every(Duration::from_millis(1));
/// let mut ticks = ticker.iter();
/// let (first, second) = (ticks.next().unwrap(), ticks.next().unwrap());
/// assert!(second.due >= first.due + Duration::from_millis(1));
/// ticker.stop();
/// assert!(ticks.next().is_none());
/// ```
#[derive(Debug)]
pub struct Ticker {
    clockwork: Clockwork,
    asked: Option<Asked>,
}

fn period_ns(period: Duration) -> u64 {
    clock::nanos(period.max(PERIOD_MIN))
}

impl Ticker {
    /// One that fires every `period`, [`PERIOD_MIN`] at least, for the first time after one of them.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let first_ns = clock::after(period.max(PERIOD_MIN));
        Self { clockwork: Clockwork::new(Some(first_ns), Some(period_ns(period))), asked: None }
    }

    /// One that fires for the first time at `first`, then every `period`.
    #[must_use]
    pub fn starting_at(first: Instant, period: Duration) -> Self {
        let first_ns = clock::nanos_of(first);
        Self { clockwork: Clockwork::new(Some(first_ns), Some(period_ns(period))), asked: None }
    }

    /// Waits for the next tick; none once it is stopped.
    ///
    /// # Blocking
    /// Until then. Inside a task it runs tasks of its own meanwhile.
    pub fn wait(&self) -> Option<Tick> {
        self.clockwork.wait(None)
    }

    /// [`Ticker::wait`], at most so long.
    ///
    /// # Blocking
    /// Until then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Tick> {
        self.clockwork.wait(Some(timeout))
    }

    /// The latest tick if nobody has taken it.
    pub fn try_wait(&self) -> Option<Tick> {
        self.clockwork.fire()
    }

    /// Ticks until it is stopped, waiting for each.
    pub fn iter(&self) -> TickerIter<'_> {
        TickerIter { ticker: self }
    }

    /// Stops it: whoever waits for it goes on without a tick. False if it was stopped.
    pub fn stop(&self) -> bool {
        self.clockwork.set(|schedule| schedule.next_ns = None)
    }

    /// Starts it anew with this period, for the first time after one of them. True if it was not stopped.
    pub fn reset(&self, period: Duration) -> bool {
        let first_ns = clock::after(period.max(PERIOD_MIN));
        self.clockwork.set(|schedule| {
            *schedule = Schedule { next_ns: Some(first_ns), period_ns: Some(period_ns(period)) }
        })
    }

    /// Time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.clockwork.schedule().period_ns.unwrap_or(0))
    }
}

impl Stream for Ticker {
    type Item = Tick;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Tick>> {
        let Self { clockwork, asked } = &mut *self;
        clockwork.poll(asked, context)
    }
}

impl<'a> IntoIterator for &'a Ticker {
    type Item = Tick;
    type IntoIter = TickerIter<'a>;

    fn into_iter(self) -> TickerIter<'a> {
        self.iter()
    }
}

/// See [`Ticker::iter`].
#[derive(Debug)]
pub struct TickerIter<'a> {
    ticker: &'a Ticker,
}

impl Iterator for TickerIter<'_> {
    type Item = Tick;

    fn next(&mut self) -> Option<Tick> {
        self.ticker.wait()
    }
}

impl Serialize for Timer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.clockwork.schedule().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Schedule { next_ns, .. } = Schedule::deserialize(deserializer)?;
        Ok(Self { clockwork: Clockwork::new(next_ns, None), asked: None })
    }
}

impl Serialize for Ticker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.clockwork.schedule().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ticker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Schedule { next_ns, period_ns } = Schedule::deserialize(deserializer)?;
        let shortest = clock::nanos(PERIOD_MIN);
        let period_ns = period_ns.unwrap_or(shortest).max(shortest);
        Ok(Self { clockwork: Clockwork::new(next_ns, Some(period_ns)), asked: None })
    }
}
