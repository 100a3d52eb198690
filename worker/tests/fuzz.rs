//! The bodies of the fuzz targets in `fuzz/`, with seeded bytes. `SEED=n` repeats a run,
//! `RUNS=n` runs so many.

use gorun_shm::testing::Watchdog;

#[path = "../../fuzz/bodies/input.rs"]
mod input;

#[path = "../../fuzz/bodies/letter.rs"]
mod letter;

/// Runs of each body in a routine test run; more is what `cargo fuzz` is for.
const RUNS: u64 = 1500;

/// Bytes that look random and are the same for the same seed.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let count = draw() % 400;
    (0..count).map(|_| (draw() >> 32).to_le_bytes()[0]).collect()
}

fn run(name: &str, body: fn(&[u8])) {
    let _watchdog = Watchdog::start(name);
    let number = |key| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = number("RUNS").unwrap_or(RUNS);
    for seed in number("SEED").map_or(0..runs, |seed| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(|| body(&bytes(seed)));
        assert!(outcome.is_ok(), "{name}: SEED={seed} repeats it");
    }
}

#[test]
fn hostile_letters_neither_panic_nor_lead_outside() {
    run("hostile_letters_neither_panic_nor_lead_outside", letter::run);
}
