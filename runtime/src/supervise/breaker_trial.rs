//! Trials of the breaker: each rule by itself, and long random lives against an oracle that keeps everything and
//! counts anew at every step.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

const MS: u64 = 1_000_000;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Drives a machine and keeps it.
struct Trial(Option<Machine>);

impl Trial {
    fn new(settings: BreakerSettings) -> Self {
        Self(Some(Machine::new(settings)))
    }

    fn step(&mut self, event: Event, now_ms: u64) -> Verdict {
        let (next, verdict) = self.0.take().unwrap().step(event, now_ms * MS);
        self.0 = Some(next);
        verdict
    }

    fn call(&mut self, now_ms: u64) -> u64 {
        match self.step(Event::Ask, now_ms) {
            Verdict::Allowed(call) => call,
            other => panic!("{other:?} at {now_ms} ms"),
        }
    }

    fn fail(&mut self, now_ms: u64) {
        let call = self.call(now_ms);
        self.step(Event::Failed(call), now_ms);
    }

    fn succeed(&mut self, now_ms: u64) {
        let call = self.call(now_ms);
        self.step(Event::Succeeded(call), now_ms);
    }

    fn state(&self) -> BreakerState {
        self.0.as_ref().unwrap().state()
    }
}

/// Nothing opens it.
fn calm() -> BreakerSettings {
    BreakerSettings::default().failures(0, ms(0)).failure_rate(0.0).recovery(ms(50))
}

#[test]
fn it_opens_at_so_many_failures_in_that_time() {
    let mut trial = Trial::new(calm().failures(3, ms(100)));
    [0, 60, 110].into_iter().for_each(|at| trial.fail(at));
    assert_eq!(trial.state(), BreakerState::Closed, "never three within 100 ms");
    trial.fail(160);
    assert_eq!(trial.state(), BreakerState::Open);
    assert_eq!(trial.step(Event::Ask, 190), Verdict::Refused { retry_after: ms(20) });
}

#[test]
fn it_opens_at_a_share_of_failures_once_there_are_enough_calls() {
    let mut trial = Trial::new(calm().failure_rate(0.5).window(4, 4));
    trial.fail(0);
    trial.fail(0);
    trial.succeed(0);
    assert_eq!(trial.state(), BreakerState::Closed, "three calls");
    // Two of four, and the window moves on.
    trial.succeed(0);
    assert_eq!(trial.state(), BreakerState::Open);
}

#[test]
fn old_calls_leave_the_window() {
    let mut trial = Trial::new(calm().failure_rate(0.5).window(4, 4));
    trial.fail(0);
    (0..3).for_each(|_| trial.succeed(0));
    trial.fail(0);
    trial.succeed(0);
    assert_eq!(trial.state(), BreakerState::Closed);
    trial.fail(0);
    assert_eq!(trial.state(), BreakerState::Open);
}

#[test]
fn calls_that_hang_open_it_while_they_hang() {
    let mut trial = Trial::new(calm().slow_calls(ms(100), 0.5).window(10, 4));
    (0..2).for_each(|_| trial.succeed(0));
    let hanging = [trial.call(0), trial.call(10)];
    let _quick = trial.call(50);
    assert!(matches!(trial.step(Event::Ask, 105), Verdict::Allowed(_)), "one slow call of three");
    assert!(matches!(trial.step(Event::Ask, 110), Verdict::Refused { .. }), "two of four");
    // What they end as is forgotten.
    trial.step(Event::Succeeded(hanging[0]), 111);
    assert_eq!(trial.state(), BreakerState::Open);
}

#[test]
fn a_call_that_returned_in_time_is_not_slow_however_late_it_is_looked_at() {
    let mut trial = Trial::new(calm().slow_calls(ms(100), 0.5).window(10, 1));
    let call = trial.call(0);
    trial.step(Event::Returned(call), 99);
    trial.step(Event::Succeeded(call), 5000);
    assert_eq!(trial.state(), BreakerState::Closed);
    let late = trial.call(6000);
    trial.step(Event::Returned(late), 6100);
    assert_eq!(trial.state(), BreakerState::Open);
}

