//! Pace: how many items of a map go in a range, learned from how long they take.

use gorun_shm::os::ticks::Rate;

/// Run time that a range should have.
const RANGE_NS: u64 = 60_000;
/// Most items of a range.
pub(super) const GRAIN_MAX: u32 = 4096;
/// Most bytes of input that a range takes together; a single item may be larger.
pub(super) const RANGE_BYTES_MAX: usize = 1 << 18;

/// What was learned of the items so far.
#[derive(Debug)]
pub(super) struct Pace {
    range_ticks: u64,
    item_ticks: Option<u64>,
    pub(super) item_bytes: usize,
    pub(super) result_bytes: usize,
    pub(super) grain: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        let range_ticks = Rate::measured().ticks(RANGE_NS);
        Self { range_ticks, item_ticks: None, item_bytes: 32, result_bytes: 32, grain: 1 }
    }

    pub(super) fn learn(&mut self, items: u32, ticks: u64, result_bytes: u64) {
        let items = u64::from(items.max(1));
        let each = ticks / items;
        let smoothed = self.item_ticks.map_or(each, |known| (known * 3 + each) / 4);
        self.item_ticks = Some(smoothed);
        let wanted = self.range_ticks / smoothed.max(1);
        let wanted = u32::try_from(wanted).unwrap_or(GRAIN_MAX).clamp(1, GRAIN_MAX);
        // Grows step by step: a few quick items say little about the next thousand.
        self.grain = wanted.min(self.grain.saturating_mul(4));
        let bytes = usize::try_from(result_bytes / items).unwrap_or(usize::MAX / 2);
        self.result_bytes = self.result_bytes.max(bytes + bytes / 4 + 1).min(RANGE_BYTES_MAX);
    }
}

/// The items of a range that are run together: those from `skip` to `count`, of `total`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) total: u32,
    pub(super) count: u32,
    pub(super) skip: u32,
    /// True unless it is the first round over these items.
    pub(super) again: bool,
}

impl Round {
    pub(super) fn of_all(total: u32) -> Self {
        Self { total, count: total, skip: 0, again: false }
    }
}
