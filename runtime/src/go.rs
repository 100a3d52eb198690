//! Go: the functions most users need, on the default runtime (inside a task: on the worker's own).

use crate::error::TaskError;
use crate::handle::TaskHandle;
use crate::map::Map;
use crate::runtime::Runtime;
use crate::select::first_finished;
use crate::task::{IntoTask, Task};
use gorun_worker::codec::Portable;

/// Runs `function` in a worker process.
///
/// A closure that captures nothing is a function; one that captures is refused by the compiler, and `go!` or
/// [`Task::with`] pass what it needs as input.
///
/// # Blocking
/// While the queue is full. [`TaskHandle::join`] waits for the result.
///
/// ```
/// use gorun_runtime::go_parallel;
///
/// let answer: u64 = go_parallel(|| 6 * 7).join()?;
/// assert_eq!(answer, 42);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
///
/// ```compile_fail
/// let k = 7;
/// gorun_runtime::go_parallel(|| 6 * k); // `k` captured here
/// ```
#[inline]
pub fn go_parallel<R: Portable>(function: fn() -> R) -> TaskHandle<R> {
    Task::new(function).go()
}

/// Maps `function` over `items`, each item a task of its own.
///
/// ```
/// use gorun_runtime::go_map;
///
/// let squares: Vec<u64> = go_map(0..100_u64, |n| n * n).collect()?;
/// assert_eq!(squares[9], 81);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
pub fn go_map<'a, I, A, R>(items: I, function: fn(A) -> R) -> Map<'a, I::IntoIter, A, R>
where
    I: IntoIterator<Item = A>,
    A: Portable,
    R: Portable,
{
    let runtime = Runtime::current().map_err(|reason| TaskError::Rejected { reason });
    Map::new(runtime, items.into_iter(), function)
}

/// Starts all tasks, then waits for all; outcomes in the order of the tasks.
///
/// # Blocking
/// Until all have ended.
///
/// ```
/// use gorun_runtime::{go_all, Task};
///
/// let outcomes = go_all([Task::with(2_u32, |n| n + 1), Task::with(3, |n| n * 10)]);
/// assert_eq!(outcomes, [Ok(3), Ok(30)]);
/// ```
pub fn go_all<R: Portable>(tasks: impl IntoIterator<Item = impl IntoTask<R>>) -> Vec<Result<R, TaskError>> {
    match start_all(tasks) {
        Ok(handles) => handles.into_iter().map(TaskHandle::join).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Starts all tasks and gives the outcome of the one that ends first, good or bad. The others are cancelled if
/// nobody has started them, and forgotten otherwise.
///
/// # Errors
/// The first one's error; [`TaskError::Cancelled`] if there was no task.
///
/// # Blocking
/// Until one has ended.
pub fn go_race<R: Portable>(tasks: impl IntoIterator<Item = impl IntoTask<R>>) -> Result<R, TaskError> {
    let mut handles = start_all(tasks)?;
    if handles.is_empty() {
        return Err(TaskError::Cancelled);
    }
    let first = first_finished(&mut handles);
    let outcome = handles.swap_remove(first).join();
    cancel_all(&handles);
    outcome
}

/// Starts all tasks and gives the first value. The others are cancelled as in [`go_race`].
///
/// # Errors
/// If all fail, the error of the one that failed last; [`TaskError::Cancelled`] if there was no task.
///
/// # Blocking
/// Until one has succeeded or all have failed.
pub fn go_any<R: Portable>(tasks: impl IntoIterator<Item = impl IntoTask<R>>) -> Result<R, TaskError> {
    let mut handles = start_all(tasks)?;
    let mut last = TaskError::Cancelled;
    while !handles.is_empty() {
        let first = first_finished(&mut handles);
        match handles.swap_remove(first).join() {
            Ok(value) => {
                cancel_all(&handles);
                return Ok(value);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn start_all<R>(tasks: impl IntoIterator<Item = impl IntoTask<R>>) -> Result<Vec<TaskHandle<R>>, TaskError> {
    let runtime = Runtime::current().map_err(|reason| TaskError::Rejected { reason })?;
    Ok(tasks.into_iter().map(|task| task.start(&runtime)).collect())
}

fn cancel_all<R: Portable>(handles: &[TaskHandle<R>]) {
    for handle in handles {
        handle.cancel();
    }
}

/// Runs a body in a worker process with the named variables as its input.
///
/// `go!(|a, b| body)` moves `a` and `b` into the task, serialised once, and returns its handle. A variable that
/// is used and not named is a compile error at its use.
///
/// ```
/// use gorun_runtime::go;
///
/// let (n, text) = (3_usize, String::from("ab"));
/// let long = go!(|n, text| text.repeat(n)).join()?;
/// assert_eq!(long, "ababab");
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[macro_export]
macro_rules! go {
    (move || $body:expr) => { $crate::go_parallel(|| $body) };
    (|| $body:expr) => { $crate::go_parallel(|| $body) };
    ($(move)? |$($name:ident),+ $(,)?| $body:expr) => {
        $crate::Task::with(($($name,)+), |($($name,)+)| $body).go()
    };
    ([$($name:ident = $value:expr),+ $(,)?] $body:expr) => {
        $crate::Task::with(($($value,)+), |($($name,)+)| $body).go()
    };
}
