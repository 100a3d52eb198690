//! Hear: what the jailer says of its workers, and what follows from their ends.

use super::cell::Standing;
use super::inmate::Phase;
use super::keeper::Keeper;
use super::serve::{Jailer, refuse_waiting};
use super::state::{Effects, State, bare, refused_with};
use crate::archive::{self, Details};
use crate::book::Outcome;
use crate::obituary;
use gorun_shm::os::ticks;
use gorun_worker::exit;
use gorun_worker::function::CodeId;
use gorun_worker::jail::JailRefusal;
use gorun_worker::wire::control::RangeProgress;
use gorun_worker::wire::status::Status;
use gorun_worker::zygote::protocol::{self, News, ProcessEnd, Received};
use std::io;
use std::os::fd::OwnedFd;

/// Reads everything the jailer has said; lets go of it if it is gone.
pub(super) fn hear(keeper: &Keeper, jailer: &mut Option<Jailer>) {
    loop {
        let Some(Jailer { link, process, .. }) = jailer else { return };
        // Looked at first: what a jailer said before its end is there once it has ended.
        let has_ended = process.as_ref().is_some_and(gorun_worker::os::pidfd::has_ended);
        match protocol::receive::<News>(&*link.socket(), false) {
            Ok(Some(Received { message, descriptors })) => heard(keeper, jailer, message, descriptors),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !has_ended => return,
            Ok(None) | Err(_) => return lose(keeper, jailer),
        }
    }
}

/// The jailer is gone: its workers are killed, since nobody would tell how they ended, and the next task starts
/// another.
pub(super) fn lose(keeper: &Keeper, jailer: &mut Option<Jailer>) {
    let Some(lost) = jailer.take() else { return };
    lost.revoke();
    let mut effects = Effects::default();
    let mut state = keeper.lock();
    state.libraries = None;
    let cells: Vec<(u16, bool)> =
        state.numbered().map(|(number, cell)| (number, cell.pidfd().is_some())).collect();
    for (number, is_known) in cells {
        if is_known {
            state.orphan(number);
        } else {
            state.died(number, ProcessEnd::Unknown, &mut effects);
        }
    }
    drop(state);
    keeper.carry_out(effects);
    if !lost.is_ready {
        refuse_waiting(keeper, "the zygote of jailed workers does not start");
    }
}

fn heard(keeper: &Keeper, jailer: &mut Option<Jailer>, news: News, descriptors: Vec<OwnedFd>) {
    let mut effects = Effects::default();
    let mut state = keeper.lock();
    let pidfd = descriptors.into_iter().next();
    match news {
        News::Ready { libraries } => {
            state.libraries = Some(libraries);
            if let Some(jailer) = jailer {
                jailer.process = pidfd;
                jailer.is_ready = true;
            }
            keeper.changed.notify_all();
        }
        News::Forked { record, pid } => {
            if let Some(Some(cell)) = state.cells.get_mut(usize::from(record)) {
                cell.told_of(pid, pidfd);
            }
        }
        News::NotJailed { cell, refusal } => state.not_jailed(cell, refusal),
        News::Refused { record, errno } => {
            let message = io::Error::from_raw_os_error(errno).to_string();
            state.never_born(record, JailRefusal::NoProcess { message }, &mut effects);
        }
        News::Ended { record, end, .. } => state.died(record, end, &mut effects),
        News::Failed { reason } => {
            drop(state);
            refuse_waiting(keeper, &reason);
            return;
        }
    }
    drop(state);
    keeper.carry_out(effects);
}

impl State {
    /// Its jailer is gone, so only its pidfd tells of its end.
    fn orphan(&mut self, number: u16) {
        if let Some(Some(cell)) = self.cells.get_mut(usize::from(number)) {
            cell.is_orphan = true;
            cell.kill();
        }
    }

    /// The worker says that it cannot put its jail on, and will leave.
    fn not_jailed(&mut self, number: u16, refusal: JailRefusal) {
        if let Some(Some(cell)) = self.cells.get_mut(usize::from(number)) {
            cell.refusal = Some(refusal);
        }
    }

    /// No process could be had for the cell.
    fn never_born(&mut self, number: u16, refusal: JailRefusal, effects: &mut Effects) {
        self.not_jailed(number, refusal);
        self.died(number, ProcessEnd::Unknown, effects);
    }

    /// The process of the cell is gone for good: its task ends, and the segment goes.
    pub(super) fn died(&mut self, number: u16, end: ProcessEnd, effects: &mut Effects) {
        let Some(cell) = self.cells.get_mut(usize::from(number)).and_then(Option::take) else { return };
        // A task whose outcome is being read is ended by its reader.
        let task = match cell.standing {
            Standing::Busy(task) | Standing::Dying(Some(task)) => Some(task),
            _ => None,
        };
        let inmate = task.and_then(|task| self.inmates.get(&task));
        let is_judged = inmate.is_some_and(|inmate| inmate.verdict.is_some());
        let unbegun = failed_start(end, cell.memory.has_begun()).filter(|_| cell.refusal.is_none());
        if let (Some(task), true) = (task, unbegun.is_some() && !is_judged) {
            self.take_back(task);
        }
        // Of the cells that a dead jailer takes along, those without a task say nothing about their profile.
        let counts = task.is_some() || end != ProcessEnd::Unknown;
        if let Some(refusal) = cell.refusal.clone().or_else(|| unbegun.clone()).filter(|_| counts) {
            self.failed_to_start(cell.stock, refusal, effects);
        }
        let Some((task, inmate)) = task.and_then(|task| Some((task, self.inmates.get(&task)?))) else {
            return;
        };
        let outcome = if let Some(verdict) = inmate.verdict {
            bare(verdict, inmate.attempt)
        } else if let Some(refusal) = cell.refusal {
            refused_with(refusal)
        } else if unbegun.is_some() {
            return;
        } else if matches!(inmate.phase, Phase::Running(_)) && cell.memory.has_ended(cell.current()) {
            cell.memory.take(cell.current(), inmate.attempt).outcome
        } else {
            let (last_words, depth) = cell.memory.last_words();
            let details = Details {
                last_words,
                function: CodeId::known(inmate.order.descriptor.function),
                input_bytes: inmate.order.descriptor.input_bytes,
                depth,
                // A cell keeps neither: what stands in its segment is as its task likes it.
                panic: None,
                recent: Vec::new(),
                stderr: Vec::new(),
                buried_ticks: ticks::now(),
                killing: None,
                libraries: self.libraries.as_deref().unwrap_or_default().into(),
            };
            archive::file(cell.worker, cell.pid(), details);
            let payload = obituary::pack(cell.worker, cell.pid(), end, RangeProgress::default());
            Outcome::Bare { status: Status::Lost, attempt: inmate.attempt, payload }
        };
        self.end(task, outcome, effects);
    }
}

/// Why a worker that ended so has not come as far as serving; none if it has, for then the end is the task's.
fn failed_start(end: ProcessEnd, began: bool) -> Option<JailRefusal> {
    let message = match end {
        ProcessEnd::Exited { code } => exit::meaning(code)?,
        ProcessEnd::Unknown => "the zygote of jailed workers has ended",
        ProcessEnd::Signalled { .. } => return None,
    };
    (!began).then(|| JailRefusal::NoProcess { message: message.to_owned() })
}
