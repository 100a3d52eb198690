//! Models of the table of a distributed channel: announcing against sleeping, handing over, joining and leaving.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::partitions::{LaneWords, MemberId, MemberLine, Table, TableHeader};
use gorun_shm::sync::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

/// A table of one partition and two places, and how many messages are in the ring of the partition.
struct Memory {
    header: TableHeader,
    members: Vec<MemberLine>,
    lanes: Vec<LaneWords>,
    messages: AtomicU64,
    /// Counted without an exchange: right only if each owner sees what the last one did.
    inside: AtomicU64,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            header: TableHeader::default(),
            members: (0..2).map(|_| MemberLine::default()).collect(),
            lanes: (0..3).map(|_| LaneWords::default()).collect(),
            messages: AtomicU64::new(0),
            inside: AtomicU64::new(0),
        })
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.header, &self.members, &self.lanes)
    }

    /// As the ring does it: published by an exchange, without a fence of its own.
    fn send(&self, to_any: bool) {
        self.messages.fetch_add(1, Ordering::Release);
        if !self.header.is_told(0) {
            self.table().announce(0, to_any);
        }
    }

    fn take_one(&self) -> bool {
        let found = self.messages.load(Ordering::Acquire);
        found > 0
            && self.messages.compare_exchange(found, found - 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn receive(&self) -> bool {
        let table = self.table();
        if !table.ready().contains(0) {
            return false;
        }
        if self.take_one() {
            return true;
        }
        table.look_again(0);
        let found = self.take_one();
        if found {
            table.mark(0);
        }
        found
    }

    /// Sleeps until `attempt` succeeds.
    fn await_until(&self, member: MemberId, attempt: impl Fn() -> bool) {
        while !attempt() {
            let asleep = self.table().about_to_sleep(member);
            if attempt() {
                return;
            }
            let (gate, armed) = asleep.gate().unwrap();
            gate.wait(armed, None);
        }
    }
}

// Fails without the second fence of `announce`.
#[test]
fn no_message_is_slept_over() {
    model::check(|| {
        let memory = Memory::new();
        let member = memory.table().join(worker(0)).unwrap();
        assert!(memory.table().claim(0, member));
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.send(false))
        };
        memory.await_until(member, || memory.receive());
        sender.join().unwrap();
    });
}

// Fails without the fence of `is_told`, and without that of `look_again`.
#[test]
fn a_lane_that_was_emptied_is_announced_again() {
    model::check(|| {
        let memory = Memory::new();
        let member = memory.table().join(worker(0)).unwrap();
        assert!(memory.table().claim(0, member));
        memory.send(false);
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.send(false))
        };
        (0..2).for_each(|_| memory.await_until(member, || memory.receive()));
        sender.join().unwrap();
        assert!(!memory.receive());
    });
}

// Fails if `wake_for` stops at an owner that does not sleep.
#[test]
fn a_sleeper_helps_an_owner_that_does_not_look() {
    model::check(|| {
        let memory = Memory::new();
        let owner = memory.table().join(worker(0)).unwrap();
        let helper = memory.table().join(worker(1)).unwrap();
        assert!(memory.table().claim(0, owner));
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.send(true))
        };
        memory.await_until(helper, || memory.receive());
        sender.join().unwrap();
    });
}

// Fails with a Relaxed exchange in `give_up` or `claim`.
#[test]
fn a_lane_has_one_owner_who_sees_what_the_last_one_did() {
    model::check(|| {
        let memory = Memory::new();
        let [one, other] = [0, 1].map(|index| memory.table().join(worker(index)).unwrap());
        let use_it = |memory: &Memory, member| {
            if !memory.table().claim(0, member) {
                return 0;
            }
            let before = memory.inside.load(Ordering::Relaxed);
            memory.inside.store(before + 1, Ordering::Relaxed);
            assert!(memory.table().give_up(0, member));
            1
        };
        let there = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || use_it(&memory, other))
        };
        let count = use_it(&memory, one) + there.join().unwrap();
        assert_eq!(memory.inside.load(Ordering::Relaxed), count);
        assert_eq!(memory.table().owner(0), None);
    });
}

// Fails without the fence of `wake_sleepers`.
#[test]
fn a_lane_that_was_given_up_is_found_by_who_waits_for_it() {
    model::check(|| {
        let memory = Memory::new();
        let [one, other] = [0, 1].map(|index| memory.table().join(worker(index)).unwrap());
        assert!(memory.table().claim(0, one));
        let gives = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                assert!(memory.table().give_up(0, one));
                memory.table().wake_sleepers();
            })
        };
        memory.await_until(other, || memory.table().claim(0, other));
        gives.join().unwrap();
    });
}

// Fails without the fence of `wake_sleepers`.
#[test]
fn who_sleeps_hears_of_a_new_member_and_finds_it() {
    model::check(|| {
        let memory = Memory::new();
        let member = memory.table().join(worker(0)).unwrap();
        let before = memory.table().epoch();
        let joins = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.table().join(worker(1)).unwrap())
        };
        memory.await_until(member, || memory.table().epoch() != before);
        assert_eq!(memory.table().live().count(), 2);
        assert!(memory.table().is_live(joins.join().unwrap()));
    });
}

// Fails if `leave` counts before it has freed its lanes.
#[test]
fn who_leaves_leaves_its_lanes_to_who_looks_at_the_new_epoch() {
    model::check(|| {
        let memory = Memory::new();
        let [one, other] = [0, 1].map(|index| memory.table().join(worker(index)).unwrap());
        assert!(memory.table().claim(0, one));
        let before = memory.table().epoch();
        let leaves = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.table().leave(one))
        };
        memory.await_until(other, || memory.table().epoch() != before);
        assert!(!memory.table().is_live(one));
        assert!(memory.table().claim(0, other));
        leaves.join().unwrap();
    });
}

#[test]
fn a_place_is_had_by_one_and_each_life_is_another() {
    model::check(|| {
        let memory = Memory::new();
        let first = memory.table().join(worker(0)).unwrap();
        let joins = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.table().join(worker(1)).unwrap())
        };
        memory.table().leave(first);
        let again = memory.table().join(worker(0)).unwrap();
        let other = joins.join().unwrap();
        assert_ne!(again.slot(), other.slot());
        assert!(again != first && other != first);
        assert_eq!(memory.table().live().count(), 2);
    });
}

// Fails if the recoverer does not wake.
#[test]
fn what_the_dead_owned_is_found_by_who_sleeps() {
    model::check(|| {
        let memory = Memory::new();
        let [dead, other] = [0, 1].map(|index| memory.table().join(worker(index)).unwrap());
        assert!(memory.table().claim(0, dead));
        let host = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let recovered = memory.table().recover(worker(0));
                assert_eq!((recovered.members, recovered.lanes), (1, 1));
            })
        };
        memory.await_until(other, || memory.table().claim(0, other));
        host.join().unwrap();
        assert!(memory.table().has_died(dead) && !memory.table().is_live(dead));
    });
}
