//! What a block allocator does, one behaviour at a time, and what it does with hostile handles.
#![cfg(not(loom))]

use gorun_shm::blocks::{
    AllocateError, BlockHandle, BlockState, Blocks, Class, HandleError, Holder, Limits, OwnedBlock,
    Recovered, Shape, SharedBlock,
};
use gorun_shm::{OwnerId, Segment};
use proptest::prelude::*;
use rustix::fd::OwnedFd;
use std::collections::HashSet;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

const HOST: OwnerId = OwnerId::HOST;
const TINY: Limits = Limits { small: 4, medium: 2, large: 1, huge: 0, largest_bytes: 2 << 20 };

fn worker(index: u16) -> OwnerId {
    OwnerId::worker(index).expect("a worker's index")
}

fn private(limits: &Limits) -> Arc<Blocks> {
    Blocks::private(limits).expect("a private segment")
}

/// The same blocks as two processes map them.
fn mapped_twice(limits: &Limits) -> [Arc<Blocks>; 2] {
    let (shape, end) = Shape::plan(64, limits);
    let bytes = usize::try_from(end).expect("fits");
    let ours = Segment::create("blocks-test", bytes).expect("a memfd");
    let file: OwnedFd = ours.file().expect("a memfd").try_clone_to_owned().expect("a descriptor");
    let theirs = Segment::attach(file, bytes).expect("a mapping");
    [ours, theirs].map(|segment| Blocks::new(segment, shape).expect("fits"))
}

fn free_blocks(blocks: &Blocks) -> u32 {
    blocks.usage().iter().map(|class| class.free).sum()
}

fn all_blocks(blocks: &Blocks) -> u32 {
    blocks.usage().iter().map(|class| class.total).sum()
}

#[test]
fn a_block_is_of_the_smallest_class_that_fits() {
    let blocks = private(&TINY);
    for (bytes, class_bytes) in [(0, 64), (1, 64), (64, 64), (65, 128), (4096, 4096), (4097, 8192)] {
        let handle = blocks.allocate(bytes, HOST).unwrap();
        assert_eq!(handle.class().map(Class::bytes), Some(class_bytes));
        assert_eq!(handle.bytes() as usize, bytes);
    }
}

#[test]
fn a_block_is_aligned_to_its_size_up_to_a_page() {
    let blocks = private(&TINY);
    for class in blocks.usage() {
        let bytes = usize::try_from(class.bytes).unwrap();
        let block = OwnedBlock::allocate(&blocks, bytes, HOST).unwrap();
        let address = block.as_slice().as_ptr().addr();
        assert_eq!(address % bytes.min(4096), 0, "a block of {bytes} bytes at {address:#x}");
    }
}

#[test]
fn the_freed_block_is_given_out_next() {
    let blocks = private(&Limits::FULL.divided_by(4).cut_at(4096));
    let held: Vec<_> = (0..100).map(|_| blocks.allocate(64, HOST).unwrap()).collect();
    blocks.free(held[40], HOST).unwrap();
    let again = blocks.allocate(64, HOST).unwrap();
    assert_eq!(again.offset(), held[40].offset());
    assert_ne!(again.generation(), held[40].generation());
}

#[test]
fn the_blocks_of_a_burst_are_used_again_in_the_next() {
    let blocks = private(&Limits::FULL.divided_by(4).cut_at(4096));
    let burst = || -> HashSet<u64> {
        let handles: Vec<_> = (0..50).map(|_| blocks.allocate(64, HOST).unwrap()).collect();
        handles.iter().for_each(|handle| blocks.free(*handle, HOST).unwrap());
        handles.iter().map(|handle| handle.offset()).collect()
    };
    assert_eq!(burst(), burst());
}

#[test]
fn a_full_class_borrows_from_the_next_two_and_then_says_full() {
    let blocks = private(&TINY);
    let classes: Vec<u64> =
        (0..12).map(|_| blocks.allocate(64, HOST).unwrap().class().unwrap().bytes()).collect();
    assert_eq!(classes, [64, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256]);
    assert_eq!(blocks.allocate(10, HOST), Err(AllocateError::Full { asked: 10, class_bytes: 64 }));
    assert_eq!(blocks.allocate(512, HOST).unwrap().bytes(), 512);
}

#[test]
fn more_than_the_largest_class_is_refused_with_its_size() {
    let blocks = private(&TINY);
    let largest = 2 << 20;
    let asked = largest + 1;
    let refused = blocks.allocate(usize::try_from(asked).unwrap(), HOST);
    assert_eq!(refused, Err(AllocateError::TooLarge { asked, largest }));
    let refused = blocks.allocate(usize::MAX, HOST);
    assert_eq!(refused, Err(AllocateError::TooLarge { asked: u64::MAX, largest }));
}

