//! Work: what the tasks do in the workers.

use super::numbers::mix;
use super::plan::{Doom, NO_DESCRIPTORS};
use super::runs;
use gorun::{Task, TaskError};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// Bytes of a bulky input.
pub const BULK: usize = 5 * 1024;
/// In the id of a task that another one started: which of them it is, from 1.
const INNER_SHIFT: u32 = 61;
/// Tasks that a nested one starts.
const INNER_COUNT: u64 = 2;
/// Address space that a memory bomb is left with.
const BOMB_BYTES: u64 = 64 << 20;
const BOMB_STEP: usize = 1 << 20;
const DESCRIPTORS_MAX: u64 = 256;

/// How a task that a task started ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InnerEnd {
    /// With this value.
    Value(u64),
    /// With its worker.
    Lost {
        /// The worker.
        pid: i32,
        /// What ended it, if a signal did.
        signal: Option<i32>,
        /// Its exit code, if it exited.
        code: Option<i32>,
    },
    /// In another way.
    Other(String),
}

/// A number in, a number out.
#[must_use]
pub fn quick(id: u64) -> u64 {
    runs::note_sampled(id);
    mix(id)
}

/// An input of five kilobytes that belongs to the task.
#[must_use]
pub fn bulk_of(id: u64) -> Vec<u8> {
    (0..BULK as u64)
        .map(|place| mix(id ^ (place / 64)).to_le_bytes()[usize::try_from(place % 8).unwrap_or(0)])
        .collect()
}

/// Gives back each byte inverted.
#[must_use]
pub fn bulky((id, bytes): (u64, Vec<u8>)) -> Vec<u8> {
    runs::note_sampled(id);
    bytes.into_iter().map(|byte| !byte).collect()
}

/// The id of the `n`-th task that the task `id` starts, from 1.
#[must_use]
pub fn inner_id(id: u64, n: u64) -> u64 {
    id | n << INNER_SHIFT
}

/// Starts tasks of its own, and tells how each ended.
#[must_use]
pub fn nested(id: u64) -> Vec<InnerEnd> {
    runs::note(id);
    let inner: Vec<_> = (1..=INNER_COUNT).map(|n| Task::with(inner_id(id, n), quick).go()).collect();
    let end_of = |outcome| match outcome {
        Ok(value) => InnerEnd::Value(value),
        Err(TaskError::WorkerLost { evidence }) => {
            InnerEnd::Lost { pid: evidence.pid, signal: evidence.signal(), code: evidence.exit_code() }
        }
        Err(other) => InnerEnd::Other(other.to_string()),
    };
    inner.into_iter().map(|task| end_of(task.join())).collect()
}

/// Fails in the given way.
#[must_use]
pub fn doomed((id, doom): (u64, Doom)) -> u64 {
    runs::note(id);
    match doom {
        Doom::Death(death) => death.die(),
        Doom::MemoryBomb => explode(),
        Doom::Descriptors => use_up_descriptors(),
        Doom::Panic => panic!("{}", panic_message(id)),
        Doom::Endless => loop {
            std::hint::spin_loop();
        },
        // For as long as somebody else makes it go on.
        Doom::Stop => loop {
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
        },
    }
}

/// What a task panics with.
#[must_use]
pub fn panic_message(id: u64) -> String {
    format!("planned in task {id}")
}

fn explode() -> ! {
    // The report of the failed allocation would drown everything else.
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    limit(Resource::As, pages * 4096 + BOMB_BYTES);
    let mut bomb: Vec<Vec<u8>> = Vec::new();
    loop {
        bomb.push(black_box(Vec::with_capacity(BOMB_STEP)));
    }
}

fn use_up_descriptors() -> ! {
    limit(Resource::Nofile, DESCRIPTORS_MAX);
    let mut open = Vec::new();
    loop {
        match rustix::io::dup(std::io::stdin()) {
            Ok(descriptor) => open.push(descriptor),
            Err(rustix::io::Errno::MFILE) => std::process::exit(NO_DESCRIPTORS),
            Err(_) => std::process::exit(NO_DESCRIPTORS + 1),
        }
    }
}

fn limit(resource: Resource, maximum: u64) {
    let _ = rustix::process::setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) });
}
