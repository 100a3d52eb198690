//! Memory shared with programs that are not ours, in C for example: a POSIX object with a name, typed views of it, and a
//! ring whose layout is written down for the other side in `gorun/include/gorun_ring.h`. Feature `shared_memory`.
//!
//! This is for programs that cannot use gorun. Between those that can, [`Channel::bind`](crate::Channel::bind) leaves nothing
//! behind, recovers what the dead had, and has sizes that nobody changes. Here:
//!
//! - The name and the memory outlive a program that is killed: [`unlink`] removes what one has left, or
//!   [`Segment::give_name_up`] the name as soon as the other side has opened it.
//! - Whoever may write the object may shrink it, and whoever touches what is gone gets SIGBUS. Share it with programs you
//!   trust.
//! - Nobody notices that the other side has died: use timeouts.

mod error;
mod ring;
mod segment;

pub use error::{ForeignError, RingError};
pub use ring::{RingReader, RingShape, RingWriter};
pub use segment::{Segment, unlink};
