//! What is waited for between host threads and worker processes: conditions, onces, barriers, groups, and locks as futures.

use gorun_runtime::sync::{
    Barrier, BarrierError, Condvar, GroupError, Member, Mutex, Once, OnceError, OnceLock, RwLock, Semaphore,
    WaitError, WaitGroup,
};
use gorun_runtime::{Runtime, TaskError};
use gorun_test_programs::Watchdog;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Long enough for a wait that is expected to end before.
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(5);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("build a runtime")
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn a_condition_is_heard_by_all_who_wait() {
    let _watchdog = Watchdog::start("a_condition_is_heard_by_all_who_wait");
    let runtime = runtime(2);
    let (mutex, condition) = (Mutex::new_on(&runtime, 0_u64).unwrap(), Condvar::new_on(&runtime).unwrap());
    let input = || (mutex.clone(), condition.clone());
    let wait = |(mutex, condition): (Mutex<u64>, Condvar)| {
        let guard = mutex.lock().unwrap();
        condition.wait_while(guard, |value| *value == 0).map_or(0, |value| *value)
    };
    let tasks = [0, 1].map(|_| runtime.task(input(), wait));
    let threads = [0, 1].map(|_| {
        let input = input();
        thread::spawn(move || wait(input))
    });
    *mutex.lock().unwrap() = 5;
    condition.notify_all();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 5));
    assert!(tasks.into_iter().all(|task| task.join() == Ok(5)));
    let (guard, timed_out) = condition.wait_timeout(mutex.lock().unwrap(), SHORT).unwrap();
    assert!(timed_out.timed_out());
    let (guard, timed_out) = condition.wait_timeout_while(guard, SHORT, |value| *value == 5).unwrap();
    assert!(timed_out.timed_out());
    let (_guard, timed_out) = condition.wait_timeout_while(guard, LONG, |value| *value == 0).unwrap();
    assert!(!timed_out.timed_out());
}

/// Host and task pass a number to and fro: each notification is for one, and none may be lost.
#[test]
fn no_notification_is_lost() {
    const ROUNDS: u64 = 2_000;
    let _watchdog = Watchdog::start("no_notification_is_lost");
    let runtime = runtime(1);
    let (mutex, condition) = (Mutex::new_on(&runtime, 0_u64).unwrap(), Condvar::new_on(&runtime).unwrap());
    let play = |(mutex, condition, mine): (Mutex<u64>, Condvar, u64)| {
        for _ in 0..ROUNDS {
            let guard = mutex.lock().unwrap();
            let mut guard = condition.wait_while(guard, |turn| *turn % 2 != mine).unwrap();
            *guard += 1;
            drop(guard);
            condition.notify_one();
        }
    };
    let other = runtime.task((mutex.clone(), condition.clone(), 1), play);
    play((mutex.clone(), condition, 0));
    assert_eq!(other.join(), Ok(()));
    assert_eq!(*mutex.lock().unwrap(), 2 * ROUNDS);
}

/// With one worker the child can only run while its parent waits.
#[test]
fn a_task_that_waits_for_a_condition_runs_its_own_tasks() {
    let _watchdog = Watchdog::start("a_task_that_waits_for_a_condition_runs_its_own_tasks");
    let runtime = runtime(1);
    let parts = (Mutex::new_on(&runtime, 0_u64).unwrap(), Condvar::new_on(&runtime).unwrap());
    let parent = runtime.task(parts, |(mutex, condition): (Mutex<u64>, Condvar)| {
        let child = |(mutex, condition): (Mutex<u64>, Condvar)| {
            *mutex.lock().unwrap() = 9;
            condition.notify_one();
        };
        let child = gorun_runtime::Task::with((mutex.clone(), condition.clone()), child).go();
        let seen = condition.wait_while(mutex.lock().unwrap(), |value| *value == 0).map_or(0, |value| *value);
        child.join().map(|()| seen)
    });
    assert_eq!(parent.join(), Ok(Ok(9)));
}

