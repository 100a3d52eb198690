//! The host side of gorun: tasks and handles, dispatch, seats and their supervision.

mod archive;
pub mod block;
mod book;
pub mod config;
mod deadlines;
mod dispatch;
pub mod error;
mod evidence;
mod go;
pub mod handle;
mod home;
pub mod map;
mod obituary;
pub mod observe;
mod orphan;
mod patrol;
mod pool;
pub mod report;
mod results;
pub mod runtime;
mod select;
pub mod stats;
mod symbols;
mod tally;
pub mod task;

pub use block::{Block, ShareError, SharedSlice, SliceLoan};
pub use config::{Config, Placement};
pub use error::{BuildError, Rejection, ResultRefusal, TaskError};
pub use evidence::Evidence;
pub use go::{go_all, go_any, go_map, go_parallel, go_race};
pub use gorun_worker::context::is_cancelled;
pub use handle::TaskHandle;
pub use map::{Map, Outcomes};
pub use runtime::{Builder, Runtime};
pub use stats::{SeatStats, Stats};
pub use task::{IntoTask, Task};
