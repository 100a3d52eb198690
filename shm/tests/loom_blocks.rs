//! Every order in which processes may claim, share, hold, let go of and recover one block.
#![cfg(loom)]

use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockId, BlockState, Holder, HolderSet, Region, Stale, Table};
use gorun_shm::sync::AtomicU32;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Holders in different words of the holder set, so that a collect is not one load.
fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).expect("a worker")
}

const HOST: Holder = Holder::HOST;

/// A class on the heap; `bytes` stands for the bytes of block 0 and lets loom see races on them.
struct Class {
    words: Vec<AtomicU32>,
    holders: Vec<HolderSet>,
    regions: Vec<Region>,
    bytes: UnsafeCell<()>,
}

impl Class {
    fn with_blocks(count: usize) -> Arc<Self> {
        Arc::new(Self {
            words: (0..count).map(|_| AtomicU32::new(0)).collect(),
            holders: (0..count).map(|_| HolderSet::default()).collect(),
            regions: (0..Region::COUNT).map(|_| Region::default()).collect(),
            bytes: UnsafeCell::new(()),
        })
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.words, &self.holders, &self.regions)
    }

    fn write(&self) {
        self.bytes.with_mut(|_| ());
    }

    fn read(&self) {
        self.bytes.with(|_| ());
    }

    /// Block 0, shared and held by all of `holders`.
    fn shared_by(&self, holders: &[Holder]) -> BlockId {
        let id = self.table().claim(holders[0]).expect("a free block");
        self.write();
        self.table().share(id, holders[0]).expect("claimed");
        for holder in &holders[1..] {
            self.table().hold(id, *holder).expect("shared");
        }
        id
    }

    fn assert_free_after(&self, generation: u16) {
        let word = self.table().word(0);
        assert!(word.is_free(), "{word:?}");
        assert_eq!(word.generation(), generation);
    }
}

#[test]
fn one_block_goes_to_one_of_two_allocators() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let other = Arc::clone(&class);
        let theirs = thread::spawn(move || other.table().claim(worker(1)));
        let ours = class.table().claim(worker(0));
        let theirs = theirs.join().expect("no panic");
        assert!(ours.is_some() != theirs.is_some(), "ours {ours:?} theirs {theirs:?}");
    });
}

#[test]
fn two_blocks_serve_two_allocators() {
    loom::model(|| {
        let class = Class::with_blocks(2);
        let other = Arc::clone(&class);
        let theirs = thread::spawn(move || other.table().claim(worker(1)).expect("one of two"));
        let ours = class.table().claim(worker(0)).expect("one of two");
        assert_ne!(ours.index, theirs.join().expect("no panic").index);
    });
}

#[test]
fn the_next_owner_writes_after_the_last_one() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.table().claim(worker(0)).expect("a free block");
        let other = Arc::clone(&class);
        let theirs = thread::spawn(move || {
            let claimed = other.table().claim(worker(1));
            if claimed.is_some() {
                other.write();
            }
        });
        class.write();
        class.table().free(id, BlockState::Claimed(worker(0))).expect("claimed");
        theirs.join().expect("no panic");
    });
}

#[test]
fn one_of_two_takes_over_a_detached_block() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.table().claim(worker(0)).expect("a free block");
        let (claimed, detached) = (BlockState::Claimed(worker(0)), BlockState::Detached(worker(0)));
        class.write();
        class.table().pass(id, claimed, detached).expect("claimed");
        let other = Arc::clone(&class);
        let theirs = thread::spawn(move || {
            let taken = other.table().pass(id, detached, BlockState::Claimed(HOST));
            taken.map(|()| other.write()).is_ok()
        });
        let recovered = class.table().recover(worker(0));
        let adopted = theirs.join().expect("no panic");
        assert!(adopted != (recovered == 1), "adopted {adopted} recovered {recovered}");
    });
}

#[test]
fn two_who_let_go_free_the_block_once_and_after_their_reads() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.shared_by(&[worker(0), HOST]);
        let other = Arc::clone(&class);
        let theirs = thread::spawn(move || {
            other.read();
            other.table().let_go(id, HOST).expect("held")
        });
        class.read();
        let ours = class.table().let_go(id, worker(0)).expect("held");
        // Whoever gets the block now, writes.
        if class.table().claim(worker(2)).is_some() {
            class.write();
        }
        let theirs = theirs.join().expect("no panic");
        assert!(ours != theirs, "freed by us {ours}, by them {theirs}");
    });
}

