//! Lease: messages that are taken for a limited time, and who takes them back.
//!
//! There is no thread for it. A receiver that waits sleeps no longer than until the first message is overdue that somebody
//! has; and whoever takes one while others sleep wakes one of them, to watch. So as long as somebody waits for
//! messages, overdue ones come to it.

use super::RecvError;
use super::open::Rules;
use super::patience::{Patience, Waiting};
use super::receiver::try_take;
use gorun_shm::os::ticks;
use gorun_shm::ring::mpmc::Taken;
use gorun_worker::end::End;
use gorun_worker::letter;

/// Gives what is overdue to anybody; true if there was something.
pub(super) fn take_back_overdue(end: &End) -> bool {
    let limit_ns = end.terms().lease_ns;
    if limit_ns == 0 {
        return false;
    }
    let deliveries_max = Rules::from_word(end.terms().terms).deliveries_max;
    let (ring, mut is_changed) = (end.ring(), false);
    while let Some(taken) = ring.seize_overdue(end.me(), ticks::system_ns(), limit_ns) {
        is_changed = true;
        if deliveries_max > 0 && taken.word().deliveries() >= deliveries_max {
            ring.header().dead_letters.add_shared(1);
            letter::let_go(taken, end);
        } else {
            ring.hand_on(taken, end.me());
        }
    }
    is_changed
}

/// The message is the caller's for so long; somebody watches.
pub(super) fn begin(end: &End, taken: &Taken) {
    let ring = end.ring();
    ring.hold_until(taken, ticks::system_ns().saturating_add(end.terms().lease_ns));
    // Behind the exchange that took it: who sleeps has seen it taken, or is seen.
    ring.header().not_empty().notify_after_exchange();
}

/// Waits for a message, and for those that become overdue meanwhile.
pub(super) fn wait(end: &End, patience: Patience, waiting: &Waiting<'_>) -> Option<Result<Taken, RecvError>> {
    let next_due = || end.ring().next_due(ticks::system_ns(), end.terms().lease_ns);
    loop {
        let due = next_due();
        let attempt = || match try_take(end) {
            Some(taken) => Some(Some(taken)),
            // Somebody has taken a message since: from now on there is something to watch, or something earlier.
            None => next_due().filter(|next| due.is_none_or(|due| *next < due)).map(|_| None),
        };
        match patience.at_most(due).wait(waiting, attempt) {
            Some(Some(taken)) => return Some(taken),
            _ if patience.is_over() => {
                // Another watches from now on.
                end.ring().header().not_empty().notify();
                return None;
            }
            _ => {}
        }
    }
}
