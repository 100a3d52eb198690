//! Breaker: when to stop calling what fails, in words that many processes change. Protocol: `breaker.md` beside this.
//!
//! ```text
//! mode     epoch 63..44 | mode 43..40 | moment 39..0    epoch: changes of the mode so far; moment: until when it is open
//! permits  epoch 51..32 | succeeded 31..16 | issued 15..0   of the probes of that epoch, and of no other
//! call     epoch 63..52 | returned 51 | owner 50..35 | moment 34..0   0: free; owner as its bits plus one; its start
//! outcome  epoch 63..44 | noted 43 | failed 42 | slow 41 | moment 39..0   the last ended calls, by their position
//! ```
//! Moments are milliseconds of the monotonic clock, and come in: nothing here asks for the time.
//!
//! Invariant: who holds a permit of the running epoch has a place of it among the calls. Whatever stands in the words, no operation
//! panics or waits. Progress: lock-free; every loop is bounded by the words or by another's progress.

use crate::owner::OwnerId;
use crate::sync::{AtomicU64, Ordering, fence};

/// Ended calls that are kept: what settings may look back on.
#[cfg(not(loom))]
pub const OUTCOMES: usize = 1024;
/// Ended calls in a model.
#[cfg(loom)]
pub const OUTCOMES: usize = 2;
/// Calls whose run is seen while it lasts; further ones count when they end.
#[cfg(not(loom))]
pub const CALLS: usize = 64;
/// Calls in a model.
#[cfg(loom)]
pub const CALLS: usize = 2;

/// When it opens and closes. Times in milliseconds, shares in thousandths with 0 for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// So many failures open it; 0 for never.
    pub failures: u64,
    /// Within this time.
    pub within_ms: u64,
    /// So large a share of failures.
    pub failure_rate: u64,
    /// So large a share of slow calls.
    pub slow_rate: u64,
    /// A call is slow from here on.
    pub slow_ms: u64,
    /// Ended calls that count for the shares.
    pub window_calls: u64,
    /// Fewest that do.
    pub calls_min: u64,
    /// How long it stays open.
    pub recovery_ms: u64,
    /// How many must succeed then.
    pub probes: u64,
}

/// What it does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Lets all through.
    Closed,
    /// Refuses all until a moment.
    Open,
    /// Lets probes through.
    HalfOpen,
    /// Refuses all.
    ForcedOpen,
    /// Lets all through and counts nothing.
    ForcedClosed,
}

/// A call that was let through, for whoever makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    epoch: u64,
    start_ms: u64,
    /// Where it is seen, and as what.
    place: Option<(usize, u64)>,
    is_probe: bool,
    /// Once it has returned.
    was_slow: Option<bool>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a value.
    Succeeded,
    /// Without.
    Failed,
    /// In a way that says nothing of what was called.
    Abandoned,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call may be made.
    Allowed(Call),
    /// Come back after so many milliseconds; `u64::MAX` for never by itself.
    Refused(u64),
}

/// The words of one breaker.
#[repr(C, align(128))]
#[derive(Debug)]
#[cfg_attr(not(loom), derive(gorun_macros::Shared))]
pub struct BreakerWords {
    /// Hash of its name, 0 while it has none. Written once, by the host, after the name.
    hash: AtomicU64,
    /// Bytes of the name, with zeros behind. Written by the host before the hash.
    name: [AtomicU64; NAME_WORDS],
    /// [`Terms`] in their order. Written by the host; whoever reads may see some old and some new, until it is closed anew.
    terms: [AtomicU64; 9],
    /// Any process.
    mode: AtomicU64,
    /// Any process.
    permits: AtomicU64,
    /// Position of the next outcome.
    tail: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES],
    calls: [AtomicU64; CALLS],
}

const NAME_WORDS: usize = 8;
/// Longest name that can be shared, in bytes.
pub const NAME_BYTES_MAX: usize = NAME_WORDS * 8;

#[cfg(not(loom))]
const _: () = assert!(size_of::<BreakerWords>() == 8960 && align_of::<BreakerWords>() == 128);