#[test]
fn nobody_gets_no_block() {
    let blocks = private(&TINY);
    let owner = OwnerId::NONE;
    assert_eq!(blocks.allocate(1, owner), Err(AllocateError::NotAnOwner { owner }));
    let handle = blocks.allocate(1, HOST).unwrap();
    assert_eq!(blocks.free(handle, owner), Err(HandleError::NotAnOwner { owner }));
    assert_eq!(blocks.recover(owner), Recovered::default());
}

#[test]
fn every_owner_is_told_from_every_other() {
    let owners = (0..OwnerId::WORKERS_MAX).map(worker).chain([HOST]);
    let holders: Vec<Holder> = owners.clone().map(|owner| Holder::of(owner).unwrap()).collect();
    assert!(owners.eq(holders.iter().map(|holder| holder.owner())));
    let words = holders.iter().flat_map(|holder| {
        [BlockState::Claimed(*holder), BlockState::Detached(*holder)]
            .map(|state| gorun_shm::blocks::Word::new(7, state))
    });
    let back: HashSet<String> = words.map(|word| format!("{word:?}")).collect();
    assert_eq!(back.len(), 2 * holders.len());
}

#[test]
fn a_freed_handle_is_stale_for_everything() {
    let blocks = private(&TINY);
    let handle = blocks.allocate(64, HOST).unwrap();
    blocks.free(handle, HOST).unwrap();
    blocks.allocate(64, HOST).unwrap();
    assert!(matches!(blocks.free(handle, HOST), Err(HandleError::Stale { generation: 0, .. })));
    assert!(matches!(blocks.adopt(handle, HOST, worker(1)), Err(HandleError::Stale { .. })));
    assert!(matches!(OwnedBlock::from_handle(&blocks, handle, HOST), Err(HandleError::Stale { .. })));
    assert!(matches!(SharedBlock::hold(&blocks, handle, HOST), Err(HandleError::Stale { .. })));
}

#[test]
fn generations_wrap() {
    let blocks = private(&Limits { small: 1, ..TINY });
    let generations: Vec<u16> = (0..=u16::MAX)
        .map(|_| {
            let handle = blocks.allocate(64, HOST).unwrap();
            blocks.free(handle, HOST).unwrap();
            handle.generation()
        })
        .collect();
    assert_eq!(generations.last(), Some(&u16::MAX));
    assert_eq!(blocks.allocate(64, HOST).unwrap().generation(), 0);
}

#[test]
fn a_detached_block_is_taken_over_once() {
    let blocks = private(&TINY);
    let handle = OwnedBlock::allocate(&blocks, 64, HOST).unwrap().into_handle();
    let first = OwnedBlock::from_handle(&blocks, handle, HOST).unwrap();
    assert!(matches!(OwnedBlock::from_handle(&blocks, handle, HOST), Err(HandleError::Stale { .. })));
    assert!(matches!(blocks.free(handle, HOST), Err(HandleError::Stale { .. })));
    drop(first);
    assert_eq!(free_blocks(&blocks), all_blocks(&blocks));
}

#[test]
fn a_result_passes_from_worker_to_host_with_its_bytes() {
    let [host, theirs] = mapped_twice(&TINY);
    let mut block = OwnedBlock::allocate(&theirs, 1000, worker(3)).unwrap();
    block.as_mut_slice().fill(7);
    block.set_bytes(900).unwrap();
    let handle = BlockHandle::from_words(block.into_handle().words());

    let adopted = OwnedBlock::adopt(&host, handle, worker(3), HOST).unwrap();
    assert_eq!(adopted.as_slice(), [7; 900]);
    assert!(theirs.free(handle, worker(3)).is_err());
    assert_eq!(theirs.recover(worker(3)), Recovered::default());
    drop(adopted);
    assert_eq!(free_blocks(&theirs), all_blocks(&theirs));
}

#[test]
fn a_block_holds_no_more_than_its_class() {
    let blocks = private(&TINY);
    let mut block = OwnedBlock::allocate(&blocks, 100, HOST).unwrap();
    assert_eq!(block.capacity(), 128);
    block.set_bytes(128).unwrap();
    assert_eq!(block.as_slice().len(), 128);
    assert_eq!(block.set_bytes(129), Err(HandleError::TooLong { bytes: 129, class_bytes: 128 }));
}

