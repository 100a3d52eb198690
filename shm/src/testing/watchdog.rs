//! Watchdog: a test that hangs ends, with its name, instead of holding up everything.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Aborts the process if it is not dropped in time. A limit against hanging, never a measure of speed.
#[derive(Debug)]
pub struct Watchdog {
    /// Dropped with the watchdog, which ends its thread.
    _alive: SyncSender<()>,
}

impl Watchdog {
    /// Long enough for a loaded machine, short enough for a person.
    pub const LIMIT: Duration = Duration::from_secs(120);

    /// Watches the test `name` until the value is dropped.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let (alive, dropped) = sync_channel(1);
        let name = name.to_owned();
        std::thread::spawn(move || {
            if dropped.recv_timeout(Self::LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("watchdog: {name} did not end within {:?}", Self::LIMIT);
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}
