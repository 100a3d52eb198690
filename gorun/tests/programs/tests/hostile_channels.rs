//! Somebody writes nonsense over channels, blocks and what lies in them, while traffic runs: errors, never a panic, never a
//! wait without end. `SEED=n` repeats a run.

use gorun_shm::blocks::Blocks;
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_test_programs::Watchdog;
use gorun_test_programs::attack::{self, Attacked, Numbers, scribble};
use std::sync::Arc;
use std::time::Duration;

fn start(test: &str) -> Attacked {
    attack::start(env!("CARGO_BIN_EXE_attacked_channels"), test)
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    seed
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(3));
}

/// Of the channels that live now, each with where its bytes begin and how many there are.
fn channels(attacked: &Attacked) -> Vec<(u64, u64)> {
    let blocks = Blocks::new(Arc::clone(&attacked.segment), attacked.map.blocks).expect("the blocks");
    blocks.live().iter().map(|handle| (handle.offset(), u64::from(handle.bytes()))).collect()
}

fn store(words: &[AtomicU64], numbers: &mut Numbers) {
    let place = usize::try_from(numbers.draw()).unwrap_or(0) % words.len();
    words[place].store(numbers.word(), Ordering::Relaxed); // Relaxed: nonsense needs no order.
}

#[test]
fn nonsense_in_channels_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_channels_gives_errors");
    let attacked = start("channels");
    let mut numbers = Numbers::from_seed(seed());
    for _ in 0..100 {
        for (offset, bytes) in channels(&attacked) {
            let words = attacked.words(offset, offset + bytes.min(4096));
            (0..3).for_each(|_| store(&words, &mut numbers));
        }
        pause();
    }
    println!("{}", attacked.end());
}

#[test]
fn nonsense_in_messages_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_messages_gives_errors");
    let attacked = start("messages");
    let mut numbers = Numbers::from_seed(seed());
    let channels = channels(&attacked);
    // From the first block on lie those of 64 B to 4 KiB, in which messages, slices and handles stand.
    let blocks = Blocks::new(Arc::clone(&attacked.segment), attacked.map.blocks).expect("the blocks");
    let first = blocks.shape().first_byte_offset();
    let words = attacked.words(first, first + (32 << 20));
    let near: Vec<u64> = channels.iter().map(|(offset, _)| offset - first).collect();
    for round in 0..100_u64 {
        for _ in 0..3000 {
            // Blocks are used from the lowest of each eighth of a class on, so the first pages of those are where it hurts.
            let class = numbers.draw() % 7;
            let region = numbers.draw() % 8;
            let at = (numbers.draw() % 64) * 8 + region * (512 * (64 << class)) + classes_before(class);
            if near.iter().any(|channel| at.abs_diff(*channel) < 4096) {
                continue;
            }
            let place = usize::try_from(at / 8).expect("fits") % words.len();
            words[place].store(numbers.word() ^ round, Ordering::Relaxed); // Relaxed: nonsense needs no order.
        }
        pause();
    }
    println!("{}", attacked.end());
}

/// Bytes of the classes below, of 4096 blocks each.
fn classes_before(class: u64) -> u64 {
    (0..class).map(|class| 4096 * (64 << class)).sum()
}

#[test]
fn nonsense_in_the_pools_record_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_the_pools_record_gives_errors");
    let attacked = start("record");
    let mut numbers = Numbers::from_seed(seed());
    let start = attacked.map.blocks.record_offset();
    let words = attacked.words(start, start + 640);
    for _ in 0..100 {
        (0..20).for_each(|_| store(&words, &mut numbers));
        pause();
    }
    println!("{}", attacked.end());
}

#[test]
fn nonsense_in_tables_and_channels_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_tables_and_channels_gives_errors");
    let attacked = start("tables");
    let mut numbers = Numbers::from_seed(seed());
    let from = attacked.blocks_start();
    for _ in 0..100 {
        scribble(&attacked, from, from + (1 << 20), 500);
        for (offset, bytes) in channels(&attacked).into_iter().take(16) {
            let words = attacked.words(offset, offset + bytes.min(4096));
            store(&words, &mut numbers);
        }
        pause();
    }
    println!("{}", attacked.end());
}
