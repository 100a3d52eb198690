//! iceoryx2 publish-subscribe of large payloads between two processes: copied in, or written in the loaned sample.

use ::iceoryx2::port::publisher::Publisher;
use ::iceoryx2::prelude::*;
use ::iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use crate::measure::time_ns;
use crate::pair::{Cores, Pair, Peer};

/// Role of the subscriber's process.
const ROLE: &str = "iceoryx2-bulk";
/// Samples on their way at once, as many as the channel beside it holds.
const BUFFER: usize = 2;

/// A publisher here and a subscriber in another process.
#[derive(Debug)]
pub struct Bulk {
    publisher: Publisher<ipc::Service, [u64], ()>,
    _service: PortFactory<ipc::Service, [u64], ()>,
    _node: Node<ipc::Service>,
    pair: Pair,
    words: usize,
}

impl Bulk {
    /// Starts the subscriber, then connects to it; payloads have `words` words.
    #[must_use]
    pub fn start(cores: Cores, words: usize) -> Self {
        set_log_level(LogLevel::Error);
        let name = format!("gorun-benches/bulk/{}/{words}", std::process::id());
        let pair = Pair::start(ROLE, &name, cores, 0);
        let (node, service) = open(&name);
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(words)
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("the publisher can be made");
        let mut bulk = Self { publisher, _service: service, _node: node, pair, words };
        // The subscriber connects when it first receives, and until then a full buffer drops what is sent; and every sample
        // has its memory when it was used once.
        let source = vec![1; words];
        bulk.copied_ns(&source, 1);
        bulk.copied_ns(&source, 8);
        bulk
    }

    /// Nanoseconds a message, each copied in from `source`.
    pub fn copied_ns(&mut self, source: &[u64], messages: u64) -> f64 {
        self.ns(messages, |publisher, words| {
            let sample = publisher.loan_slice_uninit(words).expect("a sample is free");
            sample.write_from_slice(source).send().expect("the subscriber is there");
        })
    }

    /// Nanoseconds a message, each written in place.
    pub fn written_ns(&mut self, messages: u64) -> f64 {
        self.ns(messages, |publisher, words| {
            let sample = publisher.loan_slice_uninit(words).expect("a sample is free");
            sample.write_from_fn(|word| word as u64).send().expect("the subscriber is there");
        })
    }

    fn ns(&mut self, messages: u64, mut send: impl FnMut(&Publisher<ipc::Service, [u64], ()>, usize)) -> f64 {
        let mut received = 0;
        let ns = time_ns(|| {
            self.pair.begin(messages);
            (0..messages).for_each(|_| send(&self.publisher, self.words));
            received = self.pair.wait();
        });
        assert_eq!(received, messages * self.words as u64, "every message arrives whole");
        ns / messages as f64
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
        let (mut words, mut received) = (0, 0);
        while received < messages {
            match subscriber.receive().expect("the connection holds") {
                Some(sample) => {
                    // Looked at, and not read through: that would cost the same whoever brought it.
                    std::hint::black_box((sample.first(), sample.last()));
                    words += sample.len() as u64;
                    received += 1;
                }
                None => std::hint::spin_loop(),
            }
        }
        words
    });
    None
}

fn open(name: &str) -> (Node<ipc::Service>, PortFactory<ipc::Service, [u64], ()>) {
    let node = NodeBuilder::new().create::<ipc::Service>().expect("the node can be made");
    let service = node
        .service_builder(&name.try_into().expect("the name is valid"))
        .publish_subscribe::<[u64]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(BUFFER)
        .subscriber_max_borrowed_samples(1)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()
        .expect("both sides ask for the same service");
    (node, service)
}
