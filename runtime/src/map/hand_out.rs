//! Hand out: from the items of a map to ranges and tasks that are under way.

use super::pace::{GRAIN_MAX, RANGE_BYTES_MAX, Round};
use super::{Outcomes, Pending, UnderWay};
use crate::book::Keep;
use crate::deadlines::{Deadline, Limits};
use crate::dispatch::Ticket;
use crate::error::TaskError;
use crate::jail::{self, Sentence, StockId};
use crate::quarantine::Fence;
use crate::runtime::Runtime;
use crate::task::{self, Kind, rejected};
use gorun_shm::blocks::OwnedBlock;
use gorun_shm::os::ticks;
use gorun_worker::codec::Portable;
use gorun_worker::function::Shim;
use gorun_worker::message::{self, InFlight, SealError, Sealed};
use gorun_worker::range::{self, RangeWriter};
use gorun_worker::run;
use gorun_worker::wire::status::{MARK_MORTAL, MARK_RANGE};

/// Ranges under way at once for each seat: one that runs, one that waits, one on its way back.
const RANGES_PER_SEAT: usize = 3;
/// Items handed over by themselves that are under way at once for each seat: enough that none waits for the next.
const SINGLES_PER_SEAT: usize = 128;

impl<I, A, R> Outcomes<'_, I, A, R>
where
    I: Iterator<Item = A>,
    A: Portable,
    R: Portable,
{
    /// Hands out ranges until enough are under way.
    pub(super) fn hand_out(&mut self) {
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
    pub(super) fn fence<'r>(&self, runtime: &'r Runtime) -> Result<Fence<'r>, TaskError> {
        let shim = run::run_range::<A, R> as Shim;
        let described = task::describe(runtime, shim, self.function as usize, [0; 4], (0, 0))?;
        Ok(Fence::new(runtime.dispatcher(), described.shim, described.function))
    }

    /// Publishes a round of a range, the first at the end of those under way, a later one at the front.
    pub(super) fn submit(
        &mut self,
        runtime: &Runtime,
        sealed: Sealed,
        round: Round,
    ) -> Result<(), TaskError> {
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
}
