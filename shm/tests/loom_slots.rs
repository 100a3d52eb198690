//! Models of one slot: publication, the race for a claim, the race of a flag with the end, taking over.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gorun-shm --release --test 'loom_*'`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

mod model;

use gorun_shm::OwnerId;
use gorun_shm::slots::{Claim, Completion, Descriptor, Slot, State, Word};
use loom::thread;
use std::sync::Arc;

const LAP: u32 = 1;
const DESCRIPTOR: Descriptor =
    Descriptor { shim: 11, function: 12, input_bytes: 13, marks: 0, attempt: 1, payload: [21, 22, 23, 24] };

fn worker(index: u16) -> OwnerId {
    OwnerId::worker(index).unwrap()
}

fn completion(ticks: u64) -> Completion {
    Completion { status: 1, marks: 0, attempt: 1, result_bytes: 8, ticks, payload: [ticks; 4] }
}

fn published() -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    slot.publish(LAP, &DESCRIPTOR);
    slot
}

// Fails with a Relaxed store of the word in `publish`, and with both the load and the exchange of `claim`
// Relaxed (either alone is enough).
#[test]
fn a_claimed_descriptor_is_whole() {
    model::check(|| {
        let slot = Arc::new(Slot::default());
        let producer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.publish(LAP, &DESCRIPTOR))
        };
        match slot.claim(LAP, worker(0)) {
            Claim::Claimed(descriptor) => assert_eq!(descriptor, DESCRIPTOR),
            other => assert!(matches!(other, Claim::Empty), "nobody else claims"),
        }
        producer.join().unwrap();
    });
}

// Fails if `claim` stores the word instead of exchanging it.
#[test]
fn a_cancel_and_a_claim_have_one_winner() {
    model::check(|| {
        let slot = published();
        let claimer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)))
        };
        let cancelled = matches!(slot.claim(LAP, OwnerId::HOST), Claim::Claimed(_));
        let claimed = claimer.join().unwrap();
        assert!(cancelled != claimed, "cancelled {cancelled}, claimed {claimed}");
        let owner = if cancelled { OwnerId::HOST } else { worker(0) };
        assert_eq!((slot.word().state(), slot.word().owner()), (State::Running, owner));
    });
}

// Fails if `finish` stores the word instead of swapping it (the flag is overwritten unseen), and with a Relaxed
// swap (the completion is torn).
#[test]
fn a_flag_is_returned_by_finish_or_refused() {
    model::check(|| {
        let slot = published();
        assert!(matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)));
        let runner = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.finish(LAP, worker(0), &completion(7)).unwrap())
        };
        let refused = slot.set_flag(LAP, Word::SLEEPER).is_err();
        if refused {
            assert_eq!(slot.completion(), completion(7), "a refusal means that the outcome can be read");
        }
        let flags = runner.join().unwrap();
        assert!(refused == (flags & Word::SLEEPER == 0), "refused {refused}, flags {flags}");
    });
}

// Fails if `claim` or `finish` stores the word instead of exchanging it.
#[test]
fn a_flag_set_while_the_task_is_claimed_is_kept() {
    model::check(|| {
        let slot = published();
        let runner = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                assert!(matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)));
                slot.finish(LAP, worker(0), &completion(7)).unwrap()
            })
        };
        let refused = slot.set_flag(LAP, Word::NOTICE).is_err();
        let flags = runner.join().unwrap();
        assert!(refused == (flags & Word::NOTICE == 0), "refused {refused}, flags {flags}");
    });
}

// Fails if `seize` or `finish` stores the word: the flag is lost.
#[test]
fn seizing_keeps_out_claims_and_keeps_flags() {
    model::check(|| {
        let slot = published();
        assert!(matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)));
        let (other, sleeper) = (Arc::clone(&slot), Arc::clone(&slot));
        let other = thread::spawn(move || matches!(other.claim(LAP, worker(1)), Claim::Claimed(_)));
        let sleeper = thread::spawn(move || sleeper.set_flag(LAP, Word::SLEEPER).is_err());
        assert!(slot.seize(LAP, worker(0), OwnerId::HOST), "the dead one held it");
        let flags = slot.finish(LAP, OwnerId::HOST, &completion(9)).unwrap();
        assert!(!other.join().unwrap(), "a running task was claimed");
        let refused = sleeper.join().unwrap();
        assert!(refused == (flags & Word::SLEEPER == 0), "refused {refused}, flags {flags}");
    });
}

// Fails if `seize` stores the word, or does not compare the owner.
#[test]
fn of_two_recoverers_one_seizes() {
    model::check(|| {
        let slot = published();
        assert!(matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)));
        let other = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.seize(LAP, worker(0), worker(1)))
        };
        let seized = slot.seize(LAP, worker(0), OwnerId::HOST);
        assert!(seized != other.join().unwrap());
    });
}

// Fails if the word carries no lap: the exchange prepared for the first task would take the second.
#[test]
fn a_late_claim_does_not_take_the_next_lap() {
    model::check(|| {
        let slot = published();
        let late = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || matches!(slot.claim(LAP, worker(1)), Claim::Claimed(_)))
        };
        let claimed = matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_));
        if claimed {
            slot.finish(LAP, worker(0), &completion(7)).unwrap();
            slot.publish(LAP + 1, &DESCRIPTOR);
        }
        let late_claimed = late.join().unwrap();
        assert!(claimed != late_claimed);
        let expected = if claimed { State::Ready } else { State::Running };
        assert_eq!(slot.word().state(), expected, "the next task is still there for others");
    });
}

// Fails if `finish` exchanges whatever it finds: both the value and the deadline would stand.
#[test]
fn a_deadline_or_the_completion_wins_and_never_both() {
    model::check(|| {
        let slot = published();
        assert!(matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_)));
        let runner = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.finish(LAP, worker(0), &completion(7)).is_ok())
        };
        let condemned = slot.seize(LAP, worker(0), OwnerId::HOST);
        let finished = runner.join().unwrap();
        assert!(condemned != finished, "condemned {condemned}, finished {finished}");
        if condemned {
            // The runner is dead: now, and not before, its task may be ended.
            slot.finish(LAP, OwnerId::HOST, &completion(9)).unwrap();
        }
        assert_eq!(slot.completion(), completion(if condemned { 9 } else { 7 }));
    });
}

// Cancel, deadline and completion at once: the task ends in exactly one of the three ways.
#[test]
fn cancel_deadline_and_completion_leave_one_outcome() {
    model::check(|| {
        let slot = published();
        let runner = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                let claimed = matches!(slot.claim(LAP, worker(0)), Claim::Claimed(_));
                claimed && slot.finish(LAP, worker(0), &completion(7)).is_ok()
            })
        };
        let cancelled = matches!(slot.claim(LAP, OwnerId::HOST), Claim::Claimed(_));
        if cancelled {
            slot.finish(LAP, OwnerId::HOST, &completion(8)).unwrap();
        }
        let condemned = !cancelled && slot.seize(LAP, worker(0), OwnerId::HOST);
        let finished = runner.join().unwrap();
        assert_eq!([cancelled, condemned, finished].iter().filter(|ended| **ended).count(), 1);
    });
}
