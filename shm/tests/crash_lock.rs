//! A process is killed at each crash point of each lock, with a survivor beside at it: the survivor gets what it waits for,
//! is told if the value may be half written, and the lock goes on.
//!
//! `GORUN_CRASH_ROUNDS=1000` kills so many processes at each point.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::gate::Gate;
use gorun_shm::lock::{
    Arrival, Barrier, Broken, Claim, Marks, Mutex, MutexHold, Once, Owner, Permit, ReadHold, RwLock,
    Semaphore, Slots, WriteHold,
};
use gorun_shm::sync::{AtomicBool, AtomicU64, Ordering};
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View, ViewSlice};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

const BYTES: usize = 16384;
/// Where a value lies that its lock protects.
const VALUE: u64 = 8192;

fn holder(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

fn victim() -> Owner {
    Owner::new(holder(0), 7)
}

fn survivor() -> Owner {
    Owner::new(holder(1), 7)
}

fn rounds() -> u64 {
    std::env::var("GORUN_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// Tries until it succeeds, beside meanwhile.
fn wait<R>(gate: &Gate, mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        let armed = gate.arm();
        if let Some(result) = attempt() {
            return result;
        }
        gate.wait(armed, None);
    }
}

fn value(segment: &Arc<Segment>) -> ViewSlice<AtomicU64> {
    segment.view_slice(VALUE, 2).unwrap()
}

/// Two numbers that are equal whenever nobody has the lock.
fn add_one(value: &ViewSlice<AtomicU64>) {
    for number in value.iter() {
        // Relaxed, both: only who has the lock is here.
        number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

fn is_whole(value: &ViewSlice<AtomicU64>) -> bool {
    // Relaxed, both: only who has the lock is here.
    value[0].load(Ordering::Relaxed) == value[1].load(Ordering::Relaxed)
}

fn lock<'a>(mutex: &'a Mutex, me: Owner) -> MutexHold<'a> {
    wait(mutex.freed(), || mutex.try_lock(me).ok())
}

fn read<'a>(lock: &'a RwLock, me: Owner) -> ReadHold<'a> {
    wait(lock.readable(), || lock.try_read(me, false).ok())
}

fn write<'a>(lock: &'a RwLock, me: Owner) -> WriteHold<'a> {
    let mut claim: Option<Claim<'_>> = Some(wait(lock.writable(), || lock.try_claim(me).ok()));
    wait(lock.drained(), || match claim.take()?.try_write() {
        Ok(hold) => Some(hold),
        Err(refused) => {
            claim = Some(refused);
            None
        }
    })
}

/// What a killed process does with what it has.
fn leave<T>(_held: T) {}

/// A thread of the survivor that is at the lock while the victim dies.
struct Beside<R> {
    thread: RefCell<Option<JoinHandle<R>>>,
    is_over: Arc<AtomicBool>,
}

impl<R: Send + 'static> Beside<R> {
    fn nobody() -> Self {
        Self { thread: RefCell::new(None), is_over: Arc::default() }
    }

    /// Repeats `step` in a thread until it gives something or [`Beside::end`] is called; returns when it has begun.
    fn begin(&self, mut step: impl FnMut() -> Option<R> + Send + 'static)
    where
        R: Default,
    {
        let is_over = Arc::clone(&self.is_over);
        is_over.store(false, Ordering::SeqCst);
        let (tell, told) = sync_channel::<()>(1);
        let thread = std::thread::spawn(move || {
            let _ = tell.send(());
            loop {
                if let Some(result) = step() {
                    return result;
                }
                if is_over.load(Ordering::SeqCst) {
                    return R::default();
                }
            }
        });
        told.recv().unwrap();
        *self.thread.borrow_mut() = Some(thread);
    }

    fn end(&self) -> R {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.borrow_mut().take().expect("begun").join().expect("no panic")
    }
}

/// Kills so many victims at `point`, at different passages.
fn rounds_of(
    test: &'static str,
    point: &'static str,
    prepare: impl Fn(&Arc<Segment>),
    work: impl Fn(&Arc<Segment>),
    survive: impl Fn(&Arc<Segment>),
) {
    for round in 0..rounds() {
        let crash = CrashTest { test, point, nth: 1 + round % 50, bytes: BYTES };
        crash.run(&prepare, &work, &survive);
    }
}

