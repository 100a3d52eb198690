//! Models of the locks: exclusion, what the last owner wrote, taking over from the dead, and the gates.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::gate::Gate;
use gorun_shm::lock::{
    Arrival, Barrier, Broken, Claim, Condition, Marks, Mutex, MutexHold, Once, Owner, ReadHold, RwLock,
    Semaphore, Slots, Taken, WriteHold,
};
use gorun_shm::sync::{AtomicU64, Ordering};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

fn holder(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

fn owner(index: u16) -> Owner {
    Owner::new(holder(index), 1)
}

/// What a killed process does with what it has.
fn leave<T>(_held: T) {}

/// Tries until it succeeds, asleep meanwhile.
fn wait<R>(gate: &Gate, mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        let armed = gate.arm();
        if let Some(result) = attempt() {
            return result;
        }
        gate.wait(armed, None);
    }
}

fn lock(mutex: &Mutex, me: Owner) -> MutexHold<'_> {
    wait(mutex.freed(), || mutex.try_lock(me).ok())
}

fn read(lock: &RwLock, me: Owner) -> ReadHold<'_> {
    wait(lock.readable(), || lock.try_read(me, false).ok())
}

fn write(lock: &RwLock, me: Owner) -> WriteHold<'_> {
    let mut claim: Option<Claim<'_>> = Some(wait(lock.writable(), || lock.try_claim(me).ok()));
    wait(lock.drained(), || match claim.take()?.try_write() {
        Ok(hold) => Some(hold),
        Err(refused) => {
            claim = Some(refused);
            None
        }
    })
}

/// A plain number: loom reports accesses that the lock does not order.
struct Behind<L> {
    lock: L,
    value: UnsafeCell<u32>,
}

impl<L: Default> Behind<L> {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: L::default(), value: UnsafeCell::new(0) })
    }
}

impl<L> Behind<L> {
    #[expect(unsafe_code, reason = "loom's cell hands out pointers")]
    fn add_one(&self) {
        // SAFETY: the caller has the lock for itself; loom checks.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    #[expect(unsafe_code, reason = "loom's cell hands out pointers")]
    fn get(&self) -> u32 {
        // SAFETY: the caller has the lock; loom checks.
        self.value.with(|value| unsafe { *value })
    }
}

// Loom moves nothing between threads but what it knows, and this is shared by design.
#[expect(unsafe_code, reason = "a cell behind a lock is shared")]
// SAFETY: the cell is used with the lock held only, which loom checks.
unsafe impl<L> Sync for Behind<L> {}
#[expect(unsafe_code, reason = "a cell behind a lock is shared")]
// SAFETY: as above.
unsafe impl<L> Send for Behind<L> {}

// Fails with a Relaxed exchange in `take` or in `give_back`, and without the fence in `notify_after_exchange`.
#[test]
fn a_mutex_keeps_others_out_and_wakes_them() {
    model::check(|| {
        let behind = Behind::<Mutex>::new();
        let other = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = lock(&behind.lock, owner(0));
                behind.add_one();
                hold.unlock();
            })
        };
        let hold = lock(&behind.lock, owner(1));
        behind.add_one();
        hold.unlock();
        other.join().unwrap();
        let hold = lock(&behind.lock, owner(1));
        assert_eq!(behind.get(), 2);
        hold.unlock();
    });
}

// Fails if `recover` marks after the exchange, or does not wake.
#[test]
fn a_dead_owners_mutex_is_recovered_once_and_said_so() {
    model::check(|| {
        let behind = Behind::<Mutex>::new();
        leave(behind.lock.try_lock(owner(0)).unwrap());
        behind.add_one();
        let other = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = lock(&behind.lock, owner(1));
                let marks = hold.head().marks();
                behind.add_one();
                hold.unlock();
                marks
            })
        };
        assert!(behind.lock.recover(holder(0)));
        assert!(!behind.lock.recover(holder(0)));
        assert!(other.join().unwrap().contains(Marks::RECOVERED));
        let hold = lock(&behind.lock, owner(2));
        assert_eq!(behind.get(), 2);
        hold.unlock();
    });
}

