//! Check-up: the watching thread's slow look at the workers' health, and what is done about what it finds.
//!
//! With `health_monitoring` it looks at every worker at a steady pace. Without it, it looks once a second and only while
//! somebody waits, so that a worker that was stopped by a signal cannot keep anybody waiting for ever; an idle program
//! does nothing.

use super::vitals::{Finding, Patience, Sample, Vitals};
use super::{Killing, Pool};
use crate::health::{Health, WorkerHealth, WorkerState};
use crate::{patrol, symbols};
use gorun_shm::os::ticks;
use gorun_worker::function::CodeId;
use gorun_worker::os::{identity, memory, pidfd};
use gorun_worker::wire::control::WorkerRecord;
use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// Pauses between looks: so many in the shortest time that is to be noticed, and none shorter than this.
const LOOKS: u64 = 4;
const LOOK_NS_MIN: u64 = 1_000_000;
/// How long a worker may leave a task in its own lane alone without running or sleeping. A seat is served within
/// microseconds; a loaded machine may keep a worker from its processor for much longer.
const SEARCHING_NS: u64 = 5_000_000_000;

impl Pool {
    /// Looks at the workers if that is due; gives the time until the next look, if there is to be one.
    pub(super) fn check_up(&self, due_ns: &mut Option<u64>) -> Option<Duration> {
        let wanted = self.config.supervision.health_monitoring || self.dispatcher.is_patrolled();
        if !wanted {
            *due_ns = None;
            return None;
        }
        let now_ns = ticks::system_ns();
        let patience = self.patience();
        let due = *due_ns.get_or_insert(now_ns);
        if now_ns >= due {
            self.look_at_workers(patience, now_ns);
            *due_ns = Some(now_ns + patience.look_ns);
        }
        let left_ns = due_ns.unwrap_or(now_ns).saturating_sub(now_ns);
        Some(Duration::from_nanos(left_ns.max(1)))
    }

    fn patience(&self) -> Patience {
        let settings = &self.config.supervision;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let stuck_ns = if settings.health_monitoring { nanos(settings.stuck_after) } else { u64::MAX };
        let stopped_ns = nanos(settings.stopped_after);
        let look_ns = (stuck_ns.min(stopped_ns) / LOOKS).clamp(LOOK_NS_MIN, patrol::ROUND_NS);
        let look_ns = if settings.health_monitoring {
            look_ns
        } else {
            (stopped_ns / LOOKS).clamp(LOOK_NS_MIN, patrol::ROUND_NS)
        };
        Patience { stuck_ns, stopped_ns, searching_ns: SEARCHING_NS, look_ns }
    }

    fn look_at_workers(&self, patience: Patience, now_ns: u64) {
        let processes = self.lock().roster.processes();
        self.vitals().retain(|record, _| processes.iter().any(|(known, _)| known == record));
        for (record, pid) in processes {
            let Some(worker) = self.commons.workers.get(usize::from(record)) else { continue };
            let sample = self.sample(worker, pid);
            let findings = self.vitals().entry(record).or_default().look(sample, patience, now_ns);
            findings.into_iter().for_each(|finding| self.treat(record, (pid, sample.birth), finding));
        }
    }

    fn sample(&self, worker: &WorkerRecord, pid: i32) -> Sample {
        let birth = worker.birth();
        let seat = worker
            .seat()
            .and_then(|(seat, _)| self.commons.seats.get(usize::from(seat)).map(|books| (seat, books)));
        let task = (worker.duty.depth() > 0).then(|| {
            let progress = worker.duty.progress(0);
            (
                worker.duty.intent(0).to_word(),
                u64::from(progress.started) << 32 | u64::from(progress.finished),
            )
        });
        Sample {
            birth,
            task,
            tasks: seat.map_or(0, |(_, books)| books.tasks.get()),
            is_parked: worker.bell.has_waiter(),
            has_waiting: worker.duty.has_begun() && seat.is_some_and(|(seat, _)| self.has_ready(seat)),
            is_stopped: identity::is_stopped(pid),
        }
    }

    fn has_ready(&self, seat: u16) -> bool {
        seat < self.dispatcher.lane_count() && self.dispatcher.has_waiting(seat)
    }

