//! Map: one function over many items, each item a task of its own, handed over in ranges.
//!
//! One claim hands a worker a range of items; the worker notes its progress item by item, so that a death costs
//! exactly the item that ran, and the rest of its range is started again elsewhere. How many items a range has
//! follows from how long they take: about sixty microseconds, so that hand-over costs little and load stays even.

mod hand_out;
mod pace;

use crate::book::RangeOutcome;
use crate::deadlines::{Deadline, Limits};
use crate::dispatch::Ticket;
use crate::error::{Place, TaskError};
use crate::handle::resolve;
use crate::quarantine::Stretch;
use crate::results::{RangeReader, Step};
use crate::runtime::Runtime;
use crate::tally::Tally;
use gorun_shm::blocks::OwnedBlock;
use gorun_worker::codec::Portable;
use gorun_worker::message::{self};
use gorun_worker::parcel::Carried;
use gorun_worker::range::{self};
use pace::{GRAIN_MAX, Pace, Round};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

type Progress<'a> = Box<dyn FnMut(u64, Option<u64>) + 'a>;

/// A map that was not started yet: settings, then one of the methods that run it.
#[must_use = "a map runs only when its results are asked for"]
pub struct Map<'a, I, A, R> {
    runtime: Result<Runtime, TaskError>,
    items: I,
    function: fn(A) -> R,
    grain: Option<u32>,
    limits: Limits,
    progress: Option<Progress<'a>>,
}

impl<'a, I, A, R> Map<'a, I, A, R>
where
    I: Iterator<Item = A>,
    A: Portable,
    R: Portable,
{
    pub(crate) fn new(runtime: Result<Runtime, TaskError>, items: I, function: fn(A) -> R) -> Self {
        Self { runtime, items, function, grain: None, limits: Limits::default(), progress: None }
    }

    /// Items that one claim hands over, 1.. . Without this it follows from their run time.
    pub fn grain(mut self, items: usize) -> Self {
        self.grain = Some(u32::try_from(items).unwrap_or(GRAIN_MAX).clamp(1, GRAIN_MAX));
        self
    }

    /// The whole map is over `after` its results are first asked for: items that have not ended by then end as
    /// [`TaskError::TimedOut`], and workers that still run some are killed.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.limits.deadline = Some(after);
        self
    }

    /// No item runs longer than `after`: it ends as [`TaskError::TimedOut`], its worker is killed, and the other items go
    /// on. Each item is then handed over by itself, as with a grain of 1.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.limits.timeout = Some(after);
        self
    }

    /// Items whose time is over while they run are first asked to stop, and killed `after` that: see [`Task::grace`].
    ///
    /// [`Task::grace`]: crate::Task::grace
    pub fn grace(mut self, after: Duration) -> Self {
        self.limits.grace = Some(after);
        self
    }

    /// Calls `report` with how many items are done, and how many there are if that is known, as results arrive:
    /// on the calling thread, at most once per range.
    pub fn on_progress(mut self, report: impl FnMut(u64, Option<u64>) + 'a) -> Self {
        self.progress = Some(Box::new(report));
        self
    }

    /// Runs it; every item's outcome, in the order of the items.
    ///
    /// # Blocking
    /// Until all have ended.
    pub fn outcomes(self) -> Vec<Result<R, TaskError>> {
        let expected = self.items.size_hint().0;
        let mut outcomes = Vec::with_capacity(expected.min(1 << 24));
        outcomes.extend(self.iter());
        outcomes
    }

    /// Runs it; all values in the order of the items, or the first error.
    ///
    /// # Errors
    /// The first [`TaskError`] in order; items not handed out by then are not run.
    ///
    /// # Blocking
    /// Until all have ended, or one has failed.
    pub fn collect<C: FromIterator<R>>(self) -> Result<C, TaskError> {
        self.iter().collect()
    }

    /// Runs it step by step: an iterator over the outcomes, in the order of the items.
    ///
    /// Memory is bounded whatever the length of the input. Dropping the iterator stops handing out.
    pub fn iter(self) -> Outcomes<'a, I, A, R> {
        let total = match self.items.size_hint() {
            (low, Some(high)) if low == high => Some(high as u64),
            _ => None,
        };
        let Limits { timeout, grace, .. } =
            self.runtime.as_ref().map_or(self.limits, |runtime| runtime.limits(self.limits));
        let asked = Limits { timeout, ..self.limits };
        let refused = match &self.runtime {
            Ok(runtime) if asked.any() => runtime.check_limits().err(),
            _ => None,
        };
        Outcomes {
            runtime: self.runtime,
            items: self.items,
            function: self.function,
            // A range is killed as a whole, so an item that may be killed is one.
            fixed_grain: if timeout.is_some() { Some(1) } else { self.grain },
            deadline: self.limits.deadline.map(Deadline::after),
            timeout,
            grace,
            progress: self.progress,
            total,
            done: 0,
            handed_out: 0,
            waiting: None,
            held_back: None,
            under_way: VecDeque::new(),
            current: None,
            refused: VecDeque::new(),
            pace: Pace::new(),
            failed: refused,
        }
    }
}

