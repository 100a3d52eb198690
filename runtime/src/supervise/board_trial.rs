//! Trials of the shared words of a breaker: long random lives against the pure machine, and words that anybody scribbled.

use crate::supervise::breaker::{BreakerSettings, BreakerState, Event, Machine, Verdict};
use gorun_shm::OwnerId;
use gorun_shm::breaker::{self, BreakerWords, End, Mode};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::time::Duration;

const MS: u64 = 1_000_000;

fn rng() -> TestRng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5_u64);
    println!("SEED={seed}");
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn state(words: &BreakerWords) -> BreakerState {
    match words.mode() {
        Mode::Closed => BreakerState::Closed,
        Mode::Open => BreakerState::Open,
        Mode::HalfOpen => BreakerState::HalfOpen,
        Mode::ForcedOpen => BreakerState::ForcedOpen,
        Mode::ForcedClosed => BreakerState::ForcedClosed,
    }
}

/// Both, side by side.
struct Pair {
    machine: Option<Machine>,
    words: Box<BreakerWords>,
    calls: Vec<(u64, breaker::Call)>,
}

impl Pair {
    fn new(settings: BreakerSettings) -> Self {
        let words = Box::<BreakerWords>::default();
        words.configure(&settings.terms());
        Self { machine: Some(Machine::new(settings)), words, calls: Vec::new() }
    }

    fn step(&mut self, event: Event, now_ms: u64) -> Verdict {
        let (next, verdict) = self.machine.take().unwrap().step(event, now_ms * MS);
        self.machine = Some(next);
        verdict
    }

    fn ask(&mut self, now_ms: u64) {
        match (self.step(Event::Ask, now_ms), self.words.ask(OwnerId::HOST, now_ms)) {
            (Verdict::Allowed(number), breaker::Verdict::Allowed(call)) => self.calls.push((number, call)),
            (Verdict::Refused { retry_after: Duration::MAX }, breaker::Verdict::Refused(u64::MAX)) => {}
            (Verdict::Refused { retry_after }, breaker::Verdict::Refused(ms)) => {
                assert_eq!(retry_after, Duration::from_millis(ms));
            }
            (expected, found) => panic!("{found:?} and not {expected:?}"),
        }
    }

    fn end(&mut self, index: usize, end: End, now_ms: u64) {
        let (number, call) = self.calls.swap_remove(index);
        let event = match end {
            End::Succeeded => Event::Succeeded(number),
            End::Failed => Event::Failed(number),
            End::Abandoned => Event::Abandoned(number),
        };
        self.step(event, now_ms);
        self.words.end(&call, end, now_ms);
    }
}

