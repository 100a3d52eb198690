//! Degradation: a seat served by a thread of the host, where no process can be had, until one can.
//!
//! The same duty loop on the same lane; only the isolation is gone, and that is said loudly once. When processes can
//! be had again the thread is recalled: it leaves between two tasks, and what it held is buried like a worker's.

use super::{Pool, PoolState, Trouble};
use crate::mode::Mode;
use gorun_shm::OwnerId;
use gorun_shm::os::ticks;
use gorun_shm::sync::Ordering;
use gorun_worker::context;
use gorun_worker::cpu_set::CpuSet;
use gorun_worker::duty::{Duty, Kind};
use gorun_worker::os::pin;
use gorun_worker::wire::control::Departure;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

impl Pool {
    pub(super) fn degrade(&self, state: &mut PoolState, seat: u16) {
        if self.config.mode == Mode::Process && !self.config.supervision.graceful_degradation {
            // The seat stays empty; the roster tries again to fill it.
            let text =
                "no worker process can be had; tasks wait until one can, for graceful_degradation is off";
            return self.warn_once(state, Trouble::Waiting, text);
        }
        let Some(pool) = self.own.upgrade() else { return };
        let Some(record) = state.roster.degraded(seat, ticks::system_ns()) else { return };
        self.prepare(state, record, Some(seat));
        context::install_panic_hook();
        let body = move || {
            let _leaving = Leaving { pool: &pool, record };
            let Some(duty) = Duty::new(Arc::clone(&pool.commons), record, Kind::Thread) else { return };
            let settle = |_, cpus: CpuSet| pin::settle(&cpus, &pool.config.cpus);
            Rc::new(duty).serve(&settle);
        };
        match std::thread::Builder::new().name(format!("gorun-seat-{seat}")).spawn(body) {
            Ok(thread) => drop(state.threads.insert(record, thread)),
            Err(cause) => {
                // Neither processes nor threads: nothing can run. Waiters must not wait for ever.
                self.warn(&format!("no thread can be had either ({cause}); pending tasks are closed"));
                self.dispatcher.close();
                crate::channel::shut_all(&self.commons);
                crate::sync::shut_all(&self.commons);
                crate::context::shut_all(&self.commons);
            }
        }
    }

    /// The thread is to leave once its task has ended.
    pub(super) fn recall(&self, record: u16) {
        let worker = &self.commons.workers[usize::from(record)];
        worker.stop();
        worker.bell.ring();
    }

    /// Buries threads that have left their seats, and fills those.
    ///
    /// # Blocking
    /// Until such a thread has run the destructors of its thread-locals.
    pub(super) fn bury_threads(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for record in left {
            let thread = self.lock().threads.remove(&record);
            // One that panicked has said so on standard error.
            let _ = thread.map(std::thread::JoinHandle::join);
            let mut state = self.lock();
            let actions = state.roster.thread_left(record, ticks::system_ns());
            self.carry_out(&mut state, actions);
        }
    }

    /// Publishes whether threads serve; says so when they no longer do.
    pub(super) fn note_degradation(&self, state: &mut PoolState) {
        let degraded = state.roster.has_threads();
        if state.degraded == degraded {
            return;
        }
        state.degraded = degraded;
        self.commons.host.degraded.store(u32::from(degraded), Ordering::Relaxed); // Relaxed: for observers only.
        if !degraded && !state.roster.is_closed() && !state.roster.is_alone() {
            state.told.clear();
            self.warn("worker processes can be had again; every task runs in one from now on");
        }
    }

    /// [`Pool::warn`] for a trouble that lasts: once, until no thread serves any more.
    pub(super) fn warn_once(&self, state: &mut PoolState, trouble: Trouble, text: &str) {
        if state.told.insert(trouble) {
            self.warn(text);
        } else {
            tracing::debug!("{text}");
        }
    }

    pub(super) fn warn(&self, text: &str) {
        tracing::warn!("{text}");
        // A program without a tracing subscriber must hear of it too.
        eprintln!("gorun: warning: {text}");
    }
}

/// Tells the pool that a thread leaves its seat, in whatever way.
struct Leaving<'a> {
    pool: &'a Pool,
    record: u16,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let Pool { commons, dispatcher, .. } = self.pool;
        commons.workers[usize::from(self.record)].leave(Departure::Tenure);
        // Here and not at its burial: the destructors of this thread's locals let go of what results carry.
        dispatcher.collect_ended();
        if let Some(owner) = OwnerId::worker(self.record) {
            crate::orphan::keep_results(commons, owner);
        }
        self.pool.left.lock().unwrap_or_else(PoisonError::into_inner).push(self.record);
        self.pool.wake_up.wake();
    }
}
