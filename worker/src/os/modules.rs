//! The modules of this process: the program image first, then its shared libraries, as the loader lists them.
// UNSAFETY: the loader hands its records to a C callback.
#![expect(unsafe_code, reason = "dl_iterate_phdr has no safe form")]

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

/// One loaded module.
#[derive(Debug, Default)]
pub struct Module {
    /// Path as the loader knows it; empty for the image.
    pub name: String,
    /// What to add to addresses in the file.
    pub bias: usize,
    /// First and one past the last address of executable bytes.
    pub code: Range<usize>,
}

/// All of them, the image first.
#[must_use]
pub fn loaded_modules() -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let data = (&raw mut modules).cast::<c_void>();
    // SAFETY: `visit` has the signature asked for, and `data` is the vector it expects, alive for the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), data) };
    modules
}

extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid record for the duration of the call.
    let info = unsafe { &*info };
    // SAFETY: `data` is the vector that `loaded_modules` passed, borrowed by nobody else meanwhile.
    let modules = unsafe { &mut *data.cast::<Vec<Module>>() };
    // SAFETY: the record's header pointer and count describe the module's program headers.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let bias = usize::try_from(info.dlpi_addr).unwrap_or(0);
    let code = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
        .map(|header| {
            let start = bias.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or(0));
            start..start.wrapping_add(usize::try_from(header.p_memsz).unwrap_or(0))
        })
        .reduce(|all, part| all.start.min(part.start)..all.end.max(part.end))
        .unwrap_or(0..0);
    modules.push(Module { name: name_of(info), bias, code });
    0
}

fn name_of(info: &libc::dl_phdr_info) -> String {
    if info.dlpi_name.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the loader's names are C strings that live as long as the module.
    unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
}
