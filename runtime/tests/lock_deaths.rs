//! Processes are killed while they have locks: what they had is given back, and the next owner is told.

use gorun_runtime::sync::{
    Barrier, BarrierError, Condvar, GroupError, LockError, Member, Mutex, MutexGuard, Once, OnceLock, RwLock,
    Semaphore, WaitGroup,
};
use gorun_runtime::{Runtime, TaskError, TaskHandle};
use gorun_test_programs::{Death, Gate, Watchdog, gate};
use std::thread;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).quarantine_after(0).build().expect("build a runtime")
}

fn is_lost<R>(task: TaskHandle<R>) -> bool
where
    R: gorun_worker::codec::Portable,
{
    matches!(task.join(), Err(TaskError::WorkerLost { .. }))
}

type Pair = [u64; 2];

#[test]
fn a_mutex_of_the_dead_is_recovered_by_who_waits() {
    let _watchdog = Watchdog::start("a_mutex_of_the_dead_is_recovered_by_who_waits");
    let runtime = runtime(1);
    for death in Death::QUICK {
        let mutex = Mutex::new_on(&runtime, [0, 0]).unwrap();
        let gate = Gate::new();
        let input = (mutex.clone(), gate.name(), death);
        let dying = runtime.task(input, |(mutex, name, death): (Mutex<Pair>, String, Death)| -> bool {
            let mut pair = mutex.lock().unwrap();
            pair[0] = 1;
            gate::stand_at(&name);
            death.die()
        });
        let stands = gate.await_task();
        let waits = {
            let mutex = mutex.clone();
            thread::spawn(move || match mutex.lock() {
                Err(LockError::Recovered(pair)) => Some(*pair),
                _ => None,
            })
        };
        drop(stands);
        assert_eq!(waits.join().unwrap(), Some([1, 0]), "after {death:?}");
        assert!(is_lost(dying));
        assert!(matches!(mutex.lock(), Err(LockError::Recovered(_))), "nobody has seen to the value");
        let mut pair = mutex.lock().or_else(LockError::into_guard).unwrap();
        *pair = [1, 1];
        MutexGuard::mark_sound(&mut pair);
        drop(pair);
        assert_eq!(mutex.lock().map(|pair| *pair).ok(), Some([1, 1]));
        assert_eq!(mutex.recoveries(), 1);
    }
}

#[test]
fn a_task_waits_for_a_mutex_of_another_dead_worker() {
    let _watchdog = Watchdog::start("a_task_waits_for_a_mutex_of_another_dead_worker");
    let runtime = runtime(2);
    let mutex = Mutex::new_on(&runtime, 0_u64).unwrap();
    let gate = Gate::new();
    let dying = runtime.task((mutex.clone(), gate.name()), |(mutex, name): (Mutex<u64>, String)| -> bool {
        let _guard = mutex.lock().unwrap();
        gate::stand_at(&name);
        Death::Kill.die()
    });
    let stands = gate.await_task();
    let waits = runtime.task((mutex.clone(), gate.name()), |(mutex, name): (Mutex<u64>, String)| {
        gate::pass(&name);
        mutex.lock().err().is_some_and(|error| error.is_recovered())
    });
    drop(gate.await_task());
    drop(stands);
    assert_eq!(waits.join(), Ok(true));
    assert!(is_lost(dying));
}

#[test]
fn a_dead_reader_lets_writers_in_and_a_dead_writer_is_told() {
    let _watchdog = Watchdog::start("a_dead_reader_lets_writers_in_and_a_dead_writer_is_told");
    let runtime = runtime(1);
    let lock = RwLock::new_on(&runtime, 0_u64).unwrap();
    let reader = runtime.task(lock.clone(), |lock: RwLock<u64>| -> bool {
        std::mem::forget((lock.read().unwrap(), lock.read().unwrap()));
        Death::Kill.die()
    });
    assert!(is_lost(reader));
    assert!(lock.write().is_ok(), "a reader harms nothing");
    let writer = runtime.task(lock.clone(), |lock: RwLock<u64>| -> bool {
        *lock.write().unwrap() = 1;
        std::mem::forget(lock.write().unwrap());
        Death::Kill.die()
    });
    assert!(is_lost(writer));
    assert!(matches!(lock.read(), Err(LockError::Recovered(value)) if *value == 1));
    drop(lock.write_or_repair(|value| *value = 2).unwrap());
    assert_eq!((lock.read().map(|value| *value).ok(), lock.recoveries()), (Some(2), 1));
}

