//! The settings of a runtime as flags, and the `GORUN_*` variables they become.
//!
//! A flag that is not given leaves its variable as it is. What a flag takes is what the runtime takes; a test below
//! holds the two together.

use super::memory::MemoryFlags;
use super::supervision::SupervisionFlags;
use crate::limit::{Limit, NotAllowed};
use gorun::LoadBalancing;
use gorun::topology::{Placement, Smt};

const WORKERS: Limit = Limit::whole(1, 120);
const SPARES: Limit = Limit::whole(0, 8);
const QUEUE_SLOTS: Limit = Limit::powers_of_two(64, 65_536);
const MESSAGE_BYTES: Limit = Limit::powers_of_two(4096, 1 << 31);
const SPIN_US: Limit = Limit::whole(0, 1000);
const TASKS: Limit = Limit::whole(1, u64::MAX - 1);
const MEMORY: Limit = Limit::whole(1 << 20, 1 << 50);
const QUARANTINE: Limit = Limit::whole(0, 1000);
const LIMIT_MS: Limit = Limit::whole(1, 365 * 24 * 3600 * 1000);

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Runtime settings")]
pub(super) struct RuntimeFlags {
    /// File with settings, for example workers = 4; weaker than flags [GORUN_CONFIG; default: gorun.toml, if there is one]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,

    /// Worker processes, 1 to 120 [GORUN_WORKERS; default: one per usable processor]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<u64>,

    /// Where workers run: per-core, per-l3, per-node, none, or processors such as 0-3,8 [GORUN_PLACEMENT; default: per-core]
    #[arg(long, value_name = "WHERE")]
    placement: Option<Placement>,

    /// What is done with the further processors of a core: spread, pack or avoid [GORUN_SMT; default: spread]
    #[arg(long, value_name = "HOW")]
    smt: Option<Smt>,

    /// How tasks are spread over the workers: least-busy, round-robin, or weights such as 3,1 [GORUN_LOAD_BALANCING; default:
    /// least-busy]
    #[arg(long, value_name = "HOW")]
    load_balancing: Option<LoadBalancing>,

    /// Let no worker take tasks that wait for another [GORUN_WORK_STEALING=0]
    #[arg(long)]
    no_stealing: bool,

    /// Workers kept ready to take a dead one's seat, 0 to 8 [GORUN_SPARES; default: 1]
    #[arg(long, value_name = "N", value_parser = spares)]
    spares: Option<u64>,

    /// Tasks that wait per worker before a caller does, a power of two, 64 to 65536 [GORUN_QUEUE_SLOTS; default: 4096]
    #[arg(long, value_name = "N", value_parser = queue_slots)]
    queue_slots: Option<u64>,

    /// Largest input or result, a power of two, 4K to 2G; K, M, G may follow [GORUN_MESSAGE_BYTES_MAX; default: 1G]
    #[arg(long, value_name = "BYTES", value_parser = message_bytes)]
    message_bytes_max: Option<u64>,

    /// Microseconds that an idle worker spins before it sleeps, 0 to 1000 [GORUN_SPIN_US; default: 8]
    #[arg(long, value_name = "N", value_parser = spin_us)]
    spin_us: Option<u64>,

    /// Milliseconds after which a task is over, waiting in line included; it is killed if it runs [GORUN_DEADLINE_MS]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    deadline_ms: Option<u64>,

    /// Milliseconds that a task may run before it is killed [GORUN_TIMEOUT_MS]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    timeout_ms: Option<u64>,

    /// Milliseconds between asking a task whose time is over to stop and killing it [GORUN_GRACE_MS]
    #[arg(long, value_name = "MS", value_parser = limit_ms)]
    grace_ms: Option<u64>,

    /// Tasks after which a worker makes room for a fresh one [GORUN_MAX_TASKS_PER_WORKER]
    #[arg(long, value_name = "N", value_parser = tasks)]
    max_tasks_per_worker: Option<u64>,

    /// Milliseconds after which a worker makes room for a fresh one [GORUN_MAX_WORKER_AGE_MS]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    max_worker_age_ms: Option<u64>,

