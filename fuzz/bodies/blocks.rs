//! The allocator while somebody else writes over its tables.

use crate::input::Input;
use gorun_shm::blocks::{BlockHandle, Blocks, Budget, Limits, OwnedBlock, PoolTerms, Shape, SharedBlock};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{OwnerId, Segment};
use std::sync::Arc;

const LIMITS: Limits = Limits { small: 4, medium: 2, large: 0, huge: 0, largest_bytes: 64 << 10 };

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let budget = Budget { pool_bytes: input.byte().into(), reserve_bytes: 0 };
    let budget = if budget.pool_bytes < 128 { Budget::default() } else { budget };
    let (shape, end) = Shape::plan_within(0, &LIMITS, &budget);
    let length = usize::try_from(end).expect("a few pages");
    let segment = Segment::private(length).expect("a few pages");
    let tables = usize::try_from(shape.first_byte_offset()).expect("a few pages") / 8;
    let words = segment.view_slice::<AtomicU64>(0, tables).expect("the tables");
    let blocks = Blocks::new(Arc::clone(&segment), shape).expect("made to measure");
    let limit_bytes = if input.byte() < 128 { 0 } else { input.word() };
    blocks.set_terms(&PoolTerms { limit_bytes, ..PoolTerms::default() });
    let me = OwnerId::worker(3).expect("a worker");
    let mut handles = vec![BlockHandle::from_words([0, 0])];
    // One at a time: over scribbled tables two values may have the same bytes.
    while !input.is_empty() {
        step(&mut input, &blocks, &words, &mut handles, me);
        for handle in blocks.live() {
            assert!(handle.offset() + u64::from(handle.bytes()) <= end);
        }
        assert!(handles.len() <= bytes.len() + 1);
    }
    let _ = (blocks.usage(), blocks.bytes_in_use(), blocks.counts(), blocks.recover(me));
}

fn step(
    input: &mut Input<'_>,
    blocks: &Arc<Blocks>,
    words: &[AtomicU64],
    handles: &mut Vec<BlockHandle>,
    me: OwnerId,
) {
    let known = handles[input.below(handles.len())];
    match input.byte() % 10 {
        0..3 => {
            let place = input.below(words.len());
            words[place].store(input.word(), Ordering::Relaxed); // Relaxed: one thread.
        }
        3 => {
            if let Ok(mut block) = OwnedBlock::allocate(blocks, input.below(70_000), me) {
                block.as_mut_slice().fill(1);
                handles.push(block.into_handle());
            }
        }
        4 => {
            if let Ok(mut block) = OwnedBlock::from_handle(blocks, known, me) {
                let _ = (block.set_bytes(input.below(1 << 16)), block.copy_out(64));
                block.as_mut_slice().fill(2);
                if let Ok(shared) = block.share() {
                    handles.push(shared.handle());
                    let _ =
                        SharedBlock::hold(blocks, shared.handle(), me).map(|again| again.as_slice().len());
                }
            }
        }
        5 => {
            let handle = BlockHandle::from_words([input.word(), input.word()]);
            if let Ok(words) = blocks.words(handle) {
                // Relaxed: only looked at.
                words
                    .iter()
                    .map(|word| word.load(Ordering::Relaxed))
                    .for_each(|word| _ = std::hint::black_box(word));
            }
            handles.push(handle);
        }
        6 => {
            let _ = SharedBlock::hold(blocks, known, me).map(|shared| shared.as_slice().to_vec());
        }
        7 => {
            let _ = (blocks.free(known, me), blocks.adopt(known, me, OwnerId::HOST));
        }
        8 => {
            let _ = (blocks.recover(me), blocks.give_back(me));
        }
        _ => {
            if let Ok(block) = OwnedBlock::allocate(blocks, 500, me)
                && let Ok(live) = block.enliven()
            {
                let _ =
                    live.view::<AtomicU64>(input.below(600)).map(|word| word.fetch_add(1, Ordering::Relaxed)); // Relaxed: as above.
            }
        }
    }
}
