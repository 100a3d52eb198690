//! Random operations on a stream's lane, its ends handed on and closed, against a plain queue; and over scribbled memory.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::lane::{LaneHead, LaneMemory, LaneReceiver, LaneSender, LaneShape};
use gorun_shm::ring::mpmc::{Header, Nothing, Refused, Role, Terms};
use gorun_shm::ring::spsc::{RingHeader, RingMemory};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use gorun_shm::{Segment, View, ViewSlice};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

const CAPACITY: usize = 4;
const BYTES: usize = 4096;

#[derive(Clone)]
struct Memory {
    common: View<Header>,
    head: View<LaneHead>,
    ring: View<RingHeader>,
    words: ViewSlice<AtomicU64>,
}

impl RingMemory for Memory {
    fn header(&self) -> &RingHeader {
        &self.ring
    }

    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl LaneMemory for Memory {
    fn common(&self) -> &Header {
        &self.common
    }

    fn head(&self) -> &LaneHead {
        &self.head
    }
}

fn open(segment: &Arc<Segment>) -> Memory {
    let shape = LaneShape::of::<u64>(CAPACITY).unwrap();
    Memory {
        common: segment.view(0).unwrap(),
        head: segment.view(LaneShape::HEAD_AT as u64).unwrap(),
        ring: segment.view(LaneShape::RING_AT as u64).unwrap(),
        words: segment.view_slice(LaneShape::WORDS_AT as u64, shape.words().unwrap()).unwrap(),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Send,
    SendSlice(usize),
    Loan(bool),
    Receive,
    ReceiveSlice(usize),
    Front(bool),
    MoveSender,
    MoveReceiver,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Send),
        2 => (0..7_usize).prop_map(Op::SendSlice),
        2 => any::<bool>().prop_map(Op::Loan),
        4 => Just(Op::Receive),
        2 => (0..7_usize).prop_map(Op::ReceiveSlice),
        2 => any::<bool>().prop_map(Op::Front),
        1 => Just(Op::MoveSender),
        1 => Just(Op::MoveReceiver),
        1 => Just(Op::Close),
    ]
}

/// The lane and what it should hold.
struct Trial {
    memory: Memory,
    sender: LaneSender<u64, Memory>,
    receiver: LaneReceiver<u64, Memory>,
    oracle: VecDeque<u64>,
    next: u64,
    is_closed: bool,
}

impl Trial {
    fn new(segment: &Arc<Segment>) -> Self {
        let memory = open(segment);
        let (sender, receiver) = (LaneSender::attach(memory.clone()), LaneReceiver::attach(memory.clone()));
        let (sender, receiver) = (sender.unwrap(), receiver.unwrap());
        Self { memory, sender, receiver, oracle: VecDeque::new(), next: 0, is_closed: false }
    }

    fn room(&self) -> Result<usize, Refused> {
        match CAPACITY - self.oracle.len() {
            _ if self.is_closed => Err(Refused::Over),
            0 => Err(Refused::Full),
            room => Ok(room),
        }
    }

    fn nothing(&self) -> Nothing {
        if self.is_closed { Nothing::Over } else { Nothing::Empty }
    }

