//! Channels between the processes of a runtime: host, workers, and threads of either.
//!
//! The ends are values: cloned, sent as inputs and results of tasks, and through channels. A message is received once, in
//! the order of each sender, whatever process is killed meanwhile; see `shm/src/ring/mpmc/README.md` for the ring.
//!
//! Blocking: `send` and `recv` wait, `try_` does not, `_until` and `_timeout` do for so long, `_async` are futures. A wait
//! also ends when the channel is closed, when the other side is gone, dead or alive, and when the runtime ends. A task
//! that waits occupies its worker, so stages that wait for each other need a worker each; tasks of its own that nobody has
//! started are run meanwhile, as in `join`. An end that is input of a task counts in the host until the task has it, of a task
//! with a retry until its handle is gone, and of a map until the range it belongs to has ended.

mod arms;
mod asynchronous;
mod broadcast;
mod choice;
mod delivery;
pub mod distributed;
mod error;
mod future;
mod lease;
mod named;
mod open;
mod patience;
mod receiver;
mod recover;
#[doc(hidden)]
pub mod select;
mod sender;
mod stream;
mod within;

pub use asynchronous::{RecvStream, SendSink};
pub use choice::Select;
mod waits;

pub use broadcast::{
    Broadcast, BroadcastDrain, BroadcastIter, BroadcastReceiver, BroadcastRecvFuture, BroadcastSender,
    BroadcastStats, broadcast_channel,
};
pub use delivery::Delivery;
pub use error::{AckError, BatchError, ChannelError, RecvError, SendError};
pub use future::{RecvFuture, SendFuture};
pub use named::{Binding, BoundName, Connect, NamedChannel, NamedError, NamedPeer, Observer, bound_names};
pub use open::{Backpressure, Channel, ChannelStats, channel, rendezvous};
pub use receiver::{Drain, Iter, Receiver};
pub(crate) use recover::{recover, shut_all};
pub use sender::Sender;
pub use stream::{
    StreamDrain, StreamIntoIter, StreamIter, StreamLoan, StreamReceiver, StreamRef, StreamSender, stream,
    stream_on,
};