#[test]
fn a_block_passed_from_holder_to_holder_stays_while_held() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.shared_by(&[worker(0), HOST]);
        let other = Arc::clone(&class);
        // The host holds while worker 1 begins to; worker 1's bit is in a word that worker 0 may have looked at.
        let handing_on = thread::spawn(move || {
            other.table().hold(id, worker(1)).expect("the host holds it");
            assert!(!other.table().let_go(id, HOST).expect("held"), "worker 1 holds it");
        });
        assert!(!class.table().let_go(id, worker(0)).expect("held"), "freed under a holder");
        handing_on.join().expect("no panic");
        assert!(class.table().word(0).is_shared(id.generation));
        assert!(class.table().let_go(id, worker(1)).expect("held"), "the last one frees");
        class.assert_free_after(1);
    });
}

#[test]
fn two_let_go_while_a_third_begins_to_hold() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let class = Class::with_blocks(1);
        let id = class.shared_by(&[worker(0), HOST]);
        let (second, third) = (Arc::clone(&class), Arc::clone(&class));
        let theirs = thread::spawn(move || second.table().let_go(id, HOST).expect("held"));
        let holding = thread::spawn(move || {
            third.table().hold(id, worker(1)).is_ok_and(|()| {
                assert!(third.table().word(0).is_shared(id.generation), "freed under a holder");
                third.read();
                third.table().let_go(id, worker(1)).expect("held")
            })
        });
        let freed = [
            class.table().let_go(id, worker(0)).expect("held"),
            theirs.join().expect("no panic"),
            holding.join().expect("no panic"),
        ];
        let times = freed.iter().filter(|freed| **freed).count();
        // A hold that came too late may have had to free on its way out, which it does not report.
        assert!(times <= 1, "freed {times} times");
        class.assert_free_after(1);
        assert!(!class.holders[0].contains(worker(1)));
    });
}

#[test]
fn a_hold_that_came_too_late_leaves_the_next_life_alone() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.shared_by(&[worker(0)]);
        let other = Arc::clone(&class);
        let late = thread::spawn(move || {
            let held = other.table().hold(id, worker(1));
            held.and_then(|()| other.table().let_go(id, worker(1)).map(drop))
        });
        class.table().let_go(id, worker(0)).expect("held");
        if let Some(next) = class.table().claim(worker(0)) {
            class.write();
            class.table().share(next, worker(0)).expect("claimed");
            class.table().let_go(next, worker(0)).expect("held");
        }
        let late: Result<(), Stale> = late.join().expect("no panic");
        let word = class.table().word(0);
        assert!(word.is_free(), "{word:?} after {late:?}");
        assert!(!class.holders[0].contains(worker(1)));
    });
}

#[test]
fn recovering_a_dead_holder_beside_a_living_one_frees_once() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let id = class.shared_by(&[HOST, worker(0)]);
        let other = Arc::clone(&class);
        let recovering = thread::spawn(move || other.table().recover(worker(0)));
        class.read();
        let ours = class.table().let_go(id, HOST).expect("held");
        let recovered = recovering.join().expect("no panic");
        assert!(ours != (recovered == 1), "freed by us {ours}, recovered {recovered}");
        class.assert_free_after(1);
    });
}

#[test]
fn a_bit_left_behind_by_the_dead_does_not_keep_a_later_life() {
    loom::model(|| {
        let class = Class::with_blocks(1);
        let first = class.shared_by(&[HOST]);
        // Worker 0 died inside `hold`: its bit is set, its hold was not counted, and the block was freed.
        class.table().let_go(first, HOST).expect("held");
        class.holders[0].leave_behind(worker(0));
        let other = Arc::clone(&class);
        let recovering = thread::spawn(move || other.table().recover(worker(0)));
        let next = class.table().claim(HOST).expect("a free block");
        class.table().share(next, HOST).expect("claimed");
        class.table().let_go(next, HOST).expect("held");
        recovering.join().expect("no panic");
        class.assert_free_after(2);
        assert!(!class.holders[0].contains(worker(0)));
    });
}