#[test]
fn a_once_is_done_once_by_anybody() {
    let _watchdog = Watchdog::start("a_once_is_done_once_by_anybody");
    let runtime = runtime(2);
    for _ in 0..50 {
        let parts = (Once::new_on(&runtime).unwrap(), Mutex::new_on(&runtime, 0_u64).unwrap());
        let call = |(once, times): (Once, Mutex<u64>)| {
            once.call_once(|| *times.lock().unwrap() += 1).is_ok() && *times.lock().unwrap() == 1
        };
        let tasks = [0, 1].map(|_| runtime.task(parts.clone(), call));
        assert!(call(parts.clone()));
        assert!(tasks.into_iter().all(|task| task.join() == Ok(true)));
        assert!(parts.0.is_completed());
    }
}

#[test]
fn a_once_that_panicked_says_so_until_it_is_forced() {
    let _watchdog = Watchdog::start("a_once_that_panicked_says_so_until_it_is_forced");
    let runtime = runtime(1);
    let once = Once::new_on(&runtime).unwrap();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        once.call_once(|| std::panic::resume_unwind(Box::new(()))).unwrap();
    }));
    assert!(panics.is_err());
    assert_eq!(once.call_once(|| ()), Err(OnceError::Poisoned));
    assert_eq!(once.call_once(|| ()), Err(OnceError::Poisoned));
    once.call_once_force(|state| assert!(state.is_poisoned() && !state.is_recovered())).unwrap();
    once.call_once(|| panic!("it is done")).unwrap();
}

#[test]
fn a_value_is_made_once_and_read_by_all() {
    let _watchdog = Watchdog::start("a_value_is_made_once_and_read_by_all");
    let runtime = runtime(2);
    let table = OnceLock::<[u64; 100]>::new_on(&runtime).unwrap();
    assert_eq!(table.get(), None);
    let tasks = [1, 2].map(|n| {
        runtime.task((table.clone(), n), |(table, n): (OnceLock<[u64; 100]>, u64)| {
            table.get_or_init(|| [n; 100]).map_or(0, |table| table[99])
        })
    });
    let seen: Vec<u64> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    let here = *table.get().unwrap();
    assert!(here == [1; 100] || here == [2; 100]);
    assert_eq!(seen, [here[0]; 2]);
    assert_eq!(table.set([3; 100]), Err([3; 100]));
    let empty = OnceLock::<u8>::new_on(&runtime).unwrap();
    assert_eq!((empty.set(4), empty.get()), (Ok(()), Some(&4)));
}

#[test]
fn a_barrier_opens_when_all_have_come_again_and_again() {
    let _watchdog = Watchdog::start("a_barrier_opens_when_all_have_come_again_and_again");
    let runtime = runtime(2);
    let parts = (Barrier::new_on(&runtime, 3).unwrap(), Mutex::new_on(&runtime, 0_u64).unwrap());
    let meet = |(barrier, count): (Barrier, Mutex<u64>)| {
        let mut led = 0_u64;
        for round in 1..=200 {
            *count.lock().unwrap() += 1;
            led += u64::from(barrier.wait().unwrap().is_leader());
            assert_eq!(
                *count.lock().unwrap(),
                3 * round,
                "all have counted, and nobody has begun the next round"
            );
            led += u64::from(barrier.wait().unwrap().is_leader());
        }
        led
    };
    let tasks = [0, 1].map(|_| runtime.task(parts.clone(), meet));
    let here = meet(parts.clone());
    let led = tasks.into_iter().map(|task| task.join().unwrap()).sum::<u64>() + here;
    assert_eq!(led, 400, "one leader each round");
    assert_eq!(parts.0.wait_timeout(SHORT).err(), Some(BarrierError::Refused(WaitError::TimedOut)));
    let others = [0, 1].map(|_| {
        let barrier = parts.0.clone();
        thread::spawn(move || barrier.wait().is_ok())
    });
    assert!(parts.0.wait().is_ok(), "who went away is not counted");
    assert!(others.into_iter().all(|thread| thread.join().unwrap()));
}

