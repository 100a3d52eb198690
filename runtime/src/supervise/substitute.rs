//! Substitute: a task's function on a thread of the host, as the last resort of a task that failed everywhere else.
//!
//! A few threads per runtime, made when needed; further substitutes wait in line for one. A thread takes the next in
//! line when it is done, and ends when nobody waits.

use super::line::{Entered, Line};
use crate::error::TaskError;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

/// Threads of one runtime at once: a broken pool must not become as many threads as it had tasks.
const THREADS_MAX: usize = 8;
/// Substitutes that wait for a thread at most; the error of further ones stands.
const WAITING_MAX: usize = 4096;

type Job = Box<dyn FnOnce() + Send>;

/// The threads of a runtime.
pub(super) struct Stage {
    line: Arc<Mutex<Line<Job>>>,
    numbers: AtomicU64,
}

impl Default for Stage {
    fn default() -> Self {
        Self { line: Arc::new(Mutex::new(Line::new(THREADS_MAX, WAITING_MAX))), numbers: AtomicU64::new(0) }
    }
}

impl Stage {
    /// Has the job done by a thread; false if there are too many, or the kernel has none.
    fn enter(&self, job: Job) -> bool {
        // Relaxed: different numbers are all that is asked for.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entered = lock(&self.line).enter(number, job);
        match entered {
            Entered::Now(job) => {
                let line = Arc::clone(&self.line);
                let started =
                    thread::Builder::new().name("gorun-fallback".into()).spawn(move || serve(&line, job));
                if started.is_err() {
                    lock(&self.line).leave();
                }
                started.is_ok()
            }
            Entered::Waiting => true,
            Entered::Full(_) => false,
        }
    }
}

/// Does this job and those that wait.
fn serve(line: &Mutex<Line<Job>>, first: Job) {
    let mut next = Some(first);
    while let Some(job) = next {
        // Only what becomes of an unwanted value may still panic.
        let _ = catch_unwind(AssertUnwindSafe(job));
        next = lock(line).succeed();
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = lock(&self.line);
        f.debug_struct("Stage").field("threads", &line.running()).field("waiting", &line.waiting()).finish()
    }
}

/// What a thread makes of a task, for the handle that waits.
pub(super) struct Substitute<R> {
    inside: Mutex<Inside<R>>,
}

struct Inside<R> {
    outcome: Option<Result<R, TaskError>>,
    waker: Option<Waker>,
}

impl<R: Send + 'static> Substitute<R> {
    /// Has `run` called by a thread; none if there is none to be had.
    pub(super) fn start(stage: &Stage, run: impl FnOnce() -> R + Send + 'static) -> Option<Arc<Self>> {
        let substitute = Arc::new(Self { inside: Mutex::new(Inside { outcome: None, waker: None }) });
        let told = Arc::clone(&substitute);
        let job = move || told.end(catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panicked(&*panic)));
        stage.enter(Box::new(job)).then_some(substitute)
    }

    fn end(&self, outcome: Result<R, TaskError>) {
        let waker = {
            let mut inside = lock(&self.inside);
            inside.outcome = Some(outcome);
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A substitute as the handle sees it, whatever threads its value may go to.
pub(crate) trait StandIn<R>: Send + Sync {
    /// True once there is an outcome; until then the waker is called for it.
    fn is_over(&self, waker: Option<&Waker>) -> bool;

    fn take(&self) -> Option<Result<R, TaskError>>;
}

impl<R: Send> StandIn<R> for Substitute<R> {
    fn is_over(&self, waker: Option<&Waker>) -> bool {
        let mut inside = lock(&self.inside);
        let is_over = inside.outcome.is_some();
        let old = if is_over { None } else { waker.and_then(|waker| inside.waker.replace(waker.clone())) };
        drop(inside);
        // With the lock released: a waker may run anything when it goes.
        drop(old);
        is_over
    }

    fn take(&self) -> Option<Result<R, TaskError>> {
        lock(&self.inside).outcome.take()
    }
}

fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    TaskError::Panicked {
        message: text.unwrap_or_else(|| "a panic without a text".to_owned()),
        location: None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::unpark_this_thread;
    use std::sync::Condvar;

    #[test]
    fn no_more_threads_than_the_limit_do_all_that_waits() {
        let (stage, gate) =
            (Stage::default(), Arc::new((Mutex::new((0_usize, 0_usize, false)), Condvar::new())));
        let start = |n: usize| {
            let gate = Arc::clone(&gate);
            Substitute::start(&stage, move || {
                let (place, changed) = &*gate;
                let mut counts = lock(place);
                counts.0 += 1;
                counts.1 = counts.1.max(counts.0);
                changed.notify_all();
                let mut counts = changed.wait_while(counts, |counts| !counts.2).unwrap();
                counts.0 -= 1;
                n
            })
        };
        let all: Vec<_> = (0..100).map(|n| start(n).unwrap()).collect();
        let (place, changed) = &*gate;
        drop(changed.wait_while(lock(place), |counts| counts.0 < THREADS_MAX).unwrap());
        assert!(all.iter().all(|substitute| !substitute.is_over(None)));
        lock(place).2 = true;
        changed.notify_all();
        let waker = unpark_this_thread();
        for (n, substitute) in all.iter().enumerate() {
            while !substitute.is_over(Some(&waker)) {
                thread::park();
            }
            assert_eq!(substitute.take(), Some(Ok(n)));
        }
        assert_eq!(lock(place).1, THREADS_MAX);
    }

    #[test]
    fn a_panic_is_an_error_with_its_text_and_the_thread_goes_on() {
        let stage = Stage::default();
        let waker = unpark_this_thread();
        for text in ["one", "two"] {
            let run = move || -> u8 { std::panic::panic_any(text.to_owned()) };
            let substitute = Substitute::start(&stage, run).unwrap();
            while !substitute.is_over(Some(&waker)) {
                thread::park();
            }
            let Some(Err(TaskError::Panicked { message, .. })) = substitute.take() else {
                panic!("no panic")
            };
            assert_eq!(message, text);
        }
    }
}
