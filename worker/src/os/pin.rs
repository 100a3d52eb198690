//! Pinning the calling thread to processors, verified by reading back.

use crate::cpu_set::CpuSet;
use nix::sched::{sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// The processors this process may use. Empty only if the kernel does not tell.
#[must_use]
pub fn allowed() -> CpuSet {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return CpuSet::default() };
    (0..CpuSet::CPUS_MAX).filter(|cpu| set.is_set(*cpu as usize).unwrap_or(false)).collect()
}

/// Pins the calling thread to `cpus`; false if the kernel did not do exactly that.
#[must_use]
pub fn pin(cpus: &CpuSet) -> bool {
    !cpus.is_empty() && set(cpus) && allowed() == *cpus
}

/// Lets the calling thread run on every processor in `cpus` again.
pub fn unpin(cpus: &CpuSet) {
    // If the kernel refuses, the thread stays where it was, which is correct if slower.
    set(cpus);
}

/// Pins the calling thread to `cpus`, or lets it run on all of `others` if they are none or the kernel refuses.
pub fn settle(cpus: &CpuSet, others: &CpuSet) {
    if !pin(cpus) {
        unpin(others);
    }
}

fn set(cpus: &CpuSet) -> bool {
    let mut set = nix::sched::CpuSet::new();
    cpus.iter().all(|cpu| set.set(cpu as usize).is_ok()) && sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

/// The processor the calling thread runs on now; it may be another one in the next instant.
#[inline]
#[must_use]
pub fn current() -> Option<u32> {
    sched_getcpu().ok().and_then(|cpu| cpu.try_into().ok())
}
