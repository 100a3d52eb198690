//! Burial: a worker's process is gone for good. What it ran is lost and told, what it held is free again.

use super::{Pool, PoolState};
use crate::archive::{self, Details};
use crate::{obituary, quarantine};
use gorun_shm::OwnerId;
use gorun_shm::os::ticks;
use gorun_shm::slots::{Descriptor, State};
use gorun_worker::function::CodeId;
use gorun_worker::os::pidfd;
use gorun_worker::porter;
use gorun_worker::wire::control::{DEPTH_MAX, RangeProgress};
use gorun_worker::wire::ids::{LaneId, WorkerId};
use gorun_worker::wire::status::{MARK_IN_BLOCK, MARK_RANGE};
use gorun_worker::zygote::protocol::ProcessEnd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// A task that a worker was inside of when it died.
pub(super) struct Running {
    lane: u16,
    position: u64,
    pub(super) task: Descriptor,
}

impl Pool {
    /// The process is gone for good: its running tasks are lost, what it held is free again.
    pub(super) fn bury(
        &self,
        state: &mut PoolState,
        record: u16,
        worker: WorkerId,
        (pid, end): (i32, ProcessEnd),
    ) {
        let pidfd = state.pidfds.remove(&record);
        if end == ProcessEnd::Unknown {
            self.end_offspring(state, pidfd.map(|(_, pidfd, _)| pidfd));
        }
        let Some(owner) = OwnerId::worker(record) else { return };
        if state.roster.is_closed() {
            // A planned stop: what ran is closed with the runtime, not lost.
            self.dispatcher.close_running(owner);
        }
        // Taken in any case: the record's next worker begins anew.
        let stderr = self.streams.as_ref().map(|streams| streams.take_tail(record)).unwrap_or_default();
        let planned = state.killed.contains_key(&record) || state.roster.is_closed();
        if let Some(running) = self.innermost_of(record) {
            self.file(state, record, worker, (pid, &running.task, stderr));
            if !planned {
                self.accuse(&running, obituary::pack(worker, pid, end, RangeProgress::default()));
            }
        }
        state.killed.remove(&record);
        // Before anybody hears of the end: what the dead had not finished in channels is there again.
        crate::channel::recover(&self.commons, owner);
        crate::sync::recover(&self.commons, owner);
        let duty = &self.commons.workers[usize::from(record)].duty;
        if duty.depth() >= DEPTH_MAX {
            let payload = obituary::pack(worker, pid, end, duty.progress(DEPTH_MAX - 1));
            self.dispatcher.end_all_lost(owner, payload);
            crate::orphan::end_all_lost(&self.commons, owner, payload);
        }
        for depth in 0..=duty.depth().min(DEPTH_MAX - 1) {
            let intent = duty.intent(depth);
            let payload = obituary::pack(worker, pid, end, duty.progress(depth));
            self.end_lost(intent.lane, |tail| intent.position_near(tail), owner, payload);
        }
        // After the above: what a deadline took from it in this instant is nobody's loss.
        self.dispatcher.end_condemned(record);
        crate::orphan::close_nested(&self.commons, record);
        self.dispatcher.condemn_children_of(record);
        self.dispatcher.collect_ended();
        crate::orphan::keep_results(&self.commons, owner);
        // What has come to the dead is not the host's any more: who had the last canceller of a context shows below.
        porter::settle();
        let recovered = self.commons.blocks.recover(owner);
        // Behind that: it shows which contexts nobody can cancel any more.
        crate::context::recover(&self.commons, owner);
        crate::supervise::recover_calls(&self.commons, owner);
        tracing::debug!(%worker, pid, ?end, ?recovered, "worker buried");
    }

    /// A worker of an earlier zygote has ended. What it had begotten fell to nobody who would end it.
    pub(super) fn end_offspring(&self, state: &PoolState, pidfd: Option<Arc<OwnedFd>>) {
        if let Some(pidfd) = pidfd {
            pidfd::kill_group(&*pidfd);
        }
        if let Some(link) = &state.link {
            // Where the zygote is gone too, the next one looks around at its start.
            let _ = link.sweep();
        }
    }

    /// The innermost task that a dead worker was running.
    pub(super) fn innermost_of(&self, record: u16) -> Option<Running> {
        let dead = &self.commons.workers[usize::from(record)];
        let running = |depth: usize| {
            let intent = dead.duty.intent(depth);
            let lane = LaneId(intent.lane);
            let ring = self.commons.has_lane(lane).then(|| self.commons.lane(lane))?;
            let position = intent.position_near(ring.published());
            let (slot, lap) = ring.slot(position);
            let word = slot.word();
            let runs = word.lap() == lap && word.state() == State::Running;
            let task = (runs && word.owner().worker_index() == Some(record)).then(|| slot.task())?;
            Some(Running { lane: intent.lane, position, task })
        };
        let depth = dead.duty.depth().min(DEPTH_MAX - 1);
        // A place where nothing was ever noted names the first task of all, which may be one that it was further out.
        let is_noted_below =
            |place: usize| (0..place).any(|below| dead.duty.intent(below) == dead.duty.intent(place));
        (0..=depth).rev().filter(|place| !is_noted_below(*place)).find_map(running)
    }

    /// Counts a death that nobody planned against the task. The items of a range are counted by whoever reads its results.
    fn accuse(&self, running: &Running, death: [u64; 4]) {
        let Running { lane, position, task } = running;
        if task.marks & MARK_RANGE != 0 {
            return;
        }
        let in_block = task.marks & MARK_IN_BLOCK != 0;
        let fingerprint = match in_block {
            false => quarantine::inline_fingerprint(task),
            true if *lane < self.dispatcher.lane_count() => self.dispatcher.fingerprint(*lane, *position),
            // In another worker's book, which nobody else can read.
            true => None,
        };
        let input = task.payload.as_bytes().get(..task.input_bytes as usize).filter(|_| !in_block);
        self.dispatcher.count_crash(&quarantine::Crash {
            task: quarantine::task_of(task),
            fingerprint,
            input,
            death: quarantine::Death { payload: death, attempt: task.attempt },
            now_ns: ticks::system_ns(),
        });
    }

    /// Keeps what is known of the death, if a task is lost with it.
    fn file(
        &self,
        state: &PoolState,
        record: u16,
        worker: WorkerId,
        (pid, task, stderr): (i32, &Descriptor, Vec<u8>),
    ) {
        let dead = &self.commons.workers[usize::from(record)];
        let recent = dead.recorder.read();
        let running_since = recent.iter().find(|flight| flight.ended.is_none()).map(|flight| flight.began);
        let panic = dead
            .black_box
            .read_panic()
            .filter(|panic| running_since.is_some_and(|since| panic.ticks >= since));
        let details = Details {
            last_words: dead.black_box.read(),
            function: CodeId::known(task.function),
            input_bytes: task.input_bytes,
            depth: dead.duty.depth(),
            panic: panic.map(|panic| panic.text),
            stderr,
            recent,
            buried_ticks: ticks::now(),
            libraries: state.libraries.as_deref().unwrap_or_default().into(),
            killing: state.killed.get(&record).copied(),
        };
        archive::file(worker, pid, details);
    }

    fn end_lost(&self, lane: u16, near: impl Fn(u64) -> u64, dead: OwnerId, payload: [u64; 4]) {
        if lane < self.dispatcher.lane_count() {
            self.dispatcher.end_lost(lane, near, dead, payload);
        } else {
            crate::orphan::end_lost(&self.commons, lane, near, dead, payload);
        }
    }
}
