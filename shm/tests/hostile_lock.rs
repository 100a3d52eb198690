//! Another process writes nonsense over a lock: it is refused, or it says that somebody has it; never a panic, never an access
//! outside, never an operation that does not end.
#![cfg(not(loom))]

use gorun_shm::OwnerId;
use gorun_shm::blocks::{Blocks, Holder, Limits, OwnedBlock, SharedBlock};
use gorun_shm::lock::{
    self, Arrival, Barrier, Condition, Head, Mutex, Once, Owner, Plan, Primitive, Protected, RwLock,
    Semaphore, Slots,
};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use proptest::prelude::*;

const BYTES: usize = 2048;
const LIMITS: Limits = Limits { small: 8, medium: 4, large: 0, huge: 0, largest_bytes: 64 << 10 };
const PRIMITIVES: [Primitive; 7] = [
    Primitive::Mutex,
    Primitive::RwLock,
    Primitive::Semaphore,
    Primitive::Once,
    Primitive::Barrier,
    Primitive::Condition,
    Primitive::Group,
];

/// Words that look like something more often than uniformly chosen ones do.
fn nonsense() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        2 => 0..16_u64,
        1 => (0..16_u64).prop_map(|back| u64::MAX - back),
        // An owner: a thread, a holder, flags.
        3 => (0..3_u64, 0..3_u64, 0..8_u64).prop_map(|(thread, holder, flags)| thread << 32 | holder << 8 | flags),
        // A plan: a number, a primitive.
        2 => (any::<u32>(), 0..9_u64).prop_map(|(number, primitive)| u64::from(number) << 32 | primitive),
    ]
}

/// Where to scribble: the head and the words behind it more often than the rest.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1..16_usize, 1 => 0..BYTES / 8]
}

proptest! {
    #[test]
    fn a_scribbled_lock_answers(
        primitive in prop::sample::select(&PRIMITIVES[..]),
        batches in prop::collection::vec(prop::collection::vec((place(), nonsense()), 0..16), 1..8)
    ) {
        let _watchdog = Watchdog::start("a_scribbled_lock_answers");
        let blocks = Blocks::private(&LIMITS).unwrap();
        let mut block = OwnedBlock::allocate(&blocks, BYTES, OwnerId::HOST).unwrap();
        block.as_mut_slice().fill(0);
        let block = block.enliven().unwrap();
        let head = block.view::<Head>(0).unwrap();
        head.format(Plan { primitive, kind: 1, number: 8, spin_ticks: 100 });
        let words = block.view_slice::<AtomicU64>(0, BYTES / 8).unwrap();
        let dead = OwnerId::worker(1).unwrap();
        let _its_hold = SharedBlock::hold(&blocks, block.handle(), dead).unwrap();
        let me = Owner::new(OwnerId::worker(0).and_then(Holder::of).unwrap(), 1);
        for batch in &batches {
            for (index, value) in batch {
                words[*index].store(*value, Ordering::Relaxed); // Relaxed: one thread.
            }
            let _ = (head.plan(), head.spin_ticks(), head.marks(), head.is_shut());
            head.note_spin(Some(u64::MAX));
            let _ = Protected::<u64>::of(&block).map(|value| format!("{value:?}"));
            let _ = Protected::<[u8; 4000]>::of(&block).is_ok();
            let mutex = block.view::<Mutex>(0).unwrap();
            let _ = mutex.look();
            if let Ok(hold) = mutex.try_lock(me) {
                hold.unlock();
            }
            let once = block.view::<Once>(0).unwrap();
            let _ = (once.look(), once.is_done());
            if let Ok(turn) = once.begin(me) {
                turn.finish();
            }
            let rwlock = block.view::<RwLock>(0).unwrap();
            if let Ok(hold) = rwlock.try_read(me, false) {
                hold.unlock();
            }
            if let Ok(claim) = rwlock.try_claim(me) {
                match claim.try_write() {
                    Ok(hold) => hold.unlock(),
                    Err(claim) => claim.release(),
                }
            }
            let semaphore = block.view::<Semaphore>(0).unwrap();
            let slots = Slots::new(&semaphore, &words[Semaphore::BYTES / 8..], 8);
            if let Some(permit) = slots.try_acquire(me.holder()) {
                slots.release(permit);
            }
            let _ = (slots.free(), slots.recover(Holder::HOST));
            if semaphore.take_turn(me).is_ok() {
                semaphore.pass_turn();
            }
            let barrier = block.view::<Barrier>(0).unwrap();
            barrier.enter(me.holder());
            if let Ok(Arrival::Waits { round }) = barrier.arrive(3) {
                let _ = (barrier.has_opened(round), barrier.leave(round));
            }
            barrier.exit(me.holder());
            let condition = block.view::<Condition>(0).unwrap();
            condition.notify_one();
            condition.notify_all();
            let _ = lock::recover(&blocks, dead);
            lock::shut(&blocks);
        }
    }
}

#[test]
fn a_lock_that_was_never_written_is_none() {
    let blocks = Blocks::private(&LIMITS).unwrap();
    let mut block = OwnedBlock::allocate(&blocks, BYTES, OwnerId::HOST).unwrap();
    block.as_mut_slice().fill(0);
    let block = block.enliven().unwrap();
    assert!(block.view::<Head>(0).unwrap().plan().is_err());
    assert!(lock::Site::open(block.clone()).is_none());
    assert!(Protected::<u64>::of(&block).is_err());
}

#[test]
fn a_value_of_another_size_or_beyond_the_block_is_refused() {
    let blocks = Blocks::private(&LIMITS).unwrap();
    let mut block = OwnedBlock::allocate(&blocks, 128, OwnerId::HOST).unwrap();
    block.as_mut_slice().fill(0);
    let block = block.enliven().unwrap();
    let head = block.view::<Head>(0).unwrap();
    let plan = Plan { primitive: Primitive::Mutex, kind: 1, number: 64, spin_ticks: 0 };
    head.format(plan);
    assert!(Protected::<[u8; 64]>::of(&block).is_ok());
    assert!(Protected::<[u8; 63]>::of(&block).is_err());
    head.format(Plan { number: 72, ..plan });
    assert!(Protected::<[u8; 72]>::of(&block).is_err());
    head.format(Plan { primitive: Primitive::Condition, ..plan });
    assert!(Protected::<[u8; 64]>::of(&block).is_err());
}

#[test]
#[should_panic(expected = "this very lock")]
fn a_proof_of_another_lock_opens_nothing() {
    let blocks = Blocks::private(&LIMITS).unwrap();
    let made = [0, 1].map(|_| {
        let mut block = OwnedBlock::allocate(&blocks, 128, OwnerId::HOST).unwrap();
        block.as_mut_slice().fill(0);
        let block = block.enliven().unwrap();
        let plan = Plan { primitive: Primitive::Mutex, kind: 1, number: 8, spin_ticks: 0 };
        block.view::<Head>(0).unwrap().format(plan);
        block
    });
    let other = made[1].view::<Mutex>(0).unwrap();
    let hold = other.try_lock(Owner::new(Holder::HOST, 1)).unwrap();
    let _ = Protected::<u64>::of(&made[0]).unwrap().get(&hold);
}
