//! State: which tasks wait, which cells there are, and what is to be done next. Under the keeper's lock.
//!
//! No system call here but signals, no waiting, and nothing of the user's is called: what has to happen with the lock
//! released is collected in [`Effects`].

use super::cell::{Cell, Standing};
use super::inmate::{Inmate, Phase, Verdict};
use super::memory::{Memory, Taken};
use crate::book::Outcome;
use crate::error::{Rejection, TaskError};
use crate::tally::Tally;
use gorun_shm::os::ticks;
use gorun_shm::slots::Descriptor;
use gorun_worker::jail::{Jail, JailRefusal};
use gorun_worker::wire::status::Status;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// A profile that tasks have asked for, and its cells: its place in [`State::stocks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StockId(pub(super) usize);

impl StockId {
    /// Of no stock.
    pub(crate) const NONE: Self = Self(usize::MAX);
}

/// A task as it waits: its input in the host's own memory.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) descriptor: Descriptor,
    /// None if it fits the descriptor.
    pub(super) input: Option<Vec<u8>>,
}

/// Everything of one profile.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) jail: Arc<Jail>,
    /// Why no worker of this profile can be had, and until when that is taken for granted.
    refused: Option<(JailRefusal, u64)>,
    /// Workers in a row that ended before they served.
    failed_starts: u32,
}

impl Stock {
    /// Why no worker of this profile can be had now.
    pub(super) fn refusal(&self) -> Option<&JailRefusal> {
        let (refusal, until_ns) = self.refused.as_ref()?;
        (ticks::system_ns() < *until_ns).then_some(refusal)
    }
}

/// How long a profile is refused whose workers failed to start: a path may be made, a limit be raised.
const REFUSED_NS: u64 = 1_000_000_000;
/// Failed starts in a row after which a profile is given up.
const FAILED_STARTS_MAX: u32 = 3;

/// Counters of a runtime's jailed tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JailStats {
    /// Jailed workers that live.
    pub workers: usize,
    /// Of those, how many have a task.
    pub busy: usize,
    /// Tasks in line.
    pub waiting: usize,
    /// Jailed workers started so far.
    pub started: u64,
    /// Tasks accepted.
    pub submitted: u64,
    /// Tasks that gave a value.
    pub finished: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks lost with their worker.
    pub lost: u64,
    /// Tasks whose time was over.
    pub timed_out: u64,
    /// Tasks that were cancelled or killed.
    pub cancelled: u64,
    /// Tasks that failed in another way.
    pub failed: u64,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) stocks: Vec<Stock>,
    pub(super) inmates: HashMap<u64, Inmate>,
    pub(super) waiting: VecDeque<u64>,
    pub(super) cells: Vec<Option<Cell>>,
    /// Lives that each number of a cell has had.
    generations: Vec<u32>,
    pub(super) tally: Tally,
    pub(super) started: u64,
    /// When to look at which task, and how long it was allowed.
    pub(super) dues: BTreeMap<(u64, u64), u64>,
    next_id: u64,
    /// The stock that was asked for last: a cell of it is started ahead.
    recent: Option<StockId>,
    pub(super) is_stopped: bool,
    /// Libraries that the jailer has loaded; none until it is ready.
    pub(super) libraries: Option<Vec<String>>,
    /// True while somebody waits for those.
    pub(super) is_asked_for_libraries: bool,
}

/// What is to be done with the lock released.
#[derive(Debug, Default)]
#[must_use = "effects are to be carried out"]
pub(super) struct Effects {
    pub(super) wakers: Vec<Waker>,
    pub(super) moves: Vec<Move>,
}

/// A task that is to be put into a cell.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) task: u64,
    pub(super) turn: u32,
    pub(super) cell: u16,
    pub(super) memory: Arc<Memory>,
    pub(super) position: u64,
    pub(super) order: Arc<Order>,
}

impl State {
    /// The stock of this profile, made at its first use.
    pub(super) fn stock(
        &mut self,
        jail: &Jail,
        check: impl FnOnce(&Jail) -> Result<(), JailRefusal>,
    ) -> StockId {
        let known = self.stocks.iter().position(|stock| *stock.jail == *jail);
        StockId(known.unwrap_or_else(|| {
            let refused = check(jail).err().map(|refusal| (refusal, u64::MAX));
            self.stocks.push(Stock { jail: Arc::new(jail.clone()), refused, failed_starts: 0 });
            self.stocks.len() - 1
        }))
    }

