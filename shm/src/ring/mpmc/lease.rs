//! Messages that are taken for a limited time: what a silent consumer keeps too long is taken from it.
//!
//! In such a channel the last word of a slot's payload says until when its message is taken, in nanoseconds of the monotonic
//! clock; 0 is not yet known. Whoever waits looks at it; no thread exists for it. `README.md` has the argument.

use super::ring::{Claim, InUse, Ring, Taken};
use super::word::SlotState;
use crate::blocks::Holder;
use crate::sync::{AtomicU64, Ordering};

impl Ring<'_> {
    /// A message is about to be published in the slot that the caller claimed: nobody has taken it.
    pub fn start_afresh(&self, claim: &Claim) {
        self.forget_due(self.payload(claim.position));
    }

    /// The message that the caller took is its own until then.
    pub fn hold_until(&self, taken: &Taken, due_ns: u64) {
        if let Some(due) = self.payload(taken.position).last() {
            // Relaxed, both: a time. An exchange, so that a caller that was stopped for long does not shorten the time
            // of who has the message now.
            let _ = due.compare_exchange(0, due_ns.max(1), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// True if the caller still has the message that it took.
    #[must_use]
    pub fn holds(&self, taken: &Taken, me: Holder) -> bool {
        let (slot, lap) = self.slot(taken.position);
        // Acquire: what was read of the payload before is not read later than this.
        crate::sync::fence(Ordering::Acquire);
        // Relaxed: pairs by the fence above with the Release of whoever took the message away.
        slot.load(Ordering::Relaxed) == taken.reading(lap, me).0
    }

    /// When the first message is overdue that somebody has taken, if somebody has taken one. Messages whose time is not
    /// known yet get `limit_ns` from `now_ns` on: their consumer was stopped before it could say.
    #[must_use]
    pub fn next_due(&self, now_ns: u64, limit_ns: u64) -> Option<u64> {
        let reading = self.in_use().filter(|found| found.word.state() == SlotState::Reading);
        reading.filter_map(|found| Some(due_of(found.payload.last()?, now_ns, limit_ns))).min()
    }

    /// Takes the first overdue message from whoever has it: its acknowledgement will come too late. Its deliveries are one
    /// more then; [`Ring::hand_on`] gives it to anybody.
    pub fn seize_overdue(&self, me: Holder, now_ns: u64, limit_ns: u64) -> Option<Taken> {
        let reading = self.in_use().filter(|found| found.word.state() == SlotState::Reading);
        for InUse { position, slot, payload, word } in reading {
            if payload.last().is_none_or(|due| due_of(due, now_ns, limit_ns) > now_ns) {
                continue;
            }
            let seized = word.seized_by(me);
            // Before the exchange: the next holder must not be measured by this time.
            self.forget_due(payload);
            // AcqRel: as in `take`; the Release half publishes the time. Relaxed on failure: it was acknowledged meanwhile.
            if slot.compare_exchange(word.0, seized.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                crate::crash_point!("mpmc.seize.seized");
                self.header.seized.add_shared(1);
                // Moves no head: what lies before is not known.
                return Some(Taken { position, first_held: position.wrapping_sub(1), word: seized });
            }
        }
        None
    }

    /// Gives a message that was seized back to its place, for anybody.
    pub fn hand_on(&self, taken: Taken, me: Holder) {
        let deliveries = taken.word.deliveries();
        self.give_back(taken, me, deliveries);
    }

    /// The message has no holder, or another.
    pub(super) fn forget_due(&self, payload: &[AtomicU64]) {
        if let Some(due) = payload.last().filter(|_| self.header.has_leases()) {
            due.store(0, Ordering::Relaxed); // Relaxed: the exchange that follows publishes it.
        }
    }
}

/// Until when a message is taken. One that nobody has said it of is given a time.
fn due_of(due: &AtomicU64, now_ns: u64, limit_ns: u64) -> u64 {
    let given = now_ns.saturating_add(limit_ns).max(1);
    // Relaxed, all: a time.
    match due.compare_exchange(0, given, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => given,
        // No honest time is farther away: scribbled bytes keep nobody waiting longer.
        Err(due) => due.min(given),
    }
}
