//! Rings: bounded circular queues in shared memory. `README.md` beside this file holds the protocols.

pub mod broadcast;
pub mod lane;
pub mod mpmc;
pub mod spmc;
pub mod spsc;

mod consumer;
mod elements;
mod producer;