impl Default for BreakerWords {
    fn default() -> Self {
        Self {
            hash: AtomicU64::new(0),
            name: std::array::from_fn(|_| AtomicU64::new(0)),
            terms: std::array::from_fn(|_| AtomicU64::new(0)),
            mode: AtomicU64::new(0),
            permits: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

const MOMENT: u64 = (1 << 40) - 1;
const START: u64 = (1 << 35) - 1;
const EPOCH: u64 = (1 << 20) - 1;
const RETURNED: u64 = 1 << 51;
const NOTED: u64 = 1 << 43;
const FAILED: u64 = 1 << 42;
const SLOW: u64 = 1 << 41;

/// The word `mode`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Now {
    word: u64,
    epoch: u64,
    mode: Mode,
    until_ms: u64,
}

impl Now {
    fn of(word: u64) -> Self {
        let mode = match word >> 40 & 0xF {
            1 => Mode::Open,
            2 => Mode::HalfOpen,
            3 => Mode::ForcedOpen,
            4 => Mode::ForcedClosed,
            // Scribbled over or not: letting calls through is what a breaker does without news.
            _ => Mode::Closed,
        };
        Self { word, epoch: word >> 44, mode, until_ms: word & MOMENT }
    }

    /// The word of the next epoch.
    fn next(self, mode: Mode, until_ms: u64) -> u64 {
        ((self.epoch + 1) & EPOCH) << 44 | (mode as u64) << 40 | until_ms.min(MOMENT)
    }
}

fn call_word(epoch: u64, owner: OwnerId, now_ms: u64) -> u64 {
    (epoch & 0xFFF) << 52 | u64::from(owner.bits().wrapping_add(1)) << 35 | now_ms & START
}

/// True if one call is of an epoch before the other's; epochs are compared by their last twelve bits.
fn is_older(one: u64, other: u64) -> bool {
    (1..0x800).contains(&((other >> 52).wrapping_sub(one >> 52) & 0xFFF))
}

/// How long ago a call began.
fn age_of(call: u64, now_ms: u64) -> u64 {
    now_ms.wrapping_sub(call) & START
}

impl BreakerWords {
    /// True once it has a name.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.hash.load(Ordering::Acquire) != 0 // Acquire: pairs with the Release in `name`.
    }

    /// Writes anything into every word, as a process gone wild may; for tests.
    pub fn scribble(&self, mut word: impl FnMut() -> u64) {
        let single = [&self.hash, &self.mode, &self.permits, &self.tail];
        let many = self.name.iter().chain(&self.terms).chain(&self.outcomes).chain(&self.calls);
        // Relaxed: nothing is ordered by it.
        single.into_iter().chain(many).for_each(|place| place.store(word(), Ordering::Relaxed));
    }

    /// Gives it its name. Only the host does, and no name twice.
    pub fn name(&self, hash: u64, name: &[u8]) {
        for (place, bytes) in self.name.iter().zip(name.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Ordering::Relaxed); // Relaxed: published by the hash.
        }
        self.hash.store(hash, Ordering::Release); // Release: pairs with the Acquire in `is_named`.
    }

    /// True if this is its name.
    #[must_use]
    pub fn is_named(&self, hash: u64, name: &[u8]) -> bool {
        // Acquire: pairs with the Release in `name`.
        self.hash.load(Ordering::Acquire) == hash
            && name.len() <= NAME_BYTES_MAX
            && self.name.iter().enumerate().all(|(index, place)| {
                let mut word = [0; 8];
                let bytes = name.get(index * 8..).unwrap_or_default();
                let bytes = &bytes[..bytes.len().min(8)];
                word[..bytes.len()].copy_from_slice(bytes);
                place.load(Ordering::Relaxed) == u64::from_le_bytes(word) // Relaxed: ordered by the hash.
            })
    }

    /// Other terms, and closed, with nothing counted.
    pub fn configure(&self, terms: &Terms) {
        let Terms { failures, within_ms, failure_rate, slow_rate, slow_ms, .. } = *terms;
        let Terms { window_calls, calls_min, recovery_ms, probes, .. } = *terms;
        let words = [
            failures,
            within_ms,
            failure_rate,
            slow_rate,
            slow_ms,
            window_calls,
            calls_min,
            recovery_ms,
            probes,
        ];
        for (place, word) in self.terms.iter().zip(words) {
            place.store(word, Ordering::Relaxed); // Relaxed: a decision by mixed terms is forgotten by the next line.
        }
        self.force(Mode::Closed);
        // Of epochs that are over, and of processes gone wild, whose marks would stand in the way for ever.
        // Release, both: as the exchanges of places and permits. Places first, so that no permit loses its place.
        self.calls.iter().for_each(|place| place.store(0, Ordering::Release)); // Release: as said.
        self.permits.store(0, Ordering::Release); // Release: as said.
    }

