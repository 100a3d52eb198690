//! Config: every setting of a runtime, from builder, environment and file, validated once.
//!
//! Order of precedence: the builder's call, then `GORUN_*`, then `gorun.toml`, then the default (`environment`). A bad value
//! is an error that names the key, the value and what is allowed; it is never silently replaced.

use crate::balance::LoadBalancing;
use crate::deadlines::Limits;
use crate::environment::{Environment, Switch};
use crate::error::BuildError;
use crate::memory::{MemoryWishes, SharedMemory};
use crate::mode::Mode;
use crate::supervision::{Supervision, SupervisionWishes};
use crate::topology::{Placement, Plan, Smt, Topology};
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::jail::Jail;
use gorun_worker::os::pin;
use gorun_worker::wire::map::Shape;
use std::fmt::Display;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What was asked for; none means "not said".
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) workers: Option<usize>,
    pub(crate) spares: Option<usize>,
    pub(crate) placement: Option<Placement>,
    pub(crate) smt: Option<Smt>,
    pub(crate) load_balancing: Option<LoadBalancing>,
    pub(crate) work_stealing: Option<bool>,
    pub(crate) queue_slots: Option<u64>,
    pub(crate) message_bytes_max: Option<u64>,
    pub(crate) spin: Option<Duration>,
    pub(crate) mode: Option<Mode>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) max_tasks_per_worker: Option<u64>,
    pub(crate) max_worker_age: Option<Duration>,
    pub(crate) memory_soft: Option<u64>,
    pub(crate) memory_max: Option<u64>,
    pub(crate) quarantine_after: Option<u32>,
    pub(crate) capture_stderr: Option<bool>,
    pub(crate) jailed_workers: Option<usize>,
    pub(crate) jail: Option<Jail>,
    pub(crate) supervision: SupervisionWishes,
    pub(crate) memory: MemoryWishes,
}

/// A runtime's settings, all of them valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Worker processes, 1..=120. Default: processors this process may use, by its mask and its
    /// cgroup's quota. `GORUN_WORKERS`.
    pub workers: u16,
    /// Workers forked ahead to take a dead one's seat, 0..=8. Default 1. `GORUN_SPARES`.
    pub spares: u16,
    /// Where workers run. Default per core, and none under a cgroup quota below the number of processors.
    /// `GORUN_PLACEMENT=per-core|per-l3|per-node|none`, or a list of processors such as `0-3,8`.
    pub placement: Placement,
    /// What is done with the further processors of a core. Default spread. `GORUN_SMT=spread|pack|avoid`.
    pub smt: Smt,
    /// Where each seat's worker runs: what follows from the two above and the machine.
    pub plan: Plan,
    /// How tasks are spread over the seats. Default the least busy. `GORUN_LOAD_BALANCING=least-busy|round-robin`, or weights
    /// such as `3,1,1`.
    pub load_balancing: LoadBalancing,
    /// Whether idle workers take tasks that wait for others. Off, a task runs in the seat it was given to, unless that has no
    /// worker or its worker waits inside of a task. Default on. `GORUN_WORK_STEALING=0|1`.
    pub work_stealing: bool,
    /// Tasks a seat's queue holds before `go` waits, a power of two in 64..=65536. Default 4096. `GORUN_QUEUE_SLOTS`.
    pub queue_slots: u32,
    /// Largest encoded input or result, and largest block, in bytes, a power of two in 4 KiB..=2 GiB.
    /// Default 1 GiB. `GORUN_MESSAGE_BYTES_MAX`.
    pub message_bytes_max: u64,
    /// How long an idle worker or a waiting thread spins before it sleeps, at most 1 ms. Default 8 us, and 0
    /// where only one processor may be used. `GORUN_SPIN_US`.
    pub spin: Duration,
    /// Where tasks run that say nothing else. Default in processes. `GORUN_MODE=inline|thread|process|jailed`, and
    /// `GORUN_PROCESSES=0` for `thread`.
    pub mode: Mode,
    /// When a task is over at the latest, from `go` on, if it says nothing else; 1 us to 1 year. Default none.
    /// `GORUN_DEADLINE_MS`.
    pub deadline: Option<Duration>,
    /// How long a task may run, if it says nothing else; 1 us to 1 year. Default none. `GORUN_TIMEOUT_MS`.
    pub timeout: Option<Duration>,
    /// How long a task may run on once it was asked to stop because its time is over, if it says nothing else; 1 us to 1 year.
    /// Default none: it is killed at once. `GORUN_GRACE_MS`.
    pub grace: Option<Duration>,
    /// Tasks after which a worker makes room for a fresh one, 1.. . Default none. `GORUN_MAX_TASKS_PER_WORKER`.
    pub max_tasks_per_worker: Option<u64>,
    /// Age at which a worker makes room for a fresh one, 1 ms to 1 year. Default none. `GORUN_MAX_WORKER_AGE_MS`.
    pub max_worker_age: Option<Duration>,
    /// Resident bytes above which a worker makes room for a fresh one after its task, 1 MiB.. . Default none.
    /// `GORUN_MEMORY_SOFT`.
    pub memory_soft: Option<u64>,
    /// Resident bytes above which a worker is killed in its task, which ends as out of memory, 1 MiB.. . Looked at every
    /// 10 ms. Default none. `GORUN_MEMORY_MAX`.
    pub memory_max: Option<u64>,
    /// Deaths of workers after which a function is not run with the same input again, 0..=1000, 0 for never. Default 3.
    /// `GORUN_QUARANTINE_AFTER`.
    pub quarantine_after: u32,
    /// True gives each worker a pipe for its standard error; a thread of the host forwards what comes to the host's own,
    /// and evidence shows the last 4 KiB. Default false: workers write to the host's directly. `GORUN_CAPTURE_STDERR=1`.
    pub capture_stderr: bool,
    /// Jailed workers that may have a task at once, 1..=120. Default as many as workers. `GORUN_JAILED_WORKERS`.
    pub jailed_workers: u16,
    /// The profile of tasks that ask for a jail and do not say which. Default to compute and nothing else.
    pub jail: Jail,
    /// How workers are looked after.
    pub supervision: Supervision,
    /// What its processes share.
    pub memory: SharedMemory,
    /// Processors this process may use.
    pub cpus: CpuSet,
}