#[test]
fn a_shared_block_lives_until_the_last_process_lets_go() {
    let [host, theirs] = mapped_twice(&TINY);
    let mut block = OwnedBlock::allocate(&host, 64, HOST).unwrap();
    block.as_mut_slice().fill(9);
    let shared = block.share().unwrap();
    let handle = shared.handle();
    let held = SharedBlock::hold(&theirs, handle, worker(0)).unwrap();
    let clone = held.clone();
    drop(shared);
    drop(held);
    assert_eq!(clone.as_slice(), [9; 64]);
    assert_eq!(free_blocks(&host), all_blocks(&host) - 1);
    drop(clone);
    assert_eq!(free_blocks(&host), all_blocks(&host));
    assert!(matches!(SharedBlock::hold(&host, handle, HOST), Err(HandleError::Stale { .. })));
}

#[test]
fn a_process_that_holds_twice_holds_until_it_let_go_twice() {
    let [host, theirs] = mapped_twice(&TINY);
    let shared = OwnedBlock::allocate(&host, 64, HOST).unwrap().share().unwrap();
    let first = SharedBlock::hold(&theirs, shared.handle(), worker(0)).unwrap();
    let second = SharedBlock::hold(&theirs, shared.handle(), worker(0)).unwrap();
    drop(shared);
    drop(first);
    assert_eq!(free_blocks(&host), all_blocks(&host) - 1);
    drop(second);
    assert_eq!(free_blocks(&host), all_blocks(&host));
}

#[test]
fn a_shared_block_is_nobodys_to_write_or_free() {
    let blocks = private(&TINY);
    let shared = OwnedBlock::allocate(&blocks, 64, HOST).unwrap().share().unwrap();
    let handle = shared.handle();
    assert!(matches!(OwnedBlock::from_handle(&blocks, handle, HOST), Err(HandleError::Stale { .. })));
    assert!(matches!(blocks.free(handle, HOST), Err(HandleError::Stale { .. })));
    assert!(matches!(blocks.adopt(handle, HOST, worker(0)), Err(HandleError::Stale { .. })));
}

#[test]
fn a_claimed_block_cannot_be_held() {
    let blocks = private(&TINY);
    let block = OwnedBlock::allocate(&blocks, 64, HOST).unwrap();
    assert!(matches!(SharedBlock::hold(&blocks, block.handle(), HOST), Err(HandleError::Stale { .. })));
}

#[test]
fn recover_takes_what_the_dead_had_and_nothing_else() {
    let [host, dead] = mapped_twice(&TINY);
    let ours = OwnedBlock::allocate(&host, 64, HOST).unwrap();
    let shared = OwnedBlock::allocate(&host, 64, HOST).unwrap().share().unwrap();
    std::mem::forget(OwnedBlock::allocate(&dead, 64, worker(5)).unwrap());
    let _ = OwnedBlock::allocate(&dead, 8192, worker(5)).unwrap().into_handle();
    std::mem::forget(OwnedBlock::allocate(&dead, 200, worker(5)).unwrap().share().unwrap());
    std::mem::forget(SharedBlock::hold(&dead, shared.handle(), worker(5)).unwrap());

    assert_eq!(host.recover(worker(5)), Recovered { blocks: 3, bytes: 64 + 8192 + 256 });
    assert_eq!(host.recover(worker(5)), Recovered::default());
    assert_eq!(free_blocks(&host), all_blocks(&host) - 2);
    drop((ours, shared));
    assert_eq!(free_blocks(&host), all_blocks(&host));
}

#[test]
fn giving_back_empties_free_blocks_and_leaves_used_ones() {
    let [blocks, _] = mapped_twice(&TINY);
    let mut used = OwnedBlock::allocate(&blocks, 64 << 10, HOST).unwrap();
    let mut freed = OwnedBlock::allocate(&blocks, 64 << 10, HOST).unwrap();
    used.as_mut_slice().fill(1);
    freed.as_mut_slice().fill(2);
    drop(freed);

    assert_eq!(blocks.give_back(HOST).unwrap(), 64 << 10);
    assert!(used.as_slice().iter().all(|byte| *byte == 1));
    let again = OwnedBlock::allocate(&blocks, 64 << 10, HOST).unwrap();
    assert!(again.as_slice().iter().all(|byte| *byte == 0));
}

#[test]
fn populating_leaves_the_bytes_alone() {
    let [blocks, _] = mapped_twice(&TINY);
    let mut block = OwnedBlock::allocate(&blocks, 8192, HOST).unwrap();
    block.as_mut_slice().fill(3);
    blocks.populate(8192, u32::MAX).unwrap();
    blocks.populate(1 << 40, 1).unwrap();
    assert!(block.as_slice().iter().all(|byte| *byte == 3));
}

#[test]
fn both_sides_plan_the_same_shape_behind_the_start() {
    let (ours, our_end) = Shape::plan(4097, &Limits::FULL);
    let (theirs, their_end) = Shape::plan(4097, &Limits::FULL);
    assert_eq!((ours, our_end), (theirs, their_end));
    assert_eq!(ours.largest_bytes(), Class::LARGEST_BYTES);
    assert!(our_end > 24 << 30 && our_end < 27 << 30, "{our_end}");
}

