//! Endings: how the host ends many tasks at once, at the shutdown and when a worker is buried.

use crate::book::Book;
use crate::dispatch::{CLOSED_FOR_WANT_OF_WORKERS, Dispatcher};
use gorun_shm::OwnerId;
use gorun_shm::os::futex;
use gorun_shm::ring::spmc::Lane;
use gorun_shm::sync::Ordering;
use gorun_worker::wire::status::Status;

impl Dispatcher {
    /// Accepts nothing more and ends every task that was not started.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release); // Release: pairs with `is_closed`.
        self.end_all(|book, lane, position| book.end_unstarted(lane, position, Status::Closed, [0; 4]));
        self.wake_alarms();
    }

    /// No worker will ever run anything again: accepts nothing more and ends every task that was not started.
    pub(crate) fn exhaust(&self) {
        self.exhausted.store(true, Ordering::Relaxed); // Relaxed: published by the next one.
        self.closed.store(true, Ordering::Release); // Release: pairs with `is_closed`.
        let payload = [0, 0, CLOSED_FOR_WANT_OF_WORKERS, 0];
        self.end_all(|book, lane, position| book.end_unstarted(lane, position, Status::Closed, payload));
        self.wake_alarms();
    }

    /// True if a task stands in the seat's lane that nobody has started. Told after the lane's lock was taken: of every
    /// task that is not seen here, the producer sees what the caller wrote before.
    pub(crate) fn has_waiting(&self, lane: u16) -> bool {
        self.with_book(lane, |_, ring| ring.has_ready())
    }

    /// Ends every task that `dead` was running, as lost.
    pub(crate) fn end_all_lost(&self, dead: OwnerId, payload: [u64; 4]) {
        self.end_all(|book, lane, position| book.end_lost(lane, position, dead, Status::Lost, payload));
    }

    /// Moves every outcome out of the slots, before a dead worker's memory is reclaimed.
    pub(crate) fn collect_ended(&self) {
        for lane in 0..self.lane_count() {
            let collected = self.with_book(lane, |book, ring| book.collect_ended(ring));
            for position in collected {
                let (slot, _) = self.ring(lane).slot(position);
                futex::wake(slot.futex(), u32::MAX >> 1);
            }
        }
    }

    /// Ends every task that `dead` was running.
    pub(crate) fn close_running(&self, dead: OwnerId) {
        self.end_all(|book, lane, position| book.end_lost(lane, position, dead, Status::Closed, [0; 4]));
    }

    fn end_all(&self, end: impl Fn(&mut Book, Lane<'_>, u64) -> Option<u8>) {
        for lane in 0..self.lane_count() {
            self.end_in_lane(lane, &end);
        }
    }

    /// Tries to end every open task of the lane; true if there were any.
    pub(crate) fn end_in_lane(
        &self,
        lane: u16,
        end: impl Fn(&mut Book, Lane<'_>, u64) -> Option<u8>,
    ) -> bool {
        let (ended, open) = self.with_book(lane, |book, ring| {
            let open = book.open_positions();
            let ended = open
                .filter_map(|position| end(book, ring, position).map(|flags| (position, flags)))
                .collect::<Vec<_>>();
            (ended, book.uncollected() > 0)
        });
        for (position, flags) in ended {
            self.tell(lane, position, flags);
        }
        open
    }
}
