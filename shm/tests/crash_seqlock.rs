//! The writer of a sequence lock is killed in the middle: readers say so, and the next writer repairs.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::seqlock::{READ_TRIES_MAX, SeqLock, Torn};
use gorun_shm::testing::CrashTest;
use gorun_shm::{Segment, View};
use std::sync::Arc;

fn lock(segment: &Arc<Segment>) -> View<SeqLock<4>> {
    segment.view(0).unwrap()
}

/// Two writes before the one that the victim dies in: the sequence stands at 5.
fn assert_torn_then_repaired(test: &'static str, point: &'static str) {
    CrashTest { test, point, nth: 3, bytes: 4096 }.run(
        |_| (),
        |segment| (1..9).for_each(|number| lock(segment).write(&[number; 4])),
        |segment| {
            let lock = lock(segment);
            assert_eq!(lock.read(), Err(Torn { tries: READ_TRIES_MAX, sequence: 5 }));
            lock.write(&[7; 4]);
            assert_eq!(lock.read(), Ok([7; 4]));
        },
    );
}

#[test]
fn writer_killed_before_the_words_is_noticed() {
    assert_torn_then_repaired("writer_killed_before_the_words_is_noticed", "seqlock.write.odd");
}

#[test]
fn writer_killed_after_the_words_is_noticed() {
    assert_torn_then_repaired("writer_killed_after_the_words_is_noticed", "seqlock.write.written");
}
