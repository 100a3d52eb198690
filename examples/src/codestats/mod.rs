//! Counts files, lines and identifiers of the sources below a folder, every file in a worker process.
//!
//! `options` say what is wanted, `walk` finds the files, `plan` makes tasks of them, `run` hands the tasks to gorun,
//! `count` with `lexer` is what a task does, `tally` sums up, `check` compares runs, `report` and `text` tell.

mod catalogue;
mod count;
mod crash;
mod language;
mod lexer;
mod lines;
mod measured;
mod names;
mod options;
mod plan;
mod run;
mod syntax;
mod walk;
mod word_hash;
// Many short words to the line; rustfmt would give each a line of its own.
#[rustfmt::skip]
mod keywords;
mod check;
mod paint;
mod progress;
mod report;
#[cfg(test)]
mod scratch;
mod stopwatch;
mod table;
mod tally;
mod text;

pub use self::options::{CodestatsError, Options};
pub use self::run::run;
