//! Breaker: when to stop calling what fails. A pure machine: (state, event, time) gives (state, verdict).
//!
//! Every step first counts as slow what has run too long by now, so a function that hangs opens its breaker while it
//! hangs. A change of state forgets all calls before it: what they end as says nothing about the new state.

use gorun_shm::breaker::{CALLS, OUTCOMES, Terms};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Calls a window may hold at most.
#[expect(clippy::cast_possible_truncation, reason = "a thousand")]
const WINDOW_CALLS_MAX: u32 = OUTCOMES as u32;
/// Probes at once at most: each needs a place.
#[expect(clippy::cast_possible_truncation, reason = "below a hundred")]
const PROBES_MAX: u32 = CALLS as u32;

/// When a breaker opens, and how it closes again.
///
/// ```
/// use gorun_runtime::BreakerSettings;
/// use std::time::Duration;
///
/// let settings = BreakerSettings::default()
///     .failures(3, Duration::from_secs(10))
///     .failure_rate(0.5)
///     .slow_calls(Duration::from_millis(200), 0.8)
///     .window(100, 20)
///     .recovery(Duration::from_secs(5))
///     .probes(2);
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "settings are given to `BreakerHandle::configure`"]
pub struct BreakerSettings {
    failures: u32,
    within_ns: u64,
    /// In thousandths; 0 for off, as below.
    failure_rate: u64,
    slow_rate: u64,
    slow_ns: u64,
    window_calls: u32,
    calls_min: u32,
    recovery_ns: u64,
    probes: u32,
}

impl Default for BreakerSettings {
    /// Opens at 5 failures in 10 s, or when half of the last 100 calls failed and there were 20; tries again after 5 s
    /// with one call. Slowness is not looked at.
    fn default() -> Self {
        Self {
            failures: 5,
            within_ns: 10_000_000_000,
            failure_rate: 500,
            slow_rate: 0,
            slow_ns: u64::MAX,
            window_calls: 100,
            calls_min: 20,
            recovery_ns: 5_000_000_000,
            probes: 1,
        }
    }
}

impl BreakerSettings {
    /// Opens when this many calls have failed within that time, among the last 1024; 0 failures for never.
    pub fn failures(mut self, failures: u32, within: Duration) -> Self {
        self.failures = failures.min(WINDOW_CALLS_MAX);
        self.within_ns = nanos(within);
        self
    }

    /// Opens when this share of the window's calls has failed, 0.0..=1.0; 0.0 for never.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.failure_rate = thousandths(share);
        self
    }

    /// Opens when this share of calls, 0.0..=1.0, took `after` or longer, those that still run included; 0.0 for never.
    pub fn slow_calls(mut self, after: Duration, share: f64) -> Self {
        self.slow_ns = nanos(after);
        self.slow_rate = thousandths(share);
        self
    }

    /// The last `calls` ended calls count for the shares, 1..=1024, and only if there are `calls_min`.
    pub fn window(mut self, calls: u32, calls_min: u32) -> Self {
        self.window_calls = calls.clamp(1, WINDOW_CALLS_MAX);
        self.calls_min = calls_min.clamp(1, self.window_calls);
        self
    }

    /// How long an open breaker refuses every call, before it lets probes through.
    pub fn recovery(mut self, after: Duration) -> Self {
        self.recovery_ns = nanos(after);
        self
    }

    /// How many calls are let through as probes, and must succeed, before it closes; 1..=64. One that fails, is slow,
    /// or is not heard of for the recovery time opens it again.
    pub fn probes(mut self, probes: u32) -> Self {
        self.probes = probes.clamp(1, PROBES_MAX);
        self
    }

    /// As processes share them: in milliseconds, times taken as no shorter.
    pub(super) fn terms(&self) -> Terms {
        let ms = |nanos: u64| nanos.div_ceil(1_000_000);
        Terms {
            failures: self.failures.into(),
            within_ms: ms(self.within_ns),
            failure_rate: self.failure_rate,
            slow_rate: self.slow_rate,
            slow_ms: ms(self.slow_ns),
            window_calls: self.window_calls.into(),
            calls_min: self.calls_min.into(),
            recovery_ms: ms(self.recovery_ns),
            probes: self.probes.into(),
        }
    }

    fn is_slow(&self, took_ns: u64) -> bool {
        self.slow_rate > 0 && took_ns >= self.slow_ns
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn thousandths(share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=1000 after the clamp")]
    let thousandths = (share.clamp(0.0, 1.0) * 1000.0).round() as u64;
    thousandths
}

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Lets all calls through and counts.
    Closed,
    /// Refuses all calls. After the recovery time the next call finds it half open.
    Open,
    /// Lets a few probes through.
    HalfOpen,
    /// Refuses all calls until it is reset: somebody said so.
    ForcedOpen,
    /// Lets all calls through until it is reset: somebody said so.
    ForcedClosed,
}

