//! What this thread is: a worker inside a task, or not; and the panic it last saw.

use crate::duty::Duty;
use crate::os::last_words;
use crate::wire::status::PanicReport;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Once;

thread_local! {
    static DUTY: RefCell<Option<Rc<Duty>>> = const { RefCell::new(None) };
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    static TASKS_ENTERED: Cell<usize> = const { Cell::new(0) };
    static LAST_PANIC: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// The duty this thread serves; none outside workers.
#[must_use]
#[inline]
pub fn duty() -> Option<Rc<Duty>> {
    DUTY.with(|duty| duty.borrow().clone())
}

/// True on a thread that serves a worker's duty.
#[inline]
#[must_use]
pub fn is_worker() -> bool {
    IS_WORKER.with(Cell::get)
}

/// True inside a task that was asked to stop: its handle was cancelled while it ran. A long task that looks now and then
/// can end early, with what it has; one that does not look runs on. Costs a few nanoseconds.
#[must_use]
pub fn is_cancelled() -> bool {
    is_worker() && DUTY.with(|duty| duty.borrow().as_ref().is_some_and(|duty| duty.is_asked_to_stop()))
}

/// Binds the calling thread to `duty` until the guard is dropped.
#[inline]
pub(crate) fn bind(duty: Rc<Duty>) -> Bound {
    DUTY.with(|place| place.replace(Some(duty)));
    IS_WORKER.with(|place| place.set(true));
    Bound(())
}

/// Unbinds on drop.
#[derive(Debug)]
pub(crate) struct Bound(());

impl Drop for Bound {
    #[inline]
    fn drop(&mut self) {
        DUTY.with(|place| place.replace(None));
        IS_WORKER.with(|place| place.set(false));
    }
}

/// Runs `task` so that a panic in it becomes a report.
///
/// # Errors
/// The report of the panic.
#[inline]
pub fn contain<R>(task: impl FnOnce() -> R) -> Result<R, PanicReport> {
    TASKS_ENTERED.with(|entered| entered.set(entered.get() + 1));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
    TASKS_ENTERED.with(|entered| entered.set(entered.get() - 1));
    outcome.map_err(|payload| report_of(payload.as_ref()))
}

#[cold]
fn report_of(payload: &(dyn Any + Send)) -> PanicReport {
    let noted = LAST_PANIC.with(|report| report.borrow_mut().take());
    let message = message_of(payload);
    // One that a task caught itself and that is not this one was noted too: `resume_unwind` calls no hook.
    match noted {
        Some(report) if report.message == message => report,
        _ => PanicReport { message, location: None },
    }
}

#[inline]
fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "panic with a value that is not text".to_owned())
}

fn told(report: &PanicReport) -> String {
    match &report.location {
        Some(location) => format!("{} at {location}", report.message),
        None => report.message.clone(),
    }
}

/// Makes panics inside tasks silent and remembered, and leaves all others to the hook that was there.
#[inline]
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            let report = PanicReport { message: message_of(info.payload()), location };
            last_words::note_panic(&told(&report));
            if TASKS_ENTERED.with(Cell::get) == 0 {
                return previous(info);
            }
            LAST_PANIC.with(|place| place.replace(Some(report)));
        }));
    });
}
