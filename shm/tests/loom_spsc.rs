//! Models of the spsc ring: order, nothing lost or torn, over more than one lap.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::ring::spsc::{Consumer, Producer, PushError, RingHeader};
use gorun_shm::sync::{AtomicU64, spin_hint};
use loom::thread;
use std::sync::Arc;

type Element = [u64; 2];
type Memory = (Arc<RingHeader>, Arc<[AtomicU64]>);

/// Both ends of a ring of two elements. Attached before the threads start: loom keeps one last access per
/// atomic, so that a thread's own look at a position hides another thread's look before it.
fn ends(publish_every: u64) -> (Producer<Element, Memory>, Consumer<Element, Memory>) {
    let words: Vec<_> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let memory: Memory = (Arc::new(RingHeader::default()), words.into());
    let producer = Producer::attach(memory.clone()).unwrap().publish_every(publish_every);
    (producer, Consumer::attach(memory).unwrap())
}

fn element(index: u64) -> Element {
    [index, !index]
}

/// Pushes elements 0..count, waiting for room.
fn push_all(mut producer: Producer<Element, Memory>, count: u64) {
    for index in 0..count {
        let mut value = element(index);
        while let Err(refused) = producer.try_push(value) {
            let PushError::Full(returned) = refused else { panic!("{refused}") };
            value = returned;
            spin_hint();
        }
    }
}

// Fails with a Relaxed store in `Line::publish` or a Relaxed load in `Line::seen`: of the tail (an element is
// read before it is whole) and of the head (it is overwritten while it is read).
#[test]
fn elements_arrive_whole_and_in_order_round_the_ring() {
    model::check(|| {
        let (producer, mut consumer) = ends(1);
        let producer = thread::spawn(move || push_all(producer, 3));
        for index in 0..3 {
            let value = loop {
                match consumer.try_pop().unwrap() {
                    Some(value) => break value,
                    None => spin_hint(),
                }
            };
            assert_eq!(value, element(index));
        }
        assert_eq!(consumer.try_pop(), Ok(None));
        producer.join().unwrap();
    });
}

// Fails if a batch is published before its last element is written.
#[test]
fn batches_arrive_whole_and_in_order() {
    model::check(|| {
        let (producer, mut consumer) = ends(2);
        let producer = thread::spawn(move || push_all(producer, 3));
        let mut taken = 0;
        while taken < 3 {
            let mut values = [[0; 2]; 2];
            let count = consumer.pop_slice(&mut values).unwrap();
            for value in &values[..count] {
                assert_eq!(*value, element(taken));
                taken += 1;
            }
            if count == 0 {
                spin_hint();
            }
        }
        producer.join().unwrap();
    });
}

// Fails if a loan publishes before it is asked to.
#[test]
fn a_loan_becomes_visible_as_a_whole() {
    model::check(|| {
        let (mut producer, mut consumer) = ends(1);
        let producer = thread::spawn(move || {
            let mut loan = producer.loan(2).unwrap();
            loan.write(0, &element(0));
            loan.write(1, &element(1));
            loan.publish(2);
        });
        let mut values = [[0; 2]; 2];
        match consumer.pop_slice(&mut values).unwrap() {
            0 => {}
            count => assert_eq!((count, values), (2, [element(0), element(1)])),
        }
        producer.join().unwrap();
    });
}