/// What happened. Calls are named by the number that their verdict gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Somebody wants to call.
    Ask,
    /// The call has ended; how, is not known yet.
    Returned(u64),
    Succeeded(u64),
    Failed(u64),
    /// Nobody will hear of the call, or how it ended says nothing about its function.
    Abandoned(u64),
    ForceOpen,
    ForceClose,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was asked.
    Noted,
    /// The call may be made, under this number.
    Allowed(u64),
    Refused {
        retry_after: Duration,
    },
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Machine {
    settings: BreakerSettings,
    mode: Mode,
    calls: u64,
    /// Time does not run backwards here, even if two threads bring their readings in the wrong order.
    now_ns: u64,
}

#[derive(Debug)]
enum Mode {
    Closed(Window),
    Open { until_ns: u64 },
    HalfOpen(Probes),
    ForcedOpen,
    ForcedClosed,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Closed(Window::default())
    }
}

impl Machine {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The same breaker with other settings, closed.
    pub(super) fn configured(self, settings: BreakerSettings) -> Self {
        Self { settings, mode: Mode::default(), ..self }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.mode {
            Mode::Closed(_) => BreakerState::Closed,
            Mode::Open { .. } => BreakerState::Open,
            Mode::HalfOpen(_) => BreakerState::HalfOpen,
            Mode::ForcedOpen => BreakerState::ForcedOpen,
            Mode::ForcedClosed => BreakerState::ForcedClosed,
        }
    }

    pub(super) fn step(mut self, event: Event, now_ns: u64) -> (Self, Verdict) {
        self.now_ns = self.now_ns.max(now_ns);
        let (now, settings) = (self.now_ns, self.settings);
        self.mode = self.mode.aged(&settings, now);
        let number = self.calls;
        let (mode, verdict) = match event {
            Event::ForceOpen => (Mode::ForcedOpen, Verdict::Noted),
            Event::ForceClose => (Mode::ForcedClosed, Verdict::Noted),
            Event::Reset => (Mode::default(), Verdict::Noted),
            Event::Ask => self.mode.ask(&settings, number, now),
            other => (self.mode.told(&settings, other, now), Verdict::Noted),
        };
        let calls = if let Verdict::Allowed(_) = verdict { number + 1 } else { number };
        (Self { mode, calls, ..self }, verdict)
    }
}

impl Mode {
    /// What time alone makes of it.
    fn aged(self, settings: &BreakerSettings, now: u64) -> Self {
        match self {
            Self::Closed(mut window) => {
                window.age(settings, now);
                if window.is_bad(settings, now) { Self::open(settings, now) } else { Self::Closed(window) }
            }
            Self::HalfOpen(probes) if probes.is_overdue(settings, now) => Self::open(settings, now),
            other => other,
        }
    }

    fn open(settings: &BreakerSettings, now: u64) -> Self {
        Self::Open { until_ns: now.saturating_add(settings.recovery_ns) }
    }

    fn ask(self, settings: &BreakerSettings, number: u64, now: u64) -> (Self, Verdict) {
        match self {
            Self::Closed(mut window) => {
                window.running.insert(number, now);
                (Self::Closed(window), Verdict::Allowed(number))
            }
            Self::ForcedClosed => (self, Verdict::Allowed(number)),
            Self::ForcedOpen => (self, Verdict::Refused { retry_after: Duration::MAX }),
            Self::Open { until_ns } if now < until_ns => {
                (self, Verdict::Refused { retry_after: Duration::from_nanos(until_ns - now) })
            }
            Self::Open { .. } => Self::HalfOpen(Probes::default()).ask(settings, number, now),
            Self::HalfOpen(mut probes) => {
                let verdict = probes.ask(settings, number, now);
                (Self::HalfOpen(probes), verdict)
            }
        }
    }

    /// Hears of a call.
    fn told(self, settings: &BreakerSettings, event: Event, now: u64) -> Self {
        match self {
            Self::Closed(mut window) => {
                window.note(settings, event, now);
                if window.is_bad(settings, now) { Self::open(settings, now) } else { Self::Closed(window) }
            }
            Self::HalfOpen(mut probes) => match probes.note(settings, event) {
                Probed::Undecided => Self::HalfOpen(probes),
                Probed::Good => Self::default(),
                Probed::Bad => Self::open(settings, now),
            },
            other => other,
        }
    }
}

