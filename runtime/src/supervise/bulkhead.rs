//! Bulkhead: how many tasks of one name may run at once, and how many may wait for that, on the host's side.
//!
//! A permit comes back when its task ends: the watching thread hears of that, and starts the next in line.

use super::line::{Entered, Line};
use super::passage::Passage;
use crate::error::Rejection;
use gorun_shm::sync::{AtomicU64, Ordering};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many tasks run and wait in a bulkhead.
///
/// ```
/// use gorun_runtime::BulkheadSettings;
///
/// let settings = BulkheadSettings::concurrency(2).queue(100);
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "settings are given to `Runtime::bulkhead`"]
pub struct BulkheadSettings {
    concurrency: u32,
    queue: u32,
}

impl BulkheadSettings {
    /// At most this many tasks at once, at least 1; nobody waits.
    pub const fn concurrency(tasks: u32) -> Self {
        Self { concurrency: if tasks == 0 { 1 } else { tasks }, queue: 0 }
    }

    /// At most this many more wait for their turn; further ones are refused.
    pub const fn queue(mut self, tasks: u32) -> Self {
        self.queue = tasks;
        self
    }
}

/// See the module's head.
pub(super) struct Bulkhead {
    name: Box<str>,
    inside: Mutex<(BulkheadSettings, Line<Arc<Passage>>)>,
    /// Numbers given so far, by which the line is ordered.
    numbers: AtomicU64,
}

impl Bulkhead {
    pub(super) fn new(name: &str, settings: BulkheadSettings) -> Self {
        let line = Line::new(settings.concurrency as usize, settings.queue as usize);
        Self { name: name.into(), inside: Mutex::new((settings, line)), numbers: AtomicU64::new(0) }
    }

    pub(super) fn configure(&self, settings: BulkheadSettings) {
        let mut inside = self.lock();
        inside.0 = settings;
        inside.1.limit(settings.concurrency as usize, settings.queue as usize);
        let next = inside.1.begin_move();
        drop(inside);
        self.move_on(next);
    }

    /// A place in the order of arrival.
    pub(super) fn number(&self) -> u64 {
        // Relaxed: different numbers are all that is asked for.
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn enter(&self, number: u64, passage: Arc<Passage>) -> Entered<Arc<Passage>> {
        self.lock().1.enter(number, passage)
    }

    /// A task with a permit has ended: the next in line is started.
    pub(super) fn leave(&self) {
        let mut inside = self.lock();
        inside.1.leave();
        let next = inside.1.begin_move();
        drop(inside);
        self.move_on(next);
    }

    /// It waits no more; if it was told to go on in this instant, it gives the permit back by itself.
    pub(super) fn forget(&self, number: u64) {
        let gone = self.lock().1.remove(number);
        // With the lock released: it may hold the last of a runtime.
        drop(gone);
    }

    /// Starts them one by one, and not one inside of the other: whoever ends at once only counts itself out.
    fn move_on(&self, mut next: Option<Arc<Passage>>) {
        while let Some(passage) = next {
            passage.admit();
            next = self.lock().1.next();
        }
    }

    pub(super) fn refusal(&self) -> Rejection {
        let BulkheadSettings { concurrency, queue } = self.lock().0;
        Rejection::BulkheadFull { concurrency, queue }
    }

    fn lock(&self) -> MutexGuard<'_, (BulkheadSettings, Line<Arc<Passage>>)> {
        // Nothing of the user's runs under this lock, and each step leaves the line whole.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, line) = &*self.lock();
        f.debug_struct("Bulkhead")
            .field("name", &self.name)
            .field("settings", settings)
            .field("running", &line.running())
            .field("waiting", &line.waiting())
            .finish()
    }
}

/// A bulkhead of a runtime, to watch it and to change it. Clones are the same bulkhead.
///
/// Got from [`Runtime::bulkhead`](crate::Runtime::bulkhead).
#[derive(Debug, Clone)]
pub struct BulkheadHandle {
    pub(super) bulkhead: Arc<Bulkhead>,
}

impl BulkheadHandle {
    /// Gives it other settings. Tasks that run or wait beyond them stay; if more may run, those that wait are started.
    pub fn configure(&self, settings: BulkheadSettings) {
        self.bulkhead.configure(settings);
    }

    /// Tasks that hold a permit now: from when they may start until they have ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.bulkhead.lock().1.running()
    }

    /// Tasks that wait for a permit now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bulkhead.lock().1.waiting()
    }
}