    /// Memory above which a worker makes room after its task; K, M, G may follow [GORUN_MEMORY_SOFT]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    memory_soft: Option<u64>,

    /// Memory above which a worker is killed in its task; K, M, G may follow [GORUN_MEMORY_MAX]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    memory_max: Option<u64>,

    /// Deaths of workers after which a function is not run with the same input again, 0 for never
    /// [GORUN_QUARANTINE_AFTER]
    #[arg(long, value_name = "N", value_parser = crashes)]
    quarantine_after: Option<u64>,

    /// Jailed workers that may have a task at once, 1 to 120 [GORUN_JAILED_WORKERS; default: as many as workers]
    #[arg(long, value_name = "N", value_parser = workers)]
    jailed_workers: Option<u64>,

    /// Run tasks on threads of the program, for debugging: a crash in one ends the program [GORUN_PROCESSES=0]
    #[arg(long)]
    threads: bool,

    #[command(flatten)]
    supervision: SupervisionFlags,

    #[command(flatten)]
    memory: MemoryFlags,
}

impl RuntimeFlags {
    /// The variables that the given flags set.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let numbers = [
            ("GORUN_WORKERS", self.workers),
            ("GORUN_SPARES", self.spares),
            ("GORUN_QUEUE_SLOTS", self.queue_slots),
            ("GORUN_MESSAGE_BYTES_MAX", self.message_bytes_max),
            ("GORUN_SPIN_US", self.spin_us),
            ("GORUN_DEADLINE_MS", self.deadline_ms),
            ("GORUN_TIMEOUT_MS", self.timeout_ms),
            ("GORUN_GRACE_MS", self.grace_ms),
            ("GORUN_MAX_TASKS_PER_WORKER", self.max_tasks_per_worker),
            ("GORUN_MAX_WORKER_AGE_MS", self.max_worker_age_ms),
            ("GORUN_MEMORY_SOFT", self.memory_soft),
            ("GORUN_MEMORY_MAX", self.memory_max),
            ("GORUN_QUARANTINE_AFTER", self.quarantine_after),
            ("GORUN_JAILED_WORKERS", self.jailed_workers),
            ("GORUN_PROCESSES", self.threads.then_some(0)),
            ("GORUN_WORK_STEALING", self.no_stealing.then_some(0)),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, number?.to_string())));
        let placement = self.placement.as_ref().map(|placement| ("GORUN_PLACEMENT", placement.to_string()));
        let file = self.config.clone().map(|file| ("GORUN_CONFIG", file));
        let balancing = self.load_balancing.as_ref().map(|rule| ("GORUN_LOAD_BALANCING", rule.to_string()));
        let smt = self.smt.map(|smt| ("GORUN_SMT", smt.to_string()));
        numbers
            .chain(file)
            .chain(placement)
            .chain(smt)
            .chain(balancing)
            .chain(self.supervision.environment())
            .chain(self.memory.environment())
            .collect()
    }
}

fn workers(text: &str) -> Result<u64, NotAllowed> {
    WORKERS.parse(text)
}

fn spares(text: &str) -> Result<u64, NotAllowed> {
    SPARES.parse(text)
}

fn queue_slots(text: &str) -> Result<u64, NotAllowed> {
    QUEUE_SLOTS.parse(text)
}

fn message_bytes(text: &str) -> Result<u64, NotAllowed> {
    MESSAGE_BYTES.parse_bytes(text)
}

fn spin_us(text: &str) -> Result<u64, NotAllowed> {
    SPIN_US.parse(text)
}

fn tasks(text: &str) -> Result<u64, NotAllowed> {
    TASKS.parse(text)
}

fn crashes(text: &str) -> Result<u64, NotAllowed> {
    QUARANTINE.parse(text)
}

fn memory(text: &str) -> Result<u64, NotAllowed> {
    MEMORY.parse_bytes(text)
}

