//! A POSIX object, mapped.

use super::ForeignError;
use gorun_shm::os::posix::{self, PosixMemory};
use gorun_shm::{OutOfSegment, Plain, Shared, View, ViewSlice};
use gorun_worker::os::fork;
use std::io;
use std::sync::Arc;

/// Longest name that the kernel keeps, less the slash.
const NAME_BYTES_MAX: usize = 254;

/// Memory under a name that any program can open. Who made it takes the name away when it is dropped.
///
/// ```
/// use gorun_runtime::foreign::Segment;
///
/// let name = format!("weather-{}", std::process::id());
/// let made = Segment::create(&name, 4096)?;
/// // Another program, in whatever language, does what this does:
/// let opened = Segment::open(&name, 4096)?;
/// opened.write(16, &[21.5_f64, 22.0])?;
/// assert_eq!(made.read::<[f64; 2]>(16)?, [21.5, 22.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Segment {
    memory: Arc<gorun_shm::Segment>,
    /// With its slash.
    name: String,
    /// What its maker takes away when it is dropped: that object, and no other that has its name by then.
    made: Option<(u64, u64)>,
    forks: u32,
}

impl Segment {
    /// Makes an object of `bytes` zeroes, for programs of this user.
    ///
    /// # Errors
    /// [`ForeignError::Exists`] and the others.
    pub fn create(name: &str, bytes: usize) -> Result<Self, ForeignError> {
        let name = full(name)?;
        let memory = PosixMemory::create(&name, bytes).map_err(|cause| refusal(&name, cause))?;
        let made = posix::identity(&name);
        Self::mapped(memory, name, made)
    }

    /// Opens one that another program has made, of `bytes_min` bytes at least.
    ///
    /// # Errors
    /// [`ForeignError::Missing`], [`ForeignError::TooSmall`], [`ForeignError::Permission`] and the others.
    pub fn open(name: &str, bytes_min: usize) -> Result<Self, ForeignError> {
        let name = full(name)?;
        let memory = PosixMemory::open(&name).map_err(|cause| match cause.kind() {
            // An object without a size cannot be mapped: whoever makes it gives it one in a second step.
            io::ErrorKind::InvalidInput => {
                ForeignError::TooSmall { name: name.clone(), found: 0, asked: bytes_min }
            }
            _ => refusal(&name, cause),
        })?;
        let opened = Self::mapped(memory, name, None)?;
        if opened.bytes() < bytes_min {
            let found = opened.bytes();
            return Err(ForeignError::TooSmall { name: opened.name.clone(), found, asked: bytes_min });
        }
        Ok(opened)
    }

    fn mapped(memory: PosixMemory, name: String, made: Option<(u64, u64)>) -> Result<Self, ForeignError> {
        let memory = gorun_shm::Segment::of_posix(memory);
        let memory = memory.map_err(|error| refusal(&name, io::Error::other(error)))?;
        Ok(Self { memory, name, made, forks: fork::forks() })
    }

    /// Its name, as other programs open it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size when it was mapped.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Takes the name away now: nobody can open it from now on, and nothing is left behind, however the programs end that
    /// have opened it. False if this program has not made it, or the name is gone already.
    pub fn give_name_up(&mut self) -> bool {
        let Some(made) = self.made.take() else { return false };
        // A fork of its maker has copies of everything, and is not its maker.
        let is_ours = fork::forks() == self.forks && posix::identity(&self.name) == Some(made);
        is_ours && posix::unlink(&self.name).is_ok()
    }

    /// The value at `offset`, copied byte by byte: whole only if nobody writes it meanwhile.
    ///
    /// # Errors
    /// [`OutOfSegment`].
    pub fn read<T: Plain>(&self, offset: u64) -> Result<T, OutOfSegment> {
        let mut value = T::new_zeroed();
        self.memory.copy_out(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes the value at `offset`, byte by byte.
    ///
    /// # Errors
    /// [`OutOfSegment`].
    pub fn write<T: Plain>(&self, offset: u64, value: &T) -> Result<(), OutOfSegment> {
        self.memory.copy_in(offset, value.as_bytes())
    }

    /// Bytes from `offset` on.
    ///
    /// # Errors
    /// [`OutOfSegment`].
    pub fn read_bytes(&self, offset: u64, into: &mut [u8]) -> Result<(), OutOfSegment> {
        self.memory.copy_out(offset, into)
    }

    /// Writes bytes from `offset` on.
    ///
    /// # Errors
    /// [`OutOfSegment`].
    pub fn write_bytes(&self, offset: u64, from: &[u8]) -> Result<(), OutOfSegment> {
        self.memory.copy_in(offset, from)
    }

    /// An atomic, or a struct of atomics, in place. It keeps the memory mapped.
    ///
    /// # Errors
    /// [`OutOfSegment`], also if `offset` is not a multiple of its alignment.
    pub fn view<T: Shared>(&self, offset: u64) -> Result<View<T>, OutOfSegment> {
        self.memory.view(offset)
    }

    /// `count` of them in a row.
    ///
    /// # Errors
    /// As [`Segment::view`].
    pub fn view_slice<T: Shared>(&self, offset: u64, count: usize) -> Result<ViewSlice<T>, OutOfSegment> {
        self.memory.view_slice(offset, count)
    }

    pub(super) fn memory(&self) -> &Arc<gorun_shm::Segment> {
        &self.memory
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.give_name_up();
    }
}

/// Takes away a name that a killed program has left. Programs that have opened the object keep it.
///
/// # Errors
/// [`ForeignError::Missing`], [`ForeignError::Permission`] and the others.
pub fn unlink(name: &str) -> Result<(), ForeignError> {
    let name = full(name)?;
    posix::unlink(&name).map_err(|cause| refusal(&name, cause))
}

/// The name with its slash.
fn full(name: &str) -> Result<String, ForeignError> {
    let word = name.strip_prefix('/').unwrap_or(name);
    let is_sound = (1..=NAME_BYTES_MAX).contains(&word.len())
        && !word.bytes().any(|byte| matches!(byte, b'/' | 0))
        && !matches!(word, "." | "..");
    if !is_sound {
        return Err(ForeignError::BadName { name: name.to_owned() });
    }
    Ok(format!("/{word}"))
}

fn refusal(name: &str, cause: io::Error) -> ForeignError {
    let name = name.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => ForeignError::Missing { name },
        io::ErrorKind::AlreadyExists => ForeignError::Exists { name },
        io::ErrorKind::PermissionDenied => ForeignError::Permission { name },
        _ => ForeignError::System { name, cause },
    }
}
