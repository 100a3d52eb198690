//! Boot: before main, a process that carries the zygote mark becomes the zygote and never reaches main.
//!
//! The entry stands in `.init_array`, which the loader walks before main. In every other process it costs one
//! look at the environment. The mark alone does nothing: standard input must be a socket whose peer knows the
//! token in it, and the mark is removed at once, so that programs started by tasks are not taken for zygotes.
// UNSAFETY: an .init_array entry is a raw C function, and the environment is changed before main.
#![expect(unsafe_code, reason = "life before main has no safe form")]

use crate::exit;
use crate::os::{fork, identity};
use crate::zygote::{protocol, server};
use std::ffi::{c_char, c_int};

type Entry = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

#[used]
// The section holds pointers to functions of exactly this type, which the loader calls once.
#[unsafe(link_section = ".init_array")]
static BOOT: Entry = boot;

extern "C" fn boot(_count: c_int, _arguments: *const *const c_char, _environment: *const *const c_char) {
    // Nothing may unwind into the loader.
    let code = std::panic::catch_unwind(become_zygote).unwrap_or(Some(exit::INTERNAL));
    if let Some(code) = code {
        fork::leave(code);
    }
}

/// Serves as zygote if this process is one; returns its exit code then.
fn become_zygote() -> Option<i32> {
    let mark = std::env::var_os(protocol::VARIABLE)?;
    // SAFETY: life before main has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(protocol::VARIABLE) };
    let token = parse(mark.to_str()?)?;
    identity::stdin_is_socket().then(|| server::serve(token))
}

fn parse(mark: &str) -> Option<u128> {
    let (version, token) = mark.split_once(':')?;
    (version.parse() == Ok(protocol::VERSION)).then(|| u128::from_str_radix(token, 16).ok()).flatten()
}
