//! Models of a stream's lane: what is received when it is closed, who uses an end, and that nobody sleeps for ever.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::gate::Gate;
use gorun_shm::ring::lane::{Lane, LaneHead, LaneMemory, LaneReceiver, LaneSender};
use gorun_shm::ring::mpmc::{Header, Nothing, Refused, Role};
use gorun_shm::ring::spsc::{RingHeader, RingMemory};
use gorun_shm::sync::AtomicU64;
use loom::thread;
use std::sync::Arc;

#[derive(Clone)]
struct Memory(Arc<(Header, LaneHead, RingHeader, Vec<AtomicU64>)>);

impl RingMemory for Memory {
    fn header(&self) -> &RingHeader {
        &self.0.2
    }

    fn words(&self) -> &[AtomicU64] {
        &self.0.3
    }
}

impl LaneMemory for Memory {
    fn common(&self) -> &Header {
        &self.0.0
    }

    fn head(&self) -> &LaneHead {
        &self.0.1
    }
}

impl Memory {
    fn of(capacity: usize) -> Self {
        let words = (0..capacity).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new((Header::default(), LaneHead::default(), RingHeader::default(), words)))
    }

    fn sender(&self) -> LaneSender<u64, Self> {
        LaneSender::attach(self.clone()).unwrap()
    }

    fn receiver(&self) -> LaneReceiver<u64, Self> {
        LaneReceiver::attach(self.clone()).unwrap()
    }

    fn bystander(&self) -> Lane<'_> {
        self.lane()
    }
}

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

/// Sleeps as a thread does: arm, look once more, wait.
fn sleep(gate: &Gate, armed: gorun_shm::gate::ArmedGate) {
    gate.wait(armed, None);
}

// Fails without the barrier in `announce`.
#[test]
fn what_was_sent_is_received_though_the_receiver_closes() {
    model::check(|| {
        let memory = Memory::of(2);
        let sending = {
            let mut sender = memory.sender();
            thread::spawn(move || [1, 2].iter().take_while(|value| sender.try_send(value).is_ok()).count())
        };
        let mut receiver = memory.receiver();
        memory.bystander().close();
        let mut received = 0;
        loop {
            match receiver.try_receive() {
                Ok(value) => {
                    received += 1;
                    assert_eq!(value, received);
                }
                Err(Nothing::Over) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(sending.join().unwrap() as u64, received);
        assert_eq!(receiver.try_receive(), Err(Nothing::Over), "nothing comes after the end");
        assert_eq!(memory.receiver().try_receive(), Err(Nothing::Over), "nor for who has the end next");
        assert_eq!(memory.sender().try_send(&3), Err(Refused::Over));
    });
}

// Fails without the barrier in `last_look`.
#[test]
fn what_was_sent_is_received_though_a_third_closes() {
    model::check(|| {
        let memory = Memory::of(1);
        let sending = {
            let mut sender = memory.sender();
            thread::spawn(move || u64::from(sender.try_send(&1).is_ok()))
        };
        let closing = {
            let memory = memory.clone();
            thread::spawn(move || memory.bystander().close())
        };
        let mut receiver = memory.receiver();
        let mut received = u64::from(receiver.try_receive().is_ok());
        let sent = sending.join().unwrap();
        assert!(closing.join().unwrap());
        received += u64::from(receiver.try_receive().is_ok());
        assert_eq!(sent, received);
        assert_eq!(receiver.try_receive(), Err(Nothing::Over));
    });
}

#[test]
fn the_end_of_the_sender_is_seen_after_what_it_sent() {
    model::check(|| {
        let memory = Memory::of(2);
        assert!(memory.common().join(Role::Sender, worker(0)));
        let sending = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.sender().try_send(&1).unwrap();
                memory.common().leave(Role::Sender, worker(0));
            })
        };
        let mut receiver = memory.receiver();
        let seen: Vec<_> = (0..2).map(|_| receiver.try_receive()).collect();
        sending.join().unwrap();
        match (seen[0], seen[1]) {
            (Ok(1), Err(Nothing::Over | Nothing::Empty)) => {}
            (Err(Nothing::Empty), Ok(1)) => {}
            (Err(Nothing::Empty), Err(Nothing::Empty)) => assert_eq!(receiver.try_receive(), Ok(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(receiver.try_receive(), Err(Nothing::Over));
    });
}

// Fails without the barrier in `announce`.
#[test]
fn a_receiver_that_sleeps_is_woken() {
    model::check(|| {
        let memory = Memory::of(1);
        let sending = {
            let mut sender = memory.sender();
            thread::spawn(move || sender.try_send(&7).unwrap())
        };
        let mut receiver = memory.receiver();
        let value = loop {
            if let Ok(value) = receiver.try_receive() {
                break value;
            }
            let (armed, _) = receiver.arm();
            if receiver.ready().is_err() {
                sleep(memory.common().not_empty(), armed);
            }
        };
        assert_eq!(value, 7);
        sending.join().unwrap();
    });
}

#[test]
fn a_sender_that_sleeps_is_woken() {
    model::check(|| {
        let memory = Memory::of(1);
        memory.sender().try_send(&1).unwrap();
        let receiving = {
            let mut receiver = memory.receiver();
            thread::spawn(move || receiver.try_receive().unwrap())
        };
        let mut sender = memory.sender();
        while sender.try_send(&2) == Err(Refused::Full) {
            let (armed, _) = sender.arm();
            if sender.ready().is_err() {
                sleep(memory.common().not_full(), armed);
            }
        }
        assert_eq!(receiving.join().unwrap(), 1);
        assert_eq!(memory.receiver().try_receive(), Ok(2));
    });
}

// Fails with a Relaxed exchange in `pick_up`.
#[test]
fn one_at_a_time_uses_an_end_and_goes_on_where_the_other_stopped() {
    model::check(|| {
        let memory = Memory::of(4);
        assert!(memory.bystander().pick_up(Role::Sender, worker(0)));
        let first = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.sender().try_send(&1).unwrap();
                memory.bystander().put_down(Role::Sender);
            })
        };
        let picked = memory.bystander().pick_up(Role::Sender, worker(1));
        if picked {
            memory.sender().try_send(&2).unwrap();
        }
        first.join().unwrap();
        let mut receiver = memory.receiver();
        assert_eq!(receiver.try_receive(), Ok(1));
        assert_eq!(receiver.try_receive().ok(), picked.then_some(2));
    });
}
