//! Stats: the counters of a runtime, read from shared memory by its own process or by an observer.

use gorun_shm::blocks::Blocks;
use gorun_shm::os::ticks::{self, Rate};
use gorun_shm::sync::Ordering;
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::wire::commons::Commons;
use serde::Serialize;
use std::time::Duration;

/// A runtime's counters at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Process id of the host.
    pub pid: u32,
    /// How long the runtime has run, or ran.
    pub uptime: Duration,
    /// Tasks accepted, items of maps included.
    pub submitted: u64,
    /// Tasks whose value the host has seen.
    pub finished: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks lost with their worker.
    pub lost: u64,
    /// Tasks cancelled, or closed with the runtime.
    pub cancelled: u64,
    /// Tasks whose time was over.
    pub timed_out: u64,
    /// Tasks that ended in another way: undecodable, too large.
    pub failed: u64,
    /// Zygotes that had to be replaced.
    pub zygote_restarts: u64,
    /// How often a seat was left empty for a while: its workers crashed outside of tasks too often, or none could be had.
    pub seats_shut: u64,
    /// Workers that made room for fresh ones: enough tasks, old enough, too large.
    pub recycled: u64,
    /// Workers that left because there was nothing to do.
    pub rested: u64,
    /// True while tasks run on threads because no process can be had.
    pub degraded: bool,
    /// What was done about tasks that failed. The host counts it in its own memory: none when read from outside.
    pub policies: Option<PolicyStats>,
    /// The pool of blocks.
    pub memory: MemoryStats,
    /// One entry per seat, in order.
    pub seats: Vec<SeatStats>,
}

/// A runtime's pool of blocks at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Bytes of the blocks in use, each as large as its class.
    pub bytes_in_use: u64,
    /// Memory behind the whole segment; 0 where that cannot be told.
    pub bytes_resident: u64,
    /// Bytes of values that were copied into blocks and out of them, and by `copy_from`. What lies in a task's slot or in a
    /// channel's, 32 to 120 bytes, is not counted; what travels by handle is not copied.
    pub bytes_copied: u64,
    /// Bytes that messages did not take because they were compressed.
    pub bytes_spared: u64,
    /// Bytes of free blocks that were given back to the kernel.
    pub bytes_given_back: u64,
    /// Bytes of blocks that were backed with memory ahead of their use.
    pub bytes_prefaulted: u64,
    /// Blocks asked for and not had.
    pub refused: u64,
    /// Times somebody slept until a block was free.
    pub waited: u64,
    /// The classes of blocks, smallest first.
    pub classes: Vec<ClassStats>,
}

/// The blocks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of one block.
    pub block_bytes: u64,
    /// Blocks there can be.
    pub total: u32,
    /// Of those, how many are in use.
    pub in_use: u32,
}

impl MemoryStats {
    fn read(blocks: &Blocks) -> Self {
        let counts = blocks.counts();
        let classes = blocks.usage().into_iter().map(|class| ClassStats {
            block_bytes: class.bytes,
            total: class.total,
            in_use: class.total - class.free,
        });
        Self {
            bytes_in_use: blocks.bytes_in_use(),
            bytes_resident: blocks.resident_bytes().unwrap_or(0),
            bytes_copied: counts.copied_bytes,
            bytes_spared: counts.spared_bytes,
            bytes_given_back: counts.given_back_bytes,
            bytes_prefaulted: counts.backed_bytes,
            refused: counts.refused,
            waited: counts.waited,
            classes: classes.collect(),
        }
    }
}

/// What a runtime's policies did about tasks that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyStats {
    /// Attempts after the first.
    pub retries: u64,
    /// Values that a fallback gave in place of an error.
    pub fallbacks: u64,
    /// Attempts that an open breaker refused.
    pub refused_by_breaker: u64,
    /// Attempts that found their bulkhead and its queue full.
    pub refused_by_bulkhead: u64,
    /// Attempts whose turn was too far away for their rate limit or their deadline.
    pub refused_by_rate_limit: u64,
    /// Second attempts that hedges started.
    pub hedges: u64,
    /// Of those, how many gave the task its value.
    pub hedges_won: u64,
}

