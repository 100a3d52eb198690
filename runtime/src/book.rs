//! Book: the producer's private record of one lane, which slot holds which task, and outcomes not yet taken.
//!
//! Lives in the producer's own memory under a lock; only the slots are shared. A slot is used again only after
//! its outcome was moved into the book, so a late reader of the slot finds the outcome here.
//!
//! Invariant: `at_slot[s]` names the entry whose task stands in slot `s`, and that entry is Waiting with a
//! position that maps to `s`.

use crate::error::{Place, TaskError};
use crate::quarantine::Fingerprint;
use crate::tally::Tally;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Blocks, OwnedBlock};
use gorun_shm::ring::spmc::Lane;
use gorun_shm::slots::{Claim, Completion, Descriptor, State, Word};
use gorun_worker::message::{self, Arrival, InFlight};
use gorun_worker::run::{self, LastItem};
use gorun_worker::wire::status::{MARK_IN_BLOCK, MARK_RANGE, Status};
use std::sync::Arc;
use std::task::Waker;

/// Index of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryId(u32);

impl EntryId {
    /// Of a task that is in no book.
    pub(crate) const NONE: Self = Self(NONE);
}

/// What must be kept until a task has ended.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    /// The input's message block and what it carries.
    pub(crate) input: InFlight,
    /// A range's result block.
    pub(crate) output: Option<BlockHandle>,
    /// Of function and input, if it is known.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// How a task ended, moved out of its slot.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A status with what stood in the slot.
    Bare { status: Status, attempt: u8, payload: [u64; 4] },
    /// A result or a panic report.
    Message { status: Status, arrival: Box<Arrival> },
    /// A small result or panic report.
    Inline { status: Status, bytes: u32, payload: [u64; 4] },
    /// A result or a panic report, copied out of memory that hostile code can write.
    Private { status: Status, bytes: Vec<u8> },
    /// It has no value, for this reason.
    Failed(Box<TaskError>),
    /// A range, finished or not.
    Range(Box<RangeOutcome>),
    /// What stood in the slot made no sense.
    Broken(Place),
}

/// How far a range came, with its blocks taken back.
#[derive(Debug)]
pub(crate) struct RangeOutcome {
    pub(crate) status: Status,
    pub(crate) payload: [u64; 4],
    pub(crate) ticks: u64,
    /// Items behind it, counted from the start of the input block.
    pub(crate) done: u32,
    /// Items whose run began and did not end: 0 or 1, and 1 only in a lost range.
    pub(crate) interrupted: u32,
    /// Bytes of results in `output`.
    pub(crate) bytes: u64,
    pub(crate) input: Option<OwnedBlock>,
    pub(crate) output: Option<OwnedBlock>,
    /// The last item, if its result is not among the others.
    pub(crate) last: Option<(LastItem, Option<Arrival>)>,
}

#[derive(Debug)]
enum Entry {
    Vacant { next: u32 },
    Waiting { position: u64, keep: Option<Box<Keep>>, waker: Option<Waker>, detached: bool },
    Done(Outcome),
}

const NONE: u32 = u32::MAX;

/// What came of pushing a task.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// It stands at this position.
    At(u64, EntryId),
    /// The lane is full; the task's belongings are handed back. Its oldest task stands at `oldest`.
    Full { keep: Option<Box<Keep>>, oldest: u64 },
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Book {
    me: OwnerId,
    blocks: Arc<Blocks>,
    tail: u64,
    /// Every task before this one has been collected.
    oldest: u64,
    at_slot: Vec<u32>,
    entries: Vec<Entry>,
    vacant: u32,
    uncollected: u64,
    task_ticks: u64,
    pub(crate) tally: Tally,
    /// Whom to wake once the lock is released: a waker may run anything, this book's methods too.
    pub(crate) wakes: Vec<Waker>,
}

/// True if the slot of `position` has held the task of that position already.
fn is_used(lane: Lane<'_>, position: u64) -> bool {
    let (slot, lap) = lane.slot(position);
    let word = slot.word();
    word.lap() == lap && word.state() != State::Free
}

/// How far ahead of the tail a slot's cache line is asked for.
const AHEAD: u64 = 8;

/// How many finished slots one push collects at most, and how often it tries.
const SWEEP: u64 = 64;

