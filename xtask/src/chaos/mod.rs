//! `cargo xtask chaos`: rounds of random kills, each with a seed of its own, and one table of how they ended.
//!
//! In every third round the host itself is killed in the middle; then nothing of it may live a second later.

pub(crate) mod remains;
mod round;

use crate::clock::{self, Stopwatch};
use crate::command::{cargo, must_succeed};
use crate::table;
use crate::trouble::Result;
use round::{Round, RoundResult};
use std::time::Duration;

const BUILD: &[&str] = &["build", "-p", "gorun-test-programs", "--bin", "chaos"];
/// How long one round lasts.
const ROUND: Duration = Duration::from_secs(5);
/// Every so many rounds, the host is killed.
const HOST_KILL_EVERY: u64 = 3;

#[derive(clap::Args)]
pub(crate) struct ChaosArguments {
    /// How long all rounds together last.
    #[arg(long, default_value_t = 0)]
    pub(crate) minutes: u64,
    /// The same in seconds; both are added, and without either it is one minute.
    #[arg(long, default_value_t = 0)]
    pub(crate) seconds: u64,
    /// Repeats a run; by default another one each time.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

pub(crate) fn run(arguments: &ChaosArguments) -> Result<bool> {
    must_succeed(&mut cargo(BUILD), "repair the compile errors above")?;
    let seed = arguments.seed.unwrap_or_else(clock::seed);
    let seconds = arguments.minutes * 60 + arguments.seconds;
    let whole = Duration::from_secs(if seconds == 0 { 60 } else { seconds });
    println!("chaos for {}, --seed {seed}", clock::human(whole));
    let stopwatch = Stopwatch::start();
    let mut results = Vec::new();
    while let left = whole.saturating_sub(stopwatch.elapsed())
        && (!left.is_zero() || results.is_empty())
    {
        let number = results.len() as u64;
        let length = left.clamp(Duration::from_secs(1), ROUND);
        let kills_host = number % HOST_KILL_EVERY == HOST_KILL_EVERY - 1;
        let result = Round { number, seed: seed_of(seed, number), length, kills_host }.run()?;
        println!("{}", result.line());
        results.push(result);
    }
    println!("\n{}", render(&results));
    let failed: Vec<&RoundResult> = results.iter().filter(|result| !result.is_clean()).collect();
    for result in &failed {
        println!("failed: {}", result.repeat());
    }
    println!("{} rounds, {} failed, --seed {seed}", results.len(), failed.len());
    Ok(failed.is_empty())
}

/// The seed of a round: far from those of its neighbours, and the same in every run with this seed.
fn seed_of(seed: u64, round: u64) -> u64 {
    let mixed = (seed ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    // Short enough to be typed again.
    (mixed ^ mixed >> 29) % 1_000_000_000
}

fn render(results: &[RoundResult]) -> String {
    let mut rows: Vec<Vec<String>> = results.iter().map(RoundResult::cells).collect();
    rows.push(round::totals(results));
    table::render(round::HEADS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_have_seeds_of_their_own_that_repeat() {
        let seeds: Vec<u64> = (0..100).map(|round| seed_of(7, round)).collect();
        let mut distinct = seeds.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), seeds.len());
        assert_eq!(seeds, (0..100).map(|round| seed_of(7, round)).collect::<Vec<_>>());
    }
}
