//! What tests of whole processes stand on: deaths to die, gates to wait at, processes and descriptors to count.

pub mod attack;
pub mod breakout;
pub mod chaos;
pub mod death;
pub mod descriptors;
pub mod gate;
pub mod offspring;
pub mod processes;
pub mod program;
pub mod soak;
pub mod waiting;

pub use death::Death;
pub use gate::Gate;
pub use gorun_shm::testing::Watchdog;
pub use waiting::eventually;