#[test]
fn a_cut_shape_is_as_small_as_its_largest_class() {
    let (shape, end) = Shape::plan(0, &Limits::FULL.divided_by(64).cut_at(1 << 20));
    assert_eq!(shape.largest_bytes(), 1 << 20);
    assert!(end < 40 << 20, "{end}");
}

#[test]
fn hostile_limits_plan_without_overflow() {
    let limits = Limits::read_from_bytes(&[0xFF; 24]).unwrap();
    let (_, end) = Shape::plan(u64::MAX, &limits);
    assert!(end > 1 << 47);
}

#[test]
fn a_segment_too_small_for_the_shape_is_refused() {
    let (shape, end) = Shape::plan(0, &TINY);
    let segment = Segment::private(usize::try_from(end).unwrap() - 1).unwrap();
    assert!(Blocks::new(segment, shape).is_err());
}

#[test]
fn many_threads_never_share_a_claimed_block() {
    let blocks = private(&TINY);
    std::thread::scope(|scope| {
        for index in 0..4 {
            let blocks = Arc::clone(&blocks);
            scope.spawn(move || churn(&blocks, worker(index)));
        }
    });
    assert_eq!(free_blocks(&blocks), all_blocks(&blocks));
}

fn churn(blocks: &Arc<Blocks>, owner: OwnerId) {
    let mark = owner.bits().to_ne_bytes()[0] + 1;
    for round in 0..5_000 {
        let Ok(mut block) = OwnedBlock::allocate(blocks, 64 + round % 64, owner) else { continue };
        block.as_mut_slice().fill(mark);
        let shared = block.share().expect("claimed");
        assert!(shared.as_slice().iter().all(|byte| *byte == mark));
    }
}

/// Tries everything with `handle`, as if another process had sent it.
fn use_hostile(blocks: &Arc<Blocks>, handle: BlockHandle) {
    let _ = blocks.check(handle);
    for owner in [HOST, worker(0), OwnerId::NONE, OwnerId::from_bits(300), worker(1)] {
        let _ = blocks.adopt(handle, owner, worker(1));
        let _ = SharedBlock::hold(blocks, handle, owner).map(|held| held.as_slice().to_vec());
        let _ = OwnedBlock::from_handle(blocks, handle, owner).map(|mut owned| owned.as_mut_slice().fill(1));
        let _ = blocks.free(handle, owner);
    }
}

proptest! {
    #[test]
    fn any_16_bytes_are_refused_or_within_bounds(bytes: [u8; 16]) {
        let blocks = private(&TINY);
        let kept = OwnedBlock::allocate(&blocks, 64, HOST).unwrap();
        use_hostile(&blocks, BlockHandle::read_from_bytes(&bytes).unwrap());
        prop_assert!(blocks.check(kept.handle()).is_ok());
    }

    #[test]
    fn a_handle_bent_out_of_its_block_does_not_reach_it(at in 0usize..16, with in 1u8.., bytes in 0usize..5000) {
        // Arrange
        let blocks = private(&TINY);
        let handle = blocks.allocate(bytes, HOST).unwrap();
        let mut bent = handle;
        bent.as_mut_bytes()[at] ^= with;
        // Act
        use_hostile(&blocks, bent);
        // Assert: only its length may differ, and then not beyond the class.
        let names = |handle: BlockHandle| (handle.offset(), handle.generation(), handle.class());
        let fits = u64::from(bent.bytes()) <= handle.class().unwrap().bytes();
        prop_assert_eq!(blocks.check(handle).is_err(), names(bent) == names(handle) && fits);
    }
}

#[test]
fn live_blocks_are_listed_by_who_holds_them() {
    let [ours, theirs] = mapped_twice(&TINY);
    let live = [0, 1].map(|_| OwnedBlock::allocate(&ours, 100, HOST).unwrap().enliven().unwrap());
    let shared = OwnedBlock::allocate(&theirs, 100, worker(7)).unwrap().share().unwrap();
    let held = SharedBlock::hold(&theirs, live[1].handle(), worker(7)).unwrap();
    let places = |handles: Vec<BlockHandle>| handles.iter().map(|handle| handle.offset()).collect::<Vec<_>>();
    assert_eq!(ours.live().len(), 2);
    assert_eq!(places(ours.live_of(worker(7))), [live[1].handle().offset()]);
    assert_eq!(ours.live_of(worker(8)), []);
    drop((held, shared));
    assert_eq!((ours.live_of(worker(7)).len(), ours.live_of(HOST).len()), (0, 2));
}