#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    /// Items in its input block, where this round ends, and how many of them an earlier round has finished.
    total: u32,
    count: u32,
    skip: u32,
    /// Encoded bytes in its input block.
    bytes: u32,
    /// What its input carries.
    parcels: Vec<Carried>,
}

/// What stands in line, in the order of the items.
#[derive(Debug)]
enum Pending {
    Range(UnderWay),
    /// An item handed over by itself, in its slot.
    Single(Ticket),
    /// An item that could not travel.
    Refused(TaskError),
}

#[derive(Debug)]
struct Current {
    range: UnderWay,
    reader: RangeReader,
    tally: Tally,
    items: u64,
}

/// See [`Map::iter`].
pub struct Outcomes<'a, I, A, R> {
    runtime: Result<Runtime, TaskError>,
    items: I,
    function: fn(A) -> R,
    fixed_grain: Option<u32>,
    deadline: Option<Deadline>,
    timeout: Option<Duration>,
    grace: Option<Duration>,
    progress: Option<Progress<'a>>,
    total: Option<u64>,
    done: u64,
    handed_out: u64,
    /// An item that did not fit the last range.
    waiting: Option<A>,
    /// Why an item behind the last range may not run.
    held_back: Option<TaskError>,
    under_way: VecDeque<Pending>,
    /// The range whose results are being read.
    current: Option<Current>,
    /// Outcomes of items that come next and have no result.
    refused: VecDeque<TaskError>,
    pace: Pace,
    /// Nothing more can be handed out; told once per item that is left.
    failed: Option<TaskError>,
}

impl<I, A, R> Iterator for Outcomes<'_, I, A, R>
where
    I: Iterator<Item = A>,
    A: Portable,
    R: Portable,
{
    type Item = Result<R, TaskError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(current) = &mut self.current
            && let Some(item) = current.reader.next_item()
        {
            current.tally.count_item(&item);
            current.items += 1;
            return Some(item);
        }
        self.next_range_item()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.items.size_hint().0 + usize::from(self.waiting.is_some()), None)
    }
}

