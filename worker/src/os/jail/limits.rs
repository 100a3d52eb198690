//! Limits of a jailed process. They bind what the filter cannot count.

use super::descriptors::Held;
use crate::jail::{Jail, JailPart, JailRefusal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Bytes of address space this process has now; 0 if the kernel does not say.
#[must_use]
fn current_address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = statm.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
}

/// The limits of a profile, for a process as it is now.
#[derive(Debug)]
pub(super) struct Limits(Vec<(Resource, u64)>);

impl Limits {
    /// Looks at the process while it still may.
    pub(super) fn of(jail: &Jail, held: &Held) -> Self {
        let memory = current_address_space().saturating_add(jail.memory_bytes);
        let files = u64::from(held.end()) + u64::from(jail.open_files);
        let file_bytes = if jail.write.is_empty() && !jail.output { Some(0) } else { jail.file_bytes };
        let processes = (!jail.threads).then_some(0);
        // A part of a second is a second: the kernel counts no less.
        let cpu = jail.cpu_time.map(|time| (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1));
        let limits = [
            (Resource::Core, Some(0)),
            (Resource::Memlock, Some(0)),
            (Resource::Msgqueue, Some(0)),
            (Resource::As, Some(memory)),
            (Resource::Nofile, Some(files)),
            (Resource::Fsize, file_bytes),
            (Resource::Nproc, processes),
            (Resource::Cpu, cpu),
        ];
        Self(limits.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))).collect())
    }

    /// Sets them, soft and hard alike, and none above what holds already.
    pub(super) fn set(&self) -> Result<(), JailRefusal> {
        for (resource, limit) in &self.0 {
            // A hard limit that is lower already cannot be raised, and need not be.
            let limit = getrlimit(*resource).maximum.map_or(*limit, |most| most.min(*limit));
            let rlimit = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(*resource, rlimit)
                .map_err(|errno| JailRefusal::lacking(JailPart::Limits, &io::Error::from(errno)))?;
        }
        Ok(())
    }
}