#[test]
fn probes_are_limited_and_their_success_closes_it() {
    let mut trial = Trial::new(calm().failures(1, ms(1)).probes(2));
    trial.fail(0);
    assert!(matches!(trial.step(Event::Ask, 49), Verdict::Refused { .. }));
    let probes = [trial.call(50), trial.call(51)];
    assert_eq!(trial.state(), BreakerState::HalfOpen);
    assert_eq!(trial.step(Event::Ask, 60), Verdict::Refused { retry_after: ms(40) });
    // One that nobody hears of makes room for another.
    trial.step(Event::Abandoned(probes[0]), 60);
    let third = trial.call(61);
    trial.step(Event::Succeeded(probes[1]), 62);
    assert_eq!(trial.state(), BreakerState::HalfOpen);
    trial.step(Event::Succeeded(third), 63);
    assert_eq!(trial.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_or_is_silent_opens_it_again() {
    let mut trial = Trial::new(calm().failures(1, ms(1)));
    trial.fail(0);
    trial.fail(50);
    assert_eq!(trial.state(), BreakerState::Open);
    let silent = trial.call(100);
    assert_eq!(trial.step(Event::Ask, 150), Verdict::Refused { retry_after: ms(50) });
    trial.step(Event::Succeeded(silent), 151);
    assert_eq!(trial.state(), BreakerState::Open);
    trial.succeed(200);
    assert_eq!(trial.state(), BreakerState::Closed);
}

#[test]
fn what_is_forced_stays_until_reset() {
    let mut trial = Trial::new(calm().failures(1, ms(1)));
    trial.step(Event::ForceOpen, 0);
    assert_eq!(trial.step(Event::Ask, 1_000_000), Verdict::Refused { retry_after: Duration::MAX });
    trial.step(Event::ForceClose, 0);
    (0..10).for_each(|_| trial.fail(0));
    assert_eq!(trial.state(), BreakerState::ForcedClosed);
    trial.step(Event::Reset, 0);
    trial.fail(0);
    assert_eq!(trial.state(), BreakerState::Open);
}

/// All there is to know of a call.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u64,
    started: u64,
    returned: Option<u64>,
    /// When, and whether it failed.
    ended: Option<(u64, bool)>,
}

/// Keeps every call since the last change, and counts anew at every step.
struct Oracle {
    settings: BreakerSettings,
    state: BreakerState,
    since: u64,
    calls: Vec<Call>,
    /// Numbers of ended calls, in the order of their ends.
    order: Vec<usize>,
    next: u64,
}

impl Oracle {
    fn enter(&mut self, state: BreakerState, now: u64) {
        (self.state, self.since) = (state, now);
        self.calls.clear();
        self.order.clear();
    }

    fn is_slow(&self, call: &Call, now: u64) -> bool {
        let until = call.returned.or(call.ended.map(|(at, _)| at)).unwrap_or(now);
        self.settings.slow_rate > 0 && until - call.started >= self.settings.slow_ns
    }

    fn look(&mut self, now: u64) {
        let settings = self.settings;
        let bad = match self.state {
            BreakerState::Closed => {
                let ended: Vec<&Call> = self.order.iter().map(|place| &self.calls[*place]).collect();
                let last = &ended[ended.len().saturating_sub(settings.window_calls as usize)..];
                let is_failed = |call: &&&Call| call.ended.is_some_and(|(_, failed)| failed);
                let recent = |call: &&&Call| call.ended.is_some_and(|(at, _)| now - at <= settings.within_ns);
                let failures = ended.iter().filter(is_failed).filter(recent).count();
                let failed = last.iter().filter(is_failed).count();
                let open = self.calls.iter().filter(|call| call.ended.is_none());
                let slow_open = open.filter(|call| self.is_slow(call, now)).count();
                let slow = last.iter().filter(|call| self.is_slow(call, now)).count() + slow_open;
                let over = |part: usize, whole: usize, rate: u64| {
                    rate > 0
                        && whole >= settings.calls_min as usize
                        && part as u64 * 1000 >= rate * whole as u64
                };
                (settings.failures > 0 && failures >= settings.failures as usize)
                    || over(failed, last.len(), settings.failure_rate)
                    || over(slow, last.len() + slow_open, settings.slow_rate)
            }
            BreakerState::HalfOpen => self.calls.iter().any(|call| match call.ended {
                Some((_, failed)) => failed,
                None => now - call.started >= settings.recovery_ns || self.is_slow(call, now),
            }),
            _ => false,
        };
        if bad {
            self.enter(BreakerState::Open, now);
        }
    }

    fn step(&mut self, event: Event, now: u64) -> Verdict {
        self.look(now);
        let place = |calls: &[Call], number| {
            calls.iter().position(|call| call.number == number && call.ended.is_none())
        };
        let mut verdict = Verdict::Noted;
        match event {
            Event::Ask => verdict = self.ask(now),
            Event::Returned(number) => {
                if let Some(place) = place(&self.calls, number) {
                    self.calls[place].returned.get_or_insert(now);
                }
            }
            Event::Succeeded(number) | Event::Failed(number) => {
                if let Some(place) = place(&self.calls, number) {
                    self.calls[place].ended = Some((now, event == Event::Failed(number)));
                    self.order.push(place);
                }
            }
            Event::Abandoned(number) => {
                // Kept as a call that never was: its place must not move.
                if let Some(place) = place(&self.calls, number) {
                    let call = &mut self.calls[place];
                    (call.number, call.started, call.returned) = (u64::MAX, u64::MAX, Some(u64::MAX));
                }
            }
            Event::ForceOpen => self.enter(BreakerState::ForcedOpen, now),
            Event::ForceClose => self.enter(BreakerState::ForcedClosed, now),
            Event::Reset => self.enter(BreakerState::Closed, now),
        }
        self.calls_end(now);
        verdict
    }

    fn calls_end(&mut self, now: u64) {
        if self.calls.iter().any(|call| call.number == u64::MAX) {
            let gone = self.calls.iter().position(|call| call.number == u64::MAX).unwrap();
            self.calls.remove(gone);
            self.order.iter_mut().filter(|place| **place > gone).for_each(|place| *place -= 1);
        }
        self.look(now);
        let succeeded = self.calls.iter().filter(|call| call.ended.is_some()).count();
        if self.state == BreakerState::HalfOpen && succeeded >= self.settings.probes as usize {
            self.enter(BreakerState::Closed, now);
        }
    }

    fn ask(&mut self, now: u64) -> Verdict {
        let recovery = self.settings.recovery_ns;
        let refuse = |ns| Verdict::Refused { retry_after: Duration::from_nanos(ns) };
        match self.state {
            BreakerState::ForcedOpen => return Verdict::Refused { retry_after: Duration::MAX },
            BreakerState::Open if now < self.since + recovery => return refuse(self.since + recovery - now),
            BreakerState::Open => self.enter(BreakerState::HalfOpen, now),
            BreakerState::HalfOpen if self.calls.len() >= self.settings.probes as usize => {
                let first = self.calls.iter().filter(|call| call.ended.is_none()).map(|call| call.started);
                return refuse(first.min().unwrap_or(now) + recovery - now);
            }
            _ => {}
        }
        let number = self.next;
        self.next += 1;
        if self.state != BreakerState::ForcedClosed {
            self.calls.push(Call { number, started: now, returned: None, ended: None });
        }
        Verdict::Allowed(number)
    }
}

/// A step of a life: which event, which of the last calls it is about, and how much later.
type Step = (u8, u64, u64);

fn event(kind: u8, number: u64) -> Event {
    match kind {
        0..=39 => Event::Ask,
        40..=49 => Event::Returned(number),
        50..=72 => Event::Succeeded(number),
        73..=89 => Event::Failed(number),
        90..=96 => Event::Abandoned(number),
        97 => Event::ForceOpen,
        98 => Event::ForceClose,
        _ => Event::Reset,
    }
}

fn settings() -> impl Strategy<Value = BreakerSettings> {
    let counts = (0..6_u32, 1..60_u64, 1..8_u32, 1..5_u32, 1..4_u32);
    let shares = (0..4_u8, 0..4_u8, 1..40_u64, 1..60_u64);
    (counts, shares).prop_map(|((failures, within, calls, calls_min, probes), shares)| {
        let (failed, slow, after, recovery) = shares;
        BreakerSettings::default()
            .failures(failures, Duration::from_nanos(within))
            .failure_rate(f64::from(failed) / 4.0)
            .slow_calls(Duration::from_nanos(after), f64::from(slow) / 4.0)
            .window(calls, calls_min)
            .recovery(Duration::from_nanos(recovery))
            .probes(probes)
    })
}

fn live(settings: BreakerSettings, life: &[Step], steps: &Cell<u64>) -> Result<(), TestCaseError> {
    let mut machine = Machine::new(settings);
    let state = BreakerState::Closed;
    let mut oracle = Oracle { settings, state, since: 0, calls: Vec::new(), order: Vec::new(), next: 0 };
    let mut now = 0;
    for (kind, back, later) in life {
        now += later;
        let event = event(*kind, oracle.next.saturating_sub(1 + back));
        let expected = oracle.step(event, now);
        let (next, verdict) = machine.step(event, now);
        machine = next;
        steps.set(steps.get() + 1);
        prop_assert_eq!((verdict, machine.state()), (expected, oracle.state), "{:?} at {}", event, now);
    }
    Ok(())
}

#[test]
fn long_lives_agree_with_the_oracle() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(gorun_shm::os::ticks::system_ns);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let steps = Cell::new(0);
    let life = prop::collection::vec((0..100_u8, 0..6_u64, 0..12_u64), 100..300);
    let outcome = runner.run(&(settings(), life), |(settings, life)| live(settings, &life, &steps));
    assert!(outcome.is_ok(), "SEED={seed} repeats it: {}", outcome.unwrap_err());
    assert!(steps.get() >= 100_000, "only {} steps", steps.get());
}