// Fails without the fence in `try_read`, without the one in `try_claim`, with Relaxed in `leave` or `has_readers`, and if
// `leave` does not notify.
#[test]
fn a_writer_and_a_reader_exclude_each_other() {
    model::check(|| {
        let behind = Behind::<RwLock>::new();
        let reader = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = read(&behind.lock, owner(0));
                let value = behind.get();
                hold.unlock();
                value
            })
        };
        let hold = write(&behind.lock, owner(1));
        behind.add_one();
        hold.unlock();
        assert!(reader.join().unwrap() <= 1);
        assert!(behind.lock.is_free());
    });
}

#[test]
fn two_writers_exclude_each_other() {
    model::check(|| {
        let behind = Behind::<RwLock>::new();
        let other = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = write(&behind.lock, owner(0));
                behind.add_one();
                hold.unlock();
            })
        };
        let hold = write(&behind.lock, owner(1));
        behind.add_one();
        hold.unlock();
        other.join().unwrap();
        let hold = read(&behind.lock, owner(1));
        assert_eq!(behind.get(), 2);
        hold.unlock();
    });
}

#[test]
fn a_dead_reader_holds_up_no_writer() {
    model::check(|| {
        let behind = Behind::<RwLock>::new();
        leave(behind.lock.try_read(owner(0), false).unwrap());
        let writer = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = write(&behind.lock, owner(1));
                behind.add_one();
                let marks = hold.head().marks();
                hold.unlock();
                marks
            })
        };
        assert_eq!(behind.lock.recover(holder(0)), 1);
        assert!(writer.join().unwrap().is_empty());
    });
}

#[test]
fn a_dead_writer_is_told_to_readers_and_a_dead_claim_is_not() {
    model::check(|| {
        let behind = Behind::<RwLock>::new();
        let claim = behind.lock.try_claim(owner(0)).unwrap();
        leave(claim);
        assert_eq!(behind.lock.recover(holder(0)), 1);
        assert!(behind.lock.head().marks().is_empty());
        leave(behind.lock.try_claim(owner(0)).unwrap().try_write().unwrap());
        let reader = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || {
                let hold = read(&behind.lock, owner(1));
                let marks = hold.head().marks();
                hold.unlock();
                marks
            })
        };
        assert_eq!(behind.lock.recover(holder(0)), 1);
        assert!(reader.join().unwrap().contains(Marks::RECOVERED));
    });
}

struct Permits {
    head: Semaphore,
    words: Vec<AtomicU64>,
    count: u32,
}

impl Permits {
    fn new(count: u32) -> Self {
        let words = (0..Semaphore::words(count)).map(|_| AtomicU64::new(0)).collect();
        Self { head: Semaphore::default(), words, count }
    }

    fn slots(&self) -> Slots<'_> {
        Slots::new(&self.head, &self.words, self.count)
    }
}

impl Default for Permits {
    fn default() -> Self {
        Self::new(1)
    }
}

// Fails with a Relaxed exchange in `acquire_in` or `release`, and if `release` does not notify.
#[test]
fn the_last_permit_is_one_processs_at_a_time() {
    model::check(|| {
        let behind = Behind::<Permits>::new();
        let work = |behind: &Behind<Permits>, me| {
            let slots = behind.lock.slots();
            let permit = wait(behind.lock.head.freed(), || slots.try_acquire(me));
            behind.add_one();
            slots.release(permit);
        };
        let other = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || work(&behind, holder(0)))
        };
        work(&behind, holder(1));
        other.join().unwrap();
        assert_eq!((behind.get(), behind.lock.slots().free()), (2, 1));
    });
}

#[test]
fn permits_of_the_dead_come_back_beside_those_of_the_living() {
    model::check(|| {
        let permits = Arc::new(Permits::new(2));
        leave(permits.slots().try_acquire(holder(0)).unwrap());
        let other = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || {
                let slots = permits.slots();
                let first = slots.try_acquire(holder(1)).unwrap();
                let second = wait(permits.head.freed(), || slots.try_acquire(holder(1)));
                slots.release(first);
                slots.release(second);
            })
        };
        assert_eq!(permits.slots().recover(holder(0)), 1);
        other.join().unwrap();
        assert_eq!(permits.slots().free(), 2);
    });
}