    fn terms(&self) -> Terms {
        let word = |index: usize| self.terms[index].load(Ordering::Relaxed); // Relaxed: as in `configure`.
        Terms {
            failures: word(0),
            within_ms: word(1),
            failure_rate: word(2),
            slow_rate: word(3),
            slow_ms: word(4),
            window_calls: word(5).min(OUTCOMES as u64),
            calls_min: word(6),
            recovery_ms: word(7),
            probes: word(8).min(CALLS as u64),
        }
    }

    /// What it does now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.now().mode
    }

    fn now(&self) -> Now {
        Now::of(self.mode.load(Ordering::Acquire)) // Acquire: pairs with the AcqRel in `change`.
    }

    /// Begins a new epoch, in which nothing is counted yet; false if another did meanwhile.
    fn change(&self, now: Now, mode: Mode, until_ms: u64) -> bool {
        // AcqRel: pairs with the Acquire in `now`, so that whoever sees the epoch sees the terms that led to it. Acquire
        // for what is found instead.
        let next = now.next(mode, until_ms);
        self.mode.compare_exchange(now.word, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Puts it into this mode.
    pub fn force(&self, mode: Mode) {
        while !self.change(self.now(), mode, 0) {}
    }

    fn open(&self, now: Now, terms: &Terms, now_ms: u64) -> bool {
        self.change(now, Mode::Open, now_ms.saturating_add(terms.recovery_ms))
    }

    /// What time alone makes of it.
    fn aged(&self, terms: &Terms, now_ms: u64) -> Now {
        loop {
            let now = self.now();
            let is_over = match now.mode {
                Mode::Closed => terms.slow_rate > 0 && self.is_bad(now.epoch, terms, false, now_ms),
                Mode::HalfOpen => self.calls_of(now.epoch).any(|call| {
                    let ran = age_of(call, now_ms);
                    ran >= terms.recovery_ms || (call & RETURNED == 0 && is_slow(terms, ran))
                }),
                _ => false,
            };
            if !is_over {
                return now;
            }
            self.open(now, terms, now_ms);
        }
    }

    /// Asks for a call.
    pub fn ask(&self, owner: OwnerId, now_ms: u64) -> Verdict {
        let terms = self.terms();
        loop {
            let now = self.aged(&terms, now_ms);
            let call = |place, is_probe| {
                Verdict::Allowed(Call { epoch: now.epoch, start_ms: now_ms, place, is_probe, was_slow: None })
            };
            match now.mode {
                Mode::Closed => return call(self.take_place(call_word(now.epoch, owner, now_ms)), false),
                Mode::ForcedClosed => return call(None, false),
                Mode::ForcedOpen => return Verdict::Refused(u64::MAX),
                Mode::Open if now_ms < now.until_ms => return Verdict::Refused(now.until_ms - now_ms),
                Mode::Open => {
                    self.change(now, Mode::HalfOpen, 0);
                }
                Mode::HalfOpen => {
                    // The place first: a permit without one could never be recovered.
                    let place = self.take_place(call_word(now.epoch, owner, now_ms));
                    if place.is_some() && self.take_permit(now.epoch, &terms) {
                        return call(place, true);
                    }
                    self.free_place(place);
                    let oldest = self.calls_of(now.epoch).map(|call| age_of(call, now_ms)).max().unwrap_or(0);
                    return Verdict::Refused(terms.recovery_ms.saturating_sub(oldest));
                }
            }
        }
    }

    /// The call has ended; how, is not known yet.
    pub fn note_return(&self, call: &mut Call, now_ms: u64) {
        let terms = self.terms();
        self.aged(&terms, now_ms);
        let slow = is_slow(&terms, now_ms.saturating_sub(call.start_ms));
        if call.was_slow.replace(slow).is_some() {
            return;
        }
        let Some((index, word)) = call.place else { return };
        // A slow one stays seen until its outcome is counted; a quick one has nothing more to show, but as a probe.
        if call.is_probe {
            let returned = word | RETURNED;
            // AcqRel, Acquire: as in `take_place`. If it was recovered meanwhile, its place is another's.
            let _ = self.calls[index].compare_exchange(word, returned, Ordering::AcqRel, Ordering::Acquire);
            call.place = Some((index, returned));
        } else if !slow {
            self.free_place(call.place.take());
        }
    }

    /// The call has ended like this.
    pub fn end(&self, call: &Call, end: End, now_ms: u64) {
        let terms = self.terms();
        let now = self.aged(&terms, now_ms);
        let slow = call.was_slow.unwrap_or_else(|| is_slow(&terms, now_ms.saturating_sub(call.start_ms)));
        if now.epoch != call.epoch {
            self.free_place(call.place);
            return;
        }
        match (now.mode, end) {
            (Mode::Closed, End::Succeeded | End::Failed) => {
                // The place first: dying in between loses this count, and does not count it twice.
                self.free_place(call.place);
                self.note_outcome(now.epoch, (end == End::Failed, slow), now_ms);
                let now = self.now();
                if now.mode == Mode::Closed && self.is_bad(now.epoch, &terms, end == End::Failed, now_ms) {
                    self.open(now, &terms, now_ms);
                }
            }
            (Mode::HalfOpen, End::Failed) if call.is_probe => {
                self.open(now, &terms, now_ms);
                self.free_place(call.place);
            }
            (Mode::HalfOpen, _) if call.is_probe => {
                let succeeded = self.give_permit_back(now.epoch, end == End::Succeeded);
                if end == End::Succeeded && succeeded >= terms.probes {
                    self.change(now, Mode::Closed, 0);
                }
                self.free_place(call.place);
            }
            _ => self.free_place(call.place),
        }
    }

    /// A process is dead: its calls are forgotten. A probe that died with it opens it again, because nobody will tell.
    pub fn recover(&self, dead: OwnerId, now_ms: u64) {
        let terms = self.terms();
        for place in &self.calls {
            let word = place.load(Ordering::Acquire); // Acquire: as in `take_place`.
            if word == 0 || word >> 35 & 0xFFFF != u64::from(dead.bits().wrapping_add(1)) {
                continue;
            }
            let now = self.now();
            if now.mode == Mode::HalfOpen && now.epoch & 0xFFF == word >> 52 {
                self.open(now, &terms, now_ms);
            }
            self.free_word(place, word);
        }
    }

    /// A free place, or one of a call of an older epoch, which counts for nothing any more.
    fn take_place(&self, word: u64) -> Option<(usize, u64)> {
        let index = self.calls.iter().position(|place| {
            let found = place.load(Ordering::Acquire); // Acquire: as below.
            // AcqRel, Acquire: one place passes from process to process; what the last did comes first.
            (found == 0 || is_older(found, word))
                && place.compare_exchange(found, word, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })?;
        Some((index, word))
    }

    fn free_place(&self, place: Option<(usize, u64)>) {
        if let Some((index, word)) = place {
            self.free_word(&self.calls[index], word);
        }
    }

    fn free_word(&self, place: &AtomicU64, word: u64) {
        // AcqRel, Acquire: as in `take_place`. Fails if it was recovered.
        let _ = place.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Calls of this epoch that are seen.
    fn calls_of(&self, epoch: u64) -> impl Iterator<Item = u64> {
        let calls = self.calls.iter().map(|place| place.load(Ordering::Acquire)); // Acquire: as in `take_place`.
        calls.filter(move |call| *call != 0 && *call >> 52 == epoch & 0xFFF)
    }

    fn take_permit(&self, epoch: u64, terms: &Terms) -> bool {
        self.change_permits(epoch, |issued, succeeded| {
            (issued + succeeded < terms.probes).then_some((issued + 1, succeeded))
        })
        .is_some()
    }

    /// Gives how many probes have succeeded.
    fn give_permit_back(&self, epoch: u64, succeeded_too: bool) -> u64 {
        self.change_permits(epoch, |issued, succeeded| {
            Some((issued.saturating_sub(1), (succeeded + u64::from(succeeded_too)).min(0xFFFF)))
        })
        .unwrap_or(0)
    }

    fn change_permits(&self, epoch: u64, change: impl Fn(u64, u64) -> Option<(u64, u64)>) -> Option<u64> {
        let mut word = self.permits.load(Ordering::Acquire); // Acquire: as below.
        loop {
            if word != 0 && (1..=EPOCH / 2).contains(&((word >> 32).wrapping_sub(epoch) & EPOCH)) {
                // This epoch is over: its permits are nobody's.
                return None;
            }
            let (issued, succeeded) =
                if word >> 32 == epoch { (word & 0xFFFF, word >> 16 & 0xFFFF) } else { (0, 0) };
            let (issued, succeeded) = change(issued, succeeded)?;
            let next = epoch << 32 | succeeded << 16 | issued;
            // AcqRel, Acquire: permits pass from process to process, with the places of their calls.
            match self.permits.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(succeeded),
                Err(found) => word = found,
            }
        }
    }

    fn note_outcome(&self, epoch: u64, (failed, slow): (bool, bool), now_ms: u64) {
        // AcqRel: whoever sees a position sees the outcomes before it, but for those whose process stands in between.
        let position = self.tail.fetch_add(1, Ordering::AcqRel);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let word = epoch << 44 | NOTED | flag(failed, FAILED) | flag(slow, SLOW) | now_ms & MOMENT;
        self.outcome(position).store(word, Ordering::Release); // Release: pairs with the Acquire in `is_bad`.
        // SeqCst: pairs with itself in whoever ends a call at the same time. Each of the two looks at all outcomes next, and
        // without this each could miss the other's: both failures would be noted, and the breaker stay closed.
        fence(Ordering::SeqCst);
    }

    fn outcome(&self, position: u64) -> &AtomicU64 {
        &self.outcomes[usize::try_from(position % OUTCOMES as u64).unwrap_or(0)]
    }

    /// True if the closed breaker of this epoch has to open. Only a failure can make the failures too many, so only after
    /// one it is looked back further than the window.
    fn is_bad(&self, epoch: u64, terms: &Terms, has_failed: bool, now_ms: u64) -> bool {
        let failures_max = if has_failed && terms.failures > 0 { terms.failures } else { u64::MAX };
        let tail = self.tail.load(Ordering::Acquire); // Acquire: pairs with the AcqRel in `note_outcome`.
        let (mut ended, mut failed, mut slow, mut failures) = (0_u64, 0_u64, 0_u64, 0_u64);
        for back in 1..=OUTCOMES as u64 {
            // Acquire: pairs with the Release in `note_outcome`.
            let word = self.outcome(tail.wrapping_sub(back)).load(Ordering::Acquire);
            // Of another epoch, or not written yet.
            if word >> 44 != epoch || word & NOTED == 0 {
                continue;
            }
            let is_recent = now_ms.saturating_sub(word & MOMENT) <= terms.within_ms;
            if ended >= terms.window_calls && (!is_recent || failures_max == u64::MAX) {
                break;
            }
            if word & FAILED != 0 && is_recent {
                failures += 1;
            }
            if ended < terms.window_calls {
                ended += 1;
                failed += u64::from(word & FAILED != 0);
                slow += u64::from(word & SLOW != 0);
            }
        }
        let slow_now = if terms.slow_rate == 0 {
            0
        } else {
            self.calls_of(epoch)
                .filter(|call| call & RETURNED == 0 && is_slow(terms, age_of(*call, now_ms)))
                .count() as u64
        };
        let is_over = |part: u64, whole: u64, rate: u64| {
            rate > 0 && whole >= terms.calls_min && part * 1000 >= rate.saturating_mul(whole)
        };
        failures >= failures_max
            || is_over(failed, ended, terms.failure_rate)
            || is_over(slow + slow_now, ended + slow_now, terms.slow_rate)
    }
}

fn is_slow(terms: &Terms, ran_ms: u64) -> bool {
    terms.slow_rate > 0 && ran_ms >= terms.slow_ms
}
