//! Pinning the calling thread to one processor, verified by reading back.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu};
use nix::unistd::Pid;

/// The processors this process may use, in order. Empty only if the kernel does not tell.
#[must_use]
pub fn allowed() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .filter_map(|cpu| cpu.try_into().ok())
        .collect()
}

/// Pins the calling thread to `cpu`; false if the kernel did not do it.
#[must_use]
pub fn pin(cpu: u32) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu as usize }) && allowed() == [cpu]
}

/// Lets the calling thread run on every processor in `cpus` again.
pub fn unpin(cpus: &[u32]) {
    let mut set = CpuSet::new();
    for cpu in cpus {
        // A processor beyond the set's size cannot have come from `allowed`.
        let _ = set.set(*cpu as usize);
    }
    // If the kernel refuses, the thread stays where it was, which is correct if slower.
    let _ = nix::sched::sched_setaffinity(Pid::from_raw(0), &set);
}

/// The processor the calling thread runs on now; it may be another one in the next instant.
#[inline]
#[must_use]
pub fn current() -> Option<u32> {
    sched_getcpu().ok().and_then(|cpu| cpu.try_into().ok())
}
