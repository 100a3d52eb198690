//! Cell: one jailed worker and the segment it shares with the host, for one life.

use super::memory::Memory;
use super::state::StockId;
use gorun_worker::jail::JailRefusal;
use gorun_worker::os::pidfd;
use gorun_worker::os::poll::WakeUp;
use gorun_worker::wire::ids::WorkerId;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a cell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no task. Its worker may still be starting.
    Idle,
    /// It has this task.
    Busy(u64),
    /// Its task has ended, and somebody copies the outcome out.
    Read(u64),
    /// It was killed, and gets no task any more.
    Dying(Option<u64>),
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) worker: WorkerId,
    pub(super) stock: StockId,
    pub(super) memory: Arc<Memory>,
    pub(super) standing: Standing,
    /// Where its next task will stand in the lane.
    pub(super) next: u64,
    /// Its process, once the jailer has told.
    process: Option<(i32, Arc<OwnedFd>)>,
    /// True if its process is to be killed as soon as it is known.
    pub(super) is_doomed: bool,
    /// Rung by the worker when a task ends for which that was asked.
    pub(super) bell: Arc<WakeUp>,
    /// True if the bell will ring for the task it has.
    pub(super) is_armed: bool,
    /// True if its jailer is gone: then only its process's end tells of it.
    pub(super) is_orphan: bool,
    /// Why it could not put its jail on.
    pub(super) refusal: Option<JailRefusal>,
}

impl Cell {
    /// One whose worker was asked for.
    pub(super) fn new(worker: WorkerId, stock: StockId, memory: Arc<Memory>, bell: Arc<WakeUp>) -> Self {
        Self {
            worker,
            stock,
            memory,
            standing: Standing::Idle,
            next: 0,
            process: None,
            is_doomed: false,
            bell,
            is_armed: false,
            is_orphan: false,
            refusal: None,
        }
    }

    /// Where the task stands that it has, or had last.
    pub(super) fn current(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// True if it counts as a worker: it has a task or may be given one.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.standing, Standing::Dying(_))
    }

    /// True while a task is in it whose outcome is not known to the host.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.standing, Standing::Busy(_) | Standing::Read(_))
    }

    /// The jailer says which process it is.
    pub(super) fn told_of(&mut self, pid: i32, pidfd: Option<OwnedFd>) {
        self.process = pidfd.map(|pidfd| (pid, Arc::new(pidfd)));
        if self.is_doomed {
            self.kill();
        }
    }

    /// Kills the process, now or as soon as it is known. What it was doing ends when it is gone.
    pub(super) fn kill(&mut self) {
        self.is_doomed = true;
        if let Some((_, pidfd)) = &self.process {
            // One that is gone already is what we want.
            let _ = pidfd::kill(pidfd);
        }
        self.standing = match self.standing {
            Standing::Busy(task) => Standing::Dying(Some(task)),
            Standing::Idle => Standing::Dying(None),
            // Whoever reads ends the task, and asks whether the cell is doomed.
            other @ (Standing::Read(_) | Standing::Dying(_)) => other,
        };
    }

    /// Its process, if it is known.
    pub(super) fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        self.process.as_ref().map(|(_, pidfd)| Arc::clone(pidfd))
    }

    /// Its process id, 0 if it is not known.
    pub(super) fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, |(pid, _)| *pid)
    }
}
