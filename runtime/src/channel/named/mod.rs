//! Named channels: between programs that were started separately, with or without a runtime.
//!
//! One program binds a name; the others connect, through an abstract socket that carries the memory's descriptor, and are
//! let in if their user, version, schema and role are right. Afterwards nothing goes through the socket: messages go
//! through the memory as in every channel, and the socket's end tells of a program's end. See `README.md` beside this file
//! for what each side promises, what is checked, and what each death leaves behind.

mod binding;
mod board;
mod connect;
mod error;
mod host;
mod memory;
mod name;
mod observer;
mod packet;
mod recover;
mod schema;

pub use binding::{Binding, NamedChannel};
pub use connect::Connect;
pub use error::NamedError;
pub use host::NamedPeer;
pub use name::{BoundName, bound_names};
pub use observer::Observer;
