//! Mode: where a task runs, and the pools for modes that are not a runtime's own.

use crate::error::{BuildError, Rejection, TaskError};
use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Where a task runs. The call is the same in each mode; what differs is what a crash costs, and what can be stopped.
///
/// | mode | a crash costs | deadline, timeout, kill | shared blocks |
/// |---|---|---|---|
/// | `Inline` | the program | refused | yes |
/// | `Thread` | the program | refused | those built inside the task |
/// | `Process` | the task | yes | yes |
/// | `Jailed` | the task, and a hostile one can do no more | yes | refused |
///
/// What a mode cannot do is refused when the task is started, as [`Rejection::CannotKill`] or
/// [`Rejection::ForeignBlock`]; a jail that the kernel cannot make as [`Rejection::Jail`].
///
/// ```
/// use gorun_runtime::{Mode, Task};
///
/// for mode in [Mode::Inline, Mode::Thread, Mode::Process] {
///     assert_eq!(Task::with(20, |n: u32| n + 1).mode(mode).go().join(), Ok(21));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// On the thread that starts it, while it starts it; so do tasks that it starts itself. For debugging, and for tasks
    /// too small to hand over.
    Inline,
    /// On a thread of this process, one for each seat.
    Thread,
    /// In a worker process.
    Process,
    /// In a worker process that may do nothing but what its profile says: see [`Jail`](crate::Jail).
    Jailed,
}

impl Mode {
    /// As the environment has them.
    pub(crate) const NAMES: &'static str = "inline, thread, process, jailed";
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "inline" => Ok(Self::Inline),
            "thread" => Ok(Self::Thread),
            "process" => Ok(Self::Process),
            "jailed" => Ok(Self::Jailed),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline => "inline",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Jailed => "jailed",
        })
    }
}

thread_local! {
    static INSIDE: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// The runtime whose inline task this thread is inside of.
#[inline]
pub(crate) fn inside() -> Option<Runtime> {
    INSIDE.with_borrow(Clone::clone)
}

/// Until the guard is dropped, tasks that are started here belong to `runtime`.
pub(crate) fn enter(runtime: &Runtime) -> Inside {
    Inside(INSIDE.replace(Some(runtime.clone())))
}

/// Goes back to what was there on drop.
#[derive(Debug)]
pub(crate) struct Inside(Option<Runtime>);

impl Drop for Inside {
    fn drop(&mut self) {
        let left = INSIDE.replace(self.0.take());
        // With the place free again: it may be the last handle, whose drop stops a pool.
        drop(left);
    }
}

/// Runtimes beside one, each with the pool of another mode; made at the first task that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Companions {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    runtimes: Vec<(Mode, Runtime)>,
    closed: bool,
}

impl Companions {
    /// The companion of this mode, built by `build` if there is none yet.
    ///
    /// # Errors
    /// [`TaskError::Closed`] after the shutdown; [`Rejection::NoRuntime`] if it cannot be built.
    pub(crate) fn get(
        &self,
        mode: Mode,
        build: impl FnOnce() -> Result<Runtime, BuildError>,
    ) -> Result<Runtime, TaskError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.closed {
            return Err(TaskError::Closed);
        }
        if let Some((_, runtime)) = made.runtimes.iter().find(|(known, _)| *known == mode) {
            return Ok(runtime.clone());
        }
        let built = build().map_err(|error| {
            let message = format!("for tasks in mode {mode}: {error}");
            TaskError::Rejected { reason: Rejection::NoRuntime { message } }
        })?;
        made.runtimes.push((mode, built.clone()));
        Ok(built)
    }

    /// Shuts all of them down, for good.
    ///
    /// # Blocking
    /// As dropping a runtime does.
    pub(crate) fn close(&self) {
        let runtimes = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.closed = true;
            std::mem::take(&mut made.runtimes)
        };
        drop(runtimes);
    }
}