#[test]
fn permits_of_the_dead_come_back() {
    let _watchdog = Watchdog::start("permits_of_the_dead_come_back");
    let runtime = runtime(1);
    let semaphore = Semaphore::new_on(&runtime, 5).unwrap();
    let mine = semaphore.acquire().unwrap();
    let gate = Gate::new();
    let input = (semaphore.clone(), gate.name());
    let dying = runtime.task(input, |(semaphore, name): (Semaphore, String)| -> bool {
        let _all = (semaphore.acquire().unwrap(), semaphore.acquire_many(3).unwrap());
        gate::stand_at(&name);
        Death::Kill.die()
    });
    let stands = gate.await_task();
    assert_eq!(semaphore.available(), 0);
    thread::scope(|scope| {
        let waits = scope.spawn(|| semaphore.acquire_many(4).map(|permits| permits.permits()));
        drop(stands);
        assert_eq!(waits.join().unwrap(), Ok(4));
    });
    assert!(is_lost(dying));
    assert_eq!((semaphore.available(), semaphore.recoveries()), (4, 1));
    drop(mine);
    assert_eq!(semaphore.available(), 5);
}

/// One is killed while it collects several permits: its turn goes to the next.
#[test]
fn a_turn_of_the_dead_is_passed_on() {
    let _watchdog = Watchdog::start("a_turn_of_the_dead_is_passed_on");
    let runtime = runtime(1);
    let semaphore = Semaphore::new_on(&runtime, 3).unwrap();
    let mine = semaphore.acquire().unwrap();
    let gate = Gate::new();
    let collects =
        runtime.task((semaphore.clone(), gate.name()), |(semaphore, name): (Semaphore, String)| {
            gate::pass(&name);
            semaphore.acquire_many(3).is_ok()
        });
    drop(gate.await_task());
    gorun_test_programs::eventually(|| semaphore.available() == 0);
    assert!(collects.kill());
    assert_eq!(collects.join(), Err(TaskError::Cancelled));
    assert_eq!(semaphore.acquire_many(2).map(|permits| permits.permits()), Ok(2));
    drop(mine);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn a_dead_initialiser_hands_over_to_who_waits() {
    let _watchdog = Watchdog::start("a_dead_initialiser_hands_over_to_who_waits");
    let runtime = runtime(1);
    let (once, table) = (Once::new_on(&runtime).unwrap(), OnceLock::<u64>::new_on(&runtime).unwrap());
    let gate = Gate::new();
    let input = (once.clone(), table.clone(), gate.name());
    let dying = runtime.task(input, |(once, table, name): (Once, OnceLock<u64>, String)| -> bool {
        let made = table.get_or_init(|| {
            once.call_once(|| {
                gate::stand_at(&name);
                Death::Kill.die()
            })
            .unwrap();
            1
        });
        made.is_ok()
    });
    let stands = gate.await_task();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut told = false;
            once.call_once_force(|state| told = state.is_recovered() && !state.is_poisoned()).unwrap();
            told
        });
        let makes = scope.spawn(|| table.get_or_init(|| 2).copied());
        drop(stands);
        assert!(waits.join().unwrap());
        assert_eq!(makes.join().unwrap(), Ok(2));
    });
    assert!(is_lost(dying));
    assert!(once.is_completed());
}

#[test]
fn a_dead_participant_breaks_the_barrier() {
    let _watchdog = Watchdog::start("a_dead_participant_breaks_the_barrier");
    let runtime = runtime(1);
    let barrier = Barrier::new_on(&runtime, 2).unwrap();
    let gate = Gate::new();
    let input = (barrier.clone(), gate.name());
    let dying = runtime.task(input, |(_barrier, name): (Barrier, String)| -> bool {
        gate::stand_at(&name);
        Death::Kill.die()
    });
    let stands = gate.await_task();
    let waits = {
        let barrier = barrier.clone();
        thread::spawn(move || barrier.wait())
    };
    drop(stands);
    assert_eq!(waits.join().unwrap(), Err(BarrierError::Broken));
    assert!(is_lost(dying));
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    // One that has nothing to do with it goes on.
    let other = Barrier::new_on(&runtime, 1).unwrap();
    assert!(other.wait().is_ok_and(|result| result.is_leader()));
}

#[test]
fn dead_members_of_a_group_are_counted() {
    let _watchdog = Watchdog::start("dead_members_of_a_group_are_counted");
    let runtime = runtime(2);
    let group = WaitGroup::new_on(&runtime).unwrap();
    let tasks: Vec<_> = (0..6_u64)
        .map(|n| {
            runtime.task((group.add().unwrap(), n), |(member, n): (Member, u64)| {
                if n % 3 == 0 {
                    Death::Kill.die();
                }
                member.done();
            })
        })
        .collect();
    assert_eq!(group.wait(), Err(GroupError::Lost { members: 2 }));
    let lost = tasks.into_iter().map(is_lost).filter(|lost| *lost).count();
    assert_eq!(lost, 2);
}

