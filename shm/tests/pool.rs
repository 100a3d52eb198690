//! Pools: limits, growth, waiting for room, and giving back, in a segment as processes share it.
#![cfg(not(loom))]

use gorun_shm::blocks::{AllocateError, Blocks, Budget, Growth, Limits, OwnedBlock, PoolTerms, Shape};
use gorun_shm::testing::Watchdog;
use gorun_shm::{OwnerId, Segment};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(3600);

/// Two mappings of one pool, as two processes have them.
fn pool(budget: Budget, terms: &PoolTerms) -> [Arc<Blocks>; 2] {
    let limits = Limits { small: 64, medium: 64, large: 16, huge: 0, largest_bytes: 64 << 20 };
    let (shape, end) = Shape::plan_within(0, &limits, &budget);
    let bytes = usize::try_from(end).expect("the kernel gives it");
    let segment = Segment::create("pool", bytes).expect("the kernel gives it");
    let file =
        segment.file().expect("the kernel gives it").try_clone_to_owned().expect("the kernel gives it");
    let other = Segment::attach(file, bytes).expect("the kernel gives it");
    let blocks = [segment, other].map(|segment| Blocks::new(segment, shape).expect("the kernel gives it"));
    blocks[0].set_terms(terms);
    blocks
}

fn limited(bytes: usize, patience: Duration) -> [Arc<Blocks>; 2] {
    let bytes = bytes as u64;
    let budget = Budget { pool_bytes: bytes, reserve_bytes: 0 };
    pool(budget, &PoolTerms { limit_bytes: bytes, patience, ..PoolTerms::default() })
}

fn worker(number: u16) -> OwnerId {
    OwnerId::worker(number).expect("the kernel gives it")
}

fn take(blocks: &Arc<Blocks>, bytes: usize, owner: u16) -> Result<OwnedBlock, AllocateError> {
    OwnedBlock::allocate_in_time(blocks, bytes, worker(owner))
}

#[test]
fn no_more_than_the_limit_is_in_use_at_once() {
    let [one, other] = limited(4 * MIB, Duration::ZERO);
    let held = [take(&one, 2 * MIB, 1).unwrap(), take(&other, MIB, 2).unwrap(), take(&one, MIB, 1).unwrap()];
    let full = take(&other, 64 * KIB, 2).map(drop);
    assert_eq!(full, Err(AllocateError::Full { asked: 64 << 10, class_bytes: 64 << 10 }));
    assert!(take(&other, 100, 2).is_ok(), "small blocks have a share of their own");
    let [_, second, _] = held;
    drop(second);
    assert!(take(&one, MIB, 1).is_ok());
    assert_eq!(one.counts().refused, 1);
    let larger = take(&one, 5 * MIB, 1).map(drop);
    assert_eq!(larger, Err(AllocateError::TooLarge { asked: 5 << 20, largest: 4 << 20 }));
}

#[test]
fn threads_that_take_the_last_room_at_once_never_pass_the_limit() {
    let _watchdog = Watchdog::start("threads_that_take_the_last_room_at_once_never_pass_the_limit");
    let blocks = limited(2 * MIB, LONG);
    std::thread::scope(|scope| {
        for number in 0..8_u16 {
            let blocks = &blocks[usize::from(number % 2)];
            scope.spawn(move || {
                for _ in 0..200 {
                    // More than fits is asked for all the time, so all wait for each other.
                    let block = take(blocks, 512 * KIB, number).expect("one is free in time");
                    assert!(blocks.bytes_in_use() <= (2 * MIB + 8 * 512 * KIB) as u64);
                    drop(block);
                }
            });
        }
    });
    assert_eq!(blocks[0].bytes_in_use(), 0);
}

#[test]
fn who_waits_gets_the_block_that_another_process_frees() {
    let _watchdog = Watchdog::start("who_waits_gets_the_block_that_another_process_frees");
    let [one, other] = limited(MIB, LONG);
    let held = take(&one, MIB, 1).unwrap();
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(take(&other, MIB, 2).map(drop)));
        while one.counts().waited == 0 {
            std::thread::yield_now();
        }
        assert!(told.try_recv().is_err());
        drop(held);
        assert_eq!(told.recv(), Ok(Ok(())));
    });
}

