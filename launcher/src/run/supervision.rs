//! Supervision flags: where a program's tasks run and how its workers are looked after, each with its variable.

use super::flags::limit_ms;
use crate::limit::{Limit, NotAllowed};
use clap::ValueEnum;

const CRASHES: Limit = Limit::whole(0, 1000);
const WORKERS_MIN: Limit = Limit::whole(0, 120);

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Supervision settings")]
pub(super) struct SupervisionFlags {
    /// Where tasks run that ask for nothing else [GORUN_MODE; default: process]
    #[arg(long, value_name = "WHERE", conflicts_with = "threads")]
    mode: Option<Mode>,

    /// Who is followed by another worker [GORUN_RESTART; default: permanent]
    #[arg(long, value_name = "WHO")]
    restart: Option<Restart>,

    /// Crashes outside of tasks that a seat bears within the period, 0 to 1000 [GORUN_RESTART_INTENSITY; default: 5]
    #[arg(long, value_name = "N", value_parser = crashes)]
    restart_intensity: Option<u64>,

    /// Milliseconds within which those crashes count [GORUN_RESTART_PERIOD_MS; default: 10000]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    restart_period_ms: Option<u64>,

    /// Let tasks wait for a process rather than run on a thread, where none can be had [GORUN_GRACEFUL_DEGRADATION=0]
    #[arg(long)]
    no_degradation: bool,

    /// Milliseconds after which an idle worker leaves until a task comes [GORUN_WORKER_TIMEOUT_MS]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    worker_timeout_ms: Option<u64>,

    /// Workers that stay however idle, 0 to 120 [GORUN_WORKERS_MIN; default: 1]
    #[arg(long, value_name = "N", value_parser = workers_min)]
    workers_min: Option<u64>,

    /// Look after every worker at a steady pace [GORUN_HEALTH_MONITORING=1]
    #[arg(long)]
    health_monitoring: bool,

    /// Milliseconds after which a task counts as stuck, with health monitoring [GORUN_STUCK_AFTER_MS; default: 60000]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    stuck_after_ms: Option<u64>,

    /// Kill workers whose task is stuck [GORUN_KILL_STUCK=1]
    #[arg(long)]
    kill_stuck: bool,

    /// Milliseconds after which a worker stopped by a signal is killed [GORUN_STOPPED_AFTER_MS; default: 60000]
    #[arg(long, value_name = "N", value_parser = limit_ms)]
    stopped_after_ms: Option<u64>,

    /// Show in evidence what a worker last wrote to standard error [GORUN_CAPTURE_STDERR=1]
    #[arg(long)]
    capture_stderr: bool,
}

/// Where tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// On the thread that starts them
    Inline,
    /// On threads of the program
    Thread,
    /// In worker processes
    Process,
    /// In worker processes that may only compute
    Jailed,
}

/// Who is followed by another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// Every worker
    Permanent,
    /// Those that died, and not those that had served enough
    Transient,
    /// None
    Temporary,
}

impl SupervisionFlags {
    /// The variables that the given flags set.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let numbers = [
            ("GORUN_RESTART_INTENSITY", self.restart_intensity),
            ("GORUN_RESTART_PERIOD_MS", self.restart_period_ms),
            ("GORUN_GRACEFUL_DEGRADATION", self.no_degradation.then_some(0)),
            ("GORUN_WORKER_TIMEOUT_MS", self.worker_timeout_ms),
            ("GORUN_WORKERS_MIN", self.workers_min),
            ("GORUN_HEALTH_MONITORING", self.health_monitoring.then_some(1)),
            ("GORUN_STUCK_AFTER_MS", self.stuck_after_ms),
            ("GORUN_KILL_STUCK", self.kill_stuck.then_some(1)),
            ("GORUN_STOPPED_AFTER_MS", self.stopped_after_ms),
            ("GORUN_CAPTURE_STDERR", self.capture_stderr.then_some(1)),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, number?.to_string())));
        let mode = self.mode.map(|mode| ("GORUN_MODE", name_of(mode)));
        let restart = self.restart.map(|restart| ("GORUN_RESTART", name_of(restart)));
        numbers.chain(mode).chain(restart).collect()
    }
}

/// A value as it is typed, which is how the runtime reads it.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn crashes(text: &str) -> Result<u64, NotAllowed> {
    CRASHES.parse(text)
}

fn workers_min(text: &str) -> Result<u64, NotAllowed> {
    WORKERS_MIN.parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gorun::{BuildError, Runtime};
    use std::time::Duration;

    #[test]
    fn no_flag_sets_no_variable() {
        assert_eq!(SupervisionFlags::default().environment(), []);
    }

    #[test]
    fn each_flag_sets_its_variable() {
        let flags = SupervisionFlags {
            mode: Some(Mode::Jailed),
            restart: Some(Restart::Transient),
            restart_intensity: Some(7),
            restart_period_ms: Some(800),
            no_degradation: true,
            worker_timeout_ms: Some(90),
            workers_min: Some(2),
            health_monitoring: true,
            stuck_after_ms: Some(70),
            kill_stuck: true,
            stopped_after_ms: Some(60),
            capture_stderr: true,
        };
        let expected = [
            ("GORUN_RESTART_INTENSITY", "7"),
            ("GORUN_RESTART_PERIOD_MS", "800"),
            ("GORUN_GRACEFUL_DEGRADATION", "0"),
            ("GORUN_WORKER_TIMEOUT_MS", "90"),
            ("GORUN_WORKERS_MIN", "2"),
            ("GORUN_HEALTH_MONITORING", "1"),
            ("GORUN_STUCK_AFTER_MS", "70"),
            ("GORUN_KILL_STUCK", "1"),
            ("GORUN_STOPPED_AFTER_MS", "60"),
            ("GORUN_CAPTURE_STDERR", "1"),
            ("GORUN_MODE", "jailed"),
            ("GORUN_RESTART", "transient"),
        ];
        assert_eq!(flags.environment(), expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn names_and_limits_are_the_runtimes() {
        for mode in Mode::value_variants() {
            assert!(name_of(*mode).parse::<gorun::Mode>().is_ok());
        }
        for restart in Restart::value_variants() {
            assert!(name_of(*restart).parse::<gorun::Restart>().is_ok());
        }
        let builder = || Runtime::builder().processes(false);
        let over = builder().restart_intensity(1001, Duration::from_secs(1)).build();
        let Err(BuildError::OutOfRange { allowed, .. }) = over else { panic!("{over:?}") };
        assert_eq!(allowed, CRASHES.to_string());
        let over = builder().workers_min(121).build();
        let Err(BuildError::OutOfRange { allowed, .. }) = over else { panic!("{over:?}") };
        assert_eq!(allowed, WORKERS_MIN.to_string());
    }
}
