//! iceoryx2 publish-subscribe between two processes: loan, write in place, send; the subscriber polls.

use ::iceoryx2::port::publisher::Publisher;
use ::iceoryx2::prelude::*;
use ::iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::floor::{checksum, digest, message};
use crate::measure::time_ns;
use crate::pair::{Cores, Pair, Peer};
use crate::segment::Message;

/// Role of the subscriber's process.
const ROLE: &str = "iceoryx2";
/// Messages that the subscriber's buffer holds; more did not make it faster.
const BUFFER: usize = 1024;

/// A publisher here and a subscriber in another process.
#[derive(Debug)]
pub struct Stream {
    publisher: Publisher<ipc::Service, Message, ()>,
    _service: PortFactory<ipc::Service, Message, ()>,
    _node: Node<ipc::Service>,
    pair: Pair,
}

impl Stream {
    /// Starts the subscriber, then connects to it.
    #[must_use]
    pub fn start(cores: Cores) -> Self {
        set_log_level(LogLevel::Error);
        let name = format!("gorun-benches/stream/{}", std::process::id());
        let pair = Pair::start(ROLE, &name, cores, 0);
        let (node, service) = open(&name);
        let publisher = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("the publisher can be made");
        let mut stream = Self { publisher, _service: service, _node: node, pair };
        // The subscriber connects when it first receives, and until then a full buffer drops what is sent.
        stream.rate(1);
        stream
    }

    /// Messages per second, from the first loan to the last receive.
    ///
    /// # Panics
    /// When a message got lost.
    pub fn rate(&mut self, messages: u64) -> f64 {
        let mut sum = 0;
        let ns = time_ns(|| {
            self.pair.begin(messages);
            for position in 0..messages {
                let sample = self.publisher.loan_uninit().expect("a sample is free");
                sample.write_payload(message(position)).send().expect("the subscriber is there");
            }
            sum = self.pair.wait();
        });
        assert_eq!(sum, checksum(messages), "every message arrives once");
        messages as f64 / ns * 1e9
    }
}

/// Runs the subscriber if `peer` was started for it; gives it back otherwise.
#[must_use]
pub fn serve(peer: Peer) -> Option<Peer> {
    if peer.role != ROLE {
        return Some(peer);
    }
    set_log_level(LogLevel::Error);
    let (_node, service) = open(&peer.argument);
    let subscriber = service.subscriber_builder().create().expect("the subscriber can be made");
    peer.serve(|_, messages| {
        let (mut sum, mut received) = (0_u64, 0);
        while received < messages {
            match subscriber.receive().expect("the connection holds") {
                Some(sample) => {
                    sum = sum.wrapping_add(digest(*sample));
                    received += 1;
                }
                None => std::hint::spin_loop(),
            }
        }
        sum
    });
    None
}

fn open(name: &str) -> (Node<ipc::Service>, PortFactory<ipc::Service, Message, ()>) {
    let node = NodeBuilder::new().create::<ipc::Service>().expect("the node can be made");
    let service = node
        .service_builder(&name.try_into().expect("the name is valid"))
        .publish_subscribe::<Message>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(BUFFER)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()
        .expect("both sides ask for the same service");
    (node, service)
}