#[test]
fn a_participant_that_panics_breaks_the_barrier() {
    let _watchdog = Watchdog::start("a_participant_that_panics_breaks_the_barrier");
    let runtime = runtime(1);
    let barrier = Barrier::new_on(&runtime, 2).unwrap();
    let panics = runtime.task(barrier.clone(), |barrier: Barrier| {
        assert!(barrier.is_broken(), "it is not");
    });
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    assert!(matches!(panics.join(), Err(TaskError::Panicked { .. })));
    assert!(barrier.is_broken());
}

#[test]
fn a_group_is_waited_for_until_its_last_member_is_done() {
    let _watchdog = Watchdog::start("a_group_is_waited_for_until_its_last_member_is_done");
    let runtime = runtime(2);
    let group = WaitGroup::new_on(&runtime).unwrap();
    let done = Mutex::new_on(&runtime, 0_u64).unwrap();
    for n in 0..10_u64 {
        let input = (group.add().unwrap(), done.clone(), n);
        drop(runtime.task(input, |(member, done, n): (Member, Mutex<u64>, u64)| {
            if n % 2 == 0 {
                let more = (member.add(), done.clone());
                drop(
                    gorun_runtime::Task::with(more, |(member, done): (Member, Mutex<u64>)| {
                        *done.lock().unwrap() += 1;
                        member.done();
                    })
                    .go(),
                );
            }
            *done.lock().unwrap() += 1;
        }));
    }
    let elsewhere = runtime.task((group.clone(), done.clone()), |(group, done): (WaitGroup, Mutex<u64>)| {
        group.wait().map(|()| *done.lock().unwrap()).ok()
    });
    group.wait().unwrap();
    assert_eq!(*done.lock().unwrap(), 15);
    assert_eq!(elsewhere.join(), Ok(Some(15)));
    assert_eq!(group.add().err(), Some(GroupError::Over));
    assert_eq!(group.wait_timeout(SHORT), Ok(()));
}

#[test]
fn futures_take_locks() {
    let _watchdog = Watchdog::start("futures_take_locks");
    let runtime = runtime(2);
    let parts = (
        Mutex::new_on(&runtime, 0_u64).unwrap(),
        RwLock::new_on(&runtime, 0_u64).unwrap(),
        Semaphore::new_on(&runtime, 1).unwrap(),
    );
    let work = |(mutex, lock, semaphore): (Mutex<u64>, RwLock<u64>, Semaphore)| {
        block_on(async {
            for _ in 0..300 {
                *mutex.lock_async().await.unwrap() += 1;
                let before = *lock.read_async().await.unwrap();
                let mut value = lock.write_async().await.unwrap();
                assert!(*value >= before);
                *value += 1;
                drop(value);
                drop(semaphore.acquire_async().await.unwrap());
            }
        });
    };
    let tasks = [0, 1].map(|_| runtime.task(parts.clone(), work));
    work(parts.clone());
    assert!(tasks.into_iter().all(|task| task.join() == Ok(())));
    assert_eq!((*parts.0.lock().unwrap(), *parts.1.read().unwrap(), parts.2.available()), (900, 900, 1));
}

#[test]
fn a_dropped_future_keeps_nobody_waiting() {
    let _watchdog = Watchdog::start("a_dropped_future_keeps_nobody_waiting");
    let runtime = runtime(1);
    let lock = RwLock::new_on(&runtime, 0_u64).unwrap();
    let reads = lock.read().unwrap();
    {
        let mut write = pin!(lock.write_async());
        let mut context = Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
        let other = lock.clone();
        assert!(thread::spawn(move || other.try_read().is_err()).join().unwrap(), "the future has claimed");
    }
    let other = lock.clone();
    assert!(thread::spawn(move || other.try_read().is_ok()).join().unwrap());
    drop(reads);
}