/// The waiter that is woken is killed before it does anything with it: the other must not sleep on.
#[test]
fn a_notification_does_not_die_with_a_waiter() {
    let _watchdog = Watchdog::start("a_notification_does_not_die_with_a_waiter");
    let runtime = runtime(2);
    for _ in 0..10 {
        let parts = (Mutex::new_on(&runtime, 0_u64).unwrap(), Condvar::new_on(&runtime).unwrap());
        let gates = [Gate::new(), Gate::new()];
        let input = (parts.clone(), gates[0].name(), gates[1].name());
        type Input = ((Mutex<u64>, Condvar), String, String);
        let killed = runtime.task(input, |((mutex, condition), name, stay): Input| {
            let guard = mutex.lock().unwrap();
            gate::pass(&name);
            drop(condition.wait_while(guard, |value| *value == 0));
            gate::stand_at(&stay);
        });
        drop(gates[0].await_task());
        let other = runtime.task(
            (parts.clone(), gates[0].name()),
            |((mutex, condition), name): ((Mutex<u64>, Condvar), String)| {
                let guard = mutex.lock().unwrap();
                gate::pass(&name);
                // Or it is told that the other had the mutex again when it was killed.
                let waited = condition.wait_while(guard, |value| *value == 0);
                waited.or_else(LockError::into_guard).is_ok_and(|value| *value == 1)
            },
        );
        drop(gates[0].await_task());
        *parts.0.lock().unwrap() = 1;
        parts.1.notify_one();
        assert!(killed.kill());
        assert_eq!(killed.join(), Err(TaskError::Cancelled));
        assert_eq!(other.join(), Ok(true));
    }
}

/// Adds to both numbers, one after the other, so often or until it is killed. Gives the first as it was last.
fn count((pair, times): (Mutex<Pair>, u64)) -> u64 {
    let mut last = 0;
    for _ in 0..times {
        let mut pair = pair.lock_or_repair(|pair| pair[1] = pair[0]).expect("the runtime lives");
        assert_eq!(pair[0], pair[1], "half written, and nobody was told");
        pair[0] += 1;
        pair[1] += 1;
        last = pair[0];
    }
    last
}

#[test]
fn owners_killed_at_any_instant_leave_no_value_half_written_unsaid() {
    let _watchdog = Watchdog::start("owners_killed_at_any_instant_leave_no_value_half_written_unsaid");
    let runtime = runtime(2);
    let pair = Mutex::new_on(&runtime, [0, 0]).unwrap();
    for round in 0..40_u64 {
        let endless = [0, 1].map(|_| runtime.task((pair.clone(), u64::MAX), count));
        // Until the others are at it, and then for a while, a different one each round.
        let (mut mine, before) = (0, count((pair.clone(), 1)));
        while count((pair.clone(), 1)) <= before + mine + 1 + 37 * round {
            mine += 1;
        }
        for task in endless {
            assert!(task.kill());
            assert_eq!(task.join(), Err(TaskError::Cancelled));
        }
    }
    assert!(pair.recoveries() > 0, "killed eighty times, and never while it had the lock");
    let last = *pair.lock_or_repair(|pair| pair[1] = pair[0]).unwrap();
    assert_eq!(last[0], last[1]);
}

type Parts = (RwLock<Pair>, Semaphore);

/// Reads or writes with a permit.
fn step((lock, semaphore): &Parts, n: u64) {
    let _permit = semaphore.acquire().expect("the runtime lives");
    if n.is_multiple_of(3) {
        let mut pair = lock.write_or_repair(|pair| pair[1] = pair[0]).expect("the runtime lives");
        assert_eq!(pair[0], pair[1], "half written, and nobody was told");
        pair[0] += 1;
        pair[1] += 1;
    } else if let Ok(pair) = lock.read() {
        assert_eq!(pair[0], pair[1]);
    }
}

#[test]
fn readers_and_writers_killed_at_any_instant_wedge_nobody() {
    let _watchdog = Watchdog::start("readers_and_writers_killed_at_any_instant_wedge_nobody");
    let runtime = runtime(2);
    let parts = (RwLock::new_on(&runtime, [0, 0]).unwrap(), Semaphore::new_on(&runtime, 2).unwrap());
    for round in 0..40_u64 {
        let gate = Gate::new();
        let endless = [0, 1].map(|_| {
            runtime.task((parts.clone(), gate.name()), |(parts, name): (Parts, String)| -> u64 {
                step(&parts, 0);
                gate::pass(&name);
                (1..u64::MAX).for_each(|n| step(&parts, n));
                0
            })
        });
        (0..2).for_each(|_| drop(gate.await_task()));
        (0..10 + 7 * round).for_each(|n| step(&parts, n));
        for task in endless {
            assert!(task.kill());
            assert_eq!(task.join(), Err(TaskError::Cancelled));
        }
    }
    // A task that was killed ends when its thread is dead, which may be before its worker is buried.
    gorun_test_programs::eventually(|| parts.1.available() == 2);
    assert!(parts.1.recoveries() > 0, "killed eighty times, and never with a permit");
    assert!(parts.0.write_or_repair(|pair| pair[1] = pair[0]).is_ok());
}