/// The survivor takes the mutex again and again, as the victim does until it dies.
fn mutex_survives(test: &'static str, point: &'static str, recovers: bool) {
    let beside = Beside::nobody();
    let prepare = |segment: &Arc<Segment>| {
        let (mutex, value) = (segment.view::<Mutex>(0).unwrap(), value(segment));
        beside.begin(move || {
            let hold = lock(&mutex, survivor());
            let (marks, whole) = (hold.head().marks(), is_whole(&value));
            hold.unlock();
            assert!(whole || marks.contains(Marks::RECOVERED), "a half written value was not doubted");
            None::<()>
        });
    };
    let work = |segment: &Arc<Segment>| {
        let (mutex, value) = (segment.view::<Mutex>(0).unwrap(), value(segment));
        loop {
            let hold = lock(&mutex, victim());
            add_one(&value);
            hold.unlock();
        }
    };
    rounds_of(test, point, prepare, work, |segment| {
        let mutex: View<Mutex> = segment.view(0).unwrap();
        assert_eq!(mutex.recover(victim().holder()), recovers);
        assert!(!mutex.recover(victim().holder()), "recovering once more finds nothing");
        let hold = lock(&mutex, survivor());
        assert_eq!(hold.head().marks().contains(Marks::RECOVERED), recovers);
        assert!(recovers || is_whole(&value(segment)), "a value is whole, or doubted");
        hold.unlock();
        beside.end();
        assert!(mutex.look().is_ok());
    });
}

#[test]
fn a_mutex_taken_by_the_dead_is_recovered() {
    mutex_survives("a_mutex_taken_by_the_dead_is_recovered", "lock.take.taken", true);
}

#[test]
fn a_mutex_about_to_be_given_back_is_recovered() {
    mutex_survives("a_mutex_about_to_be_given_back_is_recovered", "lock.give_back.begun", true);
}

#[test]
fn a_mutex_given_back_without_a_wake_up_is_found() {
    mutex_survives("a_mutex_given_back_without_a_wake_up_is_found", "lock.give_back.free", false);
}

/// The survivor reads and writes again and again, as the victim does until it dies.
fn rwlock_survives(test: &'static str, point: &'static str, gives_back: u32, marks: bool) {
    let beside = Beside::nobody();
    let prepare = |segment: &Arc<Segment>| {
        let (lock, value) = (segment.view::<RwLock>(0).unwrap(), value(segment));
        beside.begin(move || {
            let hold = read(&lock, survivor());
            assert!(is_whole(&value) || hold.head().marks().contains(Marks::RECOVERED));
            hold.unlock();
            let hold = write(&lock, survivor());
            assert!(is_whole(&value) || hold.head().marks().contains(Marks::RECOVERED));
            hold.unlock();
            None::<()>
        });
    };
    let work = |segment: &Arc<Segment>| {
        let (lock, value) = (segment.view::<RwLock>(0).unwrap(), value(segment));
        loop {
            read(&lock, victim()).unlock();
            let hold = write(&lock, victim());
            add_one(&value);
            hold.unlock();
        }
    };
    rounds_of(test, point, prepare, work, |segment| {
        let lock: View<RwLock> = segment.view(0).unwrap();
        assert_eq!(lock.recover(victim().holder()), gives_back);
        assert_eq!(lock.recover(victim().holder()), 0, "recovering once more finds nothing");
        let hold = write(&lock, survivor());
        assert_eq!(hold.head().marks().contains(Marks::RECOVERED), marks);
        assert!(marks || is_whole(&value(segment)));
        hold.unlock();
        beside.end();
        let first = read(&lock, survivor());
        read(&lock, survivor()).unlock();
        first.unlock();
        assert!(lock.is_free());
    });
}

#[test]
fn a_reader_killed_as_it_is_counted_is_given_back() {
    let test = "a_reader_killed_as_it_is_counted_is_given_back";
    rwlock_survives(test, "rwlock.read.counted", 1, false);
}

#[test]
fn a_reader_killed_after_it_left_keeps_no_writer_asleep() {
    let test = "a_reader_killed_after_it_left_keeps_no_writer_asleep";
    rwlock_survives(test, "rwlock.read.left", 0, false);
}

