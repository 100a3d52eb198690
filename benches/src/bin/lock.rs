//! What does a lock cost that other processes share, and that survives its owner's death?
//!
//! Measured: locking and unlocking while nobody else asks; how often two count under one lock, as threads of the host, and as
//! worker processes. Peers in the same run: std's `Mutex` and `RwLock` between threads.

use gorun::prelude::*;
use gorun::sync::{Mutex, RwLock, Semaphore};
use gorun_benches::measure::{Effort, call_ns, interleave, time_ns};
use gorun_benches::report::{Better, Row};
use std::hint::black_box;
use std::sync::{Mutex as StdMutex, RwLock as StdRwLock};
use std::thread;

fn main() {
    let effort = Effort::from_args();
    let runtime = Runtime::builder().workers(2).build().expect("the runtime starts");
    alone(effort, &runtime);
    contended(effort, &runtime);
}

/// Nobody else asks for it.
fn alone(effort: Effort, runtime: &Runtime) {
    let calls = effort.pick(2_000_000, 200_000);
    let mutex = Mutex::new_on(runtime, 0_u64).expect("there is memory");
    let lock = RwLock::new_on(runtime, 0_u64).expect("there is memory");
    let semaphore = Semaphore::new_on(runtime, 4).expect("there is memory");
    let (their_mutex, their_lock) = (StdMutex::new(0_u64), StdRwLock::new(0_u64));
    let [ours, reads, writes, permits, theirs, their_reads, their_writes] = interleave(
        effort.runs(),
        [
            &mut || call_ns(calls, || *black_box(&mutex).lock().expect("nobody died") += 1),
            &mut || {
                call_ns(calls, || {
                    black_box(*black_box(&lock).read().expect("nobody died"));
                })
            },
            &mut || call_ns(calls, || *black_box(&lock).write().expect("nobody died") += 1),
            &mut || call_ns(calls, || drop(black_box(&semaphore).acquire().expect("permits are free"))),
            &mut || call_ns(calls, || *black_box(&their_mutex).lock().expect("nobody panicked") += 1),
            &mut || {
                call_ns(calls, || {
                    black_box(*black_box(&their_lock).read().expect("nobody panicked"));
                })
            },
            &mut || call_ns(calls, || *black_box(&their_lock).write().expect("nobody panicked") += 1),
        ],
    );
    let rows = [
        ("Mutex, lock and unlock, alone", ours, "std Mutex", theirs, Some(1.2)),
        ("RwLock, read and unlock, alone", reads, "std RwLock", their_reads, None),
        ("RwLock, write and unlock, alone", writes, "std RwLock", their_writes, None),
        ("Semaphore, acquire and release, alone", permits, "std Mutex", theirs, None),
    ];
    for (metric, ours, peer, reference, reach) in rows {
        Row { metric, unit: "ns", ours, peer, reference, better: Better::Lower, reach }.print();
    }
}

fn count((mutex, times): (Mutex<u64>, u64)) {
    (0..times).for_each(|_| *mutex.lock().expect("nobody dies") += 1);
}

fn read((lock, times): (RwLock<u64>, u64)) {
    for _ in 0..times {
        black_box(*lock.read().expect("nobody dies"));
    }
}

/// Millions a second of two that do `times` each.
fn rate(times: u64, both: impl FnOnce()) -> f64 {
    2.0 * times as f64 / time_ns(both) * 1e3
}

/// `work` in two threads.
fn in_threads(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        scope.spawn(&work);
        scope.spawn(&work);
    });
}

/// Two ask for it all the time.
fn contended(effort: Effort, runtime: &Runtime) {
    let times = effort.pick(1_000_000, 100_000);
    let mutex = Mutex::new_on(runtime, 0_u64).expect("there is memory");
    let lock = RwLock::new_on(runtime, 0_u64).expect("there is memory");
    let (their_mutex, their_lock) = (StdMutex::new(0_u64), StdRwLock::new(0_u64));
    let in_tasks = |run: &dyn Fn() -> TaskHandle<()>| {
        let tasks = [run(), run()];
        tasks.into_iter().for_each(|task| task.join().expect("the task ends"));
    };
    let [threads, processes, readers, theirs, their_readers] = interleave(
        effort.runs(),
        [
            &mut || rate(times, || in_threads(|| count((mutex.clone(), times)))),
            &mut || rate(times, || in_tasks(&|| runtime.task((mutex.clone(), times), count))),
            &mut || rate(times, || in_tasks(&|| runtime.task((lock.clone(), times), read))),
            &mut || {
                rate(times, || {
                    in_threads(|| {
                        (0..times).for_each(|_| *their_mutex.lock().expect("nobody panics") += 1);
                    });
                })
            },
            &mut || {
                rate(times, || {
                    in_threads(|| {
                        for _ in 0..times {
                            black_box(*their_lock.read().expect("nobody panics"));
                        }
                    });
                })
            },
        ],
    );
    let rows = [
        ("Mutex, two threads count", threads, "std Mutex, two threads", theirs),
        ("Mutex, two processes count", processes, "std Mutex, two threads", theirs),
        ("RwLock, two processes read", readers, "std RwLock, two threads", their_readers),
    ];
    for (metric, ours, peer, reference) in rows {
        Row { metric, unit: "M/s", ours, peer, reference, better: Better::Higher, reach: None }.print();
    }
}