impl<I, A, R> Outcomes<'_, I, A, R>
where
    I: Iterator<Item = A>,
    A: Portable,
    R: Portable,
{
    /// The first item of the next range.
    #[cold]
    fn next_range_item(&mut self) -> Option<Result<R, TaskError>> {
        loop {
            self.close_current();
            if let Some(error) = self.refused.pop_front() {
                self.done += 1;
                return Some(Err(error));
            }
            self.hand_out();
            match self.under_way.pop_front() {
                Some(Pending::Range(range)) => self.take_back(range),
                Some(Pending::Single(ticket)) => return self.take_back_single(&ticket),
                Some(Pending::Refused(error)) => self.refused.push_back(error),
                None => return self.next_refused(),
            }
            if let Some(current) = &mut self.current
                && let Some(item) = current.reader.next_item()
            {
                current.tally.count_item(&item);
                current.items += 1;
                return Some(item);
            }
        }
    }

    /// The outcome of an item that could not be handed out.
    fn next_refused(&mut self) -> Option<Result<R, TaskError>> {
        let error = match &self.runtime {
            Err(error) => Some(error.clone()),
            Ok(_) => self.failed.clone(),
        }?;
        let item = self.waiting.take().or_else(|| self.items.next());
        item.map(|_| Err(error))
    }

    /// Waits for an item that was handed over by itself.
    fn take_back_single(&mut self, ticket: &Ticket) -> Option<Result<R, TaskError>> {
        let runtime = self.runtime.as_ref().ok()?;
        let outcome = match runtime.dispatcher().join(ticket) {
            Some(outcome) => resolve(outcome, &runtime.parts()),
            None => Err(TaskError::Decode { place: Place::Slot }),
        };
        self.done += 1;
        if let Some(report) = &mut self.progress {
            report(self.done, self.total);
        }
        Some(outcome)
    }

    /// Waits for a range and makes it the one that is read.
    fn take_back(&mut self, range: UnderWay) {
        let Ok(runtime) = self.runtime.clone() else { return };
        let outcome = runtime.dispatcher().join(&range.ticket).and_then(RangeOutcome::of);
        let Some(outcome) = outcome else {
            return self.refuse_rest(range.skip, range.total, &TaskError::Decode { place: Place::Slot });
        };
        self.pace.learn(outcome.done.saturating_sub(range.skip), outcome.ticks, outcome.bytes);
        let reader = RangeReader::new(outcome, range.count, range.skip, runtime.message_bytes_max());
        self.current = Some(Current { range, reader, tally: Tally::default(), items: 0 });
    }

    /// The range was read: count its items, and see to what is left of it.
    fn close_current(&mut self) {
        let (Ok(runtime), Some(current)) = (self.runtime.clone(), self.current.take()) else { return };
        let Current { range, reader, tally, items } = current;
        runtime.dispatcher().count_items(range.ticket.lane, |total| total.add(&tally));
        self.done += items;
        if let Some(report) = &mut self.progress {
            report(self.done, self.total);
        }
        if let Some((index, input, death)) = reader.interrupted()
            && let Ok(fence) = self.fence(&runtime)
        {
            fence.accuse(input, index, death);
        }
        match reader.finish(range.total) {
            Step::Complete => {}
            Step::Failed { done, error } => self.refuse_rest(done, range.total, &error),
            Step::GoOn { done, input: Some(input) } => {
                let UnderWay { total, bytes, parcels, .. } = range;
                self.go_on(&runtime, Rest { input, total, skip: done, bytes, parcels });
            }
            Step::GoOn { done, input: None } => {
                self.refuse_rest(done, range.total, &TaskError::Decode { place: Place::Slot });
            }
        }
    }

    fn refuse_rest(&mut self, done: u32, count: u32, error: &TaskError) {
        (done..count).for_each(|_| self.refused.push_back(error.clone()));
    }

    /// Starts what is left of a range, as far as it may run, ahead of everything else.
    fn go_on(&mut self, runtime: &Runtime, rest: Rest) {
        let Rest { mut input, total, skip, bytes, parcels } = rest;
        let stretch = match self.fence(runtime) {
            Ok(fence) => fence.stretch(input.as_slice(), skip, total),
            Err(error) => return self.refuse_rest(skip, total, &error),
        };
        let Stretch { refused, end: count } = stretch;
        let skip = skip + u32::try_from(refused.len()).unwrap_or(0);
        self.refused.extend(refused);
        if skip == total {
            return;
        }
        range::write_prefix(&mut input, count, skip);
        let sealed = message::reseal(input, bytes, parcels);
        if let Err(error) = self.submit(runtime, sealed, Round { total, count, skip, again: true }) {
            self.refuse_rest(skip, total, &error);
        }
    }
}

/// What is left of a range.
struct Rest {
    input: OwnedBlock,
    total: u32,
    skip: u32,
    /// Encoded bytes in it, without the handles behind them.
    bytes: u32,
    parcels: Vec<Carried>,
}

impl<I, A, R> Drop for Outcomes<'_, I, A, R> {
    fn drop(&mut self) {
        if let Ok(runtime) = &self.runtime {
            let tickets = self.under_way.iter().filter_map(|pending| match pending {
                Pending::Range(range) => Some(&range.ticket),
                Pending::Single(ticket) => Some(ticket),
                Pending::Refused(_) => None,
            });
            for ticket in tickets {
                runtime.dispatcher().cancel(ticket);
                runtime.dispatcher().detach(ticket);
            }
        }
    }
}

impl RangeOutcome {
    fn of(outcome: crate::book::Outcome) -> Option<Self> {
        match outcome {
            crate::book::Outcome::Range(range) => Some(*range),
            _ => None,
        }
    }
}

impl<I, A, R> fmt::Debug for Map<'_, I, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("grain", &self.grain).finish_non_exhaustive()
    }
}

impl<I, A, R> fmt::Debug for Outcomes<'_, I, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("done", &self.done)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}
