//! Zygote: the warmed, single-threaded copy of the program that forks workers.

pub mod protocol;
pub mod server;