pub(super) fn limit_ms(text: &str) -> Result<u64, NotAllowed> {
    LIMIT_MS.parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun::{BuildError, Runtime};

    #[test]
    fn no_flag_sets_no_variable() {
        assert_eq!(RuntimeFlags::default().environment(), []);
    }

    #[test]
    fn each_flag_sets_its_variable() {
        let flags = RuntimeFlags {
            config: Some("some.toml".to_owned()),
            workers: Some(3),
            placement: Some(Placement::Cores(vec![1, 0])),
            smt: Some(Smt::Avoid),
            load_balancing: Some(LoadBalancing::Weighted(vec![3, 1])),
            no_stealing: true,
            spares: Some(0),
            queue_slots: Some(64),
            message_bytes_max: Some(8192),
            spin_us: Some(5),
            deadline_ms: Some(70),
            timeout_ms: Some(60),
            grace_ms: Some(50),
            max_tasks_per_worker: Some(9),
            max_worker_age_ms: Some(80),
            memory_soft: Some(1 << 20),
            memory_max: Some(1 << 21),
            quarantine_after: Some(5),
            jailed_workers: Some(2),
            threads: true,
            supervision: SupervisionFlags::default(),
            memory: MemoryFlags::default(),
        };
        let expected = [
            ("GORUN_WORKERS", "3"),
            ("GORUN_SPARES", "0"),
            ("GORUN_QUEUE_SLOTS", "64"),
            ("GORUN_MESSAGE_BYTES_MAX", "8192"),
            ("GORUN_SPIN_US", "5"),
            ("GORUN_DEADLINE_MS", "70"),
            ("GORUN_TIMEOUT_MS", "60"),
            ("GORUN_GRACE_MS", "50"),
            ("GORUN_MAX_TASKS_PER_WORKER", "9"),
            ("GORUN_MAX_WORKER_AGE_MS", "80"),
            ("GORUN_MEMORY_SOFT", "1048576"),
            ("GORUN_MEMORY_MAX", "2097152"),
            ("GORUN_QUARANTINE_AFTER", "5"),
            ("GORUN_JAILED_WORKERS", "2"),
            ("GORUN_PROCESSES", "0"),
            ("GORUN_WORK_STEALING", "0"),
            ("GORUN_CONFIG", "some.toml"),
            ("GORUN_PLACEMENT", "1,0"),
            ("GORUN_SMT", "avoid"),
            ("GORUN_LOAD_BALANCING", "3,1"),
        ];
        assert_eq!(flags.environment(), expected.map(|(key, value)| (key, value.to_owned())));
    }

    /// What the runtime says is allowed when it refuses a number just over the limit.
    fn allowed_by_runtime(builder: gorun::Builder) -> String {
        match builder.build() {
            Err(BuildError::OutOfRange { allowed, .. }) => allowed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_runtime_has_the_same_limits() {
        let over = |limit: &Limit| usize::try_from(limit.range.end() + 1).unwrap();
        let builder = || Runtime::builder().processes(false);
        assert_eq!(allowed_by_runtime(builder().workers(over(&WORKERS))), WORKERS.to_string());
        assert_eq!(allowed_by_runtime(builder().jailed_workers(over(&WORKERS))), WORKERS.to_string());
        assert_eq!(allowed_by_runtime(builder().spares(over(&SPARES))), SPARES.to_string());
        assert_eq!(allowed_by_runtime(builder().queue_slots(65)), QUEUE_SLOTS.to_string());
        assert_eq!(allowed_by_runtime(builder().message_bytes_max(4097)), MESSAGE_BYTES.to_string());
        let spin = std::time::Duration::from_micros(SPIN_US.range.end() + 1);
        assert_eq!(allowed_by_runtime(builder().spin(spin)), "0..=1ms");
        let limit = std::time::Duration::from_millis(LIMIT_MS.range.end() + 1);
        assert_eq!(allowed_by_runtime(builder().deadline(limit)), "1µs..=31536000s");
        let over = builder().memory_max(MEMORY.range.end() + 1);
        assert_eq!(allowed_by_runtime(over), MEMORY.to_string());
        assert_eq!(allowed_by_runtime(builder().quarantine_after(1001)), QUARANTINE.to_string());
    }
}
