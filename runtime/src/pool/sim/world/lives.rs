//! Lives in the world: workers and threads, what becomes of them, and how the host gets to know.

use super::super::super::roster::{Cause, Passing};
use super::{KILLED, News, World};
use gorun_worker::zygote::protocol::ProcessEnd;

impl World {
    /// Moves in, begins, takes a task, finishes it, leaves, or crashes: whatever is next.
    pub(super) fn worker_lives(&mut self) {
        let living: Vec<usize> =
            (0..self.processes.len()).filter(|at| self.processes[*at].is_alive).collect();
        let Some(place) = self.chance.pick(&living) else { return };
        let dice = self.chance.below(100);
        let process = &mut self.processes[place];
        match () {
            () if process.is_stopped => process.is_stopped = dice >= 20,
            () if dice < 3 => process.is_stopped = true,
            () if !process.has_begun => self.grow_up(place),
            () if process.in_task && dice < 20 => self.dies(place, None),
            () if process.in_task => (process.in_task, process.tasks) = (false, process.tasks + 1),
            () if dice < 8 => self.dies(place, Some(Cause::Tenure)),
            () if dice < 16 => self.dies(place, Some(Cause::Rest)),
            () => process.in_task = true,
        }
    }

    pub(super) fn grow_up(&mut self, place: usize) {
        let process = &mut self.processes[place];
        if !process.is_alive || process.is_stopped || process.has_begun {
            return;
        }
        if process.has_moved_in {
            process.has_begun = !self.fails_starts;
            if self.fails_starts {
                self.dies(place, None);
            }
            return;
        }
        let record = usize::from(process.record);
        if self.births[record] == process.birth && self.tenants[record].is_none() {
            self.tenants[record] = Some(process.pid);
            process.has_moved_in = true;
        } else {
            self.dies(place, None);
        }
    }

    pub(super) fn worker_dies(&mut self) {
        let living: Vec<usize> =
            (0..self.processes.len()).filter(|at| self.processes[*at].is_alive).collect();
        if let Some(place) = self.chance.pick(&living) {
            let by_host = self.chance.percent(30).then_some(Cause::Killed);
            self.dies(place, by_host);
        }
    }

    pub(super) fn dies(&mut self, place: usize, departure: Option<Cause>) {
        let process = &mut self.processes[place];
        (process.is_alive, process.departure) = (false, departure);
        if self.zygote_lives && process.mother == self.zygote {
            let (record, pid) = (process.record, process.pid);
            self.news.push_back(News::Ended { record, pid });
        }
    }

    /// The death word of some record is looked at, or the descriptors are, or old news is told again.
    pub(super) fn sign_is_seen(&mut self) {
        let record = u16::try_from(self.chance.below(u64::from(self.terms.records))).unwrap_or(0);
        match self.chance.below(3) {
            0 => self.see_sign(record),
            1 => self.see_pidfds(),
            _ => {
                let dead: Vec<(u16, i32)> = self
                    .processes
                    .iter()
                    .filter(|dead| !dead.is_alive)
                    .map(|dead| (dead.record, dead.pid))
                    .collect();
                if let Some((record, pid)) = self.chance.pick(&dead)
                    && self.buried.contains(&pid)
                {
                    self.end(record, pid, KILLED);
                }
            }
        }
    }

    pub(super) fn see_sign(&mut self, record: u16) {
        let Some(pid) = self.tenants[usize::from(record)] else { return };
        if self.roster.watched().contains(&record)
            && self.process(pid).is_some_and(|process| !process.is_alive)
        {
            let passing = self.passing(record);
            let actions = self.roster.dying(record, passing, self.now_ns);
            self.carry_out(actions);
        }
    }

    /// Processes whose end no zygote will tell of.
    pub(super) fn see_pidfds(&mut self) {
        for (record, pid) in self.roster.processes() {
            let told_by_zygote = self.has_link && self.roster.is_child_of_current_zygote(record);
            let Some(process) = self.process(pid) else { continue };
            let (is_alive, has_pidfd) = (process.is_alive, process.has_pidfd);
            if is_alive {
                continue;
            }
            if self.tenants[usize::from(record)].is_some_and(|tenant| tenant != pid) {
                self.adopt(record);
                continue;
            }
            if has_pidfd {
                let passing = self.passing(record);
                let actions = self.roster.dying(record, passing, self.now_ns);
                self.carry_out(actions);
            }
            if !told_by_zygote {
                self.end(record, pid, ProcessEnd::Unknown);
            }
        }
    }

    pub(super) fn end(&mut self, record: u16, pid: i32, end: ProcessEnd) {
        let passing = self.passing(record);
        let actions = self.roster.ended(record, (pid, end), passing, self.now_ns);
        self.carry_out(actions);
    }

    pub(super) fn passing(&mut self, record: u16) -> Passing {
        let tenant = self.tenants[usize::from(record)].and_then(|pid| self.process(pid));
        let Some(process) = tenant else {
            return Passing { cause: Cause::FailedStart, was_productive: false };
        };
        let was_productive = process.tasks > 0;
        let cause = match process.departure {
            Some(cause) => cause,
            None if !process.has_begun => Cause::FailedStart,
            None if process.in_task => Cause::InTask,
            None => Cause::BetweenTasks,
        };
        match cause {
            Cause::FailedStart | Cause::BetweenTasks => self.told.crashes += 1,
            _ => self.told.excused += 1,
        }
        Passing { cause, was_productive }
    }

    pub(super) fn thread_lives(&mut self) {
        let recalled: Vec<usize> = (0..self.threads.len()).filter(|at| self.threads[*at].1).collect();
        if let Some(place) = self.chance.pick(&recalled) {
            self.thread_leaves(place);
        } else if !self.threads.is_empty() && self.chance.percent(5) {
            // A panic in its own code.
            self.thread_leaves(0);
        }
    }

    pub(super) fn thread_leaves(&mut self, place: usize) {
        let (record, _) = self.threads.remove(place);
        let actions = self.roster.thread_left(record, self.now_ns);
        self.carry_out(actions);
    }
}