/// Calls of a closed breaker.
#[derive(Debug, Default)]
struct Window {
    /// Calls that run and are not slow, with their start; in order of start, as numbers are.
    running: BTreeMap<u64, u64>,
    /// Calls that are known to be slow, and of which the end is not known.
    slow: BTreeSet<u64>,
    /// Calls that have returned in time, and of which the end is not known.
    quick: BTreeSet<u64>,
    /// The last ended calls: failed, slow.
    ended: VecDeque<(bool, bool)>,
    failed_count: u64,
    slow_count: u64,
    /// When the last failures were, no more than can matter.
    failures: VecDeque<u64>,
}

impl Window {
    fn age(&mut self, settings: &BreakerSettings, now: u64) {
        while let Some((call, started)) = self.running.first_key_value().map(|(call, at)| (*call, *at)) {
            if !settings.is_slow(now - started) {
                break;
            }
            self.running.remove(&call);
            self.slow.insert(call);
        }
    }

    fn note(&mut self, settings: &BreakerSettings, event: Event, now: u64) {
        match event {
            Event::Returned(call) if self.running.remove(&call).is_some() => {
                self.quick.insert(call);
            }
            Event::Succeeded(call) => self.end(settings, call, false, now),
            Event::Failed(call) => self.end(settings, call, true, now),
            Event::Abandoned(call) => {
                let _ = self.forget(call);
            }
            _ => {}
        }
    }

    /// Whether the call was slow; none for one of another time.
    fn forget(&mut self, call: u64) -> Option<bool> {
        if self.slow.remove(&call) {
            return Some(true);
        }
        (self.quick.remove(&call) || self.running.remove(&call).is_some()).then_some(false)
    }

    fn end(&mut self, settings: &BreakerSettings, call: u64, failed: bool, now: u64) {
        let Some(slow) = self.forget(call) else { return };
        if self.ended.len() >= settings.window_calls as usize
            && let Some((failed, slow)) = self.ended.pop_front()
        {
            self.failed_count -= u64::from(failed);
            self.slow_count -= u64::from(slow);
        }
        self.ended.push_back((failed, slow));
        self.failed_count += u64::from(failed);
        self.slow_count += u64::from(slow);
        if failed && settings.failures > 0 {
            if self.failures.len() >= settings.failures as usize {
                self.failures.pop_front();
            }
            self.failures.push_back(now);
        }
    }

    fn is_bad(&self, settings: &BreakerSettings, now: u64) -> bool {
        let is_over = |part: u64, whole: u64, rate: u64| {
            rate > 0 && whole >= u64::from(settings.calls_min) && part * 1000 >= rate * whole
        };
        let many = settings.failures > 0
            && self.failures.len() >= settings.failures as usize
            && self.failures.front().is_some_and(|first| now - first <= settings.within_ns);
        let (ended, slow) = (self.ended.len() as u64, self.slow.len() as u64);
        many || is_over(self.failed_count, ended, settings.failure_rate)
            || is_over(self.slow_count + slow, ended + slow, settings.slow_rate)
    }
}

/// Calls of a half open breaker.
#[derive(Debug, Default)]
struct Probes {
    /// With their start, and whether they have returned.
    running: BTreeMap<u64, (u64, bool)>,
    succeeded: u32,
}

enum Probed {
    Undecided,
    Good,
    Bad,
}

impl Probes {
    fn is_overdue(&self, settings: &BreakerSettings, now: u64) -> bool {
        self.running.values().any(|(started, returned)| {
            let ran = now - started;
            ran >= settings.recovery_ns || (!returned && settings.is_slow(ran))
        })
    }

    fn ask(&mut self, settings: &BreakerSettings, number: u64, now: u64) -> Verdict {
        if self.running.len() as u64 + u64::from(self.succeeded) < u64::from(settings.probes) {
            self.running.insert(number, (now, false));
            return Verdict::Allowed(number);
        }
        // What has run for the recovery time without a word opens it again: by then there is news.
        let first = self.running.values().next().map_or(now, |(started, _)| *started);
        let until = first.saturating_add(settings.recovery_ns);
        Verdict::Refused { retry_after: Duration::from_nanos(until - now) }
    }

    fn note(&mut self, settings: &BreakerSettings, event: Event) -> Probed {
        match event {
            Event::Returned(call) => {
                if let Some((_, returned)) = self.running.get_mut(&call) {
                    *returned = true;
                }
            }
            Event::Succeeded(call) if self.running.remove(&call).is_some() => {
                self.succeeded += 1;
                if self.succeeded >= settings.probes {
                    return Probed::Good;
                }
            }
            Event::Failed(call) if self.running.remove(&call).is_some() => return Probed::Bad,
            Event::Abandoned(call) => {
                self.running.remove(&call);
            }
            _ => {}
        }
        Probed::Undecided
    }
}

#[cfg(test)]
#[path = "breaker_trial.rs"]
mod tests;
