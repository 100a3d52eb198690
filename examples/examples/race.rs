//! Several tasks at once: wait for all of them, for the first to finish, or for the first to succeed.

use std::hint::black_box;

use gorun::prelude::*;

fn main() -> Result<(), TaskError> {
    let both: [fn() -> u64; 2] = [|| count_to(1_000), || count_to(2_000)];
    for outcome in go_all(both) {
        println!("all: {}", outcome?);
    }

    // The first to finish wins; the other is cancelled or ignored.
    let contest: [fn() -> String; 2] = [slow, quick];
    println!("race: {}", go_race(contest)?);

    // A task that fails does not count as long as another succeeds.
    let attempts: [fn() -> String; 2] = [|| panic!("no luck here"), quick];
    println!("any: {}", go_any(attempts)?);

    // Tasks with input: each is built with what it needs.
    let squares = go_all((1..=4_u64).map(|n| Task::with(n, |n: u64| n * n)));
    let squares: Vec<u64> = squares.into_iter().collect::<Result<_, _>>()?;
    println!("squares: {squares:?}");
    Ok(())
}

fn slow() -> String {
    format!("slow, after {} steps", count_to(200_000_000))
}

fn quick() -> String {
    format!("quick, after {} steps", count_to(1_000))
}

/// Counts step by step, which the compiler is kept from shortening.
fn count_to(limit: u64) -> u64 {
    (0..limit).fold(0, |count, _| black_box(count) + 1)
}
