//! Degradation: a seat served by a thread of the host, where no process can be had.
//!
//! The same duty loop on the same lane; only the isolation is gone, and that is said loudly once.

use super::{Pool, PoolState};
use gorun_shm::sync::Ordering;
use gorun_worker::context;
use gorun_worker::duty::{Duty, Kind};
use gorun_worker::os::pin;
use std::rc::Rc;
use std::sync::Arc;

impl Pool {
    pub(super) fn degrade(&self, state: &mut PoolState, seat: u16) {
        let Some(record) = state.roster.degraded(seat) else { return };
        state.degraded = true;
        self.commons.host.degraded.store(1, Ordering::Relaxed); // Relaxed: for observers only.
        self.prepare(record, Some(seat));
        context::install_panic_hook();
        let (commons, cpus) = (Arc::clone(&self.commons), self.config.cpus.clone());
        let body = move || {
            if let Some(duty) = Duty::new(commons, record, Kind::Thread) {
                Rc::new(duty).serve(&|_, cpu| {
                    if !cpu.is_some_and(pin::pin) {
                        pin::unpin(&cpus);
                    }
                });
            }
        };
        let started = std::thread::Builder::new().name(format!("gorun-seat-{seat}")).spawn(body);
        if let Err(cause) = started {
            // Neither processes nor threads: nothing can run. Waiters must not wait for ever.
            self.warn(&format!("no thread can be had either ({cause}); pending tasks are closed"));
            self.dispatcher.close();
            crate::channel::shut_all(&self.commons);
        }
    }

    pub(super) fn warn(&self, text: &str) {
        tracing::warn!("{text}");
        // A program without a tracing subscriber must hear of it too.
        eprintln!("gorun: warning: {text}");
    }
}
