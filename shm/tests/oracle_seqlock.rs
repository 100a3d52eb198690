//! The sequence lock against a plain array, over every backing.
#![cfg(not(loom))]

use gorun_shm::Segment;
use gorun_shm::seqlock::{READ_TRIES_MAX, SeqLock, Torn};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::testing::{Backing, Watchdog};
use proptest::prelude::*;

proptest! {
    #[test]
    fn reads_what_was_written_last(writes in prop::collection::vec(any::<[u64; 5]>(), 0..50)) {
        for backing in Backing::ALL {
            let sides = backing.sides::<SeqLock<5>, AtomicU64>(0);
            let (writer, reader) = (sides.near().0, sides.far().0);
            prop_assert_eq!(reader.read(), Ok([0; 5]));
            for words in &writes {
                writer.write(words);
                prop_assert_eq!(reader.read(), Ok(*words));
            }
        }
    }
}

#[test]
fn copies_beside_a_running_writer_are_whole() {
    let _watchdog = Watchdog::start("copies_beside_a_running_writer_are_whole");
    let sides = Backing::MappedTwice.sides::<SeqLock<8>, AtomicU64>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..=200_000).for_each(|number| sides.near().0.write(&[number; 8])));
        let mut newest = 0;
        while newest < 200_000 {
            if let Some(words) = sides.far().0.try_read() {
                assert_eq!(words, [words[0]; 8]);
                assert!(words[0] >= newest);
                newest = words[0];
            }
        }
    });
}

#[test]
fn a_torn_write_is_reported_and_repaired() {
    let segment = Segment::private(4096).unwrap();
    let lock = segment.view::<SeqLock<2>>(0).unwrap();
    let sequence = segment.view::<AtomicU64>(0).unwrap();
    sequence.store(7, Ordering::Relaxed); // Relaxed: one thread. What a writer leaves that dies in the middle.
    assert_eq!(lock.read(), Err(Torn { tries: READ_TRIES_MAX, sequence: 7 }));
    lock.write(&[1, 2]);
    assert_eq!(lock.read(), Ok([1, 2]));
}
