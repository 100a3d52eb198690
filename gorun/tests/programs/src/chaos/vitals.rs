//! Vitals: what the host holds of the machine, to be compared at the beginning and at the end.

use crate::descriptors;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// At one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    /// Memory of its own, in bytes.
    pub anonymous_bytes: u64,
    /// What each of its descriptors is, sorted.
    pub descriptors: Vec<String>,
    /// Segments that it has mapped.
    pub segments: usize,
    /// Memory that these hold, whoever has touched it.
    pub segment_bytes: u64,
}

impl Vitals {
    /// Looks.
    #[must_use]
    pub fn take() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes =
            kilobytes.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self {
            anonymous_bytes: kilobytes.unwrap_or(0) * 1024,
            descriptors: descriptors::open(),
            segments: maps.lines().filter(|line| line.contains("memfd:gorun")).count(),
            segment_bytes: segment_bytes(),
        }
    }
}

fn segment_bytes() -> u64 {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let segments = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("memfd:gorun"))
    });
    segments
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .map(|file| file.blocks() * 512)
        .max()
        .unwrap_or(0)
}
