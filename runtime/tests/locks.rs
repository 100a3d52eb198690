//! Locks between host threads and worker processes: exclusion, waiting in every style, travelling, refusals.

use gorun_runtime::channel::Channel;
use gorun_runtime::sync::{
    Barrier, BarrierError, Condvar, GroupError, LockError, Mutex, MutexGuard, Once, OnceError, RwLock,
    Semaphore, SyncError, WaitError, WaitGroup,
};
use gorun_runtime::{Mode, Runtime, SharedSlice, TaskError};
use gorun_test_programs::{Gate, Watchdog, eventually, gate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

/// Two numbers that are equal whenever nobody has the lock.
type Pair = [u64; 2];

fn add((pair, times): (Mutex<Pair>, u64)) -> bool {
    (0..times).all(|_| {
        let mut pair = pair.lock().expect("nobody dies");
        pair[0] += 1;
        let whole = pair[0] == pair[1] + 1;
        pair[1] += 1;
        whole
    })
}

#[test]
fn tasks_and_threads_count_together() {
    const TIMES: u64 = 5_000;
    let _watchdog = Watchdog::start("tasks_and_threads_count_together");
    let runtime = runtime(2);
    let pair = Mutex::new_on(&runtime, [0, 0]).unwrap();
    let tasks = [0, 1].map(|_| runtime.task((pair.clone(), TIMES), add));
    let threads = [0, 1].map(|_| {
        let pair = pair.clone();
        thread::spawn(move || add((pair, TIMES)))
    });
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert!(tasks.into_iter().all(|task| task.join() == Ok(true)));
    assert_eq!(*pair.lock().unwrap(), [4 * TIMES, 4 * TIMES]);
    assert_eq!(pair.recoveries(), 0);
}

#[test]
fn locks_work_in_every_mode_that_shares_memory() {
    let _watchdog = Watchdog::start("locks_work_in_every_mode_that_shares_memory");
    for mode in [Mode::Inline, Mode::Thread, Mode::Process] {
        let runtime = Runtime::builder().mode(mode).workers(2).build().unwrap();
        let parts = (Mutex::new_on(&runtime, [0, 0]).unwrap(), RwLock::new_on(&runtime, 0_u64).unwrap());
        let tasks = [0, 1].map(|_| {
            runtime.task(parts.clone(), |(pair, lock): (Mutex<Pair>, RwLock<u64>)| {
                *lock.write().unwrap() += 1;
                add((pair, 500)) && *lock.read().unwrap() > 0
            })
        });
        assert!(tasks.into_iter().all(|task| task.join() == Ok(true)), "{mode:?}");
        assert_eq!((*parts.0.lock().unwrap(), *parts.1.read().unwrap()), ([1000, 1000], 2), "{mode:?}");
    }
}

#[test]
fn a_held_mutex_says_so_in_every_style() {
    let _watchdog = Watchdog::start("a_held_mutex_says_so_in_every_style");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, 7_u32).unwrap();
    let guard = mutex.lock().unwrap();
    let other = mutex.clone();
    thread::spawn(move || {
        assert!(matches!(other.try_lock(), Err(LockError::Refused(WaitError::WouldWait))));
        assert!(matches!(other.lock_timeout(SHORT), Err(LockError::Refused(WaitError::TimedOut))));
    })
    .join()
    .unwrap();
    let in_a_task = runtime.task(mutex.clone(), |mutex: Mutex<u32>| match mutex.lock_timeout(SHORT) {
        Err(LockError::Refused(refused)) => refused == WaitError::TimedOut,
        _ => false,
    });
    assert_eq!(in_a_task.join(), Ok(true));
    drop(guard);
    assert_eq!(mutex.try_lock().map(|guard| *guard).ok(), Some(7));
}

