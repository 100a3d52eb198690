//! The world: kernel, zygotes, workers and threads as far as the roster can tell them from real ones, and the part of
//! the pool that carries out what the roster says.

mod lives;

use super::super::roster::{Action, Cause, Roster, Terms};
use super::Chance;
use gorun_worker::zygote::protocol::ProcessEnd;
use std::collections::{HashSet, VecDeque};

const KILLED: ProcessEnd = ProcessEnd::Signalled { signal: 9, dumped: false };

/// A worker process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) record: u16,
    birth: u32,
    mother: u32,
    pub(super) is_alive: bool,
    is_stopped: bool,
    /// It lives in its record.
    pub(super) has_moved_in: bool,
    has_begun: bool,
    in_task: bool,
    tasks: u64,
    departure: Option<Cause>,
    /// The host has a descriptor of it.
    has_pidfd: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Ready,
    Forked {
        record: u16,
        pid: i32,
    },
    Refused {
        record: u16,
    },
    Ended {
        record: u16,
        pid: i32,
    },
    /// The socket's end.
    Gone,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) crashes: u64,
    pub(super) excused: u64,
    pub(super) forks: u64,
    pub(super) burials: u64,
    pub(super) degradations: u64,
    pub(super) recalls: u64,
    pub(super) shut: u64,
    pub(super) zygotes: u64,
    pub(super) exhausted: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) roster: Roster,
    pub(super) terms: Terms,
    pub(super) chance: Chance,
    pub(super) now_ns: u64,
    /// Longest step of a calm world.
    pub(super) calm_ns: u64,
    pub(super) processes: Vec<Process>,
    /// For each record, which of its lives it is in, and who moved in.
    births: Vec<u32>,
    tenants: Vec<Option<i32>>,
    /// Records in which threads serve, and whether they were recalled.
    pub(super) threads: Vec<(u16, bool)>,
    pub(super) buried: HashSet<i32>,
    orders: VecDeque<(u16, u32)>,
    news: VecDeque<News>,
    zygote_lives: bool,
    zygote_is_ready: bool,
    zygote: u32,
    has_link: bool,
    refuses_forks: bool,
    fails_starts: bool,
    refuses_zygotes: bool,
    pub(super) told: Told,
}

impl World {
    pub(super) fn open(terms: Terms, chance: Chance) -> Self {
        let records = usize::from(terms.records);
        let mut world = Self {
            roster: Roster::new(terms),
            terms,
            chance,
            now_ns: 1,
            calm_ns: 1_000_000_000,
            processes: Vec::new(),
            births: vec![0; records],
            tenants: vec![None; records],
            threads: Vec::new(),
            buried: HashSet::new(),
            orders: VecDeque::new(),
            news: VecDeque::new(),
            zygote_lives: false,
            zygote_is_ready: false,
            zygote: 0,
            has_link: false,
            refuses_forks: false,
            fails_starts: false,
            refuses_zygotes: false,
            told: Told::default(),
        };
        let actions = world.roster.open();
        world.carry_out(actions);
        world.start_zygote();
        world
    }

    /// Something happens, or some things, and time passes.
    pub(super) fn step(&mut self) {
        for _ in 0..=self.chance.below(3) {
            match self.chance.below(20) {
                0..=4 => self.hear(),
                5..=7 => self.zygote_works(),
                8..=12 => self.worker_lives(),
                13 => self.worker_dies(),
                14 | 15 => self.sign_is_seen(),
                16 => self.thread_lives(),
                17 => self.zygote_dies(),
                18 => self.someone_calls(),
                _ => self.weather_changes(),
            }
        }
        let step = [0, 50_000, 1_000_000, 20_000_000, 300_000_000]
            [usize::try_from(self.chance.below(5)).unwrap_or(0)];
        self.pass_time(step);
    }

    pub(super) fn fail_starts(&mut self) {
        self.fails_starts = true;
    }

    pub(super) fn refuse_forks(&mut self) {
        self.refuses_forks = true;
    }

    /// Everybody who is not inside of a task dies.
    pub(super) fn kill_everybody(&mut self) {
        let living: Vec<usize> =
            (0..self.processes.len()).filter(|at| self.processes[*at].is_alive).collect();
        living.into_iter().for_each(|place| self.dies(place, None));
    }

    pub(super) fn end_faults(&mut self) {
        (self.refuses_forks, self.fails_starts, self.refuses_zygotes) = (false, false, false);
        self.processes.iter_mut().for_each(|process| process.is_stopped = false);
    }

    /// Everything that wants to happen does, and nothing goes wrong.
    pub(super) fn step_calmly(&mut self) {
        while !self.orders.is_empty() && self.zygote_lives {
            self.zygote_works();
        }
        if self.zygote_lives && !self.zygote_is_ready {
            self.zygote_works();
        }
        for place in 0..self.processes.len() {
            self.grow_up(place);
        }
        while !self.news.is_empty() {
            self.hear();
        }
        let records = self.terms.records;
        (0..records).for_each(|record| self.see_sign(record));
        self.see_pidfds();
        while let Some(place) = self.threads.iter().position(|(_, recalled)| *recalled) {
            self.thread_leaves(place);
        }
        self.someone_calls();
        let until = self.roster.due_ns().map_or(u64::MAX, |due| due.saturating_sub(self.now_ns));
        self.pass_time(until.clamp(1, self.calm_ns));
    }

    fn pass_time(&mut self, step_ns: u64) {
        self.now_ns += step_ns;
        if self.roster.due_ns().is_some_and(|due| due <= self.now_ns) {
            let actions = self.roster.look(self.now_ns);
            self.carry_out(actions);
        }
    }

