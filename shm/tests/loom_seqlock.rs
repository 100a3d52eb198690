//! Models of the sequence lock: no torn copy, none older than one already seen.
#![cfg(loom)]

mod model;

use gorun_shm::seqlock::SeqLock;
use loom::thread;
use std::sync::Arc;

// Fails without the Release fence in `write`, without the Acquire fence in `try_read`, with a Relaxed store at
// the end of `write`, and with a Relaxed first look in `try_read`.
#[test]
fn a_copy_is_never_torn_and_never_goes_back() {
    model::check(|| {
        let lock = Arc::new(SeqLock::<2>::default());
        let writer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                lock.write(&[1, 1]);
                lock.write(&[2, 2]);
            })
        };
        let mut newest = 0;
        for _ in 0..2 {
            if let Some([first, second]) = lock.try_read() {
                assert_eq!(first, second);
                assert!(first >= newest);
                newest = first;
            }
        }
        writer.join().unwrap();
        assert_eq!(lock.try_read(), Some([2, 2]));
    });
}

#[test]
fn two_readers_do_not_disturb_each_other() {
    model::check(|| {
        let lock = Arc::new(SeqLock::<2>::default());
        let reader = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.try_read())
        };
        let writer = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.write(&[1, 1]))
        };
        for copy in [lock.try_read(), reader.join().unwrap()] {
            assert!(matches!(copy, None | Some([0, 0] | [1, 1])));
        }
        writer.join().unwrap();
    });
}