// Fails with a Relaxed exchange in `finish`, with a Relaxed load in `is_done`, and if `finish` does not wake.
#[test]
fn a_once_is_done_once_and_seen_by_who_waited() {
    model::check(|| {
        let behind = Behind::<Once>::new();
        let call = |behind: &Behind<Once>, me| {
            wait(behind.lock.ended(), || match behind.lock.begin(me) {
                Ok(turn) => {
                    behind.add_one();
                    turn.finish();
                    Some(())
                }
                Err(_) => behind.lock.is_done().then_some(()),
            });
            behind.get()
        };
        let other = {
            let behind = Arc::clone(&behind);
            thread::spawn(move || call(&behind, owner(0)))
        };
        assert_eq!(call(&behind, owner(1)), 1);
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_dead_initialiser_hands_over() {
    model::check(|| {
        let once = Arc::new(Once::default());
        leave(once.begin(owner(0)).unwrap());
        let next = {
            let once = Arc::clone(&once);
            thread::spawn(move || {
                let turn = wait(once.ended(), || once.begin(owner(1)).ok());
                let marks = turn.head().marks();
                turn.finish();
                marks
            })
        };
        assert!(once.recover(holder(0)));
        assert!(next.join().unwrap().contains(Marks::RECOVERED));
        assert_eq!(once.begin(owner(2)).unwrap_err(), Taken::Done);
    });
}

fn meet(barrier: &Barrier) -> Result<bool, Broken> {
    match barrier.arrive(2)? {
        Arrival::Last => Ok(true),
        Arrival::Waits { round } => wait(barrier.opened(), || barrier.has_opened(round)).map(|()| false),
    }
}

// Fails with Relaxed exchanges in `arrive`, and if the last does not wake.
#[test]
fn two_meet_and_see_what_the_other_did() {
    model::check(|| {
        let barrier = Arc::new(Barrier::default());
        let done = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let come = |barrier: &Barrier, done: &[AtomicU64; 2], me: usize| {
            done[me].store(1, Ordering::Relaxed); // Relaxed: the barrier orders it, which is what is tried.
            let is_last = meet(barrier).unwrap();
            assert_eq!(done[1 - me].load(Ordering::Relaxed), 1); // Relaxed: as above.
            is_last
        };
        let other = {
            let (barrier, done) = (Arc::clone(&barrier), Arc::clone(&done));
            thread::spawn(move || come(&barrier, &done, 0))
        };
        let here = come(&barrier, &done, 1);
        assert_ne!(here, other.join().unwrap(), "one was the last");
    });
}

#[test]
fn a_barrier_with_a_dead_participant_lets_nobody_wait() {
    model::check(|| {
        let barrier = Arc::new(Barrier::default());
        barrier.enter(holder(0));
        let other = {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || meet(&barrier))
        };
        assert!(barrier.recover(holder(0)));
        assert_eq!(other.join().unwrap(), Err(Broken));
        assert_eq!(meet(&barrier), Err(Broken));
    });
}

// Fails if the waiter arms after it has given the mutex back. The fence in `Gate::notify` is tried with channels: here the
// mutex stands between.
#[test]
fn a_condition_that_is_notified_is_heard() {
    model::check(|| {
        let behind = Behind::<Mutex>::new();
        let condition = Arc::new(Condition::default());
        let other = {
            let (behind, condition) = (Arc::clone(&behind), Arc::clone(&condition));
            thread::spawn(move || {
                let hold = lock(&behind.lock, owner(0));
                behind.add_one();
                hold.unlock();
                condition.notify_one();
            })
        };
        let mut hold = lock(&behind.lock, owner(1));
        while behind.get() == 0 {
            let armed = condition.told().arm();
            hold.unlock();
            condition.told().wait(armed, None);
            hold = lock(&behind.lock, owner(1));
        }
        hold.unlock();
        other.join().unwrap();
    });
}
