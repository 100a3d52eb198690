//! Models of the doorbell: no wake-up is lost. A lost one shows as a model that does not end.
#![cfg(loom)]

mod model;

use gorun_shm::doorbell::Doorbell;
use gorun_shm::sync::{AtomicU64, Ordering, fence};
use loom::thread;
use std::sync::Arc;

#[derive(Default)]
struct Shared {
    bells: [Doorbell; 2],
    /// The queue: how many things were published.
    published: [AtomicU64; 2],
}

impl Shared {
    fn look(&self, index: usize) -> u64 {
        // Acquire: as a real queue does; the doorbell must not depend on more.
        self.published[index].load(Ordering::Acquire)
    }

    fn publish(&self, index: usize) {
        // Release: as a real queue does. Two producers add.
        self.published[index].fetch_add(1, Ordering::Release);
    }

    fn sleep_until(&self, index: usize, wanted: u64) {
        while self.look(index) < wanted {
            let armed = self.bells[index].arm();
            if self.look(index) >= wanted {
                self.bells[index].disarm();
                return;
            }
            self.bells[index].wait_until(armed, None);
        }
    }
}

// Fails without the fence in `arm`, and without the fence in `notify`.
#[test]
fn a_ring_after_publication_is_not_lost() {
    model::check(|| {
        let shared = Arc::new(Shared::default());
        let ringer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // Not `publish`: a locked instruction would order more than a queue's store does.
                shared.published[0].store(1, Ordering::Release);
                shared.bells[0].notify();
            })
        };
        shared.sleep_until(0, 1);
        ringer.join().unwrap();
    });
}

// Fails as the one above. (Not if `ring` does not count: a sleeper that armed again has looked again. The count
// is for those who compare the word themselves.)
#[test]
fn two_ringers_wake_a_sleeper_that_waits_for_both() {
    model::check(|| {
        let shared = Arc::new(Shared::default());
        let ringers = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.publish(0);
                shared.bells[0].notify();
            })
        });
        shared.sleep_until(0, 2);
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    });
}

// Fails without the fence in the ringer below: one fence serves both bells, but it takes that one.
#[test]
fn one_fence_serves_two_bells() {
    model::check(|| {
        let shared = Arc::new(Shared::default());
        let ringer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.published[0].store(1, Ordering::Release);
                shared.published[1].store(1, Ordering::Release);
                fence(Ordering::SeqCst);
                shared.bells[0].notify_after_fence();
                shared.bells[1].notify_after_fence();
            })
        };
        // One after the other: two threads that spin are more interleavings than a model can end.
        shared.sleep_until(1, 1);
        shared.sleep_until(0, 1);
        ringer.join().unwrap();
    });
}

// Fails if `wait_until` does not compare with the armed word.
#[test]
fn a_ring_between_arming_and_waiting_ends_the_wait() {
    model::check(|| {
        let shared = Arc::new(Shared::default());
        let armed = shared.bells[0].arm();
        let ringer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.bells[0].ring())
        };
        shared.bells[0].wait_until(armed, None);
        assert!(!shared.bells[0].has_waiter());
        ringer.join().unwrap();
    });
}