#[test]
fn a_writer_killed_before_the_readers_left_has_written_nothing() {
    let test = "a_writer_killed_before_the_readers_left_has_written_nothing";
    rwlock_survives(test, "rwlock.claim.claimed", 1, false);
}

#[test]
fn a_writer_killed_before_it_began_has_written_nothing() {
    let test = "a_writer_killed_before_it_began_has_written_nothing";
    rwlock_survives(test, "rwlock.write.drained", 1, false);
}

#[test]
fn a_writer_killed_as_it_began_is_told() {
    rwlock_survives("a_writer_killed_as_it_began_is_told", "rwlock.write.begun", 1, true);
}

#[test]
fn a_writer_killed_as_it_ends_is_told() {
    rwlock_survives("a_writer_killed_as_it_ends_is_told", "rwlock.release.begun", 1, true);
}

#[test]
fn a_writer_killed_after_it_left_keeps_nobody_asleep() {
    let test = "a_writer_killed_after_it_left_keeps_nobody_asleep";
    rwlock_survives(test, "rwlock.release.free", 0, false);
}

const PERMITS: u32 = 3;

fn semaphore(segment: &Arc<Segment>) -> (View<Semaphore>, ViewSlice<AtomicU64>) {
    (segment.view(0).unwrap(), segment.view_slice(VALUE, Semaphore::words(PERMITS)).unwrap())
}

/// The survivor has one permit for good, and takes and gives back another again and again, as the victim does with two.
fn semaphore_survives(test: &'static str, point: &'static str, least: u32) {
    let beside = Beside::nobody();
    let prepare = |segment: &Arc<Segment>| {
        let (head, words) = semaphore(segment);
        leave(Slots::new(&head, &words, PERMITS).try_acquire(survivor().holder()).unwrap());
        beside.begin(move || {
            let slots = Slots::new(&head, &words, PERMITS);
            let permit = wait(head.freed(), || slots.try_acquire(survivor().holder()));
            slots.release(permit);
            None::<()>
        });
    };
    let work = |segment: &Arc<Segment>| {
        let (head, words) = semaphore(segment);
        let slots = Slots::new(&head, &words, PERMITS);
        let take = || -> Permit { wait(head.freed(), || slots.try_acquire(victim().holder())) };
        loop {
            let (one, two) = (take(), take());
            slots.release(one);
            slots.release(two);
        }
    };
    rounds_of(test, point, prepare, work, |segment| {
        let (head, words) = semaphore(segment);
        let slots = Slots::new(&head, &words, PERMITS);
        let held = slots.held_by(victim().holder());
        assert!(held >= least);
        assert_eq!((slots.recover(victim().holder()), slots.recover(victim().holder())), (held, 0));
        beside.end();
        assert_eq!((slots.free(), slots.held_by(survivor().holder())), (PERMITS - 1, 1));
    });
}

#[test]
fn permits_taken_by_the_dead_come_back() {
    semaphore_survives("permits_taken_by_the_dead_come_back", "semaphore.acquire.taken", 1);
}

#[test]
fn a_permit_given_back_without_a_wake_up_is_found() {
    semaphore_survives("a_permit_given_back_without_a_wake_up_is_found", "semaphore.release.free", 0);
}

#[test]
fn a_dead_initialiser_hands_over_to_who_sleeps() {
    once_survives("a_dead_initialiser_hands_over_to_who_sleeps", "lock.take.taken", true);
}

#[test]
fn a_once_that_was_done_without_a_wake_up_is_done() {
    once_survives("a_once_that_was_done_without_a_wake_up_is_done", "lock.finish.done", false);
}

