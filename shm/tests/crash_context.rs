//! A canceller is killed at each crash point of a context's words; sleepers go on once the host has buried it.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::blocks::Holder;
use gorun_shm::context::{ContextWords, Ending};
use gorun_shm::testing::CrashTest;
use gorun_shm::{OwnerId, Segment, View};
use std::sync::Arc;
use std::thread;

fn words(segment: &Arc<Segment>) -> View<ContextWords> {
    segment.view(0).unwrap()
}

fn victim() -> Holder {
    OwnerId::worker(0).and_then(Holder::of).unwrap()
}

fn survivor() -> Holder {
    OwnerId::worker(1).and_then(Holder::of).unwrap()
}

/// Sleeps until it is over.
fn wait(words: &ContextWords) -> Ending {
    loop {
        let armed = words.gate().arm();
        if let Some(ending) = words.ending() {
            return ending;
        }
        words.gate().wait(armed, None);
    }
}

/// The victim dies there; a sleeper that slept before goes on after the burial, which ends the context if that is left to do.
fn run(
    test: &'static str,
    point: &'static str,
    cancel: fn(&Arc<Segment>),
    (before, recovers): (Option<Ending>, bool),
    (after, cause): (Ending, Option<&[u8]>),
) {
    let crash = CrashTest { test, point, nth: 1, bytes: 4096 };
    crash.run(
        |segment| words(segment).format([1, 2]),
        cancel,
        |segment| {
            let words = words(segment);
            assert_eq!(words.ending(), before);
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| wait(&words));
                assert!(!words.recover(survivor(), false), "nobody else's death ends it");
                assert_eq!(words.recover(victim(), false), recovers);
                assert!(!words.recover(victim(), false), "once is enough");
                if before.is_none() && !recovers {
                    assert!(words.end(survivor(), after));
                }
                assert_eq!(sleeper.join().unwrap(), after);
            });
            assert_eq!(words.cause().as_deref(), cause);
            assert!(!words.cancel(survivor(), b"too late"));
        },
    );
}

fn cancel_with_cause(segment: &Arc<Segment>) {
    words(segment).cancel(victim(), b"the cause");
}

fn cancel_without_cause(segment: &Arc<Segment>) {
    words(segment).cancel(victim(), b"");
}

#[test]
fn canceller_killed_behind_its_claim_has_cancelled() {
    let test = "canceller_killed_behind_its_claim_has_cancelled";
    run(test, "context.cancel.claimed", cancel_with_cause, (None, true), (Ending::Cancelled, None));
}

#[test]
fn canceller_killed_before_the_end_has_cancelled_without_a_cause() {
    let test = "canceller_killed_before_the_end_has_cancelled_without_a_cause";
    run(test, "context.cancel.written", cancel_with_cause, (None, true), (Ending::Cancelled, None));
}

#[test]
fn canceller_killed_before_the_wake_has_cancelled_with_its_cause() {
    let test = "canceller_killed_before_the_wake_has_cancelled_with_its_cause";
    let after = (Ending::Cancelled, Some(&b"the cause"[..]));
    run(test, "context.cancel.over", cancel_with_cause, (Some(Ending::Cancelled), false), after);
}

#[test]
fn canceller_without_a_cause_killed_before_the_wake_has_cancelled() {
    let test = "canceller_without_a_cause_killed_before_the_wake_has_cancelled";
    let before = (Some(Ending::Cancelled), false);
    run(test, "context.end.over", cancel_without_cause, before, (Ending::Cancelled, None));
}

#[test]
fn scribbled_words_are_over_and_never_panic() {
    let segment = Segment::create("gorun-context-test", 4096).unwrap();
    let raw = segment.view_slice::<gorun_shm::sync::AtomicU64>(0, 32).unwrap();
    let words = words(&segment);
    for seed in 1..10_000_u64 {
        for (index, word) in (1..).zip(raw.iter()) {
            let noise = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(index) ^ seed;
            word.store(noise, gorun_shm::sync::Ordering::Relaxed); // Relaxed: one thread.
        }
        let _ = (words.lever(), words.ending(), words.cause(), words.cancel(survivor(), b"why"));
        words.recover(victim(), true);
        words.shut();
        assert!(words.ending().is_some());
    }
}
