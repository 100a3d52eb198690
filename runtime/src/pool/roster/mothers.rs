//! Mothers: the zygotes, and what is done while none can be had. Part of the pure roster.

use super::{ALONE_NS, Action, Life, Roster};

/// Zygotes that may fail to start in a row before the pool does without processes for a while.
const FAILED_ZYGOTES_MAX: u32 = 2;

impl Roster {
    /// True if a zygote was lost: it may have left workers that nobody has told of.
    pub(crate) fn has_orphans(&self) -> bool {
        self.zygote > 0 || self.without_zygote
    }

    /// True if the zygote of today forked the worker, and will tell how it ended.
    pub(crate) fn is_child_of_current_zygote(&self, record: u16) -> bool {
        matches!(self.life(record), Some(Life::Alive { mother, .. } | Life::Dying { mother, .. }) if mother == self.zygote)
    }

    /// The zygote serves.
    pub(crate) fn zygote_ready(&mut self, now_ns: u64) {
        self.failed_zygotes = 0;
        self.nursery.filled(now_ns);
    }

    /// The zygote has said that it cannot serve: its end, which follows, is one too many.
    pub(crate) fn zygote_failed(&mut self) {
        self.failed_zygotes = FAILED_ZYGOTES_MAX;
    }

    /// True while no zygote can be had.
    pub(crate) fn is_without_zygote(&self) -> bool {
        self.without_zygote
    }

    /// The zygote is gone. `was_ready` is false if it never served.
    pub(crate) fn zygote_ended(&mut self, was_ready: bool, now_ns: u64) -> Vec<Action> {
        if self.closed {
            return Vec::new();
        }
        self.failed_zygotes = if was_ready { 0 } else { self.failed_zygotes + 1 };
        if self.failed_zygotes >= FAILED_ZYGOTES_MAX {
            return self.no_zygote(true, now_ns);
        }
        let random = self.next_random();
        self.nursery.crash(now_ns, random);
        if !self.nursery.lets_in() {
            // Workers live on, and those that were asked for are asked of the next one: they cannot wait for long.
            self.nursery.hurry(now_ns.saturating_add(ALONE_NS));
            return Vec::new();
        }
        self.zygote += 1;
        vec![Action::StartZygote]
    }

    /// No zygote can be had: every seat without a worker is served by a thread, until one can if `again`.
    pub(crate) fn no_zygote(&mut self, again: bool, now_ns: u64) -> Vec<Action> {
        self.without_zygote = true;
        self.failed_zygotes = 0;
        if again {
            let random = self.next_random();
            self.nursery.trip(now_ns, random);
        }
        for record in self.unborn() {
            let Some(Life::Forking { seat }) = self.life(record) else { continue };
            self.set(record, Life::Vacant);
            if let Some(seat) = seat {
                self.seats[usize::from(seat)].record = None;
            }
        }
        let is_empty = |seat: &u16| {
            let state = &self.seats[usize::from(*seat)];
            state.record.is_none() && !state.retired && !state.resting
        };
        let empty: Vec<u16> = (0..self.seat_count()).filter(is_empty).collect();
        let mut actions = Vec::new();
        // By the spares that are left, then by threads.
        empty.into_iter().for_each(|seat| self.fill(seat, now_ns, &mut actions));
        actions
    }

    /// The pause after a zygote's end may be over.
    pub(super) fn look_at_nursery(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        if !self.nursery.look(now_ns) {
            return;
        }
        self.zygote += 1;
        actions.push(Action::StartZygote);
        if self.without_zygote {
            self.without_zygote = false;
            self.retry_empty_seats(now_ns, actions);
        }
    }
}
