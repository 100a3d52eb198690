//! The spsc ring against `VecDeque`, over every backing, over many laps.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::ring::spsc::{AttachError, Consumer, Producer, PushError, RingHeader, words_count};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::Backing;
use proptest::prelude::*;
use std::collections::VecDeque;

const CAPACITY: usize = 8;
type Element = [u64; 3];

#[derive(Debug, Clone)]
enum Op {
    Push,
    PushSlice(usize),
    Loan { ask: usize, publish: usize },
    Publish,
    Pop,
    PopSlice(usize),
    ReplaceProducer,
    ReplaceConsumer,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Push),
        2 => (0..CAPACITY + 3).prop_map(Op::PushSlice),
        2 => (0..CAPACITY + 3, 0..CAPACITY + 3).prop_map(|(ask, publish)| Op::Loan { ask, publish }),
        1 => Just(Op::Publish),
        4 => Just(Op::Pop),
        2 => (0..CAPACITY + 3).prop_map(Op::PopSlice),
        1 => Just(Op::ReplaceProducer),
        1 => Just(Op::ReplaceConsumer),
    ]
}

type Memory<'a> = (&'a RingHeader, &'a [AtomicU64]);

struct Trial<'a> {
    memories: (Memory<'a>, Memory<'a>),
    publish_every: u64,
    producer: Producer<Element, Memory<'a>>,
    consumer: Consumer<Element, Memory<'a>>,
    /// What must come out, oldest first; the last `unpublished` of it only after a publication.
    oracle: VecDeque<Element>,
    unpublished: u64,
    next: u64,
}

impl<'a> Trial<'a> {
    fn new(near: Memory<'a>, far: Memory<'a>, publish_every: u64) -> Self {
        Self {
            memories: (near, far),
            publish_every,
            producer: Producer::attach(near).unwrap().publish_every(publish_every),
            consumer: Consumer::attach(far).unwrap(),
            oracle: VecDeque::new(),
            unpublished: 0,
            next: 0,
        }
    }

    fn fresh(&mut self, count: usize) -> Vec<Element> {
        let first = self.next;
        self.next += count as u64;
        (first..self.next).map(|number| [number, !number, number << 32]).collect()
    }

    fn free(&self) -> usize {
        CAPACITY - self.oracle.len()
    }

    fn ready(&self) -> usize {
        self.oracle.len() - usize::try_from(self.unpublished).unwrap()
    }

    fn accept(&mut self, values: &[Element], published: bool) {
        self.oracle.extend(values);
        self.unpublished += values.len() as u64;
        if published || self.unpublished >= self.publish_every {
            self.unpublished = 0;
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Push => self.push(),
            Op::PushSlice(count) => {
                let values = self.fresh(count);
                let pushed = self.producer.push_slice(&values).unwrap();
                assert_eq!(pushed, count.min(self.free()));
                self.accept(&values[..pushed], true);
            }
            Op::Loan { ask, publish } => self.loan(ask, publish),
            Op::Publish => {
                self.producer.publish();
                self.unpublished = 0;
            }
            Op::Pop => {
                let expected = if self.ready() == 0 { None } else { self.oracle.pop_front() };
                assert_eq!(self.consumer.try_pop(), Ok(expected));
            }
            Op::PopSlice(count) => {
                let mut values = vec![[0; 3]; count];
                let popped = self.consumer.pop_slice(&mut values).unwrap();
                assert_eq!(popped, count.min(self.ready()));
                let expected: Vec<_> = self.oracle.drain(..popped).collect();
                assert_eq!(&values[..popped], expected);
            }
            Op::ReplaceProducer => {
                self.producer.publish();
                self.unpublished = 0;
                self.producer = Producer::attach(self.memories.0).unwrap().publish_every(self.publish_every);
            }
            Op::ReplaceConsumer => self.consumer = Consumer::attach(self.memories.1).unwrap(),
        }
        assert_eq!(self.producer.len().unwrap(), self.oracle.len() as u64);
        assert_eq!(self.producer.is_empty().unwrap(), self.oracle.is_empty());
        assert_eq!(self.consumer.len().unwrap(), self.ready() as u64);
        assert_eq!(self.consumer.is_empty().unwrap(), self.ready() == 0);
    }

