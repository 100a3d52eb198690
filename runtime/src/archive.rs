//! Archive: what is known of recent deaths beyond the few words that fit a slot.
//!
//! Filed when a worker is buried, looked up when the error of its task is made. Bounded: of very many deaths in
//! a row the oldest are forgotten, and their evidence is then one line.

use gorun_worker::function::CodeId;
use gorun_worker::wire::black_box::LastWords;
use gorun_worker::wire::ids::WorkerId;
use gorun_worker::wire::recorder::Flight;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Deaths that are remembered, of all runtimes of this process together.
const DEATHS_MAX: usize = 1024;

/// Why the host killed a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killing {
    /// Its task was to end: a deadline, a cancel, a limit. The task's error says which.
    Asked,
    /// It was stopped by a signal for so long.
    Stopped(Duration),
    /// It ran one task for so long.
    Stuck(Duration),
}

/// A death in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    /// What the worker wrote down itself.
    pub(crate) last_words: Option<LastWords>,
    /// The function it ran, the innermost one.
    pub(crate) function: Option<CodeId>,
    /// Bytes of its encoded input.
    pub(crate) input_bytes: u32,
    /// How many tasks it was inside of.
    pub(crate) depth: usize,
    /// What the last panic in its last task said.
    pub(crate) panic: Option<String>,
    /// The last bytes of its standard error, if that is captured.
    pub(crate) stderr: Vec<u8>,
    /// Its last tasks, the last one first.
    pub(crate) recent: Vec<Flight>,
    /// When it was buried, in ticks.
    pub(crate) buried_ticks: u64,
    /// Names of the libraries that code ids count, from 1.
    pub(crate) libraries: Arc<[String]>,
    /// Why the host killed it, if it did.
    pub(crate) killing: Option<Killing>,
}

struct Entry {
    worker: WorkerId,
    pid: i32,
    details: Arc<Details>,
}

fn entries() -> MutexGuard<'static, VecDeque<Entry>> {
    static ENTRIES: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files a death.
pub(crate) fn file(worker: WorkerId, pid: i32, details: Details) {
    let mut entries = entries();
    if entries.len() == DEATHS_MAX {
        entries.pop_front();
    }
    entries.push_back(Entry { worker, pid, details: Arc::new(details) });
}

/// The details of a death, if it is remembered.
pub(crate) fn find(worker: WorkerId, pid: i32) -> Option<Arc<Details>> {
    let entries = entries();
    // The newest first: a process id may come again.
    let found = entries.iter().rev().find(|entry| (entry.worker, entry.pid) == (worker, pid));
    found.map(|entry| Arc::clone(&entry.details))
}
