//! Report: a runtime that was started under `gorun run` hands its segment to the launcher.
//!
//! The launcher's socket is named in the environment; the segment's descriptor goes there once, and the
//! launcher reads the counters while the program runs and after it has died, however it died.

use crate::profile::Profile;
use gorun_shm::os::ticks;
use gorun_shm::sync::Ordering;
use gorun_worker::os::socket;
use gorun_worker::wire::commons::Commons;

/// Names the launcher's abstract socket.
pub const VARIABLE: &str = "GORUN_REPORT";

/// Hands the segment over, if a launcher asked for it.
pub(crate) fn started(commons: &Commons) {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    let Some(file) = commons.segment().file() else { return };
    let bytes = (commons.segment().bytes() as u64).to_ne_bytes();
    let told = socket::connect_abstract(&name).and_then(|launcher| socket::send(&launcher, &bytes, &[file]));
    if let Err(cause) = told {
        tracing::debug!(%cause, "no launcher takes the report");
    }
}

/// Notes when the runtime ended, so that shares are of its own time; for a launcher also what functions are called.
pub(crate) fn stopped(commons: &Commons, libraries: impl FnOnce() -> Vec<String>) {
    if std::env::var_os(VARIABLE).is_some() {
        Profile::leave_names(commons, &libraries());
    }
    let host = &commons.host;
    host.stop_ticks.store(ticks::now(), Ordering::Relaxed); // Relaxed: published by `stop_ns`.
    host.stop_ns.store(ticks::system_ns(), Ordering::Release); // Release: for observers.
}
