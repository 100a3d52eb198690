//! A process is killed at each crash point of an spsc ring; the other end finds whole elements, in order, and a
//! new end goes on where the dead one stopped.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::ring::spsc::{Consumer, Producer, RingHeader, words_count};
use gorun_shm::sync::AtomicU64;
use gorun_shm::testing::CrashTest;
use gorun_shm::{Segment, View, ViewSlice};
use std::sync::Arc;

const CAPACITY: usize = 8;
const BYTES: usize = 8192;

type Element = [u64; 8];
type Memory = (View<RingHeader>, ViewSlice<AtomicU64>);

fn memory(segment: &Arc<Segment>) -> Memory {
    let words = segment.view_slice(4096, words_count::<Element>(CAPACITY)).unwrap();
    (segment.view(0).unwrap(), words)
}

fn producer(segment: &Arc<Segment>) -> Producer<Element, Memory> {
    Producer::attach(memory(segment)).unwrap()
}

fn consumer(segment: &Arc<Segment>) -> Consumer<Element, Memory> {
    Consumer::attach(memory(segment)).unwrap()
}

fn element(number: u64) -> Element {
    std::array::from_fn(|word| number << 8 | word as u64)
}

fn push(producer: &mut Producer<Element, Memory>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        producer.try_push(element(number)).unwrap();
    }
}

fn assert_pops(consumer: &mut Consumer<Element, Memory>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(consumer.try_pop(), Ok(Some(element(number))));
    }
    assert_eq!(consumer.try_pop(), Ok(None));
}

/// A ring in its second lap with nothing in it; the next position is 6.
fn used(segment: &Arc<Segment>) {
    push(&mut producer(segment), 0..6);
    assert_pops(&mut consumer(segment), 0..6);
}

/// As `used`, with the elements 6..12 in it.
fn filled(segment: &Arc<Segment>) {
    used(segment);
    push(&mut producer(segment), 6..12);
}

/// Three laps between a new producer and a new consumer, from element `next`.
fn assert_goes_on(segment: &Arc<Segment>, next: u64) {
    let (mut producer, mut consumer) = (producer(segment), consumer(segment));
    assert_eq!((producer.position(), consumer.position()), (next, next));
    for first in (next..).step_by(CAPACITY).take(3) {
        push(&mut producer, first..first + CAPACITY as u64);
        assert_pops(&mut consumer, first..first + CAPACITY as u64);
    }
}

#[test]
fn producer_killed_before_publishing_loses_that_element_only() {
    let test = "producer_killed_before_publishing_loses_that_element_only";
    let crash = CrashTest { test, point: "spsc.push.written", nth: 4, bytes: BYTES };
    crash.run(
        used,
        |segment| push(&mut producer(segment), 6..12),
        |segment| {
            assert_pops(&mut consumer(segment), 6..9);
            assert_goes_on(segment, 9);
        },
    );
}

#[test]
fn producer_killed_after_publishing_loses_nothing() {
    let test = "producer_killed_after_publishing_loses_nothing";
    let crash = CrashTest { test, point: "spsc.publish.stored", nth: 4, bytes: BYTES };
    crash.run(
        used,
        |segment| push(&mut producer(segment), 6..12),
        |segment| {
            assert_pops(&mut consumer(segment), 6..10);
            assert_goes_on(segment, 10);
        },
    );
}

#[test]
fn producer_killed_in_a_batch_loses_the_unpublished_part() {
    let test = "producer_killed_in_a_batch_loses_the_unpublished_part";
    let crash = CrashTest { test, point: "spsc.push.written", nth: 6, bytes: BYTES };
    crash.run(
        used,
        |segment| push(&mut producer(segment).publish_every(4), 6..14),
        |segment| {
            assert_pops(&mut consumer(segment), 6..10);
            assert_goes_on(segment, 10);
        },
    );
}

#[test]
fn producer_killed_with_a_filled_loan_publishes_none_of_it() {
    let test = "producer_killed_with_a_filled_loan_publishes_none_of_it";
    let crash = CrashTest { test, point: "spsc.loan.written", nth: 1, bytes: BYTES };
    crash.run(
        used,
        |segment| {
            let mut producer = producer(segment);
            let mut loan = producer.loan(3).unwrap();
            (0..3).for_each(|index| loan.write(index, &element(index as u64)));
            loan.publish(3);
        },
        |segment| {
            assert_pops(&mut consumer(segment), 6..6);
            assert_goes_on(segment, 6);
        },
    );
}

#[test]
fn consumer_killed_before_releasing_leaves_the_element_to_the_next() {
    let test = "consumer_killed_before_releasing_leaves_the_element_to_the_next";
    let crash = CrashTest { test, point: "spsc.pop.read", nth: 3, bytes: BYTES };
    crash.run(
        filled,
        |segment| assert_pops(&mut consumer(segment), 6..12),
        |segment| {
            assert_pops(&mut consumer(segment), 8..12);
            assert_goes_on(segment, 12);
        },
    );
}

#[test]
fn consumer_killed_after_releasing_has_taken_the_element_with_it() {
    let test = "consumer_killed_after_releasing_has_taken_the_element_with_it";
    let crash = CrashTest { test, point: "spsc.pop.released", nth: 3, bytes: BYTES };
    crash.run(
        filled,
        |segment| assert_pops(&mut consumer(segment), 6..12),
        |segment| {
            assert_pops(&mut consumer(segment), 9..12);
            assert_goes_on(segment, 12);
        },
    );
}
