//! Runs: a file to which workers append who ran what, so that the end can tell whether a task ran twice.
//!
//! One record is one `write` with `O_APPEND`, so that it is whole or not there, whoever dies.

use super::numbers::mix;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Its name in the folder for temporary files, which workers have from the host.
pub const FILE_NAME: &str = "runs";
/// One in so many tasks is noted if not all of its kind are.
const SHARE: u64 = 8;
const RECORD_BYTES: usize = 16;

/// True if the runs of this task are noted whatever its kind.
#[must_use]
pub fn is_sampled(id: u64) -> bool {
    mix(id).is_multiple_of(SHARE)
}

/// Notes, in a worker, a run of a task that belongs to the share.
pub fn note_sampled(id: u64) {
    if is_sampled(id) {
        note(id);
    }
}

/// Notes a run of the task.
pub fn note(id: u64) {
    static RUNS: OnceLock<Option<File>> = OnceLock::new();
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&id.to_le_bytes());
    record[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    if let Some(mut file) = RUNS.get_or_init(|| OpenOptions::new().append(true).open(path()).ok()).as_ref() {
        // A run that could not be noted shows: a task with a value and no run is an error.
        let _ = file.write_all(&record);
    }
}

/// An empty file, before any worker looks for it.
///
/// # Errors
/// What the kernel said.
pub fn create() -> std::io::Result<()> {
    File::create_new(path()).map(drop)
}

/// The processes in which each task ran, one entry a run.
///
/// # Errors
/// What the kernel said.
pub fn read() -> std::io::Result<HashMap<u64, Vec<i32>>> {
    let bytes = std::fs::read(path())?;
    let mut runs: HashMap<u64, Vec<i32>> = HashMap::new();
    let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
    for record in records {
        let word =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let id = u64::from(word(0)) | u64::from(word(4)) << 32;
        runs.entry(id).or_default().push(word(8).cast_signed());
    }
    Ok(runs)
}

fn path() -> PathBuf {
    std::env::temp_dir().join(FILE_NAME)
}