#[test]
fn a_thread_does_not_wait_for_itself() {
    let _watchdog = Watchdog::start("a_thread_does_not_wait_for_itself");
    let runtime = runtime(1);
    let held = |error: Option<WaitError>| error == Some(WaitError::HeldHere);
    let mutex = Mutex::new_on(&runtime, 0_u8).unwrap();
    let guard = mutex.lock().unwrap();
    assert!(held(mutex.lock().err().and_then(|error| error.into_guard().err())));
    assert!(held(mutex.try_lock().err().and_then(|error| error.into_guard().err())));
    drop(guard);
    let lock = RwLock::new_on(&runtime, 0_u8).unwrap();
    {
        let _reads = lock.read().unwrap();
        let _reads_again = lock.read().unwrap();
        assert!(held(lock.write().err().and_then(|error| error.into_guard().err())));
    }
    let writes = lock.write().unwrap();
    assert!(held(lock.read().err().and_then(|error| error.into_guard().err())));
    assert!(held(lock.write().err().and_then(|error| error.into_guard().err())));
    drop(writes);
    let once = Once::new_on(&runtime).unwrap();
    let inner = once.clone();
    once.call_once(move || assert_eq!(inner.call_once(|| ()), Err(OnceError::Refused(WaitError::HeldHere))))
        .unwrap();
}

/// The task waits for its child, which runs on top of it and asks for a lock that the task has.
#[test]
fn a_nested_task_on_top_of_the_owner_is_told_instead_of_stuck() {
    let _watchdog = Watchdog::start("a_nested_task_on_top_of_the_owner_is_told_instead_of_stuck");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, 0_u8).unwrap();
    let outer = runtime.task(mutex, |mutex: Mutex<u8>| {
        let _guard = mutex.lock().unwrap();
        let inner = gorun_runtime::Task::with(mutex.clone(), |mutex: Mutex<u8>| {
            matches!(mutex.lock(), Err(LockError::Refused(WaitError::HeldHere)))
        });
        inner.go().join().unwrap()
    });
    assert_eq!(outer.join(), Ok(true));
}

