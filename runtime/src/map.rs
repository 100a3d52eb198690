//! Map: one function over many items, each item a task of its own, handed over in ranges.
//!
//! One claim hands a worker a range of items; the worker notes its progress item by item, so that a death costs
//! exactly the item that ran, and the rest of its range is started again elsewhere. How many items a range has
//! follows from how long they take: about sixty microseconds, so that hand-over costs little and load stays even.

use crate::book::{Keep, RangeOutcome};
use crate::deadlines::{Deadline, Limits};
use crate::dispatch::Ticket;
use crate::error::{Place, TaskError};
use crate::handle::resolve;
use crate::jail::{self, Sentence, StockId};
use crate::pace::{GRAIN_MAX, Pace, RANGE_BYTES_MAX, Round};
use crate::quarantine::{Fence, Stretch};
use crate::results::{RangeReader, Step};
use crate::runtime::Runtime;
use crate::tally::Tally;
use crate::task::{self, Kind, rejected};
use gorun_shm::blocks::OwnedBlock;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use gorun_worker::function::Shim;
use gorun_worker::message::{self, InFlight, SealError, Sealed};
use gorun_worker::parcel::Carried;
use gorun_worker::range::{self, RangeWriter};
use gorun_worker::run;
use gorun_worker::wire::status::{MARK_MORTAL, MARK_RANGE};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Ranges under way at once for each seat: one that runs, one that waits, one on its way back.
const RANGES_PER_SEAT: usize = 3;
/// Items handed over by themselves that are under way at once for each seat: enough that none waits for the next.
const SINGLES_PER_SEAT: usize = 128;

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

    /// Hands out ranges until enough are under way.
    fn hand_out(&mut self) {
        let Ok(runtime) = &self.runtime else { return };
        let runtime = runtime.clone();
        let stock = runtime.stock_of(None);
        let singly = stock.is_some() || self.fixed_grain == Some(1);
        let window = runtime.workers() * if singly { SINGLES_PER_SEAT } else { RANGES_PER_SEAT };
        if let Some(Deadline { at_ns, allowed }) = self.deadline
            && self.failed.is_none()
            && ticks::system_ns() >= at_ns
        {
            self.failed = Some(TaskError::TimedOut { after: allowed });
        }
        while self.under_way.len() < window && self.failed.is_none() {
            if let Some(stock) = stock {
                if self.hand_out_jailed(&runtime, stock) {
                    continue;
                }
                return;
            }
            if singly && self.hand_out_single(&runtime) {
                continue;
            }
            match self.next_range(&runtime) {
                Ok(Some((count, sealed))) => {
                    self.handed_out += u64::from(count);
                    if let Err(error) = self.submit(&runtime, sealed, Round::of_all(count)) {
                        self.failed = Some(error.clone());
                        (0..count).for_each(|_| self.under_way.push_back(Pending::Refused(error.clone())));
                    }
                    self.under_way.extend(self.held_back.take().map(Pending::Refused));
                }
                Ok(None) => return,
                // One item could not travel; those before and behind it can.
                Err(error) => self.under_way.push_back(Pending::Refused(error)),
            }
        }
    }

    /// Hands out the next item by itself, if it fits a slot; false if it does not, or there is none.
    fn hand_out_single(&mut self, runtime: &Runtime) -> bool {
        let Some(item) = self.waiting.take().or_else(|| self.items.next()) else { return false };
        let Ok(Some((payload, bytes))) = message::seal_inline(&item) else {
            // Too large, or refused: as a range of one it goes in a block, or is told of.
            self.waiting = Some(item);
            return false;
        };
        let mark = if self.is_mortal() { MARK_MORTAL } else { 0 };
        let shim = run::run_function::<A, R> as Shim;
        let descriptor = task::describe(runtime, shim, self.function as usize, payload, (bytes, mark));
        if let Ok(descriptor) = &descriptor
            && let Err(refused) = runtime.dispatcher().screen_inline(descriptor)
        {
            self.under_way.push_back(Pending::Refused(refused));
            return true;
        }
        let ticket = descriptor.and_then(|descriptor| runtime.submit(&descriptor, None));
        match ticket {
            Ok(ticket) => {
                self.limit(runtime, &ticket);
                self.handed_out += 1;
                self.under_way.push_back(Pending::Single(ticket));
            }
            Err(error) => {
                self.failed = Some(error.clone());
                self.under_way.push_back(Pending::Refused(error));
            }
        }
        true
    }

    /// Hands out the next item to a jailed worker; false if there is none.
    fn hand_out_jailed(&mut self, runtime: &Runtime, stock: StockId) -> bool {
        let Some(item) = self.waiting.take().or_else(|| self.items.next()) else { return false };
        let deadline = self.deadline.map(|Deadline { at_ns, allowed }| (at_ns, allowed));
        let sentence = Sentence { stock, attempt: 1, timeout: self.timeout, deadline };
        self.under_way.push_back(
            match jail::submit(runtime, &Kind::Function(item, self.function), sentence) {
                Ok(ticket) => {
                    self.handed_out += 1;
                    Pending::Single(ticket)
                }
                Err(error) => Pending::Refused(error),
            },
        );
        true
    }

    fn is_mortal(&self) -> bool {
        self.deadline.is_some() || self.timeout.is_some()
    }

    /// Gives what was handed out the map's limits.
    fn limit(&self, runtime: &Runtime, ticket: &Ticket) {
        if let Some(Deadline { at_ns, allowed }) = self.deadline {
            runtime.dispatcher().limit_until(ticket, (at_ns, allowed), self.grace);
        }
        if let Some(timeout) = self.timeout {
            runtime.dispatcher().limit(
                ticket,
                Limits { deadline: None, timeout: Some(timeout), grace: self.grace },
                ticks::system_ns(),
            );
        }
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

    fn grain(&self, seats: usize) -> u32 {
        let Some(total) = self.total else { return self.fixed_grain.unwrap_or(self.pace.grain) };
        // Near the end smaller ranges, so that all seats end together.
        let left = total.saturating_sub(self.handed_out) / (seats as u64 * 2).max(1);
        let left = u32::try_from(left).unwrap_or(GRAIN_MAX).max(1);
        self.fixed_grain.unwrap_or(self.pace.grain.min(left))
    }

    /// Encodes the next items into a range; none if there are no more.
    fn next_range(&mut self, runtime: &Runtime) -> Result<Option<(u32, Sealed)>, TaskError> {
        let Some(first) = self.waiting.take().or_else(|| self.items.next()) else { return Ok(None) };
        let dispatcher = runtime.dispatcher();
        let (blocks, me) = (&dispatcher.commons.blocks, dispatcher.me);
        let grain = self.grain(runtime.workers());
        let room = (self.pace.item_bytes * grain as usize).min(RANGE_BYTES_MAX) + 64;
        let mut writer = RangeWriter::with_room(blocks, me, room).map_err(rejected)?;
        if !writer.push(&first).map_err(rejected)? {
            drop(writer);
            let needed = range::bytes_of_one(&first).map_err(rejected)?;
            let limit = runtime.message_bytes_max();
            if needed as u64 > limit {
                return Err(rejected(SealError::TooLarge { bytes: needed as u64, limit }));
            }
            writer = RangeWriter::with_room(blocks, me, needed).map_err(rejected)?;
            if !writer.push(&first).map_err(rejected)? {
                return Err(rejected(SealError::Malformed));
            }
        }
        let fence = self.fence(runtime)?;
        fence.screen(writer.last_item())?;
        while writer.count() < grain {
            let Some(item) = self.items.next() else { break };
            match writer.push(&item) {
                Ok(true) => {
                    if let Err(refused) = fence.screen(writer.last_item()) {
                        writer.take_back();
                        self.held_back = Some(refused);
                        break;
                    }
                }
                // Too large for what is left, or refused: it begins the next range, which reports it.
                Ok(false) | Err(_) => {
                    self.waiting = Some(item);
                    break;
                }
            }
        }
        let count = writer.count();
        let sealed = writer.finish(blocks).map_err(rejected)?;
        let each = sealed.bytes as usize / count.max(1) as usize + 1;
        self.pace.item_bytes = self.pace.item_bytes.max(each).min(RANGE_BYTES_MAX);
        Ok(Some((count, sealed)))
    }

    /// What looks at this map's items.
    fn fence<'r>(&self, runtime: &'r Runtime) -> Result<Fence<'r>, TaskError> {
        let shim = run::run_range::<A, R> as Shim;
        let described = task::describe(runtime, shim, self.function as usize, [0; 4], (0, 0))?;
        Ok(Fence::new(runtime.dispatcher(), described.shim, described.function))
    }

    /// Publishes a round of a range, the first at the end of those under way, a later one at the front.
    fn submit(&mut self, runtime: &Runtime, sealed: Sealed, round: Round) -> Result<(), TaskError> {
        let Round { total, count, skip, again } = round;
        let dispatcher = runtime.dispatcher();
        let room = (self.pace.result_bytes * (count - skip) as usize).clamp(64, RANGE_BYTES_MAX);
        let output = OwnedBlock::allocate(&dispatcher.commons.blocks, room, dispatcher.me)
            .map_err(|cause| rejected(SealError::NoMemory { bytes: room as u64, cause }))?;
        let shim = run::run_range::<A, R> as Shim;
        let mut descriptor = task::describe(
            runtime,
            shim,
            self.function as usize,
            sealed.payload,
            (sealed.bytes, sealed.marks),
        )?;
        descriptor.marks |= MARK_RANGE | if self.is_mortal() { MARK_MORTAL } else { 0 };
        let output = output.into_handle();
        [descriptor.payload[2], descriptor.payload[3]] = output.words();
        let bytes = sealed.bytes;
        let InFlight { message, parcels, .. } = sealed.hand_over_input();
        let input = InFlight { message, ..InFlight::default() };
        let keep = Keep { input, output: Some(output), fingerprint: None };
        let ticket = runtime.submit(&descriptor, Some(Box::new(keep)))?;
        self.limit(runtime, &ticket);
        if !again {
            dispatcher.count_items(ticket.lane, |tally| tally.submitted += u64::from(total));
        }
        let range = UnderWay { ticket, total, count, skip, bytes, parcels };
        if again {
            self.under_way.push_front(Pending::Range(range));
        } else {
            self.under_way.push_back(Pending::Range(range));
        }
        Ok(())
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
