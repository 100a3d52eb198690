//! Values in a channel whose slots and blocks somebody else has filled.

use crate::input::Input;
use gorun_shm::OwnerId;
use gorun_shm::blocks::{BlockHandle, Blocks, Limits, OwnedBlock, PoolTerms};
use gorun_shm::ring::mpmc::{Geometry, Message, Terms};
use gorun_worker::bulk::Bulk;
use gorun_worker::codec::{self, Portable};
use gorun_worker::end::End;
use gorun_worker::letter::{self, Received};
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { small: 8, medium: 2, large: 0, huge: 0, largest_bytes: 16 << 10 };

type Carrying = (u8, Option<Bulk>, Vec<Bulk>);

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let blocks = Blocks::private(&LIMITS).expect("a few pages");
    let me = OwnerId::HOST;
    let compress_from = if input.byte() < 64 { 1024 } else { 0 };
    blocks.set_terms(&PoolTerms { compress_from, ..PoolTerms::default() });
    let geometry = Geometry::new(4, letter::words_for::<Carrying>(false)).expect("a small one");
    let (_sender, end) = End::channel(&blocks, me, geometry, Terms::default()).expect("there is room");
    // A block of the sender's with what the input says in it, and a shared one for it to name.
    let shared = OwnedBlock::allocate(&blocks, 100, me).ok().and_then(|block| block.share().ok());
    let named = shared.as_ref().map_or([0; 2], |block| block.handle().words());
    while !input.is_empty() {
        let content: Vec<u8> = (0..input.below(300)).map(|_| input.byte()).collect();
        let Ok(mut block) = OwnedBlock::allocate(&blocks, content.len(), me) else { return };
        block.as_mut_slice().copy_from_slice(&content);
        name_at_end(&mut input, &mut block, named);
        let handle = block.into_handle();
        let [low, high] = if input.byte() < 64 { [input.word(), input.word()] } else { handle.words() };
        let length = if input.byte() < 128 { content.len() as u64 } else { input.word() };
        let mut words = [0; 15];
        (words[0], words[1], words[2]) = (low, high, length);
        let message = Message { length: input.byte(), marks: input.byte() % 4 };
        receive(&end, message, &words, input.byte());
        // Whatever the message named, the block may be free by now.
        let _ = blocks.free(BlockHandle::from_words(handle.words()), me);
        decode_alone(&content);
    }
}

/// The last words of a block name what it carries, and say how many.
fn name_at_end(input: &mut Input<'_>, block: &mut OwnedBlock, named: [u64; 2]) {
    let bytes = block.as_mut_slice();
    let Some(end) = bytes.len().checked_sub(24).map(|at| at / 8 * 8) else { return };
    if input.byte() < 128 {
        bytes[end..end + 8].copy_from_slice(&named[0].to_ne_bytes());
        bytes[end + 8..end + 16].copy_from_slice(&named[1].to_ne_bytes());
        bytes[end + 16..end + 24].copy_from_slice(&u64::from(input.byte() % 3).to_ne_bytes());
    }
}

fn receive(end: &End, message: Message, words: &[u64; 15], kind: u8) {
    let ring = end.ring();
    let Ok(claim) = ring.claim(end.me()) else { return };
    ring.publish(claim, end.me(), message, words);
    let Ok(taken) = ring.take(end.me()) else { return };
    let received = Received::take(taken, end);
    match kind % 4 {
        0 => {
            look(received.decode::<Carrying>(end).map(|(_, one, more)| one.into_iter().chain(more).collect()))
        }
        1 => look(received.decode::<Bulk>(end).map(|one| vec![one])),
        2 => drop(received.decode::<(String, BTreeMap<u8, Vec<u16>>)>(end)),
        _ => drop(received.decode::<Vec<u64>>(end)),
    }
}

fn look<E>(bulks: Result<Vec<Bulk>, E>) {
    for bulk in bulks.unwrap_or_default() {
        std::hint::black_box(bulk.as_slice().iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        assert!(bulk.part(1, bulk.as_slice().len()).is_none());
    }
}

fn decode_alone(content: &[u8]) {
    fn each<T: Portable>(content: &[u8]) {
        drop(codec::decode::<T>(content));
        let mut rest = content;
        while codec::decode_next::<T>(&mut rest).is_ok() && !rest.is_empty() {}
    }
    each::<u64>(content);
    each::<String>(content);
    each::<Vec<(u8, Option<String>)>>(content);
    each::<Bulk>(content);
}