#[test]
fn a_panic_poisons_until_the_value_is_marked_sound() {
    let _watchdog = Watchdog::start("a_panic_poisons_until_the_value_is_marked_sound");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, [0_u64; 2]).unwrap();
    let panics = runtime.task(mutex.clone(), |mutex: Mutex<Pair>| {
        let mut pair = mutex.lock().unwrap();
        pair[0] = 1;
        assert_eq!(pair[1], 1, "it is not");
    });
    assert!(matches!(panics.join(), Err(TaskError::Panicked { .. })));
    assert!(matches!(mutex.lock(), Err(LockError::Poisoned(_))));
    let mut pair = mutex.lock().or_else(LockError::into_guard).unwrap();
    assert_eq!(*pair, [1, 0]);
    *pair = [1, 1];
    drop(pair);
    assert!(matches!(mutex.lock(), Err(LockError::Poisoned(_))), "nobody has said that it is sound");
    assert_eq!(*mutex.lock_or_repair(|pair| pair[1] = 2).unwrap(), [1, 2]);
    assert_eq!(*mutex.lock().unwrap(), [1, 2]);

    let lock = RwLock::new_on(&runtime, 0_u8).unwrap();
    let reader = catch_unwind(AssertUnwindSafe(|| {
        let _reads = lock.read().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(reader.is_err() && lock.read().is_ok(), "a reader harms nothing");
    let writer = catch_unwind(AssertUnwindSafe(|| {
        let _writes = lock.write().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(writer.is_err());
    assert!(matches!(lock.read(), Err(LockError::Poisoned(_))));
    drop(lock.write_or_repair(|_| {}).unwrap());
    assert!(lock.read().is_ok());
}

#[test]
fn many_read_or_one_writes() {
    let _watchdog = Watchdog::start("many_read_or_one_writes");
    let runtime = runtime(2);
    let lock = RwLock::new_on(&runtime, [0_u64; 2]).unwrap();
    let reads = lock.read().unwrap();
    let also_reads = runtime.task(lock.clone(), |lock: RwLock<Pair>| lock.read().map(|pair| pair[0]).ok());
    assert_eq!(also_reads.join(), Ok(Some(0)));
    let writes = runtime.task(lock.clone(), |lock: RwLock<Pair>| {
        matches!(lock.write_timeout(SHORT), Err(LockError::Refused(WaitError::TimedOut)))
            && matches!(lock.try_write(), Err(LockError::Refused(WaitError::WouldWait)))
    });
    assert_eq!(writes.join(), Ok(true));
    drop(reads);
    let tasks = [0, 1].map(|_| {
        runtime.task(lock.clone(), |lock: RwLock<Pair>| {
            (0..2_000).all(|n| {
                let read = *lock.read().unwrap();
                if n % 4 == 0 {
                    let mut pair = lock.write().unwrap();
                    pair[0] += 1;
                    pair[1] += 1;
                }
                read[0] == read[1]
            })
        })
    });
    while !tasks.iter().all(gorun_runtime::TaskHandle::is_finished) {
        let pair = *lock.read().unwrap();
        assert_eq!(pair[0], pair[1]);
    }
    assert!(tasks.into_iter().all(|task| task.join() == Ok(true)));
    assert_eq!(*lock.read().unwrap(), [1000, 1000]);
}

#[test]
fn a_writer_that_waits_keeps_new_readers_out_and_its_own_reader_in() {
    let _watchdog = Watchdog::start("a_writer_that_waits_keeps_new_readers_out_and_its_own_reader_in");
    let runtime = runtime(1);
    let lock = RwLock::new_on(&runtime, 0_u64).unwrap();
    let reads = lock.read().unwrap();
    let writes = runtime.task(lock.clone(), |lock: RwLock<u64>| *lock.write().unwrap() += 1);
    let other = lock.clone();
    thread::spawn(move || {
        // Refused once the writer has claimed.
        eventually(|| other.try_read().is_err());
    })
    .join()
    .unwrap();
    assert_eq!(lock.read().map(|value| *value).ok(), Some(0), "who reads may read again");
    drop(reads);
    assert_eq!(writes.join(), Ok(()));
    assert_eq!(*lock.read().unwrap(), 1);
}

#[test]
fn a_semaphore_lets_so_many_in() {
    let _watchdog = Watchdog::start("a_semaphore_lets_so_many_in");
    let runtime = runtime(2);
    let semaphore = Semaphore::new_on(&runtime, 3).unwrap();
    let two = semaphore.acquire_many(2).unwrap();
    assert_eq!((two.permits(), semaphore.available()), (2, 1));
    assert_eq!(semaphore.try_acquire_many(2).err(), Some(WaitError::WouldWait));
    assert_eq!(semaphore.acquire_many_timeout(2, SHORT).err(), Some(WaitError::TimedOut));
    assert_eq!(semaphore.acquire_many(4).err(), Some(WaitError::TooMany { asked: 4, permits: 3 }));
    assert_eq!(semaphore.available(), 1, "what was collected in vain is given back");
    let gate = Gate::new();
    let takes_all =
        runtime.task((semaphore.clone(), gate.name()), |(semaphore, name): (Semaphore, String)| {
            let one = semaphore.acquire().unwrap();
            gate::pass(&name);
            drop(one);
            semaphore.acquire_many(3).map_or(0, |all| all.permits())
        });
    drop(gate.await_task());
    drop(two);
    assert_eq!(takes_all.join(), Ok(3));
    assert_eq!(semaphore.available(), 3);

    let inside = Mutex::new_on(&runtime, [0_u32; 2]).unwrap();
    let work = |(semaphore, inside): (Semaphore, Mutex<[u32; 2]>)| {
        for _ in 0..500 {
            let _permit = semaphore.acquire().unwrap();
            {
                let mut inside = inside.lock().unwrap();
                inside[0] += 1;
                inside[1] = inside[1].max(inside[0]);
            }
            inside.lock().unwrap()[0] -= 1;
        }
    };
    let tasks = [0, 1].map(|_| runtime.task((semaphore.clone(), inside.clone()), work));
    let threads = [0, 1, 2].map(|_| {
        let input = (semaphore.clone(), inside.clone());
        thread::spawn(move || work(input))
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(tasks.into_iter().all(|task| task.join() == Ok(())));
    let [now, most] = *inside.lock().unwrap();
    assert!(now == 0 && (1..=3).contains(&most), "{now} {most}");
}

#[test]
fn permits_may_be_dropped_by_another_thread() {
    let _watchdog = Watchdog::start("permits_may_be_dropped_by_another_thread");
    let runtime = runtime(1);
    let semaphore = Semaphore::new_on(&runtime, 9).unwrap();
    thread::scope(|scope| {
        let permits: Vec<_> = (0..9).map(|_| semaphore.acquire().unwrap()).collect();
        assert_eq!(semaphore.available(), 0);
        scope.spawn(move || drop(permits));
        assert_eq!(semaphore.acquire_many(9).map(|all| all.permits()), Ok(9));
    });
    assert_eq!(semaphore.available(), 9);
}

#[test]
fn who_waits_is_told_that_the_runtime_ends() {
    let _watchdog = Watchdog::start("who_waits_is_told_that_the_runtime_ends");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, 0_u64).unwrap();
    let lock = RwLock::new_on(&runtime, 0_u64).unwrap();
    let semaphore = Semaphore::new_on(&runtime, 1).unwrap();
    let (condition, barrier) = (Condvar::new_on(&runtime).unwrap(), Barrier::new_on(&runtime, 2).unwrap());
    let (group, once) = (WaitGroup::new_on(&runtime).unwrap(), Once::new_on(&runtime).unwrap());
    let _member = group.add().unwrap();
    let free = Mutex::new_on(&runtime, 1_u64).unwrap();
    thread::scope(|scope| {
        let held = (mutex.lock().unwrap(), lock.read().unwrap(), semaphore.acquire().unwrap());
        let (begin, begun) = sync_channel::<()>(10);
        let closed = Some(WaitError::Closed);
        let mut waits: Vec<thread::ScopedJoinHandle<'_, bool>> = Vec::new();
        let begins = || begin.clone();
        waits.push(scope.spawn({
            let (begin, closed, mutex) = (begins(), closed.clone(), &mutex);
            move || {
                begin.send(()).unwrap();
                mutex.lock().map(drop).map_err(|error| error.into_guard().err()) == Err(closed)
            }
        }));
        waits.push(scope.spawn({
            let (begin, closed, lock) = (begins(), closed.clone(), &lock);
            move || {
                begin.send(()).unwrap();
                lock.write().map(drop).map_err(|error| error.into_guard().err()) == Err(closed)
            }
        }));
        waits.push(scope.spawn({
            let (begin, semaphore) = (begins(), &semaphore);
            move || {
                begin.send(()).unwrap();
                semaphore.acquire().err() == Some(WaitError::Closed)
            }
        }));
        waits.push(scope.spawn({
            let (begin, barrier) = (begins(), &barrier);
            move || {
                begin.send(()).unwrap();
                barrier.wait() == Err(BarrierError::Refused(WaitError::Closed))
            }
        }));
        waits.push(scope.spawn({
            let (begin, group) = (begins(), &group);
            move || {
                begin.send(()).unwrap();
                group.wait() == Err(GroupError::Refused(WaitError::Closed))
            }
        }));
        waits.push(scope.spawn({
            let (begin, condition, closed) = (begins(), &condition, closed.clone());
            let free = &free;
            move || {
                begin.send(()).unwrap();
                let waited = condition.wait_while(free.lock().unwrap(), |value| *value == 1);
                waited.map(drop).map_err(|error| error.into_guard().err()) == Err(closed)
            }
        }));
        (0..6).for_each(|_| begun.recv().unwrap());
        drop(runtime);
        assert!(waits.into_iter().all(|thread| thread.join().unwrap()));
        drop(held);
    });
    // What need not wait works on.
    assert_eq!(*mutex.lock().unwrap(), 0);
    assert!(lock.write().is_ok() && semaphore.acquire().is_ok() && once.call_once(|| ()).is_ok());
}

#[test]
fn a_task_that_waits_can_be_killed() {
    let _watchdog = Watchdog::start("a_task_that_waits_can_be_killed");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, 0_u64).unwrap();
    let guard = mutex.lock().unwrap();
    let gate = Gate::new();
    let waits = runtime.task((mutex.clone(), gate.name()), |(mutex, name): (Mutex<u64>, String)| {
        gate::pass(&name);
        mutex.lock().is_ok()
    });
    drop(gate.await_task());
    assert!(waits.kill());
    assert_eq!(waits.join(), Err(TaskError::Cancelled));
    drop(guard);
    assert!(mutex.lock().is_ok(), "nobody had it");
}

#[test]
fn locks_travel_in_other_values_and_through_channels() {
    let _watchdog = Watchdog::start("locks_travel_in_other_values_and_through_channels");
    let runtime = runtime(1);
    let (sender, receiver) = Channel::<Vec<Mutex<u64>>>::bounded(2).open_on(&runtime).unwrap();
    let made = runtime.task(sender, |sender: gorun_runtime::Sender<Vec<Mutex<u64>>>| {
        let mutexes: Vec<_> = (0..3).map(Mutex::new).collect();
        sender.send(mutexes.clone()).unwrap();
        (mutexes.into_iter().next_back(), "text".to_owned())
    });
    let here = receiver.recv().unwrap();
    let (last, _) = made.join().unwrap();
    *last.unwrap().lock().unwrap() += 40;
    assert_eq!(here.iter().map(|mutex| *mutex.lock().unwrap()).collect::<Vec<_>>(), [0, 1, 42]);
}

/// Goes as one thing and is taken for another.
enum Slip<A, B> {
    Sent(A),
    Taken(Result<B, String>),
}

impl<A: Serialize, B> Serialize for Slip<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sent(sent) => sent.serialize(serializer),
            Self::Taken(_) => Err(serde::ser::Error::custom("one way only")),
        }
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Slip<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::Taken(B::deserialize(deserializer).map_err(|error| error.to_string())))
    }
}

fn is_refused<A, B>(slip: Slip<A, B>) -> bool {
    matches!(slip, Slip::Taken(Err(_)))
}

#[test]
fn a_lock_is_not_taken_for_another() {
    let _watchdog = Watchdog::start("a_lock_is_not_taken_for_another");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, 0_u64).unwrap();
    let tasks = [
        runtime.task(Slip::Sent(mutex.clone()), is_refused::<_, Mutex<i64>>),
        runtime.task(Slip::Sent(mutex.clone()), is_refused::<_, Mutex<[u64; 2]>>),
    ];
    assert!(tasks.into_iter().all(|task| task.join() == Ok(true)));
    assert_eq!(runtime.task(Slip::Sent(mutex.clone()), is_refused::<_, RwLock<u64>>).join(), Ok(true));
    assert_eq!(runtime.task(Slip::Sent(mutex.clone()), is_refused::<_, Semaphore>).join(), Ok(true));
    assert_eq!(runtime.task(Slip::Sent(mutex.clone()), is_refused::<_, SharedSlice<u8>>).join(), Ok(true));
    let slice = SharedSlice::copy_from(&[0_u64; 100]).unwrap();
    assert!(gorun_runtime::Task::with(Slip::Sent(slice), is_refused::<_, Mutex<u64>>).go().join().unwrap());
    let same = runtime.task(Slip::Sent(mutex), is_refused::<_, Mutex<u64>>);
    assert_eq!(same.join(), Ok(false));
}