impl Book {
    pub(crate) fn new(lane: Lane<'_>, blocks: Arc<Blocks>, me: OwnerId) -> Self {
        let capacity = usize::try_from(lane.capacity()).unwrap_or(0);
        // A lane that a dead worker filled before goes on where that one stopped, which may be one task after
        // the tail it had published.
        let mut tail = lane.published();
        while is_used(lane, tail) {
            tail += 1;
        }
        Self {
            me,
            blocks,
            tail,
            oldest: tail,
            at_slot: vec![NONE; capacity],
            entries: Vec::new(),
            vacant: NONE,
            uncollected: 0,
            task_ticks: 0,
            tally: Tally::default(),
            wakes: Vec::new(),
        }
    }

    /// Tasks pushed and not collected.
    pub(crate) fn uncollected(&self) -> u64 {
        self.uncollected
    }

    /// Smoothed run time of a task, in ticks.
    pub(crate) fn task_ticks(&self) -> u64 {
        self.task_ticks
    }

    /// Publishes a task.
    #[inline]
    pub(crate) fn push(
        &mut self,
        lane: Lane<'_>,
        descriptor: &Descriptor,
        keep: Option<Box<Keep>>,
    ) -> Pushed {
        let position = self.tail;
        if position.is_multiple_of(SWEEP) {
            self.sweep(lane);
        }
        let index = self.index(position);
        if self.at_slot[index] != NONE && !self.collect_at(lane, position - lane.capacity()) {
            return Pushed::Full { keep, oldest: position - lane.capacity() };
        }
        let (slot, _) = lane.slot(position);
        if self.me != OwnerId::HOST && matches!(slot.word().state(), State::Ready | State::Running) {
            // Left behind by the lane's former producer and still running somewhere.
            return Pushed::Full { keep, oldest: position.wrapping_sub(lane.capacity()) };
        }
        lane.slot(position + AHEAD).0.prepare();
        let id = self.occupy(Entry::Waiting { position, keep, waker: None, detached: false });
        self.at_slot[index] = id;
        self.tail = position + 1;
        self.uncollected += 1;
        // The items of a range are counted by its maker.
        self.tally.submitted += u64::from(descriptor.marks & MARK_RANGE == 0);
        lane.publish(position, descriptor);
        Pushed::At(position, EntryId(id))
    }

    /// The position of the next task.
    pub(crate) fn next(&self) -> u64 {
        self.tail
    }

    /// Takes the outcome of a finished task; none while it is not finished.
    pub(crate) fn take(&mut self, lane: Lane<'_>, position: u64, id: EntryId) -> Option<Outcome> {
        if let Entry::Waiting { .. } = self.entry(id)
            && !self.collect_at(lane, position)
        {
            return None;
        }
        match self.vacate(id) {
            Entry::Done(outcome) => Some(outcome),
            Entry::Vacant { .. } | Entry::Waiting { .. } => Some(Outcome::Broken(Place::Slot)),
        }
    }

    /// True if the outcome is in the book or in the slot.
    pub(crate) fn is_done(&self, lane: Lane<'_>, position: u64, id: EntryId) -> bool {
        let (slot, lap) = lane.slot(position);
        let word = slot.word();
        matches!(self.entry(id), Entry::Done(_)) || word.lap() != lap || word.state() == State::Done
    }

    /// Remembers whom to wake when the task ends.
    pub(crate) fn set_waker(&mut self, id: EntryId, new: &Waker) {
        if let Some(Entry::Waiting { waker, .. }) = self.entries.get_mut(id.0 as usize) {
            match waker {
                Some(old) if old.will_wake(new) => {}
                place => *place = Some(new.clone()),
            }
        }
    }

    /// Takes the waker of the task at `position`, if it has one.
    pub(crate) fn take_waker(&mut self, position: u64) -> Option<Waker> {
        let id = *self.at_slot.get(self.index(position))?;
        match self.entries.get_mut(id as usize)? {
            Entry::Waiting { position: found, waker, .. } if *found == position => waker.take(),
            _ => None,
        }
    }

