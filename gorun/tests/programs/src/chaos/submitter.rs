//! Submitter: a thread that hands over what the plan draws and takes every outcome.

use super::numbers::Numbers;
use super::plan::{self, AMPLE, Doom, Kind};
use super::tally::{Submitted, Tally};
use super::work::{self, InnerEnd};
use gorun::{Runtime, Task, TaskHandle};
use gorun_shm::os::ticks::system_ns;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::time::Duration;

/// Tasks that a submitter has under way at once.
const WINDOW: usize = 96;
/// In a task's id: which submitter it is from.
const SUBMITTER_SHIFT: u32 = 48;

/// When a submitter last got on: whoever looks from outside sees a hang by it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Says that there is progress.
    pub fn beat(&self) {
        self.0.store(system_ns(), Ordering::Relaxed); // Relaxed: a clock reading that nothing else hangs on.
    }

    /// When [`Pulse::beat`] was called last.
    #[must_use]
    pub fn last_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed) // Relaxed: as above.
    }
}

enum Handle {
    Number(TaskHandle<u64>),
    Bytes(TaskHandle<Vec<u8>>),
    Ends(TaskHandle<Vec<InnerEnd>>),
}

/// See the module's head.
#[derive(Debug)]
pub struct Submitter<'a> {
    runtime: &'a Runtime,
    pulse: &'a Pulse,
    numbers: Numbers,
    next_id: u64,
    pending: VecDeque<(Submitted, Handle)>,
    tally: Tally,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl<'a> Submitter<'a> {
    /// The submitter `index` of a run.
    #[must_use]
    pub fn new(runtime: &'a Runtime, pulse: &'a Pulse, seed: u64, index: u64) -> Self {
        let (numbers, next_id) = (Numbers::new(seed, index + 1), index << SUBMITTER_SHIFT);
        Self { runtime, pulse, numbers, next_id, pending: VecDeque::new(), tally: Tally::default() }
    }

    /// Submits until `until_ns`, then waits for what is under way.
    ///
    /// # Blocking
    /// Until every task has ended.
    #[must_use]
    pub fn run(mut self, until_ns: u64) -> Tally {
        while system_ns() < until_ns {
            self.submit();
            self.join_down_to(WINDOW);
        }
        self.join_down_to(0);
        self.tally
    }

    fn submit(&mut self) {
        let kind = plan::draw(&mut self.numbers);
        if kind == Kind::Item {
            return self.run_map();
        }
        let mut task = self.number_of(kind);
        let runtime = self.runtime;
        let handle = match kind {
            Kind::Bulky => Handle::Bytes(runtime.task((task.id, work::bulk_of(task.id)), work::bulky)),
            Kind::Nested => Handle::Ends(runtime.task(task.id, work::nested)),
            Kind::InTime => {
                let quick = Task::with(task.id, work::quick);
                let by_run = self.numbers.chance(50);
                let quick = if by_run { quick.timeout(AMPLE) } else { quick.deadline(AMPLE) };
                Handle::Number(quick.go_on(runtime))
            }
            Kind::Doomed(doom) => Handle::Number(self.start_doomed(&mut task, doom)),
            Kind::Quick | Kind::Item | Kind::Inner => Handle::Number(runtime.task(task.id, work::quick)),
        };
        self.pending.push_back((task, handle));
    }

    fn start_doomed(&mut self, task: &mut Submitted, doom: Doom) -> TaskHandle<u64> {
        let doomed = Task::with((task.id, doom), work::doomed);
        if !doom.needs_a_deadline() {
            return doomed.go_on(self.runtime);
        }
        let limit = Duration::from_micros(self.numbers.between(500, 40_000));
        task.limit = Some(limit);
        let by_run = self.numbers.chance(50);
        let doomed = if by_run { doomed.timeout(limit) } else { doomed.deadline(limit) };
        doomed.go_on(self.runtime)
    }

    fn run_map(&mut self) {
        let first = self.number_of(Kind::Item);
        let count = self.numbers.between(50, 500);
        // The first item was counted as a task of its own.
        (self.next_id, self.tally.submitted) = (self.next_id + count - 1, self.tally.submitted + count - 1);
        let outcomes = self.runtime.map(first.id..first.id + count, work::quick).iter();
        for (id, outcome) in (first.id..).zip(outcomes) {
            self.tally.number(Submitted { id, ..first }, outcome);
            self.pulse.beat();
        }
    }

    fn number_of(&mut self, kind: Kind) -> Submitted {
        let id = self.next_id;
        self.next_id += 1;
        self.tally.submitted += 1;
        Submitted { id, kind, limit: None, since_ns: system_ns() }
    }

    fn join_down_to(&mut self, count: usize) {
        while self.pending.len() > count
            && let Some((task, handle)) = self.pending.pop_front()
        {
            match handle {
                Handle::Number(handle) => self.tally.number(task, handle.join()),
                Handle::Bytes(handle) => self.tally.bytes(task, handle.join()),
                Handle::Ends(handle) => self.tally.nested(task, handle.join()),
            }
            self.pulse.beat();
        }
    }
}