    fn push(&mut self) {
        let value = self.fresh(1)[0];
        match self.producer.try_push(value) {
            Ok(()) => self.accept(&[value], false),
            Err(refused) => {
                assert_eq!((self.free(), refused), (0, PushError::Full(value)));
                // A full ring shows the consumer everything.
                self.unpublished = 0;
            }
        }
    }

    fn loan(&mut self, ask: usize, publish: usize) {
        let (free, values) = (self.free(), self.fresh(ask));
        let mut loan = self.producer.loan(ask).unwrap();
        assert_eq!(loan.len(), ask.min(free));
        let publish = publish.min(loan.len());
        for (index, value) in values.iter().enumerate().take(loan.len()) {
            loan.write(index, value);
        }
        loan.publish(publish);
        self.accept(&values[..publish], true);
    }
}

proptest! {
    #[test]
    fn behaves_like_a_queue(ops in prop::collection::vec(op(), 1..200), publish_every in 1..=CAPACITY as u64) {
        for backing in Backing::ALL {
            let sides = backing.sides::<RingHeader, AtomicU64>(words_count::<Element>(CAPACITY));
            let mut trial = Trial::new(sides.near(), sides.far(), publish_every);
            for op in &ops {
                trial.apply(op);
            }
        }
    }
}

#[test]
fn a_loan_dropped_unpublished_leaves_nothing() {
    let sides = Backing::Heap.sides::<RingHeader, AtomicU64>(CAPACITY);
    let mut producer = Producer::<u64, _>::attach(sides.near()).unwrap();
    let mut consumer = Consumer::<u64, _>::attach(sides.far()).unwrap();
    producer.loan(2).unwrap().write(0, &7);
    assert_eq!(consumer.try_pop(), Ok(None));
    assert_eq!(producer.position(), 0);
}

#[test]
fn a_dropped_producer_publishes_what_it_accepted() {
    let sides = Backing::Heap.sides::<RingHeader, AtomicU64>(CAPACITY);
    let mut consumer = Consumer::<u64, _>::attach(sides.far()).unwrap();
    let mut producer = Producer::<u64, _>::attach(sides.near()).unwrap().publish_every(8);
    producer.try_push(7).unwrap();
    assert_eq!(consumer.try_pop(), Ok(None));
    drop(producer);
    assert_eq!(consumer.try_pop(), Ok(Some(7)));
}

#[test]
fn words_written_in_place_arrive() {
    let sides = Backing::MappedTwice.sides::<RingHeader, AtomicU64>(words_count::<Element>(CAPACITY));
    let mut producer = Producer::<Element, _>::attach(sides.near()).unwrap();
    let mut consumer = Consumer::<Element, _>::attach(sides.far()).unwrap();
    let loan = producer.loan(1).unwrap();
    for (word, value) in loan.words(0).iter().zip([1, 2, 3]) {
        word.store(value, gorun_shm::sync::Ordering::Relaxed); // Relaxed: `publish` releases it.
    }
    loan.publish(1);
    assert_eq!(consumer.try_pop(), Ok(Some([1, 2, 3])));
}

#[test]
fn words_that_are_no_power_of_two_of_elements_are_refused() {
    for words in [0, 1, 4, 9, 15] {
        let sides = Backing::Heap.sides::<RingHeader, AtomicU64>(words);
        let refused = Producer::<Element, _>::attach(sides.near()).map(|_| ());
        assert_eq!(refused, Err(AttachError::BadCapacity { words, each: 3 }));
    }
}

#[test]
fn two_threads_pass_a_million_elements_in_order() {
    const COUNT: u64 = 1_000_000;
    let _watchdog = gorun_shm::testing::Watchdog::start("two_threads_pass_a_million_elements_in_order");
    let sides = Backing::MappedTwice.sides::<RingHeader, AtomicU64>(words_count::<Element>(64));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = Producer::<Element, _>::attach(sides.near()).unwrap().publish_every(16);
            for number in 0..COUNT {
                while producer.try_push([number; 3]).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut consumer = Consumer::<Element, _>::attach(sides.far()).unwrap();
        for number in 0..COUNT {
            let value = std::iter::repeat_with(|| consumer.try_pop().unwrap()).find_map(|value| {
                value.or_else(|| {
                    std::thread::yield_now();
                    None
                })
            });
            assert_eq!(value, Some([number; 3]));
        }
    });
}