#[test]
fn who_waits_gets_what_the_dead_had_and_what_is_let_go_of() {
    let _watchdog = Watchdog::start("who_waits_gets_what_the_dead_had_and_what_is_let_go_of");
    let [one, other] = limited(MIB, LONG);
    std::mem::forget(take(&one, MIB, 3).unwrap());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| take(&other, MIB, 2).unwrap().share().unwrap());
        while one.counts().waited == 0 {
            std::thread::yield_now();
        }
        one.recover(worker(3));
        let shared = waits.join().unwrap();
        let waits = scope.spawn(|| take(&one, MIB, 1).map(drop));
        while one.counts().waited < 2 {
            std::thread::yield_now();
        }
        drop(shared);
        assert_eq!(waits.join().unwrap(), Ok(()));
    });
}

#[test]
fn patience_ends_with_the_error() {
    let _watchdog = Watchdog::start("patience_ends_with_the_error");
    let [one, other] = limited(MIB, Duration::from_millis(2));
    let _held = take(&one, MIB, 1).unwrap();
    assert!(matches!(take(&other, MIB, 2).map(drop), Err(AllocateError::Full { .. })));
    assert!(other.counts().waited > 0);
}

#[test]
fn free_blocks_give_their_memory_up_before_the_limit_is_outgrown() {
    let [one, _] = limited(8 * MIB, Duration::ZERO);
    // Eight blocks of a megabyte are written and freed, then one of eight.
    let blocks: Vec<_> = (0..8).map(|_| take(&one, MIB, 1).unwrap()).collect();
    for mut block in blocks {
        block.as_mut_slice().fill(1);
    }
    let before = one.resident_bytes().unwrap();
    let mut large = take(&one, 8 * MIB, 1).unwrap();
    large.as_mut_slice().fill(1);
    let after = one.resident_bytes().unwrap();
    assert!(before >= 8 << 20 && after < 9 << 20, "{before} and {after} bytes");
    assert_eq!(one.counts().given_back_bytes, 8 << 20);
    drop(large);
    // What has its memory already takes none from others.
    let again = take(&one, 8 * MIB, 1).unwrap();
    assert_eq!((again.as_slice()[0], one.counts().given_back_bytes), (1, 8 << 20));
}

#[test]
fn doubling_backs_as_many_blocks_as_there_were() {
    let grown = |growth| {
        let [one, _] = pool(Budget::default(), &PoolTerms { growth, ..PoolTerms::default() });
        let blocks: Vec<_> = (0..5).map(|_| take(&one, 256 * KIB, 8).unwrap()).collect();
        assert_eq!(blocks.len(), 5);
        (one.resident_bytes().unwrap() / (256 << 10), one.counts().backed_bytes / (256 << 10))
    };
    assert_eq!(grown(Growth::OnDemand), (0, 0));
    // The first, the second, two for the third, four for the fifth.
    assert_eq!(grown(Growth::Doubling), (8, 8));
}

#[test]
fn a_fixed_pool_has_all_its_memory_at_the_start() {
    let budget = Budget { pool_bytes: 8 << 20, reserve_bytes: 8 << 20 };
    let [one, _] = pool(budget, &PoolTerms { growth: Growth::Fixed, ..PoolTerms::default() });
    one.populate_all().unwrap();
    let resident = one.resident_bytes().unwrap();
    assert!((4 << 20..9 << 20).contains(&resident), "{resident} bytes");
    let blocks: Vec<_> = std::iter::from_fn(|| take(&one, 64 * KIB, 1).ok()).collect();
    for mut block in blocks {
        block.as_mut_slice().fill(1);
    }
    assert_eq!(one.resident_bytes().unwrap(), resident);
}

#[test]
fn large_blocks_that_were_used_are_used_again_before_fresh_ones() {
    let [one, _] = pool(Budget::default(), &PoolTerms::default());
    let mut resident = Vec::new();
    let mut held = std::collections::VecDeque::new();
    for _ in 0..20 {
        let mut block = take(&one, MIB, 1).unwrap();
        block.as_mut_slice().fill(1);
        held.push_back(block);
        // Two stay, as in a channel; the older one is freed out of turn.
        if held.len() > 2 {
            drop(held.pop_front());
        }
        resident.push(one.resident_bytes().unwrap());
    }
    assert_eq!(resident[4], resident[19], "three blocks have memory, and no more");
}
