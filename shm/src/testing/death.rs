//! Death: a test in two processes, one of which is killed at a named crash point.
//!
//! The test runs its own binary again, for the same test and with the segment as standard input. That second
//! process, the victim, works until it reaches the crash point and dies there by SIGKILL. The first process,
//! the survivor, waits for the death and then looks at what is left.

use super::Watchdog;
use crate::segment::Segment;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Names the victim's test; set in the victim only.
const VICTIM: &str = "GORUN_CRASH_VICTIM";
/// Exit status of a victim that came to its end without reaching the crash point.
const NOT_REACHED: i32 = 3;
const SIGKILL: i32 = 9;

/// One death.
#[derive(Debug, Clone, Copy)]
pub struct CrashTest {
    /// The test's own name, as the test binary lists it.
    pub test: &'static str,
    /// The crash point, see [`crate::crash`].
    pub point: &'static str,
    /// The passage of the point at which to die, 1 for the first.
    pub nth: u64,
    /// Size of the shared segment in bytes.
    pub bytes: usize,
}

impl CrashTest {
    /// Prepares the segment, lets the victim work on it until it is killed, and gives it to the survivor.
    ///
    /// # Panics
    /// If the victim does not die by SIGKILL, and with whatever the survivor asserts.
    ///
    /// # Blocking
    /// Until the victim is dead; a watchdog ends both processes if that takes too long.
    pub fn run(
        self,
        prepare: impl FnOnce(&Arc<Segment>),
        victim: impl FnOnce(&Arc<Segment>),
        survive: impl FnOnce(&Arc<Segment>),
    ) {
        let _watchdog = Watchdog::start(self.test);
        if std::env::var(VICTIM).is_ok_and(|test| test == self.test) {
            victim(&self.inherited());
            std::process::exit(NOT_REACHED);
        }
        let segment = Segment::create("gorun-crash-test", self.bytes).expect("create a segment");
        prepare(&segment);
        self.await_death(&segment);
        survive(&segment);
    }

    fn inherited(&self) -> Arc<Segment> {
        let file = std::io::stdin().as_fd().try_clone_to_owned().expect("duplicate standard input");
        Segment::attach(file, self.bytes).expect("map the survivor's segment")
    }

    fn await_death(&self, segment: &Segment) {
        let file = segment.file().expect("a created segment has a file");
        let file = file.try_clone_to_owned().expect("duplicate a descriptor");
        let status = Command::new(std::env::current_exe().expect("know this program"))
            .args(["--exact", self.test, "--nocapture"])
            .env(VICTIM, self.test)
            .env(crate::crash::VARIABLE, format!("{}:{}", self.point, self.nth))
            .stdin(Stdio::from(file))
            .stdout(Stdio::null())
            .status()
            .expect("run the test binary again");
        assert_eq!(status.signal(), Some(SIGKILL), "victim ended with {status} before {}", self.point);
    }
}
