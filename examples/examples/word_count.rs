//! Counts words in worker processes, each word always in the same partition, while workers are killed: the counts are those
//! that one thread gets.
//!
//! A worker acknowledges words when the counts of them are on their way. One that is killed before has not: others get
//! its partitions, and those words once more. What was counted twice by that is seen by its number.

use gorun::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

const LINES: u32 = 5000;
const WORDS_PER_LINE: u32 = 8;
const WORKERS: usize = 3;
/// How many workers are killed, and after how many counts each.
const KILLS: usize = 10;
const COUNTS_PER_KILL: usize = 300;

type Counts = BTreeMap<String, u64>;

/// Those words of a line that are in one partition.
#[derive(Serialize, Deserialize)]
struct Piece {
    line: u32,
    words: Vec<String>,
}

/// Line and first word name the piece that was counted.
type Counted = (u32, String, Counts);

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::builder().workers(WORKERS).build()?;
    let channel = Channel::<Piece>::bounded(16).distributed(|piece| Key::of(&piece.words[0]));
    let (pieces, receiver) = channel.open_on(&runtime)?;
    let (results, counted) = Channel::<Counted>::bounded(16).open_on(&runtime)?;
    let start = || {
        let input = (receiver.clone(), results.clone());
        runtime.task(input, |(pieces, results)| count(pieces, &results))
    };
    let mut workers: Vec<TaskHandle<()>> = (0..WORKERS).map(|_| start()).collect();
    let (mut counts, mut seen, mut killed) = (Counts::new(), BTreeSet::new(), 0);
    std::thread::scope(|scope| {
        let sends = scope.spawn(move || send(&pieces));
        let total = u64::from(LINES * WORDS_PER_LINE);
        while counts.values().sum::<u64>() < total {
            let (line, first, words) = counted.recv().map_err(|error| error.to_string())?;
            if seen.insert((line, first)) {
                words.into_iter().for_each(|(word, count)| *counts.entry(word).or_default() += count);
            }
            if killed < KILLS && seen.len() == (killed + 1) * COUNTS_PER_KILL {
                workers.remove(0).kill();
                workers.push(start());
                killed += 1;
            }
        }
        sends.join().map_err(|_| "the sending thread panicked")?
    })?;
    workers.into_iter().try_for_each(TaskHandle::join)?;
    let alone = count_words((0..LINES).flat_map(line));
    assert_eq!(counts, alone, "the counts differ");
    let words: u64 = counts.values().sum();
    let different = counts.len();
    println!(
        "{words} words, {different} different ones; {killed} workers killed; the counts are those of one thread"
    );
    Ok(())
}

/// Sends each line in pieces, by where its words are counted.
fn send(pieces: &DistributedSender<Piece>) -> Result<(), String> {
    for number in 0..LINES {
        let mut parts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for word in line(number) {
            parts.entry(pieces.partition_of(Key::of(&word))).or_default().push(word);
        }
        for words in parts.into_values() {
            pieces.send(Piece { line: number, words }).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// A worker: counts the words of each piece it gets.
fn count(mut pieces: DistributedReceiver<Piece>, results: &Sender<Counted>) {
    while let Ok(piece) = pieces.take() {
        let counts = count_words(piece.words.iter().cloned());
        if results.send((piece.line, piece.words[0].clone(), counts)).is_err() {
            return;
        }
        piece.ack().expect("nobody has taken it away");
    }
}

fn count_words(words: impl Iterator<Item = String>) -> Counts {
    let mut counts = Counts::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

/// A line of the text.
fn line(number: u32) -> impl Iterator<Item = String> {
    const TEXT: &str = "a member that comes or goes takes its share with it and what was sent lies where it \
                        was until somebody has counted and told so";
    let words: Vec<&str> = TEXT.split_whitespace().collect();
    // Some words are more frequent than others, as in any text.
    (0..WORDS_PER_LINE).map(move |place| {
        let mixed = (number * WORDS_PER_LINE + place).wrapping_mul(2_654_435_761) >> 16;
        words[(mixed % 97) as usize % words.len()].to_owned()
    })
}
