//! Simulation: the roster in a world of its own, where time, kernel, zygotes and workers do as a seed says.
//!
//! Everything that can go wrong does, at any moment and in any order: workers die in tasks, between them, before they
//! serve, or stop and go on; forks are refused; zygotes die, ready or not; news comes late, twice, or from the dead.
//! After every step the invariants of `checks` hold, and once the faults end the pool recovers.
//!
//! `SEED=n cargo test -p gorun-runtime --lib pool::sim` repeats the world of a failure.

mod checks;
mod world;

use super::breaker::{Intensity, PROOF_NS};
use super::roster::{ALONE_NS, Terms};
use crate::supervision::Restart;
use world::World;

/// Worlds in an ordinary run, and steps with faults in each.
const WORLDS: u64 = 100_000;
const STEPS: u32 = 60;
/// In simulated time, recovery takes as long as the longest pause, a second zygote that fails, a candidate's proof, and
/// the probes in between.
const RECOVERY_NS: u64 = 60_000_000_000;

/// A sequence of numbers that depends on its seed only (SplitMix64).
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    /// 0..limit.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True this many times in a hundred.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
        among.get(usize::try_from(self.below(count)).ok()?).copied()
    }
}

/// Names the seed of a world in which an invariant was broken.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={} repeats it", self.0);
        }
    }
}

/// Lives one world.
fn live(seed: u64, restart: Restart) -> World {
    let mut chance = Chance(seed);
    let seats = u16::try_from(1 + chance.below(4)).expect("small");
    let spares = u16::try_from(chance.below(3)).expect("small");
    let crashes_max = u32::try_from(chance.below(6)).expect("small");
    let intensity = Intensity { crashes_max, period_ns: 10_000_000_000 };
    // Sometimes so few that a seat has to wait for a burial.
    let records = seats + spares + 1 + u16::try_from(chance.below(4)).expect("small");
    let terms = Terms { seats, records, spares, intensity, restart, seed: chance.next() };
    let _named = Named(seed);
    let mut world = World::open(terms, chance);
    for _ in 0..STEPS {
        world.step();
        world.check();
    }
    world.end_faults();
    let end = world.now_ns + RECOVERY_NS;
    while world.now_ns < end && !world.has_recovered() {
        world.step_calmly();
        world.check();
    }
    world.check_recovered();
    world
}

/// The seed to be repeated, if there is one.
fn asked() -> Option<u64> {
    std::env::var("SEED").ok()?.parse().ok()
}

fn live_many(restart: Restart, worlds: u64) -> Totals {
    if let Some(seed) = asked() {
        return Totals::default().with(&live(seed, restart));
    }
    let begin = gorun_shm::os::ticks::system_ns();
    (0..worlds)
        .fold(Totals::default(), |totals, world| totals.with(&live(begin.wrapping_add(world), restart)))
}

/// What happened in many worlds, so that a simulation in which nothing goes wrong is noticed.
#[derive(Debug, Default)]
struct Totals {
    crashes: u64,
    burials: u64,
    degradations: u64,
    recalls: u64,
    shut: u64,
    zygotes: u64,
    exhausted: u64,
}

impl Totals {
    fn with(mut self, world: &World) -> Self {
        let told = &world.told;
        self.crashes += told.crashes;
        self.burials += told.burials;
        self.degradations += told.degradations;
        self.recalls += told.recalls;
        self.shut += told.shut;
        self.zygotes += told.zygotes;
        self.exhausted += told.exhausted;
        self
    }
}

#[test]
fn a_hundred_thousand_worlds_full_of_faults_keep_the_invariants_and_recover() {
    let totals = live_many(Restart::Permanent, WORLDS);
    if asked().is_none() {
        let Totals { crashes, burials, degradations, recalls, shut, zygotes, exhausted } = totals;
        for (what, count) in [
            ("crashes", crashes),
            ("burials", burials),
            ("degradations", degradations),
            ("recalls", recalls),
            ("shut seats", shut),
            ("zygotes", zygotes),
        ] {
            assert!(count > WORLDS / 10, "only {count} {what} in {WORLDS} worlds");
        }
        assert_eq!(exhausted, 0);
    }
}

#[test]
fn worlds_of_transient_and_temporary_workers_end_with_a_word_or_serve() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let totals = live_many(restart, WORLDS / 10);
        assert!(asked().is_some() || totals.exhausted > WORLDS / 1000, "{restart:?}: {totals:?}");
    }
}

/// Ten minutes in a world in which the workers never come to serve, or die as soon as they do; gives the forks.
fn forks_of_a_lost_cause(seats: u16, fault: fn(&mut World)) -> u64 {
    let intensity = Intensity { crashes_max: 5, period_ns: 10_000_000_000 };
    let records = seats * 2 + 3;
    let terms = Terms { seats, records, spares: 1, intensity, restart: Restart::Permanent, seed: 7 };
    let mut world = World::open(terms, Chance(7));
    world.calm_ns = 100_000_000;
    while world.now_ns < 600_000_000_000 {
        fault(&mut world);
        world.step_calmly();
        world.check();
    }
    world.told.forks
}

#[test]
fn a_place_whose_workers_never_serve_is_forked_for_less_than_once_a_second() {
    for (what, fault) in [
        ("start", World::fail_starts as fn(&mut World)),
        ("refusal", World::refuse_forks),
        ("storm", World::kill_everybody),
    ] {
        let forks = forks_of_a_lost_cause(4, fault);
        // Four seats and the bench; and it is tried again all the time.
        assert!((60..5 * 600).contains(&forks), "{what}: {forks} forks in ten minutes");
    }
}

#[test]
fn constants_leave_room_for_each_other() {
    const { assert!(PROOF_NS <= ALONE_NS && RECOVERY_NS > 4 * (10_000_000_000 + PROOF_NS + ALONE_NS)) }
}