    fn sent(&mut self, count: usize) {
        self.oracle.extend(self.next..self.next + count as u64);
        self.next += count as u64;
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Send => {
                assert_eq!(self.sender.try_send(&self.next), self.room().map(drop));
                self.sent(usize::from(self.room().is_ok()));
            }
            Op::SendSlice(count) => {
                let values: Vec<u64> = (self.next..self.next + count as u64).collect();
                let sent = self.sender.try_send_slice(&values);
                let expected = if count == 0 && !self.is_closed {
                    Ok(0)
                } else {
                    self.room().map(|room| room.min(count))
                };
                assert_eq!(sent, expected);
                self.sent(sent.unwrap_or(0));
            }
            Op::Loan(publishes) => {
                let room = self.room();
                match self.sender.try_loan() {
                    Ok(mut loan) => {
                        *loan.value_mut() = self.next;
                        assert_eq!((room.is_ok(), *loan.value()), (true, self.next));
                        if publishes {
                            loan.publish().unwrap();
                            self.sent(1);
                        }
                    }
                    Err(refused) => assert_eq!(Err(refused), room),
                }
            }
            Op::Receive => {
                let expected = self.oracle.pop_front().ok_or(self.nothing());
                assert_eq!(self.receiver.try_receive(), expected);
            }
            Op::ReceiveSlice(count) => {
                let mut values = vec![0; count];
                let received = self.receiver.try_receive_slice(&mut values);
                let expected: Vec<u64> = self.oracle.iter().copied().take(count).collect();
                if self.oracle.is_empty() {
                    assert_eq!(received, Err(self.nothing()));
                } else {
                    assert_eq!((received, &values[..expected.len()]), (Ok(expected.len()), &expected[..]));
                    self.oracle.drain(..expected.len());
                }
            }
            Op::Front(passes) => {
                let found = self.receiver.ready().map(|()| self.receiver.front().copied().unwrap());
                assert_eq!(found, self.oracle.front().copied().ok_or(self.nothing()));
                if passes && found.is_ok() {
                    self.receiver.pass();
                    self.oracle.pop_front();
                }
            }
            Op::MoveSender => self.sender = LaneSender::attach(self.memory.clone()).unwrap(),
            Op::MoveReceiver => self.receiver = LaneReceiver::attach(self.memory.clone()).unwrap(),
            Op::Close => {
                assert_eq!(self.memory.lane().close(), !std::mem::replace(&mut self.is_closed, true))
            }
        }
        assert_eq!(self.memory.lane().len(), self.oracle.len() as u64);
    }
}

proptest! {
    #[test]
    fn a_lane_is_a_queue(ops in prop::collection::vec(op(), 0..200)) {
        let segment = Segment::private(BYTES).unwrap();
        let mut trial = Trial::new(&segment);
        ops.iter().for_each(|op| trial.step(op));
    }

    #[test]
    fn a_scribbled_lane_answers(
        batches in prop::collection::vec(prop::collection::vec(
            (0..BYTES / 8, prop_oneof![any::<u64>(), 0..16_u64, (0..16_u64).prop_map(|back| u64::MAX - back)]), 0..24), 1..8)
    ) {
        let _watchdog = Watchdog::start("a_scribbled_lane_answers");
        let segment = Segment::private(BYTES).unwrap();
        let all = segment.view_slice::<AtomicU64>(0, BYTES / 8).unwrap();
        let memory = open(&segment);
        LaneShape::of::<u64>(CAPACITY).unwrap().format(&memory.common, Terms::default());
        let (mut sender, mut receiver) = (LaneSender::attach(memory.clone()).ok(), LaneReceiver::attach(memory.clone()).ok());
        for batch in &batches {
            for (index, value) in batch {
                all[*index].store(*value, Ordering::Relaxed); // Relaxed: one thread.
            }
            if let Ok((shape, _)) = LaneShape::read(&memory.common, BYTES) {
                prop_assert!(shape.bytes().unwrap() <= BYTES);
            }
            for value in 0..6 {
                let _ = sender.as_mut().map(|sender| (sender.try_send(&value), sender.try_send_slice(&[value; 9])));
                if let Some(Ok(loan)) = sender.as_mut().map(LaneSender::try_loan) {
                    let _ = loan.publish();
                }
            }
            for _ in 0..6 {
                let _ = receiver.as_mut().map(|receiver: &mut LaneReceiver<u64, Memory>| {
                    let received = (receiver.try_receive(), receiver.try_receive_slice(&mut [0; 3]));
                    receiver.pass();
                    received
                });
            }
            let lane = memory.lane();
            let _ = (lane.len(), lane.pick_up(Role::Sender, Holder::HOST), lane.standing());
            lane.bury(Holder::HOST);
            sender = LaneSender::attach(memory.clone()).ok();
            receiver = LaneReceiver::attach(memory.clone()).ok();
        }
    }
}
