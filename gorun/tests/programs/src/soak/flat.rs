//! Flat: what the host holds of the machine, looked at now and then; it may not grow.

use crate::chaos::vitals::Vitals;
use serde::Serialize;

/// What an allocator may keep.
const GROWTH_BYTES_MAX: u64 = 4 << 20;
/// Descriptors that a restart in flight may have open beside those at rest.
const DESCRIPTORS_MAX: usize = 8;

/// One look.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// Faults so far.
    pub faults: u64,
    /// Memory of the host's own, in KiB.
    pub anonymous_kib: u64,
    /// The used part of the segment, in KiB.
    pub segment_kib: u64,
    /// The host's descriptors.
    pub descriptors: usize,
}

/// Looks.
#[must_use]
pub fn look(faults: u64) -> Point {
    let vitals = Vitals::take();
    Point {
        faults,
        anonymous_kib: vitals.anonymous_bytes / 1024,
        segment_kib: vitals.segment_bytes / 1024,
        descriptors: vitals.descriptors.len(),
    }
}

/// What has grown after the first tenth, in words; nothing if the curve is flat.
#[must_use]
pub fn complaints(curve: &[Point]) -> Vec<String> {
    let [.., last] = curve else { return Vec::new() };
    let Some(settled) = curve.get(curve.len() / 10) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (what, from, to) in [
        ("own memory", settled.anonymous_kib, last.anonymous_kib),
        ("segment", settled.segment_kib, last.segment_kib),
    ] {
        if to > from + GROWTH_BYTES_MAX / 1024 {
            complaints.push(format!("{what} has grown from {from} to {to} KiB"));
        }
    }
    if last.descriptors > settled.descriptors + DESCRIPTORS_MAX {
        complaints
            .push(format!("descriptors have grown from {} to {}", settled.descriptors, last.descriptors));
    }
    complaints
}