fn once_survives(test: &'static str, point: &'static str, hands_over: bool) {
    let beside = Beside::nobody();
    let prepare = |segment: &Arc<Segment>| {
        let once: View<Once> = segment.view(0).unwrap();
        leave(once.begin(victim()).unwrap());
        beside.begin(move || {
            let turn = wait(once.ended(), || once.begin(survivor()).ok());
            let was_told = turn.head().marks().contains(Marks::RECOVERED);
            turn.finish();
            Some(was_told)
        });
    };
    let work = |segment: &Arc<Segment>| {
        let once: View<Once> = segment.view(0).unwrap();
        if hands_over {
            let other: View<Once> = segment.view(VALUE).unwrap();
            loop {
                leave(other.begin(victim()).unwrap());
                other.recover(victim().holder());
            }
        }
        let fresh: View<Once> = segment.view(VALUE).unwrap();
        loop {
            let turn = fresh.begin(victim()).unwrap();
            assert!(!once.is_done());
            turn.finish();
        }
    };
    // Every passage but the first would be of another once.
    let crash = CrashTest { test, point, nth: 1, bytes: BYTES };
    for _ in 0..rounds() {
        crash.run(prepare, work, |segment| {
            let (once, other): (View<Once>, View<Once>) =
                (segment.view(0).unwrap(), segment.view(VALUE).unwrap());
            assert_eq!(other.recover(victim().holder()), hands_over);
            assert_eq!(other.is_done(), !hands_over);
            assert!(once.recover(victim().holder()));
            assert!(beside.end(), "it was handed over, and told");
            assert!(once.is_done());
        });
    }
}

/// The survivor sleeps at a barrier of two where the victim meets it again and again.
fn barrier_survives(test: &'static str, point: &'static str) {
    let beside = Beside::nobody();
    let prepare = |segment: &Arc<Segment>| {
        let barrier: View<Barrier> = segment.view(0).unwrap();
        barrier.enter(survivor().holder());
        beside.begin(move || {
            let met = match barrier.arrive(2) {
                Ok(Arrival::Last) => Ok(()),
                Ok(Arrival::Waits { round }) => wait(barrier.opened(), || barrier.has_opened(round)),
                Err(broken) => Err(broken),
            };
            met.err().map(|Broken| ())
        });
    };
    let work = |segment: &Arc<Segment>| {
        let barrier: View<Barrier> = segment.view(0).unwrap();
        loop {
            barrier.enter(victim().holder());
            match barrier.arrive(2).unwrap() {
                Arrival::Last => {}
                Arrival::Waits { round } => {
                    wait(barrier.opened(), || barrier.has_opened(round)).unwrap();
                }
            }
            barrier.exit(victim().holder());
        }
    };
    rounds_of(test, point, prepare, work, |segment| {
        let barrier: View<Barrier> = segment.view(0).unwrap();
        assert!(barrier.recover(victim().holder()));
        assert!(!barrier.recover(victim().holder()));
        beside.end();
        assert_eq!(barrier.arrive(2), Err(Broken));
    });
}

#[test]
fn a_participant_killed_before_it_came_breaks_the_barrier() {
    barrier_survives("a_participant_killed_before_it_came_breaks_the_barrier", "barrier.enter.entered");
}

#[test]
fn a_participant_killed_while_it_waits_breaks_the_barrier() {
    barrier_survives("a_participant_killed_while_it_waits_breaks_the_barrier", "barrier.arrive.counted");
}

#[test]
fn the_last_to_come_killed_before_it_woke_breaks_the_barrier() {
    barrier_survives("the_last_to_come_killed_before_it_woke_breaks_the_barrier", "barrier.arrive.opened");
}

#[test]
fn two_processes_count_together() {
    const TIMES: u64 = 20_000;
    let test = "two_processes_count_together";
    let counter = RefCell::new(None);
    let prepare = |segment: &Arc<Segment>| {
        let (mutex, value) = (segment.view::<Mutex>(0).unwrap(), value(segment));
        *counter.borrow_mut() = Some(std::thread::spawn(move || {
            for _ in 0..TIMES {
                let hold = lock(&mutex, survivor());
                add_one(&value);
                hold.unlock();
            }
        }));
    };
    let work = |segment: &Arc<Segment>| {
        let (mutex, value): (View<Mutex>, _) = (segment.view(0).unwrap(), value(segment));
        loop {
            let hold = lock(&mutex, victim());
            add_one(&value);
            hold.unlock();
        }
    };
    // Killed when it has just taken the lock for one time more.
    let crash = CrashTest { test, point: "lock.take.taken", nth: TIMES + 1, bytes: BYTES };
    crash.run(prepare, work, |segment| {
        let mutex: View<Mutex> = segment.view(0).unwrap();
        assert!(mutex.recover(victim().holder()));
        counter.borrow_mut().take().unwrap().join().unwrap();
        let value = value(segment);
        assert!(is_whole(&value));
        assert_eq!(value[0].load(Ordering::Relaxed), 2 * TIMES); // Relaxed: nobody else is left.
    });
}