#[test]
fn long_lives_agree_with_the_machine() {
    let mut rng = rng();
    let mut draw = |below: u64| rng.next_u64() % below;
    let mut seen = [0_u32; 5];
    for round in 0..100 {
        let share = |thousandths: u64| thousandths as f64 / 1000.0;
        let small = |number: u64| u32::try_from(number).unwrap();
        let settings = BreakerSettings::default()
            .failures(small(draw(6)), Duration::from_millis(draw(300)))
            .failure_rate(share(draw(2) * (300 + draw(600))))
            .slow_calls(Duration::from_millis(20 + draw(60)), share(draw(2) * (300 + draw(600))))
            .window(small(1 + draw(30)), small(1 + draw(10)))
            .recovery(Duration::from_millis(10 + draw(100)))
            .probes(small(1 + draw(4)));
        let mut pair = Pair::new(settings);
        let mut now_ms = 1000 + draw(1 << 36);
        for step in 0..1000 {
            now_ms += draw(12);
            let place = usize::try_from(draw(64)).unwrap();
            let index = (place < pair.calls.len()).then_some(place);
            match (draw(100), index) {
                // No more at once than there are places.
                (0..=59, _) if pair.calls.len() < 12 => pair.ask(now_ms),
                (0..=69, Some(index)) => {
                    let number = pair.calls[index].0;
                    pair.step(Event::Returned(number), now_ms);
                    let (words, call) = (&pair.words, &mut pair.calls[index].1);
                    words.note_return(call, now_ms);
                }
                (70..=84, Some(index)) => pair.end(index, End::Succeeded, now_ms),
                (85..=94, Some(index)) => pair.end(index, End::Failed, now_ms),
                (95..=97, Some(index)) => pair.end(index, End::Abandoned, now_ms),
                (98, _) => {
                    let forced = [
                        (Event::ForceOpen, Mode::ForcedOpen),
                        (Event::ForceClose, Mode::ForcedClosed),
                        (Event::Reset, Mode::Closed),
                    ];
                    let (event, mode) = forced[usize::try_from(draw(6).min(2)).unwrap()];
                    pair.step(event, now_ms);
                    pair.words.force(mode);
                }
                _ => {
                    let last = pair.calls.len().checked_sub(1);
                    last.into_iter().for_each(|last| pair.end(last, End::Succeeded, now_ms));
                }
            }
            let expected = pair.machine.as_ref().unwrap().state();
            // Time alone is noted by the machine at every event, by the words when they are asked.
            assert_eq!(state(&pair.words), expected, "round {round} step {step}");
            seen[expected as usize] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
}

#[test]
fn the_dead_leave_no_call_and_their_probe_opens_it_again() {
    let settings = BreakerSettings::default().failures(1, Duration::from_secs(9));
    let words = Box::<BreakerWords>::default();
    words.configure(&settings.recovery(Duration::from_millis(50)).terms());
    let worker = OwnerId::worker(3).unwrap();
    let ask = |owner, now_ms| match words.ask(owner, now_ms) {
        breaker::Verdict::Allowed(call) => call,
        breaker::Verdict::Refused(ms) => panic!("refused for {ms} ms"),
    };
    for _ in 0..1000 {
        ask(worker, 0);
    }
    words.recover(worker, 0);
    words.end(&ask(OwnerId::HOST, 1), End::Failed, 1);
    let _probe = ask(worker, 60);
    assert_eq!(words.ask(OwnerId::HOST, 60), breaker::Verdict::Refused(50));
    words.recover(OwnerId::worker(4).unwrap(), 60);
    assert_eq!(words.mode(), Mode::HalfOpen);
    words.recover(worker, 70);
    assert_eq!(words.ask(OwnerId::HOST, 70), breaker::Verdict::Refused(50));
    let probe = ask(OwnerId::HOST, 120);
    words.end(&probe, End::Succeeded, 121);
    assert_eq!(words.mode(), Mode::Closed);
    // Without a burial the time does it.
    words.end(&ask(OwnerId::HOST, 130), End::Failed, 130);
    let _lost = ask(worker, 200);
    assert_eq!(words.ask(OwnerId::HOST, 249), breaker::Verdict::Refused(1));
    assert_eq!(words.ask(OwnerId::HOST, 250), breaker::Verdict::Refused(50));
}

#[test]
fn names_are_found_whole_and_only_so() {
    let words = Box::<BreakerWords>::default();
    assert!(!words.is_used() && !words.is_named(0, b"x"));
    words.name(7, b"a name of more than eight bytes");
    assert!(words.is_used() && words.is_named(7, b"a name of more than eight bytes"));
    assert!(
        !words.is_named(7, b"a name of more than eight byte")
            && !words.is_named(8, b"a name of more than eight bytes")
    );
    assert!(!words.is_named(7, &[b'a'; 100]));
}

#[test]
fn scribbled_words_make_nobody_panic_or_wait() {
    let mut rng = rng();
    for round in 0..200 {
        let words = Box::<BreakerWords>::default();
        words.scribble(|| match rng.next_u64() % 4 {
            0 => 0,
            1 => u64::MAX,
            _ => rng.next_u64(),
        });
        let mut calls = Vec::new();
        for step in 0..100_u64 {
            let now_ms = rng.next_u64() >> (rng.next_u64() % 60);
            match rng.next_u64() % 6 {
                0..=2 => {
                    if let breaker::Verdict::Allowed(call) = words.ask(OwnerId::HOST, now_ms) {
                        calls.push(call);
                    }
                }
                3 => calls.iter_mut().for_each(|call| words.note_return(call, now_ms)),
                4 => calls.drain(..).for_each(|call| words.end(&call, End::Failed, now_ms)),
                _ => words.recover(OwnerId::HOST, now_ms),
            }
            // Whatever it was, the host gets it back.
            if step == 99 {
                words.configure(&BreakerSettings::default().terms());
                let verdict = words.ask(OwnerId::HOST, now_ms);
                assert!(matches!(verdict, breaker::Verdict::Allowed(_)), "round {round}");
            }
        }
    }
}