    pub(super) fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.check_legal(&action);
            match action {
                Action::Fork { record, .. } => {
                    self.told.forks += 1;
                    self.prepare(record);
                    if self.has_link {
                        self.orders.push_back((record, self.births[usize::from(record)]));
                    }
                }
                Action::Bury { pid, .. } => {
                    self.told.burials += u64::from(pid != 0);
                }
                Action::Degrade { seat } => {
                    if let Some(record) = self.roster.degraded(seat, self.now_ns) {
                        self.told.degradations += 1;
                        self.prepare(record);
                        self.threads.push((record, false));
                    }
                }
                Action::Recall { record } => {
                    self.told.recalls += 1;
                    let thread = self.threads.iter_mut().find(|(known, _)| *known == record);
                    thread.into_iter().for_each(|(_, recalled)| *recalled = true);
                }
                Action::StartZygote => self.start_zygote(),
                Action::Abandon { .. } => self.told.shut += 1,
                Action::Exhaust => self.told.exhausted += 1,
                Action::Assign { .. } | Action::Vacate { .. } | Action::Rest => {}
            }
        }
    }

    fn prepare(&mut self, record: u16) {
        self.births[usize::from(record)] += 1;
        self.tenants[usize::from(record)] = None;
    }

    fn start_zygote(&mut self) {
        if self.refuses_zygotes {
            self.has_link = false;
            let actions = self.roster.no_zygote(true, self.now_ns);
            return self.carry_out(actions);
        }
        self.told.zygotes += 1;
        self.zygote += 1;
        (self.zygote_lives, self.zygote_is_ready, self.has_link) = (true, false, true);
        let unborn = self.roster.unborn();
        self.orders = unborn.into_iter().map(|record| (record, self.births[usize::from(record)])).collect();
        self.news.clear();
    }

    fn zygote_works(&mut self) {
        if !self.zygote_lives {
            return;
        }
        let Some((record, birth)) = self.orders.pop_front() else {
            if !self.zygote_is_ready {
                self.zygote_is_ready = true;
                self.news.push_back(News::Ready);
            }
            return;
        };
        if self.refuses_forks {
            return self.news.push_back(News::Refused { record });
        }
        let pid = i32::try_from(self.processes.len()).unwrap_or(i32::MAX) + 100;
        self.processes.push(Process {
            pid,
            record,
            birth,
            mother: self.zygote,
            is_alive: true,
            is_stopped: self.chance.percent(3),
            has_moved_in: false,
            has_begun: false,
            in_task: false,
            tasks: 0,
            departure: None,
            has_pidfd: false,
        });
        self.news.push_back(News::Forked { record, pid });
    }

    fn zygote_dies(&mut self) {
        if self.zygote_lives && self.chance.percent(40) {
            self.zygote_lives = false;
            self.news.push_back(News::Gone);
        }
    }

    fn hear(&mut self) {
        match self.news.pop_front() {
            Some(News::Ready) => self.roster.zygote_ready(self.now_ns),
            Some(News::Forked { record, pid } | News::Ended { record, pid })
                if self.tenants[usize::from(record)].is_some_and(|tenant| tenant != pid) =>
            {
                self.adopt(record);
            }
            Some(News::Forked { record, pid }) => {
                let has_pidfd = self.chance.percent(90);
                self.process(pid).into_iter().for_each(|process| process.has_pidfd = has_pidfd);
                self.roster.forked(record, pid, self.now_ns);
            }
            Some(News::Refused { record }) => {
                let actions = self.roster.refused(record, self.now_ns);
                self.carry_out(actions);
            }
            Some(News::Ended { record, pid }) => self.end(record, pid, KILLED),
            Some(News::Gone) => self.zygote_ended(),
            None => {}
        }
    }

    fn zygote_ended(&mut self) {
        self.has_link = false;
        for record in self.roster.unborn() {
            // Nobody may move in by an order of that zygote any more.
            match self.tenants[usize::from(record)] {
                Some(_) => self.adopt(record),
                None => self.births[usize::from(record)] += 1,
            }
        }
        let was_ready = std::mem::take(&mut self.zygote_is_ready);
        let actions = self.roster.zygote_ended(was_ready, self.now_ns);
        self.carry_out(actions);
        self.see_pidfds();
    }

    fn adopt(&mut self, record: u16) {
        let Some(pid) = self.tenants[usize::from(record)] else { return };
        if self.roster.processes().contains(&(record, pid)) {
            return;
        }
        self.roster.adopted(record, pid, self.now_ns);
        self.process(pid).into_iter().for_each(|process| process.has_pidfd = process.is_alive);
    }

    /// A task waits while seats rest.
    fn someone_calls(&mut self) {
        let seat = u16::try_from(self.chance.below(u64::from(self.terms.seats))).unwrap_or(0);
        let actions = self.roster.rouse(seat, self.now_ns);
        self.carry_out(actions);
    }

    fn weather_changes(&mut self) {
        let bad = self.chance.percent(40);
        match self.chance.below(3) {
            0 => self.refuses_forks = bad,
            1 => self.fails_starts = bad,
            _ => self.refuses_zygotes = bad,
        }
    }

    pub(super) fn process(&mut self, pid: i32) -> Option<&mut Process> {
        self.processes.get_mut(usize::try_from(pid - 100).ok()?)
    }

    pub(super) fn tenant(&self, record: u16) -> Option<i32> {
        self.tenants[usize::from(record)]
    }
}
