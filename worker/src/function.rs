//! Code identity: a function as (module, offset in it), valid between processes of the same build.
//!
//! The program image is module 0; its offset is a subtraction and a comparison. Functions of shared libraries
//! are found in the module table of the process. Host and zygote load the same libraries at start, in the
//! same order; a library that only the host has loaded (a plugin) is refused.
// UNSAFETY: turning addresses into function pointers has no safe form.
#![expect(unsafe_code, reason = "address-to-function casts have no safe form")]

use crate::call::Call;
use crate::os::modules::{Module, loaded_modules};
use gorun_shm::slots::Descriptor;
use std::sync::OnceLock;
use thiserror::Error;

/// A function of the program: module number in bits 63..48, offset in it in bits 47..0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeId(pub u64);

const OFFSET_BITS: u32 = 48;

/// The typed shim around a user function: decodes its input, calls it, encodes its result.
pub type Shim = fn(&mut Call<'_>);

/// A function that workers cannot find.
#[derive(Debug, Clone, PartialEq, Eq, Error, serde::Serialize, serde::Deserialize)]
#[error(
    "the function lies in {module}, which workers have not loaded; link it into the program, or load it before the runtime starts"
)]
pub struct ForeignModule {
    /// Path of the library, or "no loaded module".
    pub module: String,
}

#[inline]
fn image() -> &'static Module {
    static IMAGE: OnceLock<Module> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut first = loaded_modules();
        first.truncate(1);
        first.pop().unwrap_or_default()
    })
}

/// Names of the modules beyond the image that this process has loaded, in the loader's order.
#[must_use]
pub fn libraries() -> Vec<String> {
    loaded_modules().into_iter().skip(1).map(|module| module.name).collect()
}

/// The id of the function at `address`, for workers that have loaded `workers_libraries`.
///
/// # Errors
/// [`ForeignModule`] if no worker can have it.
#[inline]
pub fn code_id(address: usize, workers_libraries: impl Fn() -> Vec<String>) -> Result<CodeId, ForeignModule> {
    let image = image();
    if image.code.contains(&address) {
        return Ok(CodeId((address - image.bias) as u64));
    }
    code_id_in_library(address, &workers_libraries())
}

#[cold]
fn code_id_in_library(address: usize, workers_libraries: &[String]) -> Result<CodeId, ForeignModule> {
    let module = loaded_modules().into_iter().find(|module| module.code.contains(&address));
    let Some(module) = module else {
        return Err(ForeignModule { module: "no loaded module".into() });
    };
    match workers_libraries.iter().position(|name| *name == module.name) {
        Some(index) => Ok(CodeId((index as u64 + 1) << OFFSET_BITS | (address - module.bias) as u64)),
        None => Err(ForeignModule { module: module.name }),
    }
}

impl CodeId {
    /// An id as it stands in shared memory, where 0 means none.
    #[must_use]
    pub fn known(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The module it lies in: 0 is the program image, then the libraries that workers have loaded.
    #[must_use]
    pub fn module(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    /// Where in its module it lies.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }
}

fn modules() -> &'static [Module] {
    static MODULES: OnceLock<Vec<Module>> = OnceLock::new();
    // Workers load nothing after the fork that others could name, so the table is made once.
    MODULES.get_or_init(loaded_modules)
}

/// Makes the tables that [`id_of`] reads, where memory may be allocated.
pub(crate) fn prepare() {
    let _ = (image(), modules());
}

/// The id of any code address of this process, such as a return address; none if it lies in no module that was
/// loaded when [`prepare`] was called. Async-signal-safe after that.
pub(crate) fn id_of(address: usize) -> Option<CodeId> {
    let number = modules().iter().position(|module| module.code.contains(&address))?;
    Some(CodeId((number as u64) << OFFSET_BITS | (address - modules()[number].bias) as u64))
}

/// Where the function with this id lies in this process; none if the id names no executable byte.
#[inline]
#[must_use]
pub fn address(id: CodeId) -> Option<usize> {
    let offset = (id.0 & ((1 << OFFSET_BITS) - 1)) as usize;
    if id.0 >> OFFSET_BITS == 0 {
        let image = image();
        let address = image.bias.wrapping_add(offset);
        return image.code.contains(&address).then_some(address);
    }
    address_in_library(id.0 >> OFFSET_BITS, offset)
}

#[cold]
fn address_in_library(number: u64, offset: usize) -> Option<usize> {
    let module = modules().get(usize::try_from(number).ok()?)?;
    let address = module.bias.wrapping_add(offset);
    module.code.contains(&address).then_some(address)
}

/// Runs the shim that the call's descriptor names; false if it names no executable byte of this process.
#[inline]
pub(crate) fn invoke(call: &mut Call<'_>) -> bool {
    let Some(address) = address(CodeId(call.descriptor.shim)) else { return false };
    // SAFETY: descriptors are made only from pointers to shims (`runtime::task`), by a process of this build,
    // and the address was checked to lie in executable bytes of the module it was made from.
    let shim = unsafe { std::mem::transmute::<usize, Shim>(address) };
    shim(call);
    true
}

/// The user function `fn(A) -> R` that a descriptor names; none if it names no executable byte.
///
/// Only shims call this, for the descriptor that named them: shim and function are paired by the typed
/// constructors of `runtime::task`, which is what makes the types right.
#[inline]
pub(crate) fn typed<A, R>(descriptor: &Descriptor) -> Option<fn(A) -> R> {
    let address = address(CodeId(descriptor.function))?;
    // SAFETY: shim and function of a descriptor come from one generic constructor with one `A` and `R`.
    Some(unsafe { std::mem::transmute::<usize, fn(A) -> R>(address) })
}

/// The user function `fn() -> R` that a descriptor names; none if it names no executable byte.
#[inline]
pub(crate) fn thunk<R>(descriptor: &Descriptor) -> Option<fn() -> R> {
    let address = address(CodeId(descriptor.function))?;
    // SAFETY: as for `typed`.
    Some(unsafe { std::mem::transmute::<usize, fn() -> R>(address) })
}

/// The function `fn(&A) -> R` with this id; none if it names no executable byte.
///
/// Only for ids that a process of this build has made from such a function, and left where no other values come to lie:
/// in the head of a distributed channel, beside the name of `A`.
#[must_use]
pub fn viewer<A, R>(id: CodeId) -> Option<fn(&A) -> R> {
    let address = address(id)?;
    // SAFETY: `id` was made from a function of this type, as callers promise.
    Some(unsafe { std::mem::transmute::<usize, fn(&A) -> R>(address) })
}

/// A number that two processes share only if they run the same file: its device, inode, size and change time.
#[must_use]
pub fn build_identity() -> u64 {
    use std::os::unix::fs::MetadataExt;
    // The link works even after the file was deleted or replaced.
    let Ok(file) = std::fs::metadata("/proc/self/exe") else { return 0 };
    let parts = [
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime().cast_unsigned(),
        file.mtime_nsec().cast_unsigned(),
    ];
    // FNV-1a over the words: any stable mixing will do, nobody attacks it.
    parts.iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| (hash ^ part).wrapping_mul(0x0100_0000_01b3))
}
