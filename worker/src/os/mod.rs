//! System calls of processes: the only place of this crate that names libc, nix or rustix.

pub mod allocator;
pub mod children;
pub mod death_word;
pub mod fork;
pub mod identity;
pub mod jail;
pub mod last_words;
pub mod lease;
pub mod limits;
pub mod memory;
pub mod modules;
pub mod numa;
pub mod offspring;
pub mod pidfd;
pub mod pin;
pub mod poll;
pub mod pressure;
pub mod signals;
pub mod socket;
pub mod stream;
