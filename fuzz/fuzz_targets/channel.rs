//! See `bodies/channel.rs`.
#![no_main]

#[path = "../bodies/channel.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
