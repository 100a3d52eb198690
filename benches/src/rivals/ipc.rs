//! ipc-channel between two processes, in its bytes form, which skips serde.

use ::ipc_channel::ipc::{IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};

use crate::floor::{checksum, digest, message};
use crate::measure::time_ns;
use crate::pair::{Cores, Pair, Peer};
use crate::segment::Message;

/// Role of the receiver's process.
const ROLE: &str = "ipc-channel";

/// A sender here and a receiver in another process.
#[derive(Debug)]
pub struct Stream {
    sender: IpcBytesSender,
    pair: Pair,
}

impl Stream {
    /// Starts the receiver and takes the sender it hands over.
    ///
    /// # Panics
    /// When the channel cannot be made.
    #[must_use]
    pub fn start(cores: Cores) -> Self {
        let (server, name) = IpcOneShotServer::<IpcBytesSender>::new().expect("a server can be made");
        let pair = Pair::start(ROLE, &name, cores, 0);
        let (_, sender) = server.accept().expect("the receiver connects");
        Self { sender, pair }
    }

    /// Messages per second, from the first send to the last receive.
    ///
    /// # Panics
    /// When a message got lost.
    pub fn rate(&mut self, messages: u64) -> f64 {
        let mut sum = 0;
        let ns = time_ns(|| {
            self.pair.begin(messages);
            for position in 0..messages {
                self.sender.send(&bytes(message(position))).expect("the receiver is there");
            }
            sum = self.pair.wait();
        });
        assert_eq!(sum, checksum(messages), "every message arrives once");
        messages as f64 / ns * 1e9
    }
}

/// Runs the receiver if `peer` was started for it; gives it back otherwise.
///
/// # Panics
/// When the host's server is gone.
#[must_use]
pub fn serve(peer: Peer) -> Option<Peer> {
    if peer.role != ROLE {
        return Some(peer);
    }
    let (sender, receiver) = bytes_channel().expect("a channel can be made");
    let host = IpcSender::<IpcBytesSender>::connect(peer.argument.clone()).expect("the host listens");
    host.send(sender).expect("the host takes the sender");
    peer.serve(|_, messages| {
        let next = |_| digest(words(&receiver.recv().expect("the host is there")));
        (0..messages).map(next).fold(0, u64::wrapping_add)
    });
    None
}

fn bytes(message: Message) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(message) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn words(bytes: &[u8]) -> Message {
    let word = |index: usize| bytes[8 * index..8 * index + 8].try_into().expect("eight bytes");
    std::array::from_fn(|index| u64::from_ne_bytes(word(index)))
}
