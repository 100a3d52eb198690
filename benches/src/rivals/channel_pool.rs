//! The pool that people write by hand: boxed closures in a bounded crossbeam channel, one thread, results in another.

use crossbeam_channel::bounded;

use crate::measure::time_ns;

/// Queue length of both channels.
const QUEUE: usize = 4096;

type Job = Box<dyn FnOnce() -> u64 + Send>;

/// Nanoseconds per task: `tasks` boxed closures to one thread and their results back.
///
/// # Panics
/// When a result got lost.
#[must_use]
pub fn task_ns(tasks: u64) -> f64 {
    let (submit, jobs) = bounded::<Job>(QUEUE);
    let (finish, results) = bounded::<u64>(QUEUE);
    let worker = std::thread::spawn(move || jobs.into_iter().try_for_each(|job| finish.send(job())));
    let mut sum = 0;
    let ns = time_ns(|| {
        for _ in 0..tasks {
            submit.send(Box::new(|| 1)).expect("the worker is there");
            sum += results.try_iter().sum::<u64>();
        }
        while sum < tasks {
            sum += results.recv().expect("the worker is there");
        }
    });
    drop(submit);
    worker.join().expect("the worker ends").expect("every result was taken");
    assert_eq!(sum, tasks, "every task has one result");
    ns / tasks as f64
}
