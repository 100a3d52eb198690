//! Select: which of several handles ends first.

use crate::handle::TaskHandle;
use gorun_worker::codec::Portable;
use gorun_worker::context;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that ends this thread's `park`.
pub(crate) fn unpark_this_thread() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Index of a handle that has ended.
///
/// # Blocking
/// Until one has. Inside a task it runs tasks of its own meanwhile.
pub(crate) fn first_finished<R: Portable>(handles: &mut [TaskHandle<R>]) -> usize {
    let waker = unpark_this_thread();
    let mut context = Context::from_waker(&waker);
    loop {
        // Asked before looked at: what ends in between wakes us.
        for handle in handles.iter_mut() {
            handle.ask_to_be_woken(&mut context);
        }
        if let Some(index) = handles.iter().position(TaskHandle::is_finished) {
            return index;
        }
        match context::duty() {
            Some(duty) => {
                if !duty.run_one() {
                    crate::handle::sleep_until_any(handles);
                }
            }
            None => thread::park(),
        }
    }
}