/// A seat's counters. They survive its workers.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SeatStats {
    /// Its number.
    pub seat: usize,
    /// Process id of the worker in it, if there is one.
    pub pid: Option<u32>,
    /// Its processor, if it is pinned to one.
    pub cpu: Option<usize>,
    /// The processors it is pinned to; none if the kernel decides.
    pub cpus: CpuSet,
    /// Which worker of the seat this is, from 1.
    pub generation: u64,
    /// Tasks run to their end, items of maps included.
    pub tasks: u64,
    /// Of those, how many panicked.
    pub panics: u64,
    /// Time spent in tasks.
    pub busy: Duration,
    /// Tasks taken from other seats' queues.
    pub steals: u64,
    /// How often the worker went to sleep.
    pub parks: u64,
    /// Workers that died in the seat.
    pub deaths: u64,
    /// Workers that took the seat after its first.
    pub restarts: u64,
    /// Run time of a task, or of a range of items, that half of them did not exceed.
    pub run_p50: Duration,
    /// Run time that 99 in 100 did not exceed.
    pub run_p99: Duration,
}

impl Stats {
    /// Reads the counters of a segment.
    #[must_use]
    pub fn read(commons: &Commons) -> Self {
        // Relaxed, all of these: counters at one moment, give or take a task.
        let host = &commons.host;
        let (nanos, rate) = age_of(commons);
        let seats: Vec<SeatStats> =
            (0..commons.seats.len()).map(|seat| seat_stats(commons, seat, rate)).collect();
        let sum = |counter: fn(&gorun_worker::wire::control::Ledger) -> u64| {
            // Wrapping: the segment may be another program's, and corrupt.
            commons.seats.iter().map(|seat| counter(&seat.ledger)).fold(0, u64::wrapping_add)
        };
        Self {
            pid: host.pid.load(Ordering::Relaxed), // Relaxed: as above.
            uptime: Duration::from_nanos(nanos),
            submitted: sum(|ledger| ledger.submitted.get()),
            finished: sum(|ledger| ledger.finished.get()),
            panicked: sum(|ledger| ledger.panicked.get()),
            lost: sum(|ledger| ledger.lost.get()),
            cancelled: sum(|ledger| ledger.cancelled.get()),
            timed_out: sum(|ledger| ledger.timed_out.get()),
            failed: sum(|ledger| ledger.failed.get()),
            zygote_restarts: host.zygote_restarts.get(),
            seats_shut: host.seats_shut.get(),
            recycled: host.tenure.left.get(),
            rested: host.tenure.rested.get(),
            degraded: host.degraded.load(Ordering::Relaxed) != 0, // Relaxed: as above.
            policies: None,
            memory: MemoryStats::read(&commons.blocks),
            seats,
        }
    }

    /// Time spent in tasks over all seats, as a share of what the seats could have given, 0..=1.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let busy: f64 = self.seats.iter().map(|seat| seat.busy.as_secs_f64()).sum();
        let capacity = self.uptime.as_secs_f64() * self.seats.len() as f64;
        if capacity > 0.0 { busy / capacity } else { 0.0 }
    }
}

/// How long the runtime has run, in nanoseconds, and how many ticks that were.
fn age_of(commons: &Commons) -> (u64, Rate) {
    let host = &commons.host;
    let start_ns = host.start_ns.load(Ordering::Relaxed); // Relaxed here and below: numbers for a person.
    let start_ticks = host.start_ticks.load(Ordering::Relaxed);
    let stop_ns = host.stop_ns.load(Ordering::Relaxed);
    let stopped = (stop_ns != 0).then(|| (stop_ns, host.stop_ticks.load(Ordering::Relaxed)));
    let (now_ns, now_ticks) = stopped.unwrap_or_else(|| (ticks::system_ns(), ticks::now()));
    let nanos = now_ns.saturating_sub(start_ns);
    (nanos, Rate::between(now_ticks.wrapping_sub(start_ticks), nanos))
}

/// Ticks a second, by the runtime's own time.
pub(crate) fn rate_of(commons: &Commons) -> Rate {
    age_of(commons).1
}

fn seat_stats(commons: &Commons, seat: usize, rate: Rate) -> SeatStats {
    let record = &commons.seats[seat];
    let assignment = record.assignment().unwrap_or_default();
    let run = record.run_ticks.snapshot();
    let quantile = |q| rate.duration(run.quantile(q).unwrap_or(0));
    SeatStats {
        seat,
        pid: u32::try_from(assignment.pid).ok().filter(|pid| *pid != 0),
        cpu: assignment.cpus.single().and_then(|cpu| usize::try_from(cpu).ok()),
        cpus: assignment.cpus,
        generation: assignment.generation,
        tasks: record.tasks.get(),
        panics: record.panics.get(),
        busy: rate.duration(record.busy_ticks.get()),
        steals: record.steals.get(),
        parks: record.parks.get(),
        deaths: record.deaths.get(),
        restarts: record.restarts.get(),
        run_p50: quantile(0.5),
        run_p99: quantile(0.99),
    }
}
