//! How the ends of streams and broadcasts wait.

use super::patience::Patience;
use gorun_shm::gate::{ArmedGate, Gate};
use gorun_shm::os::ticks;
use gorun_shm::sync::spin_hint;
use gorun_worker::context;
use std::time::Duration;

/// How often to look before the first look at the clock.
const QUICK_LOOKS: u32 = 100;
/// Longest sleep where the kernel did not fence for the other side.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// An end that can wait.
pub(super) trait Waits {
    /// What it waits for.
    type Found;

    /// One look; none if there is nothing, and waiting may help.
    fn look(&mut self) -> Option<Self::Found>;
    /// The gate that is rung.
    fn gate(&self) -> &Gate;
    /// Announces that it will sleep at the gate; false if the other side may not notice.
    fn arm(&self) -> (ArmedGate, bool);
}

/// Looks until there is something or patience is over. Between looks the thread spins for so long, runs tasks of its own
/// if it is a worker's, then sleeps at the gate.
///
/// # Blocking
/// So long.
#[cold]
pub(super) fn wait<W: Waits>(end: &mut W, patience: Patience, spin_ticks: u64) -> Option<W::Found> {
    if patience == Patience::None {
        return None;
    }
    if spin_ticks > 0 {
        for _ in 0..QUICK_LOOKS {
            spin_hint();
            if let Some(found) = end.look() {
                return Some(found);
            }
        }
    }
    let duty = context::duty();
    let started = ticks::now();
    loop {
        if let Some(found) = end.look() {
            return Some(found);
        }
        if duty.as_ref().is_some_and(|duty| duty.run_one()) {
            continue;
        }
        if ticks::now().wrapping_sub(started) < spin_ticks {
            spin_hint();
            continue;
        }
        let left = match patience {
            Patience::Until(deadline) => {
                let now = ticks::system_ns();
                if now >= deadline {
                    return None;
                }
                Some(Duration::from_nanos(deadline - now))
            }
            Patience::None | Patience::Endless => None,
        };
        let (armed, is_safe) = end.arm();
        if let Some(found) = end.look() {
            return Some(found);
        }
        let left = if is_safe { left } else { Some(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))) };
        let gate = end.gate();
        match &duty {
            Some(duty) => duty.wait_in_task(|| gate.wait(armed, left)),
            None => gate.wait(armed, left),
        }
    }
}