#[test]
fn what_cannot_be_made_says_so() {
    let _watchdog = Watchdog::start("what_cannot_be_made_says_so");
    let runtime = runtime(1);
    let most = u64::from(Semaphore::PERMITS_MAX);
    assert_eq!(Semaphore::new_on(&runtime, 0).err(), Some(SyncError::BadCount { asked: 0, most }));
    assert_eq!(
        Semaphore::new_on(&runtime, Semaphore::PERMITS_MAX + 1).err(),
        Some(SyncError::BadCount { asked: most + 1, most })
    );
    assert!(Semaphore::new_on(&runtime, Semaphore::PERMITS_MAX).is_ok());
    assert!(matches!(Barrier::new_on(&runtime, 0), Err(SyncError::BadCount { .. })));
    let refused = Semaphore::new(0);
    let reason = SyncError::BadCount { asked: 0, most };
    assert_eq!(refused.acquire().err(), Some(WaitError::NoLock(reason)));
}

#[test]
fn ten_thousand_locks_come_and_go() {
    let _watchdog = Watchdog::start("ten_thousand_locks_come_and_go");
    let runtime = runtime(1);
    for _ in 0..2 {
        let locks: Vec<_> = (0..5_000_u64).map(|n| Mutex::new_on(&runtime, n).unwrap()).collect();
        assert_eq!(locks.iter().map(|lock| *lock.lock().unwrap()).sum::<u64>(), 12_497_500);
    }
}

#[test]
fn a_value_larger_than_a_page_is_protected_in_place() {
    let _watchdog = Watchdog::start("a_value_larger_than_a_page_is_protected_in_place");
    let runtime = runtime(1);
    let mutex = Mutex::new_on(&runtime, [0_u8; 10_001]).unwrap();
    let fills = runtime.task(mutex.clone(), |mutex: Mutex<[u8; 10_001]>| mutex.lock().unwrap().fill(3));
    assert_eq!(fills.join(), Ok(()));
    let mut guard = mutex.lock().unwrap();
    assert!(guard.iter().all(|byte| *byte == 3));
    MutexGuard::mark_sound(&mut guard);
}