    /// Takes every waker: the notice ring ran over, so anybody may have been meant.
    pub(crate) fn take_all_wakers(&mut self) -> Vec<Waker> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match entry {
                Entry::Waiting { waker, .. } => waker.take(),
                _ => None,
            })
            .collect()
    }

    /// The handle is gone: nobody will take the outcome. A task that is not done yet is marked, so that its
    /// result is freed as soon as it ends, and not only when its slot is needed again.
    pub(crate) fn detach(&mut self, lane: Lane<'_>, position: u64, id: EntryId) {
        let Some(Entry::Waiting { detached, waker, keep, .. }) = self.entries.get_mut(id.0 as usize) else {
            return drop(self.vacate(id));
        };
        *detached = true;
        // Dropped with the lock released: a waker may run anything when it goes.
        self.wakes.extend(waker.take());
        // What it keeps is freed by us, so we must hear of the end.
        let flags = Word::UNWANTED | if keep.is_some() { Word::NOTICE } else { 0 };
        let (slot, lap) = lane.slot(position);
        if slot.set_flag(lap, flags).is_err() {
            self.collect_at(lane, position);
        }
    }

    /// A worker says that the task at `position` has ended: collects it if nobody else will.
    pub(crate) fn collect_detached(&mut self, lane: Lane<'_>, position: u64) {
        let id = self.at_slot.get(self.index(position)).copied().unwrap_or(NONE);
        if let Some(Entry::Waiting { position: found, detached: true, .. }) = self.entries.get(id as usize)
            && *found == position
        {
            self.collect_at(lane, position);
        }
    }

    /// Ends a task that nobody has started, in the producer's name; false if somebody has.
    ///
    /// Returns the flags of whoever waits.
    pub(crate) fn end_unstarted(
        &mut self,
        lane: Lane<'_>,
        position: u64,
        status: Status,
        payload: [u64; 4],
    ) -> Option<u8> {
        let (slot, lap) = lane.slot(position);
        let Claim::Claimed(descriptor) = slot.claim(lap, self.me) else { return None };
        self.end(lane, position, status, descriptor.attempt, payload)
    }

    /// Ends a task that a dead worker was running; false if it was not running it.
    ///
    /// Returns the flags of whoever waits.
    pub(crate) fn end_lost(
        &mut self,
        lane: Lane<'_>,
        position: u64,
        dead: OwnerId,
        status: Status,
        payload: [u64; 4],
    ) -> Option<u8> {
        let (slot, lap) = lane.slot(position);
        if !slot.seize(lap, dead, self.me) {
            return None;
        }
        let attempt = slot.completion().attempt;
        self.seize_blocks(position, dead);
        self.end(lane, position, status, attempt, payload)
    }

    /// Ends a task that was taken from `dead` while it lived.
    ///
    /// Returns the flags of whoever waits.
    pub(crate) fn end_taken(
        &mut self,
        lane: Lane<'_>,
        position: u64,
        dead: OwnerId,
        status: Status,
        payload: [u64; 4],
    ) -> Option<u8> {
        let attempt = lane.slot(position).0.completion().attempt;
        self.seize_blocks(position, dead);
        self.end(lane, position, status, attempt, payload)
    }

    /// True if a task stands at `position` whose outcome was not collected.
    pub(crate) fn is_open(&self, position: u64) -> bool {
        self.stands_at(position)
    }

    /// Takes in a task that has ended without ever standing in a slot.
    pub(crate) fn enter_ended(&mut self, completion: Completion, keep: Option<Box<Keep>>) -> EntryId {
        self.tally.submitted += u64::from(keep.as_ref().is_none_or(|keep| keep.output.is_none()));
        let outcome = self.outcome_of(completion, self.me, keep);
        self.tally.count(&outcome);
        EntryId(self.occupy(Entry::Done(outcome)))
    }

    /// The fingerprint of the task at `position`, if it was noted.
    pub(crate) fn fingerprint(&mut self, position: u64) -> Option<Fingerprint> {
        self.keep_of(position)?.fingerprint
    }

    /// Who runs the task at `position`, as its slot says; none if nobody does or it is not open.
    pub(crate) fn runner(&self, lane: Lane<'_>, position: u64) -> Option<OwnerId> {
        let (slot, lap) = lane.slot(position);
        let word = slot.word();
        let runs = self.stands_at(position) && word.lap() == lap && word.state() == State::Running;
        runs.then(|| word.owner())
    }

    /// Ends a task that `owner` is said to run and does not.
    ///
    /// Returns the flags of whoever waits.
    pub(crate) fn end_damaged(&mut self, lane: Lane<'_>, position: u64, owner: OwnerId) -> Option<u8> {
        let (slot, lap) = lane.slot(position);
        if !slot.seize(lap, owner, self.me) {
            return None;
        }
        self.seize_blocks(position, owner);
        let completion = Completion { status: Status::UNKNOWN, ..Completion::default() };
        lane.finish(position, self.me, &completion).ok()
    }

    /// Collects everything that has ended: before the memory of a dead worker is reclaimed, its results move here.
    /// Returns the positions it collected: the worker may have died before it woke who sleeps there.
    pub(crate) fn collect_ended(&mut self, lane: Lane<'_>) -> Vec<u64> {
        let open = self.open_positions();
        open.filter(|position| self.stands_at(*position) && self.collect_at(lane, *position)).collect()
    }

    /// Positions of all tasks that may still be unfinished.
    pub(crate) fn open_positions(&self) -> std::ops::Range<u64> {
        self.oldest..self.tail
    }

    fn end(
        &mut self,
        lane: Lane<'_>,
        position: u64,
        status: Status,
        attempt: u8,
        payload: [u64; 4],
    ) -> Option<u8> {
        let completion = Completion { status: status as u8, attempt, payload, ..Completion::default() };
        // None only over a word that somebody scribbled on.
        let flags = lane.finish(position, self.me, &completion).ok();
        if self.keep_of(position).is_some_and(|keep| keep.input.ends.is_some()) {
            // Others wait for what its input carries to go, whether or not anybody takes the outcome.
            self.collect_at(lane, position);
        }
        flags
    }

    /// Moves what a dead worker was using of a range to us, before `recover` frees it.
    fn seize_blocks(&mut self, position: u64, dead: OwnerId) {
        let blocks = Arc::clone(&self.blocks);
        let me = self.me;
        let Some(keep) = self.keep_of(position) else { return };
        let Some(output) = keep.output else { return };
        for handle in [Some(output), keep.input.message].into_iter().flatten() {
            if let Ok(block) = OwnedBlock::seize(&blocks, handle, dead, me) {
                // Detached in our name again, as before the worker took it; `take_back` finds it so.
                let _ = block.into_handle();
            }
        }
    }

    fn keep_of(&mut self, position: u64) -> Option<&mut Keep> {
        let id = *self.at_slot.get(self.index(position))?;
        match self.entries.get_mut(id as usize)? {
            Entry::Waiting { position: found, keep, .. } if *found == position => keep.as_deref_mut(),
            _ => None,
        }
    }

    /// Collects finished tasks from the oldest on, so that loads are known and slots come free.
    fn sweep(&mut self, lane: Lane<'_>) {
        let end = self.tail.min(self.oldest + 2 * SWEEP);
        while self.oldest < end {
            let index = self.index(self.oldest);
            let taken = self.at_slot[index] == NONE || !self.stands_at(self.oldest);
            if !taken && !self.collect_at(lane, self.oldest) {
                break;
            }
            self.oldest += 1;
        }
    }

    fn stands_at(&self, position: u64) -> bool {
        let id = self.at_slot[self.index(position)];
        matches!(self.entries.get(id as usize), Some(Entry::Waiting { position: found, .. }) if *found == position)
    }

    /// Moves the outcome at `position` from its slot into its entry; false while there is none.
    #[inline]
    fn collect_at(&mut self, lane: Lane<'_>, position: u64) -> bool {
        let (slot, lap) = lane.slot(position);
        let word = slot.word();
        if word.lap() == lap && matches!(word.state(), State::Ready | State::Running) {
            return false;
        }
        let index = self.index(position);
        let id = self.at_slot[index];
        let Some(Entry::Waiting { position: found, keep, waker, detached }) =
            self.entries.get_mut(id as usize)
        else {
            return true;
        };
        if *found != position {
            return true;
        }
        let (keep, waker, detached) = (keep.take(), waker.take(), *detached);
        let sound = word.lap() == lap && word.state() == State::Done;
        if detached && sound && keep.as_ref().is_none_or(|keep| keep.output.is_none()) {
            self.discard(slot.completion(), word, keep);
            self.at_slot[index] = NONE;
            self.uncollected -= 1;
            self.vacate(EntryId(id));
            return true;
        }
        let outcome = if sound {
            self.outcome_of(slot.completion(), word.owner(), keep)
        } else {
            Outcome::Broken(Place::Slot)
        };
        self.at_slot[index] = NONE;
        self.uncollected -= 1;
        self.tally.count(&outcome);
        if detached {
            self.vacate(EntryId(id));
        } else {
            self.entries[id as usize] = Entry::Done(outcome);
        }
        self.wakes.extend(waker);
        true
    }

    /// Counts an outcome that nobody wants and frees what came with it, if the worker has not.
    fn discard(&mut self, completion: Completion, word: Word, keep: Option<Box<Keep>>) {
        if completion.marks & MARK_IN_BLOCK != 0 {
            let handle = message::handle_of(completion.payload);
            let _ = self.blocks.free(handle, word.owner());
        } else {
            self.free_input(keep);
        }
        match Status::from_byte(completion.status) {
            Some(status) => self.tally.count_status(status),
            None => self.tally.failed += 1,
        }
    }

    fn outcome_of(&mut self, completion: Completion, runner: OwnerId, keep: Option<Box<Keep>>) -> Outcome {
        let smoothed = self.task_ticks;
        self.task_ticks = smoothed - smoothed / 8 + completion.ticks / 8;
        let Some(status) = Status::from_byte(completion.status) else {
            let output = keep.as_ref().and_then(|keep| keep.output);
            let _ = output.map(|handle| self.blocks.free(handle, self.me));
            self.free_input(keep);
            return Outcome::Broken(Place::Slot);
        };
        if let Some(keep) = &keep
            && keep.output.is_some()
        {
            return self.range_outcome(status, &completion, runner, keep);
        }
        let Completion { payload, result_bytes: bytes, marks, attempt, .. } = completion;
        match status {
            Status::Finished | Status::Panicked if marks & MARK_IN_BLOCK == 0 => {
                Outcome::Inline { status, bytes, payload }
            }
            Status::Finished | Status::Panicked => {
                match message::open(&self.blocks, runner, self.me, payload, bytes, marks) {
                    Ok(arrival) => Outcome::Message { status, arrival: Box::new(arrival) },
                    Err(_) => Outcome::Broken(Place::Result),
                }
            }
            _ => {
                self.free_input(keep);
                Outcome::Bare { status, attempt, payload }
            }
        }
    }

    /// Frees an input that no worker has taken over. If one has, this finds it gone.
    fn free_input(&self, keep: Option<Box<Keep>>) {
        if let Some(handle) = keep.and_then(|keep| keep.input.message) {
            let _ = self.blocks.free(handle, self.me);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes halves out of the word")]
    fn range_outcome(
        &self,
        status: Status,
        completion: &Completion,
        runner: OwnerId,
        keep: &Keep,
    ) -> Outcome {
        let payload = completion.payload;
        let (first, finished) = ((payload[0] >> 32) as u32, payload[0] as u32);
        let interrupted = if status == Status::Lost { first.saturating_sub(finished).min(1) } else { 0 };
        let has_last = status == Status::RangePartial;
        let last = has_last.then(|| {
            let item = run::last_item(completion.marks);
            let carries = matches!(item, LastItem::Finished | LastItem::Panicked);
            let words = [payload[2], payload[3], 0, 0];
            let opened = carries.then(|| {
                message::open(&self.blocks, runner, self.me, words, completion.result_bytes, completion.marks)
            });
            (item, opened.and_then(Result::ok))
        });
        Outcome::Range(Box::new(RangeOutcome {
            status,
            payload,
            ticks: completion.ticks,
            done: finished,
            interrupted,
            bytes: payload[1],
            input: keep.input.message.and_then(|handle| self.take_back(handle)),
            output: keep.output.and_then(|handle| self.take_back(handle)),
            last,
        }))
    }

    /// A block that went with a range: the runner has given it back, or never took it.
    fn take_back(&self, handle: BlockHandle) -> Option<OwnedBlock> {
        OwnedBlock::from_handle(&self.blocks, handle, self.me).ok()
    }

    fn index(&self, position: u64) -> usize {
        // The number of slots is a power of two that fits a usize.
        usize::try_from(position & (self.at_slot.len() as u64 - 1)).unwrap_or(0)
    }

    fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    fn occupy(&mut self, entry: Entry) -> u32 {
        if self.vacant == NONE {
            self.entries.push(entry);
            return u32::try_from(self.entries.len() - 1).unwrap_or(NONE);
        }
        let id = self.vacant;
        let place = &mut self.entries[id as usize];
        if let Entry::Vacant { next } = place {
            self.vacant = *next;
        }
        *place = entry;
        id
    }

    fn vacate(&mut self, id: EntryId) -> Entry {
        let entry = std::mem::replace(&mut self.entries[id.0 as usize], Entry::Vacant { next: self.vacant });
        self.vacant = id.0;
        entry
    }
}
