//! Task: a function, its input, and how it is to be run; built first, started by `go`.

use crate::block::ShareError;
use crate::book::Keep;
use crate::deadlines::Limits;
use crate::dispatch::Ticket;
use crate::error::{Place, Rejection, TaskError};
use crate::handle::TaskHandle;
use crate::runtime::Runtime;
use gorun_shm::slots::Descriptor;
use gorun_worker::codec::Portable;
use gorun_worker::function::{self, Shim};
use gorun_worker::message::{self, SealError};
use gorun_worker::run;
use gorun_worker::wire::status::MARK_MORTAL;
use std::fmt;
use std::time::Duration;

/// A task that was not started yet.
///
/// ```
/// use gorun_runtime::Task;
///
/// let length = Task::with(String::from("four"), |text: String| text.len()).go().join()?;
/// assert_eq!(length, 4);
/// # Ok::<(), gorun_runtime::TaskError>(())
/// ```
#[must_use = "a task runs only after `go`"]
pub struct Task<A, R> {
    kind: Kind<A, R>,
    limits: Limits,
}

enum Kind<A, R> {
    Thunk(fn() -> R),
    Function(A, fn(A) -> R),
}

impl<R: Portable> Task<(), R> {
    /// A task without input.
    pub fn new(function: fn() -> R) -> Self {
        Self { kind: Kind::Thunk(function), limits: Limits::default() }
    }
}

impl<A: Portable, R: Portable> Task<A, R> {
    /// A task that passes `input` to `function`.
    ///
    /// The input is encoded once, straight into shared memory. A closure that captures is refused by the
    /// compiler: pass what it needs as input.
    pub fn with(input: A, function: fn(A) -> R) -> Self {
        Self { kind: Kind::Function(input, function), limits: Limits::default() }
    }

    /// The task is over `after` its start with `go` at the latest, waiting in line included: it then has its value, or
    /// ends as [`TaskError::TimedOut`], and never both. Its worker is killed if it runs, whatever it does.
    ///
    /// ```
    /// use gorun_runtime::{Task, TaskError};
    /// use std::time::Duration;
    ///
    /// let endless = Task::new(|| loop { std::hint::spin_loop() }).deadline(Duration::from_millis(20));
    /// let outcome: Result<(), TaskError> = endless.go().join();
    /// assert_eq!(outcome, Err(TaskError::TimedOut { after: Duration::from_millis(20) }));
    /// ```
    pub fn deadline(mut self, after: Duration) -> Self {
        self.limits.deadline = Some(after);
        self
    }

    /// As [`Task::deadline`], but counted from the moment a worker begins to run the task. Both may be given.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.limits.timeout = Some(after);
        self
    }

    /// Starts it on the program's default runtime, or, inside a task, as a nested task.
    ///
    /// Never panics: whatever is wrong comes out of the handle.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn go(self) -> TaskHandle<R> {
        match Runtime::current() {
            Ok(runtime) => self.go_on(&runtime),
            Err(error) => TaskHandle::refused(TaskError::Rejected { reason: error }),
        }
    }

    /// Starts it on `runtime`.
    ///
    /// # Blocking
    /// While the queue is full.
    pub fn go_on(self, runtime: &Runtime) -> TaskHandle<R> {
        match self.submit(runtime) {
            Ok(ticket) => TaskHandle::waiting(runtime, ticket),
            Err(error) => TaskHandle::refused(error),
        }
    }

    #[inline]
    fn submit(self, runtime: &Runtime) -> Result<Ticket, TaskError> {
        let limits = runtime.limits(self.limits);
        if !limits.any() {
            return self.submit_marked(runtime, 0);
        }
        let dispatcher = runtime.dispatcher();
        dispatcher.check_limits()?;
        let ticket = self.submit_marked(runtime, MARK_MORTAL)?;
        dispatcher.limit(&ticket, limits);
        Ok(ticket)
    }

    #[inline]
    fn submit_marked(self, runtime: &Runtime, mark: u8) -> Result<Ticket, TaskError> {
        let dispatcher = runtime.dispatcher();
        let (shim, address, input) = match self.kind {
            Kind::Thunk(thunk) => {
                let shim = run::run_thunk::<R> as Shim;
                return dispatcher.submit(&describe(runtime, shim, thunk as usize, [0; 4], (0, mark))?, None);
            }
            Kind::Function(input, function) => (run::run_function::<A, R> as Shim, function as usize, input),
        };
        if let Some((payload, bytes)) = message::seal_inline(&input).map_err(rejected)? {
            return dispatcher.submit(&describe(runtime, shim, address, payload, (bytes, mark))?, None);
        }
        let limit = runtime.message_bytes_max();
        let sealed = message::seal_in_block(&input, &dispatcher.commons.blocks, dispatcher.me, limit);
        let sealed = sealed.map_err(rejected)?;
        let descriptor =
            describe(runtime, shim, address, sealed.payload, (sealed.bytes, sealed.marks | mark))?;
        let keep = Keep { input: sealed.hand_over_input(), output: None };
        dispatcher.submit(&descriptor, Some(Box::new(keep)))
    }
}

/// A descriptor for a function with its shim. The two must agree in their types: this is called only where both
/// come from one generic constructor.
#[inline]
pub(crate) fn describe(
    runtime: &Runtime,
    shim: Shim,
    address: usize,
    payload: [u64; 4],
    (input_bytes, marks): (u32, u8),
) -> Result<Descriptor, TaskError> {
    let id = |address| {
        let found = function::code_id(address, || runtime.libraries());
        found.map_err(|foreign| TaskError::Rejected { reason: foreign.into() })
    };
    Ok(Descriptor {
        shim: id(shim as usize)?.0,
        function: id(address)?.0,
        input_bytes,
        marks,
        attempt: 1,
        payload,
    })
}

pub(crate) fn rejected(error: SealError) -> TaskError {
    let reason = match error {
        SealError::TooLarge { bytes, limit } => Rejection::InputTooLarge { bytes, limit },
        SealError::NoMemory { bytes, .. } => Rejection::NoMemory { bytes },
        SealError::ForeignBlock => Rejection::ForeignBlock,
        other => Rejection::InputUnencodable { message: other.to_string() },
    };
    TaskError::Rejected { reason }
}

impl<A, R> fmt::Debug for Task<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// What can be started together with others: a task, or a plain function without input.
pub trait IntoTask<R> {
    /// Starts it on `runtime`.
    fn start(self, runtime: &Runtime) -> TaskHandle<R>;
}

impl<A: Portable, R: Portable> IntoTask<R> for Task<A, R> {
    fn start(self, runtime: &Runtime) -> TaskHandle<R> {
        self.go_on(runtime)
    }
}

impl<R: Portable> IntoTask<R> for fn() -> R {
    fn start(self, runtime: &Runtime) -> TaskHandle<R> {
        Task::new(self).go_on(runtime)
    }
}

impl From<ShareError> for TaskError {
    fn from(error: ShareError) -> Self {
        let reason = match error {
            ShareError::NoMemory { bytes } => Rejection::NoMemory { bytes },
            ShareError::NoRuntime(reason) => reason,
            ShareError::Corrupt(_) => return Self::Decode { place: Place::Slot },
        };
        Self::Rejected { reason }
    }
}