    /// Takes a task in, at the end of the line.
    pub(super) fn admit(&mut self, inmate: Inmate) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.tally.submitted += 1;
        self.inmates.insert(id, inmate);
        self.watch_deadline(id);
        self.waiting.push_back(id);
        id
    }

    /// The task was given to a worker that ended before it had begun: it is the next in line again.
    pub(super) fn take_back(&mut self, id: u64) {
        let Some(inmate) = self.inmates.get_mut(&id).filter(|inmate| !inmate.has_ended()) else { return };
        for at_ns in inmate.dues.drain(..) {
            self.dues.remove(&(at_ns, id));
        }
        // A waker is kept for the end.
        let _ = inmate.enter(Phase::Waiting);
        self.watch_deadline(id);
        self.waiting.push_front(id);
    }

    fn watch_deadline(&mut self, id: u64) {
        let Some(inmate) = self.inmates.get_mut(&id) else { return };
        if let Some((at_ns, allowed_ns)) = inmate.deadline {
            inmate.dues.push(at_ns);
            self.dues.insert((at_ns, id), allowed_ns);
        }
    }

    /// Gives waiting tasks to idle cells, in order, while fewer than `limit` are busy. Gives the stock of the task that
    /// is next and finds no cell.
    pub(super) fn serve(&mut self, limit: usize, effects: &mut Effects) -> Option<StockId> {
        while self.busy_count() < limit {
            let stock = self.inmates.get(self.waiting.front()?)?.stock;
            self.recent = Some(stock);
            let Some(cell) = self.idle_of(stock) else { return Some(stock) };
            if let Some(task) = self.waiting.pop_front() {
                self.hand_over(task, cell, effects);
            }
        }
        None
    }

    fn hand_over(&mut self, task: u64, number: u16, effects: &mut Effects) {
        let Some(inmate) = self.inmates.get_mut(&task) else { return };
        let Some(cell) = self.cells.get_mut(usize::from(number)).and_then(Option::as_mut) else { return };
        if !matches!(inmate.phase, Phase::Waiting) {
            return;
        }
        inmate.phase = Phase::Moving(number);
        inmate.turn += 1;
        let (order, turn) = (Arc::clone(&inmate.order), inmate.turn);
        cell.standing = Standing::Busy(task);
        cell.is_armed = false;
        let (position, memory) = (cell.next, Arc::clone(&cell.memory));
        cell.next += 1;
        effects.moves.push(Move { task, turn, cell: number, memory, position, order });
    }

    /// The task stands in its cell now, or could not be put there. Nothing if it was given to another meanwhile.
    pub(super) fn moved(
        &mut self,
        (task, turn, cell): (u64, u32, u16),
        outcome: Result<(), TaskError>,
        effects: &mut Effects,
    ) {
        if self.inmates.get(&task).is_none_or(|inmate| inmate.turn != turn) {
            return;
        }
        match outcome {
            Ok(()) => self.begin(task, cell, effects),
            Err(error) => {
                // Its input did not fit an empty cell's memory: nothing hostile has run for it.
                self.end(task, Outcome::Failed(Box::new(error)), effects);
                self.kill(cell);
            }
        }
    }

    fn begin(&mut self, task: u64, cell: u16, effects: &mut Effects) {
        let Some(inmate) = self.inmates.get_mut(&task) else { return };
        if !matches!(inmate.phase, Phase::Moving(_)) {
            return;
        }
        if let Some(allowed_ns) = inmate.timeout_ns {
            let at_ns = ticks::system_ns().saturating_add(allowed_ns);
            inmate.dues.push(at_ns);
            self.dues.insert((at_ns, task), allowed_ns);
        }
        effects.wakers.extend(inmate.enter(Phase::Running(cell)));
    }

    /// Begins to read the outcome of the cell's task, if it has ended.
    pub(super) fn begin_to_read(&mut self, number: u16) -> Option<(u64, Arc<Memory>, u64, u8)> {
        let cell = self.cells.get_mut(usize::from(number))?.as_mut()?;
        let Standing::Busy(task) = cell.standing else { return None };
        let inmate = self.inmates.get(&task)?;
        let runs = matches!(inmate.phase, Phase::Running(_));
        if !runs || !cell.memory.has_ended(cell.current()) {
            return None;
        }
        cell.standing = Standing::Read(task);
        Some((task, Arc::clone(&cell.memory), cell.current(), inmate.attempt))
    }

    /// The outcome was read.
    pub(super) fn end_reading(&mut self, number: u16, task: u64, taken: Taken, effects: &mut Effects) {
        let Some(cell) = self.cells.get_mut(usize::from(number)).and_then(Option::as_mut) else {
            return self.end(task, taken.outcome, effects);
        };
        let is_fresh = self.stocks[cell.stock.0].jail.is_fresh();
        if cell.standing == Standing::Read(task) {
            cell.standing = Standing::Idle;
            self.stocks[cell.stock.0].failed_starts = 0;
            if is_fresh || cell.is_doomed || !taken.is_clean {
                cell.kill();
            }
            self.end(task, taken.outcome, effects);
        } else if self.inmates.get(&task).is_some_and(|inmate| inmate.verdict.is_none()) {
            // It died, or was killed for another reason, after its task had ended.
            self.end(task, taken.outcome, effects);
        }
    }

    /// The task has ended, once and for all.
    pub(super) fn end(&mut self, task: u64, outcome: Outcome, effects: &mut Effects) {
        let Some(inmate) = self.inmates.get_mut(&task) else { return };
        if inmate.has_ended() {
            return;
        }
        self.tally.count(&outcome);
        for at_ns in inmate.dues.drain(..) {
            self.dues.remove(&(at_ns, task));
        }
        effects.wakers.extend(inmate.enter(Phase::Ended(outcome)));
        if inmate.is_detached {
            self.inmates.remove(&task);
        }
    }

    /// Ends the task if it stands in line; false if it does not.
    pub(super) fn end_waiting(&mut self, task: u64, verdict: Verdict, effects: &mut Effects) -> bool {
        if !self.inmates.get(&task).is_some_and(|inmate| matches!(inmate.phase, Phase::Waiting)) {
            return false;
        }
        self.waiting.retain(|waiting| *waiting != task);
        let attempt = self.inmates.get(&task).map_or(1, |inmate| inmate.attempt);
        self.end(task, bare(verdict, attempt), effects);
        true
    }

    /// Takes a task from its living worker, which is killed; false if it has ended, or was taken before. The caller has
    /// made sure that no outcome stands in the cell.
    pub(super) fn condemn(&mut self, task: u64, verdict: Verdict) -> bool {
        let Some(inmate) = self.inmates.get_mut(&task) else { return false };
        let (Phase::Moving(cell) | Phase::Running(cell)) = inmate.phase else { return false };
        let is_read = self.cells.get(usize::from(cell)).and_then(Option::as_ref);
        if inmate.verdict.is_some() || is_read.is_some_and(|cell| cell.standing == Standing::Read(task)) {
            return false;
        }
        inmate.verdict = Some(verdict);
        self.kill(cell);
        true
    }

    pub(super) fn kill(&mut self, cell: u16) {
        if let Some(Some(cell)) = self.cells.get_mut(usize::from(cell)) {
            cell.kill();
        }
    }

    /// The cell in which the task runs.
    pub(super) fn cell_of(&self, task: u64) -> Option<(u16, &Cell)> {
        let Phase::Running(number) = self.inmates.get(&task)?.phase else { return None };
        Some((number, self.cells.get(usize::from(number))?.as_ref()?))
    }

    /// A number for another cell of this stock, whose start is to be asked for; none if there are enough. An idle cell
    /// of another stock makes room for one that is wanted now.
    pub(super) fn place_for(&mut self, stock: StockId, most: usize) -> Option<(u16, u32)> {
        if self.living_count() >= most {
            let other = self
                .numbered()
                .find(|(_, cell)| matches!(cell.standing, Standing::Idle) && cell.stock != stock);
            let other = other.map(|(number, _)| number)?;
            self.kill(other);
        }
        // The dying are many only where deaths come faster than the kernel tears down.
        let places = most * 2 + 2;
        let number = match self.cells.iter().position(Option::is_none) {
            Some(vacant) => vacant,
            None if self.cells.len() < places => {
                self.cells.push(None);
                self.generations.push(0);
                self.cells.len() - 1
            }
            None => return None,
        };
        self.generations[number] += 1;
        Some((u16::try_from(number).ok()?, self.generations[number]))
    }

    /// The stock of which a cell should be started ahead of need, if one is.
    pub(super) fn wanted_ahead(&self, limit: usize) -> Option<(StockId, usize)> {
        let stock = self.recent?;
        let Stock { jail, failed_starts, .. } = self.stocks.get(stock.0)?;
        // One that could not start is tried again when a task asks for it.
        if *failed_starts > 0 {
            return None;
        }
        // With a process for each task as many as may run at once, otherwise one for a death.
        let ahead = if jail.is_fresh() { limit } else { 1 };
        let most = limit + ahead;
        let idle = self.numbered().filter(|(_, cell)| cell.standing == Standing::Idle && cell.stock == stock);
        (idle.count() < ahead && self.living_of(stock) < most).then_some((stock, most))
    }

    /// A worker of the stock ended without having served. Gives it up after several, with whoever waits for it.
    pub(super) fn failed_to_start(&mut self, stock: StockId, refusal: JailRefusal, effects: &mut Effects) {
        let place = &mut self.stocks[stock.0];
        place.failed_starts += 1;
        if place.failed_starts >= FAILED_STARTS_MAX {
            self.give_up(stock, &refusal, effects);
        }
    }

    /// No worker of this profile can be had: refuses all that wait for one, and all to come for a while.
    pub(super) fn give_up(&mut self, stock: StockId, refusal: &JailRefusal, effects: &mut Effects) {
        let until_ns = ticks::system_ns().saturating_add(REFUSED_NS);
        let place = &mut self.stocks[stock.0];
        (place.refused, place.failed_starts) = (Some((refusal.clone(), until_ns)), 1);
        let is_its = |task: &u64| self.inmates.get(task).is_some_and(|inmate| inmate.stock == stock);
        let (refused, kept): (VecDeque<u64>, VecDeque<u64>) =
            self.waiting.iter().partition(|task| is_its(task));
        self.waiting = kept;
        for task in refused {
            self.end(task, refused_with(refusal.clone()), effects);
        }
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (u16, &Cell)> {
        (0..=u16::MAX).zip(&self.cells).filter_map(|(number, cell)| Some((number, cell.as_ref()?)))
    }

    /// When the next look at a task is due.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.dues.keys().next().map(|(at_ns, _)| *at_ns)
    }

    fn idle_of(&self, stock: StockId) -> Option<u16> {
        let idle = |cell: &Cell| cell.standing == Standing::Idle && cell.stock == stock;
        self.numbered().find(|(_, cell)| idle(cell)).map(|(number, _)| number)
    }

    fn busy_count(&self) -> usize {
        self.numbered().filter(|(_, cell)| cell.is_busy()).count()
    }

    fn living_count(&self) -> usize {
        self.numbered().filter(|(_, cell)| cell.lives()).count()
    }

    fn living_of(&self, stock: StockId) -> usize {
        self.numbered().filter(|(_, cell)| cell.lives() && cell.stock == stock).count()
    }

    pub(super) fn stats(&self) -> JailStats {
        JailStats {
            workers: self.living_count(),
            busy: self.busy_count(),
            waiting: self.waiting.len(),
            started: self.started,
            submitted: self.tally.submitted,
            finished: self.tally.finished,
            panicked: self.tally.panicked,
            lost: self.tally.lost,
            timed_out: self.tally.timed_out,
            cancelled: self.tally.cancelled,
            failed: self.tally.failed,
        }
    }
}

/// The outcome that a verdict is.
pub(super) fn bare(verdict: Verdict, attempt: u8) -> Outcome {
    Outcome::Bare { status: verdict.status, attempt, payload: [0, 0, verdict.allowed_ns, 0] }
}

/// The outcome of a task whose jail cannot be had.
pub(super) fn refused_with(refusal: JailRefusal) -> Outcome {
    let reason = Rejection::Jail { reason: refusal };
    Outcome::Failed(Box::new(TaskError::Rejected { reason }))
}

/// The end of a task that nobody had started when the runtime was shut down.
pub(super) const CLOSED: Verdict = Verdict { status: Status::Closed, allowed_ns: 0 };
