//! Models of the breaker's words: no probe too many, none lost, and every change is made once.
#![cfg(loom)]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::breaker::{BreakerWords, Call, End, Mode, Terms, Verdict};
use loom::thread;
use std::sync::Arc;

const TERMS: Terms = Terms {
    failures: 1,
    within_ms: 100,
    failure_rate: 0,
    slow_rate: 0,
    slow_ms: 0,
    window_calls: 2,
    calls_min: 1,
    recovery_ms: 10,
    probes: 1,
};

fn ask(words: &BreakerWords, now_ms: u64) -> Option<Call> {
    match words.ask(OwnerId::HOST, now_ms) {
        Verdict::Allowed(call) => Some(call),
        Verdict::Refused(_) => None,
    }
}

fn open_one() -> Arc<BreakerWords> {
    let words = Arc::new(BreakerWords::default());
    words.configure(&TERMS);
    let call = ask(&words, 0).expect("it is closed");
    words.end(&call, End::Failed, 0);
    assert_eq!(words.mode(), Mode::Open);
    words
}

// Fails if a permit is taken with a load and a store.
#[test]
fn two_who_ask_for_one_probe_get_one() {
    model::check(|| {
        let words = open_one();
        let other = Arc::clone(&words);
        let asked = thread::spawn(move || ask(&other, 20));
        let (mine, theirs) = (ask(&words, 20), asked.join().unwrap());
        // Both may be refused in passing only by each other's places, and then the next gets the permit.
        assert!(mine.is_none() || theirs.is_none());
        let probe = mine.or(theirs).or_else(|| ask(&words, 20)).expect("one probe");
        words.end(&probe, End::Succeeded, 21);
        assert_eq!(words.mode(), Mode::Closed);
    });
}

#[test]
fn a_probe_that_is_abandoned_makes_room_for_another() {
    model::check(|| {
        let words = open_one();
        let probe = ask(&words, 20).expect("a probe");
        let other = Arc::clone(&words);
        let asked = thread::spawn(move || ask(&other, 21));
        words.end(&probe, End::Abandoned, 21);
        let second = asked.join().unwrap().or_else(|| ask(&words, 22)).expect("another probe");
        words.end(&second, End::Succeeded, 22);
        assert_eq!(words.mode(), Mode::Closed);
    });
}

// Fails without the SeqCst fence in `note_outcome`.
#[test]
fn failures_of_two_at_once_are_both_counted() {
    model::check(|| {
        let words = Arc::new(BreakerWords::default());
        words.configure(&Terms { failures: 2, ..TERMS });
        let other = Arc::clone(&words);
        let failed = thread::spawn(move || {
            let call = ask(&other, 0).expect("it is closed");
            other.end(&call, End::Failed, 1);
        });
        let call = ask(&words, 0);
        if let Some(call) = call {
            words.end(&call, End::Failed, 1);
        }
        failed.join().unwrap();
        assert_eq!(words.mode(), Mode::Open);
    });
}

#[test]
fn the_end_of_a_probe_and_the_burial_of_its_process_leave_no_permit_behind() {
    model::check(|| {
        let words = open_one();
        let probe = ask(&words, 20).expect("a probe");
        let other = Arc::clone(&words);
        let buried = thread::spawn(move || other.recover(OwnerId::HOST, 21));
        words.end(&probe, End::Succeeded, 21);
        buried.join().unwrap();
        // Closed by its success, or open for another time.
        let next = ask(&words, 40).expect("it goes on");
        words.end(&next, End::Succeeded, 41);
        assert_eq!(words.mode(), Mode::Closed);
    });
}
