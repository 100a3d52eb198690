//! Profile: what a jailed worker may do. Plain data, compared and sent by value.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Memory a worker may have beyond what it starts with, if the profile says nothing else.
const MEMORY_BYTES: u64 = 1 << 30;
/// Descriptors a task may open, if the profile says nothing else.
const OPEN_FILES: u32 = 64;
/// Largest input or result, if the profile says nothing else.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;
/// Smallest and largest such limit.
const MESSAGE_BYTES: (u64, u64) = (4096, 1 << 30);
/// Most bytes of a profile: it travels in one packet, beside an order.
pub(crate) const PROFILE_BYTES_MAX: u64 = 16 << 10;
/// Least memory: a worker needs some to find its task.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// What a jailed worker may do: nothing but compute, and what is allowed on top.
///
/// The table of what is denied and how stands in the module's documentation.
///
/// ```
/// use gorun_worker::jail::Jail;
/// use std::time::Duration;
///
/// let fonts = Jail::read_only(["/usr/share/fonts"]).memory(256 << 20).fresh();
/// let tool = Jail::custom().allow_write("/tmp/out").allow_threads().cpu_time(Duration::from_secs(10));
/// assert_ne!(fonts, tool);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[must_use = "a profile does nothing before a task or a runtime is given it"]
pub struct Jail {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    pub(crate) threads: bool,
    pub(crate) executable_memory: bool,
    pub(crate) output: bool,
    pub(crate) best_effort: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) open_files: u32,
    fresh: bool,
    message_bytes_max: u64,
}

impl Jail {
    /// Nothing but computing: no files, no network, no other program, no process, no thread, no signal to others.
    pub fn compute() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            threads: false,
            executable_memory: false,
            output: false,
            best_effort: false,
            memory_bytes: MEMORY_BYTES,
            cpu_time: None,
            file_bytes: None,
            open_files: OPEN_FILES,
            fresh: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }

    /// As [`Jail::compute`], and reading of the files and folders at or below `paths`, which must exist.
    pub fn read_only<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        paths.into_iter().fold(Self::compute(), Self::allow_read)
    }

    /// As [`Jail::compute`], to allow more on top.
    pub fn custom() -> Self {
        Self::compute()
    }

    /// Allows reading of the file, or of everything in the folder.
    pub fn allow_read(mut self, path: impl AsRef<Path>) -> Self {
        insert(&mut self.read, path.as_ref());
        self
    }

    /// Allows reading and writing of the file; in a folder, also making and removing of files and folders.
    pub fn allow_write(mut self, path: impl AsRef<Path>) -> Self {
        insert(&mut self.write, path.as_ref());
        self
    }

    /// Allows threads.
    pub fn allow_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// Allows memory that can be executed: for compilers at run time.
    pub fn allow_executable_memory(mut self) -> Self {
        self.executable_memory = true;
        self
    }

    /// Leaves the program's standard output and standard error to the task. They are `/dev/null` otherwise.
    pub fn allow_output(mut self) -> Self {
        self.output = true;
        self
    }

    /// Bytes of address space that the worker may add to what it starts with, at least 1 MiB; 1 GiB if this is not
    /// called. Over it an allocation fails, which in Rust ends the process by default. The task's input and result lie
    /// in a segment beside, of 34 MiB and twice [`Jail::message_bytes_max`] at most.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes.max(MEMORY_BYTES_MIN);
        self
    }

    /// Processor time of a worker's whole life, rounded up to seconds; then it is killed by SIGXCPU. For a limit of
    /// each task take a deadline, or [`Jail::fresh`] beside this.
    pub fn cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(time);
        self
    }

    /// Largest file that a task may write, in bytes. Only of use with [`Jail::allow_write`].
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_bytes = Some(bytes);
        self
    }

    /// Descriptors that a task may have open, 64 if this is not called.
    pub fn open_files(mut self, count: u32) -> Self {
        self.open_files = count;
        self
    }

    /// Largest input and result in bytes, rounded up to a power of two in 4 KiB..=1 GiB; 16 MiB if this is not called,
    /// and never more than the runtime's.
    pub fn message_bytes_max(mut self, bytes: u64) -> Self {
        let (least, most) = MESSAGE_BYTES;
        self.message_bytes_max = bytes.clamp(least, most).next_power_of_two();
        self
    }

    /// Each task gets a process of its own, forked and jailed ahead, and gone afterwards: for input or code that is
    /// taken to be hostile. Otherwise a worker serves one task after the other.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Leaves out what the kernel lacks. Otherwise a task that asks for the jail is refused with the missing part's
    /// name. Without Landlock a task that may read some files may read all; writing stays denied unless it was allowed.
    pub fn best_effort(mut self) -> Self {
        self.best_effort = true;
        self
    }

    /// True if each task gets a process of its own.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// True if what the kernel lacks is left out.
    #[must_use]
    pub fn is_best_effort(&self) -> bool {
        self.best_effort
    }

    /// Largest input and result in bytes, a power of two.
    #[must_use]
    pub fn message_limit(&self) -> u64 {
        self.message_bytes_max
    }

    /// True if some file may be opened.
    pub(crate) fn has_files(&self) -> bool {
        !self.read.is_empty() || !self.write.is_empty()
    }

    /// Bytes of the profile as it is sent, if there are more than can be.
    pub(crate) fn too_long(&self) -> Option<u64> {
        let bytes = bincode::serialized_size(self).unwrap_or(u64::MAX);
        (bytes > PROFILE_BYTES_MAX).then_some(bytes)
    }

    /// The oldest Landlock that holds what the profile promises: the third knows of truncation.
    pub(crate) fn landlock_needed(&self) -> i32 {
        if self.write.is_empty() { 1 } else { 3 }
    }
}

impl Default for Jail {
    fn default() -> Self {
        Self::compute()
    }
}

/// Keeps the paths absolute, since the zygote may stand elsewhere, and in order, since equal profiles share workers.
fn insert(paths: &mut Vec<PathBuf>, path: &Path) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Err(place) = paths.binary_search(&path) {
        paths.insert(place, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_wishes_make_equal_profiles_whatever_their_order() {
        let one = Jail::read_only(["/b", "/a", "/a"]).memory(1 << 30);
        let other = Jail::custom().allow_read("/a").allow_read("/b");
        assert_eq!(one, other);
        assert_ne!(one, Jail::compute());
    }

    #[test]
    fn limits_stay_in_their_range() {
        assert_eq!(Jail::compute().message_bytes_max(5000).message_limit(), 8192);
        assert_eq!(Jail::compute().message_bytes_max(u64::MAX).message_limit(), 1 << 30);
        assert_eq!(Jail::compute().memory(0).memory_bytes, MEMORY_BYTES_MIN);
    }

    #[test]
    fn a_profile_with_too_many_paths_is_known() {
        let few = Jail::read_only((0..100).map(|n| format!("/folder/{n}")));
        let many = Jail::read_only((0..1000).map(|n| format!("/folder/{n}")));
        assert!(few.too_long().is_none() && many.too_long().is_some());
    }

    #[test]
    fn writing_needs_a_newer_landlock() {
        assert_eq!(Jail::read_only(["/a"]).landlock_needed(), 1);
        assert_eq!(Jail::custom().allow_write("/a").landlock_needed(), 3);
        assert!(Jail::custom().allow_write("/a").has_files() && !Jail::compute().has_files());
    }
}
