//! Wait: as `patience` does it, but at two gates at once.

use super::super::patience::Patience;
use gorun_shm::gate::Gate;
use gorun_shm::os::{futex, ticks};
use gorun_shm::partitions::Asleep;
use gorun_shm::sync::{AtomicU32, spin_hint};
use gorun_worker::context;
use std::time::Duration;

/// Two gates, armed. Whoever has them looks once more, then sleeps or drops them.
pub(super) struct Armed<'a> {
    words: [(&'a AtomicU32, u32); 2],
    /// While it lives, others wake this member.
    _asleep: Option<Asleep<'a>>,
}

impl<'a> Armed<'a> {
    pub(super) fn at(one: &'a Gate, other: &'a Gate) -> Self {
        Self { words: [one.word(one.arm()), other.word(other.arm())], _asleep: None }
    }

    /// Where a member sleeps, and another gate.
    pub(super) fn member(asleep: Asleep<'a>, other: &'a Gate) -> Self {
        let other = other.word(other.arm());
        let own = asleep.gate().map_or(other, |(gate, armed)| gate.word(armed));
        Self { words: [own, other], _asleep: Some(asleep) }
    }
}

/// Repeats `attempt` until it gives something or patience is over. Between attempts the thread runs tasks of its own if
/// it is a worker's, spins for so long, then sleeps, unless by the last attempt other gates are to be armed: `is_current`.
///
/// # Blocking
/// So long.
#[inline]
pub(super) fn wait<'a, R>(
    patience: Patience,
    spin_ticks: u64,
    mut attempt: impl FnMut() -> Option<R>,
    arm: impl Fn() -> Armed<'a>,
    is_current: impl Fn() -> bool,
) -> Option<R> {
    if let Some(result) = attempt() {
        return Some(result);
    }
    if patience == Patience::None {
        return None;
    }
    wait_long(patience, spin_ticks, &mut attempt, (&arm, &is_current))
}

#[cold]
fn wait_long<'a, R>(
    patience: Patience,
    spin_ticks: u64,
    attempt: &mut dyn FnMut() -> Option<R>,
    (arm, is_current): (&dyn Fn() -> Armed<'a>, &dyn Fn() -> bool),
) -> Option<R> {
    let duty = context::duty();
    let started = ticks::now();
    loop {
        if let Some(result) = attempt() {
            return Some(result);
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
        let armed = arm();
        if let Some(result) = attempt() {
            return Some(result);
        }
        if !is_current() {
            continue;
        }
        match &duty {
            Some(duty) => duty.wait_in_task(|| futex::wait_any(&armed.words, left)),
            None => futex::wait_any(&armed.words, left),
        }
    }
}