const WORKERS: RangeInclusive<usize> = 1..=Shape::SEATS_MAX as usize;
const SPARES: RangeInclusive<usize> = 0..=8;
const QUEUE_SLOTS: RangeInclusive<u64> = 64..=65_536;
const MESSAGE_BYTES: RangeInclusive<u64> = 4096..=1 << 31;
const TASKS: RangeInclusive<u64> = 1..=u64::MAX;
const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 50;
const QUARANTINE: RangeInclusive<u32> = 0..=1000;
const SPIN_MAX: Duration = Duration::from_millis(1);
const SPIN_DEFAULT: Duration = Duration::from_micros(8);

impl Config {
    /// Validates `wishes` and fills in the rest from `variable` (the environment) and the machine.
    pub(crate) fn resolve(
        wishes: &Wishes,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BuildError> {
        let cpus = pin::allowed();
        // The standard library's count heeds a cgroup's quota as well as the mask.
        let usable = std::thread::available_parallelism().map_or(cpus.len(), NonZero::get);
        // Under a quota below the mask the kernel must be free to move workers to where time is left.
        let default_placement = if usable < cpus.len() { Placement::None } else { Placement::PerCore };
        let read = Environment::open(variable)?;
        let workers = wishes.workers.or(read.parse("GORUN_WORKERS", "1..=120")?);
        let workers = workers.unwrap_or(usable.min(*WORKERS.end()));
        let spares = wishes.spares.or(read.parse("GORUN_SPARES", "0..=8")?).unwrap_or(1);
        let workers = narrow(in_range("workers", workers, &WORKERS)?);
        let (placement, smt) = resolve_placement(wishes, &read, default_placement)?;
        let (load_balancing, work_stealing) = resolve_balance(wishes, &read, workers)?;
        let plan = make_plan(&cpus, &placement, smt, workers)?;
        let slots = wishes.queue_slots.or(read.parse("GORUN_QUEUE_SLOTS", "powers of two, 64..=65536")?);
        let message = wishes
            .message_bytes_max
            .or(read.parse("GORUN_MESSAGE_BYTES_MAX", "powers of two, 4096..=2147483648")?);
        let spin = wishes.spin.or(read.parse("GORUN_SPIN_US", "0..=1000")?.map(Duration::from_micros));
        let deadline = limit(&read, "deadline", wishes.deadline, "GORUN_DEADLINE_MS")?;
        let timeout = limit(&read, "timeout", wishes.timeout, "GORUN_TIMEOUT_MS")?;
        let grace = limit(&read, "grace", wishes.grace, "GORUN_GRACE_MS")?;
        let max_tasks = wishes.max_tasks_per_worker.or(read.parse("GORUN_MAX_TASKS_PER_WORKER", "1..")?);
        let max_tasks = max_tasks.map(|tasks| in_range("max_tasks_per_worker", tasks, &TASKS)).transpose()?;
        let max_age = limit(&read, "max_worker_age", wishes.max_worker_age, "GORUN_MAX_WORKER_AGE_MS")?;
        let memory_soft = resident(&read, "memory_soft", wishes.memory_soft, "GORUN_MEMORY_SOFT")?;
        let memory_max = resident(&read, "memory_max", wishes.memory_max, "GORUN_MEMORY_MAX")?;
        let memory = SharedMemory::resolve(&wishes.memory, &read)?;
        let quarantine = wishes.quarantine_after.or(read.parse("GORUN_QUARANTINE_AFTER", "0..=1000")?);
        let capture_stderr =
            wishes.capture_stderr.or(read.parse::<Switch>("GORUN_CAPTURE_STDERR", "0, 1")?.map(|on| on.0));
        let supervision = Supervision::resolve(&wishes.supervision, &read)?;
        let mode = resolve_mode(wishes.mode, &read)?;
        let slots = in_range("queue_slots", slots.unwrap_or(4096), &QUEUE_SLOTS)?;
        let message = in_range("message_bytes_max", message.unwrap_or(1 << 30), &MESSAGE_BYTES)?;
        let jailed_workers = resolve_jailed(wishes, &read, workers)?;
        read.check_unused()?;
        Ok(Self {
            workers,
            jailed_workers,
            jail: wishes.jail.clone().unwrap_or_default(),
            spares: narrow(in_range("spares", spares, &SPARES)?),
            placement,
            smt,
            plan,
            load_balancing,
            work_stealing,
            queue_slots: u32::try_from(power_of_two("queue_slots", slots, &QUEUE_SLOTS)?).unwrap_or(u32::MAX),
            message_bytes_max: power_of_two("message_bytes_max", message, &MESSAGE_BYTES)?,
            spin: check_spin(spin.unwrap_or(if usable > 1 { SPIN_DEFAULT } else { Duration::ZERO }))?,
            mode,
            deadline,
            timeout,
            grace,
            max_tasks_per_worker: max_tasks,
            max_worker_age: max_age,
            memory_soft,
            memory_max,
            quarantine_after: in_range("quarantine_after", quarantine.unwrap_or(3), &QUARANTINE)?,
            capture_stderr: capture_stderr.unwrap_or(false),
            supervision,
            memory,
            cpus,
        })
    }

    /// The limits of tasks that name none.
    pub(crate) fn limits(&self) -> Limits {
        Limits { deadline: self.deadline, timeout: self.timeout, grace: self.grace }
    }

    /// The processors of a seat; none if the kernel decides.
    pub(crate) fn cpus_of(&self, seat: u16) -> CpuSet {
        self.plan.cpus_of(usize::from(seat))
    }
}

fn resolve_jailed(
    wishes: &Wishes,
    read: &Environment<impl Fn(&str) -> Option<String>>,
    workers: u16,
) -> Result<u16, BuildError> {
    let jailed = wishes.jailed_workers.or(read.parse("GORUN_JAILED_WORKERS", "1..=120")?);
    Ok(narrow(in_range("jailed_workers", jailed.unwrap_or(usize::from(workers)), &WORKERS)?))
}

fn resolve_placement(
    wishes: &Wishes,
    read: &Environment<impl Fn(&str) -> Option<String>>,
    default: Placement,
) -> Result<(Placement, Smt), BuildError> {
    let placement = wishes.placement.clone().or(read.parse("GORUN_PLACEMENT", Placement::NAMES)?);
    let smt = wishes.smt.or(read.parse("GORUN_SMT", Smt::NAMES)?);
    Ok((placement.unwrap_or(default), smt.unwrap_or_default()))
}

fn limit(
    read: &Environment<impl Fn(&str) -> Option<String>>,
    key: &'static str,
    wish: Option<Duration>,
    variable: &'static str,
) -> Result<Option<Duration>, BuildError> {
    wish.or(read.milliseconds(variable)?).map(|limit| check_limit(key, limit)).transpose()
}

fn resident(
    read: &Environment<impl Fn(&str) -> Option<String>>,
    key: &'static str,
    wish: Option<u64>,
    variable: &'static str,
) -> Result<Option<u64>, BuildError> {
    let bytes = wish.or(read.parse(variable, "1048576..")?);
    bytes.map(|bytes| in_range(key, bytes, &MEMORY)).transpose()
}

fn resolve_balance(
    wishes: &Wishes,
    read: &Environment<impl Fn(&str) -> Option<String>>,
    workers: u16,
) -> Result<(LoadBalancing, bool), BuildError> {
    let balancing = wishes.load_balancing.clone();
    let balancing = balancing.or(read.parse("GORUN_LOAD_BALANCING", LoadBalancing::NAMES)?);
    let balancing = balancing.unwrap_or_default();
    balancing.check(workers)?;
    let stealing = read.parse::<Switch>("GORUN_WORK_STEALING", "0, 1")?.map(|on| on.0);
    Ok((balancing, wishes.work_stealing.or(stealing).unwrap_or(true)))
}

fn make_plan(usable: &CpuSet, placement: &Placement, smt: Smt, workers: u16) -> Result<Plan, BuildError> {
    let topology = match placement {
        // Nothing is asked of the machine, so nothing is read.
        Placement::None => return Ok(Plan::default()),
        _ => Topology::of_machine().restricted(usable),
    };
    Ok(Plan::new(&topology, placement, smt, usize::from(workers))?)
}

/// Where tasks run that say nothing else.
fn resolve_mode(
    wish: Option<Mode>,
    read: &Environment<impl Fn(&str) -> Option<String>>,
) -> Result<Mode, BuildError> {
    let asked = wish.or(read.parse("GORUN_MODE", Mode::NAMES)?);
    let processes = read.parse::<Switch>("GORUN_PROCESSES", "0, 1")?.is_none_or(|on| on.0);
    Ok(asked.unwrap_or(if processes { Mode::Process } else { Mode::Thread }))
}

pub(crate) fn in_range<T: PartialOrd + Display + Copy>(
    key: &'static str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<T, BuildError> {
    if range.contains(&value) { Ok(value) } else { Err(out_of_range(key, value, range)) }
}

fn power_of_two<T: Display>(
    key: &'static str,
    value: u64,
    range: &RangeInclusive<T>,
) -> Result<u64, BuildError> {
    if value.is_power_of_two() {
        return Ok(value);
    }
    let allowed = format!("powers of two, {}..={}", range.start(), range.end());
    Err(BuildError::OutOfRange { key, value: value.to_string(), allowed })
}

fn out_of_range<T: Display>(key: &'static str, value: T, range: &RangeInclusive<T>) -> BuildError {
    let allowed = format!("{}..={}", range.start(), range.end());
    BuildError::OutOfRange { key, value: value.to_string(), allowed }
}

fn check_spin(spin: Duration) -> Result<Duration, BuildError> {
    if spin <= SPIN_MAX {
        return Ok(spin);
    }
    Err(BuildError::OutOfRange {
        key: "spin",
        value: format!("{spin:?}"),
        allowed: format!("0..={SPIN_MAX:?}"),
    })
}

const LIMIT_MIN: Duration = Duration::from_micros(1);
const LIMIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn check_limit(key: &'static str, limit: Duration) -> Result<Duration, BuildError> {
    if (LIMIT_MIN..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    let allowed = format!("{LIMIT_MIN:?}..={LIMIT_MAX:?}");
    Err(BuildError::OutOfRange { key, value: format!("{limit:?}"), allowed })
}

fn narrow(value: usize) -> u16 {
    // The ranges above end below 2^16.
    u16::try_from(value).unwrap_or(u16::MAX)
}
