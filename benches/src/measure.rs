//! Taking numbers: alternating runs, medians and spreads. The only file of the benches that reads the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures wall time itself, outside the runtime's clock"
)]

use std::time::{Duration, Instant};

/// How much work a bench does: full by default, less with `--quick`.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    quick: bool,
}

impl Effort {
    /// Reads `--quick` from the command line.
    #[must_use]
    pub fn from_args() -> Self {
        Self { quick: std::env::args().any(|argument| argument == "--quick") }
    }

    /// Runs of each side, odd so that the median is one of them.
    #[must_use]
    pub fn runs(self) -> usize {
        self.pick(9, 3)
    }

    /// `full`, or `quick` under `--quick`.
    #[must_use]
    pub fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What several runs of one side gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The median run.
    pub median: f64,
    /// (max − min) / median over the runs; 0 for a constant.
    pub spread: f64,
}

impl Sample {
    /// A number that was not measured, such as a limit.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self { median: value, spread: 0.0 }
    }

    /// Median and spread of `values`.
    ///
    /// # Panics
    /// When `values` is empty.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a sample needs at least one run");
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        let range = values[values.len() - 1] - values[0];
        Self { median, spread: if median == 0.0 { 0.0 } else { range / median } }
    }
}

/// Runs every side `runs` times, alternating, and starts each round with another side so that no side always follows
/// the same neighbour.
#[must_use]
pub fn interleave<const N: usize>(runs: usize, sides: [&mut dyn FnMut() -> f64; N]) -> [Sample; N] {
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(runs));
    for round in 0..runs {
        for step in 0..N {
            let side = (round + step) % N;
            values[side].push(sides[side]());
        }
    }
    values.map(Sample::of)
}

/// Ends a bench that hangs, with a reason, instead of letting it spin for ever.
#[derive(Debug)]
pub struct Watchdog {
    start: Instant,
    limit: Duration,
}

impl Watchdog {
    /// A watchdog that barks `limit` from now.
    #[must_use]
    pub fn start(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// Looks at the time.
    ///
    /// # Panics
    /// When the limit has passed; `waiting_for` says what did not come.
    pub fn check(&self, waiting_for: &str) {
        assert!(self.start.elapsed() < self.limit, "{waiting_for} did not come within {:?}", self.limit);
    }
}

/// How long one call of `work` takes.
pub fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Nanoseconds that one call of `work` takes.
pub fn time_ns(work: impl FnOnce()) -> f64 {
    time(work).as_secs_f64() * 1e9
}

/// Median nanoseconds of one `call` among `calls`, timed in groups of 16 so that reading the clock does not count.
pub fn call_ns(calls: usize, mut call: impl FnMut()) -> f64 {
    const GROUP: usize = 16;
    let mut group_ns = || {
        time_ns(|| {
            for _ in 0..GROUP {
                call();
            }
        }) / GROUP as f64
    };
    group_ns();
    Sample::of((0..(calls / GROUP).max(1)).map(|_| group_ns()).collect()).median
}

/// Median nanoseconds of one `call`, each preceded by an untimed busy `pause` in which the other side falls asleep.
pub fn call_after_pause_ns(calls: usize, pause: Duration, mut call: impl FnMut()) -> f64 {
    let one = |_| {
        spin_for(pause);
        time_ns(&mut call)
    };
    Sample::of((0..calls).map(one).collect()).median
}

/// Keeps this core busy for `pause`.
pub fn spin_for(pause: Duration) {
    let start = Instant::now();
    while start.elapsed() < pause {
        std::hint::spin_loop();
    }
}

/// Spins until `ready`, polling often at first and then every 64 pauses, so that the line polled stays with its writer.
pub fn spin_until(mut ready: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    while !ready() {
        (0..64).for_each(|_| std::hint::spin_loop());
    }
}
