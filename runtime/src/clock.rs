//! Clock: the monotonic clock as users know it, `Instant`, and as processes share it, in nanoseconds.

use gorun_shm::os::ticks;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One moment on both, so that what is exact on one stays exact on the other. Its instant is a little earlier: a moment that
/// is turned into an instant is never late, and an instant that is turned into nanoseconds never early.
#[expect(clippy::disallowed_methods, reason = "this is where instants become nanoseconds and back")]
fn anchor() -> (Instant, u64) {
    static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();
    *ANCHOR.get_or_init(|| {
        let instant = Instant::now();
        (instant, ticks::system_ns())
    })
}

/// A moment in nanoseconds of the monotonic clock, which all processes share.
pub(crate) fn nanos_of(moment: Instant) -> u64 {
    let (instant, at_ns) = anchor();
    match moment.checked_duration_since(instant) {
        Some(later) => at_ns.saturating_add(nanos(later)),
        None => at_ns.saturating_sub(nanos(instant.saturating_duration_since(moment))),
    }
}

/// The moment `wait` from now.
pub(crate) fn after(wait: Duration) -> u64 {
    ticks::system_ns().saturating_add(nanos(wait))
}

/// The moment as an instant; one that no instant can name is the anchor's.
pub(crate) fn instant_of(moment_ns: u64) -> Instant {
    let (instant, at_ns) = anchor();
    let later = instant.checked_add(Duration::from_nanos(moment_ns.saturating_sub(at_ns))).unwrap_or(instant);
    later.checked_sub(Duration::from_nanos(at_ns.saturating_sub(moment_ns))).unwrap_or(later)
}

/// In nanoseconds; half a millennium for what does not fit.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}
