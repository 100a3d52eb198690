//! Models of a context's words: who ends it, what its readers see, and that sleepers are woken.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::blocks::Holder;
use gorun_shm::context::{ContextWords, Ending};
use loom::thread;
use std::sync::Arc;

fn worker(index: u16) -> Holder {
    OwnerId::worker(index).and_then(Holder::of).unwrap()
}

fn open() -> Arc<ContextWords> {
    let words = ContextWords::default();
    words.format([1, 2]);
    Arc::new(words)
}

/// Sleeps until it is over.
fn wait(words: &ContextWords) -> Ending {
    loop {
        if let Some(ending) = words.ending() {
            return ending;
        }
        let armed = words.gate().arm();
        if let Some(ending) = words.ending() {
            return ending;
        }
        words.gate().wait(armed, None);
    }
}

// Fails with a Relaxed exchange at the end of `cancel`.
#[test]
fn one_of_two_cancellers_wins_and_its_cause_is_whole() {
    model::check(|| {
        let words = open();
        let other = Arc::clone(&words);
        let theirs = thread::spawn(move || other.cancel(worker(0), b"theirs"));
        let ours = words.cancel(worker(1), b"ours");
        let seen = words.cause();
        let theirs = theirs.join().unwrap();
        assert!(ours != theirs, "ours {ours} theirs {theirs}");
        let expected: &[u8] = if ours { b"ours" } else { b"theirs" };
        assert!(seen.is_none_or(|cause| cause == expected));
        assert_eq!(words.cause().as_deref(), Some(expected));
    });
}

// Fails if `cancel` wakes before it ends, and if `wait` does not look behind `arm`.
#[test]
fn a_sleeper_is_woken_and_sees_the_cause() {
    model::check(|| {
        let words = open();
        let canceller = {
            let words = Arc::clone(&words);
            thread::spawn(move || assert!(words.cancel(worker(0), b"x")))
        };
        assert_eq!(wait(&words), Ending::Cancelled);
        assert_eq!(words.cause().as_deref(), Some(&b"x"[..]));
        canceller.join().unwrap();
    });
}

#[test]
fn what_a_dead_canceller_claimed_is_ended_by_the_host() {
    model::check(|| {
        let words = open();
        let sleeper = {
            let words = Arc::clone(&words);
            thread::spawn(move || wait(&words))
        };
        let late = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.cancel(worker(1), b"late"))
        };
        let claimed = words.leave_claimed(worker(0));
        let recovered = words.recover(worker(0), false);
        let late = late.join().unwrap();
        assert_eq!(claimed, recovered);
        assert!(claimed != late);
        assert_eq!(sleeper.join().unwrap(), Ending::Cancelled);
        assert_eq!(words.cause().is_some(), late);
    });
}

#[test]
fn the_end_of_the_runtime_overrules_a_claim() {
    model::check(|| {
        let words = open();
        let canceller = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.cancel(worker(0), b"x"))
        };
        let sleeper = {
            let words = Arc::clone(&words);
            thread::spawn(move || wait(&words))
        };
        words.shut();
        let cancelled = canceller.join().unwrap();
        let seen = sleeper.join().unwrap();
        assert_eq!(seen, if cancelled { Ending::Cancelled } else { Ending::RuntimeEnded });
        assert_eq!(words.ending(), Some(seen));
    });
}

#[test]
fn of_an_abandoner_and_the_host_one_ends_it() {
    model::check(|| {
        let words = open();
        let abandoner = {
            let words = Arc::clone(&words);
            thread::spawn(move || words.end(worker(1), Ending::Abandoned))
        };
        let recovered = words.recover(worker(0), true);
        let abandoned = abandoner.join().unwrap();
        assert!(recovered != abandoned);
        let expected = if recovered { Ending::OwnerDied } else { Ending::Abandoned };
        assert_eq!(words.ending(), Some(expected));
    });
}