    fn treat(&self, record: u16, (pid, birth): (i32, u32), finding: Finding) {
        let host = &self.commons.host;
        match finding {
            Finding::Stuck(time) => {
                host.stuck.add(1);
                let function = self.function_in(record).unwrap_or_default();
                tracing::warn!(
                    pid,
                    ?time,
                    function,
                    "a worker is stuck: it has been inside of one task for long"
                );
                if self.config.supervision.kill_stuck {
                    self.kill_for(record, birth, Killing::Stuck(time));
                }
            }
            // Asked again: what was read may have been of a process that came after it.
            Finding::Stopped(time) if self.still_lives(record, pid) => {
                host.stopped.add(1);
                tracing::warn!(
                    pid,
                    ?time,
                    "a worker is stopped by a signal and does not go on: it is killed"
                );
                self.kill_for(record, birth, Killing::Stopped(time));
            }
            Finding::Stopped(_) => {}
            Finding::Searching(time) => {
                host.searching.add(1);
                tracing::warn!(
                    pid,
                    ?time,
                    "a worker does not take what stands in its lane: its bell is rung"
                );
                self.commons.workers[usize::from(record)].bell.ring();
            }
        }
    }

    /// True if the descriptor of the record's worker is that of a living process with this id.
    fn still_lives(&self, record: u16, pid: i32) -> bool {
        match self.lock().pidfds.get(&record) {
            Some((known, pidfd, _)) => *known == pid && !pidfd::has_ended(&**pidfd),
            None => self.is_worker(record, pid),
        }
    }

    fn vitals(&self) -> MutexGuard<'_, HashMap<u16, Vitals>> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name of the innermost function that the record's worker runs.
    fn function_in(&self, record: u16) -> Option<String> {
        let function = self.innermost_of(record)?.task.function;
        let libraries = self.lock().libraries.clone().unwrap_or_default();
        Some(symbols::function(CodeId::known(function)?, &libraries).name)
    }

    /// The health of every seat as of now.
    pub(crate) fn health(&self) -> Health {
        let now_ns = ticks::system_ns();
        // A look of its own, so that it is as of now; what is found by it is treated like all else.
        self.look_at_workers(self.patience(), now_ns);
        let seats = (0..self.commons.map.shape.seats).map(|seat| self.health_of(seat, now_ns)).collect();
        let host = &self.commons.host;
        let state = self.lock();
        Health {
            degraded: state.degraded,
            zygote: state.zygote_is_ready && state.link.is_some(),
            spares: state.roster.spare_count(),
            stuck: host.stuck.get(),
            stopped: host.stopped.get(),
            searching: host.searching.get(),
            seats,
        }
    }

    fn health_of(&self, seat: u16, now_ns: u64) -> WorkerHealth {
        let (sitting, tasks) = {
            let state = self.lock();
            (state.roster.sitting(seat), self.tasks_of(&state, seat))
        };
        let vitals =
            sitting.record.and_then(|record| self.vitals().get(&record).copied()).unwrap_or_default();
        let worker = sitting.record.and_then(|record| self.commons.workers.get(usize::from(record)));
        let is_inside = worker.is_some_and(|worker| worker.duty.depth() > 0);
        let started = worker.filter(|_| is_inside).and_then(|worker| worker.duty.started(0));
        let exact = started.map(|started| self.dispatcher.rate.duration(ticks::now().wrapping_sub(started)));
        WorkerHealth {
            seat: usize::from(seat),
            pid: sitting.pid.and_then(|pid| u32::try_from(pid).ok()),
            generation: sitting.generation,
            state: sitting.without_worker.unwrap_or_else(|| state_of(worker, &vitals)),
            is_thread: sitting.is_thread,
            function: sitting.record.and_then(|record| self.function_in(record)),
            running: if is_inside { exact.or(vitals.in_task()) } else { None },
            rss_bytes: sitting.pid.map_or(0, memory::resident_of),
            tasks,
            age: sitting.born_ns.map(|born_ns| Duration::from_nanos(now_ns.saturating_sub(born_ns))),
        }
    }
}

/// What a worker does, from its record and the last looks.
fn state_of(worker: Option<&WorkerRecord>, vitals: &Vitals) -> WorkerState {
    let Some(worker) = worker else { return WorkerState::Dead };
    let stopped = vitals.sample().is_some_and(|sample| sample.is_stopped && sample.birth == worker.birth());
    match () {
        () if stopped => WorkerState::Stopped,
        () if !worker.duty.has_begun() => WorkerState::Starting,
        () if worker.duty.depth() > 0 && vitals.is_stuck() => WorkerState::Stuck,
        () if worker.duty.depth() > 0 => WorkerState::Active,
        () if worker.bell.has_waiter() => WorkerState::Parked,
        () => WorkerState::Searching,
    }
}
