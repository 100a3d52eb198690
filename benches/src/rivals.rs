//! The peers: others' ways of doing the same, each used as its own documentation advises for speed.

pub mod channel_pool;
pub mod iceoryx;
pub mod iceoryx_bulk;
pub mod ipc;
pub mod rayon_pool;
pub mod thread_ring;
pub mod tokio_pool;
