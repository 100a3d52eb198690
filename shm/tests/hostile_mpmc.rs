//! Another process writes nonsense over a channel: errors or emptiness, never a panic, never an access outside, never an
//! operation that does not end.
#![cfg(not(loom))]

use gorun_shm::blocks::Holder;
use gorun_shm::ring::mpmc::{Fate, Geometry, Header, Message, Ring, Role};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::Watchdog;
use gorun_shm::{OwnerId, Segment};
use proptest::prelude::*;

const CAPACITY: u32 = 3;
const SLOT_WORDS: usize = 4 * 3;
const HEADER_WORDS: usize = Geometry::HEADER_BYTES / 8;

/// Words that look like something more often than uniformly chosen ones do.
fn nonsense() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        2 => 0..16_u64,
        1 => (0..16_u64).prop_map(|back| u64::MAX - back),
        // A slot's word: a lap, a holder, whatever length and marks, a state.
        4 => (prop_oneof![0..4_u64, any::<u64>()], 0..3_u64, any::<u8>(), 0..8_u64)
            .prop_map(|(lap, holder, middle, state)| lap << 24 | holder << 16 | u64::from(middle) << 8 | state),
    ]
}

proptest! {
    #[test]
    fn a_scribbled_channel_answers(
        batches in prop::collection::vec(
            prop::collection::vec((0..HEADER_WORDS + SLOT_WORDS, nonsense()), 0..16), 1..8)
    ) {
        let _watchdog = Watchdog::start("a_scribbled_channel_answers");
        let segment = Segment::private(8192).unwrap();
        let words = segment.view_slice::<AtomicU64>(0, HEADER_WORDS + SLOT_WORDS).unwrap();
        let header = segment.view::<Header>(0).unwrap();
        let geometry = Geometry::new(CAPACITY, 2).unwrap();
        let ring = Ring::new(&header, &words[HEADER_WORDS..], geometry);
        let me = OwnerId::worker(0).and_then(Holder::of).unwrap();
        for batch in &batches {
            for (index, value) in batch {
                words[*index].store(*value, Ordering::Relaxed); // Relaxed: one thread.
            }
            let _ = header.read(8192);
            for value in 0..8 {
                if let Ok(claim) = ring.claim(me) {
                    let message = Message { length: 8, marks: 3 };
                    let position = ring.publish(claim, me, message, &[value, value, value]);
                    ring.notify_message();
                    let _ = (ring.was_taken(position), ring.withdraw(position, me, message));
                }
            }
            for _ in 0..8 {
                if let Ok(taken) = ring.take(me) {
                    let mut payload = [0; 4];
                    let _ = (ring.read(&taken, &mut payload), taken.word().length());
                    ring.release(taken, me);
                    ring.notify_room();
                }
            }
            let _ = (ring.len(), ring.has_message(), ring.has_room());
            let _ = (ring.join(Role::Sender, me), ring.standing());
            ring.pass_on_message();
            ring.pass_on_room();
            ring.recover(me, Holder::HOST, |stuck| assert_eq!(stuck.payload(usize::MAX), 0), |_| Fate::Return);
            ring.bury(me);
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused(words in prop::collection::vec(nonsense(), 8), bytes in 0..8192_usize) {
        let segment = Segment::private(8192).unwrap();
        let header = segment.view::<Header>(0).unwrap();
        header.format(Geometry::new(1, 1).unwrap(), Default::default());
        let raw = segment.view_slice::<AtomicU64>(0, 8).unwrap();
        for (place, word) in raw.iter().zip(words).skip(1) {
            place.store(word, Ordering::Relaxed); // Relaxed: one thread.
        }
        if let Ok((geometry, _)) = header.read(bytes) {
            prop_assert!(geometry.bytes() <= bytes);
        }
    }
}
