//! Two programs that talk by name. Start them separately, in any order, in two terminals:
//!
//! ```text
//! named count            names its channels, and counts the words of every line it receives
//! named ask "a line" …   sends lines, and prints what comes back
//! ```
//! Started without arguments, this program starts both of them.

use gorun::prelude::*;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::Command;
use std::time::Duration;

/// Who asks may be started first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both programs have this type; if their versions of it differ, they are told so when they connect.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    line: String,
    words: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((role, [])) if role == "count" => count(),
        Some((role, lines)) if role == "ask" => ask(lines),
        _ => start_both(),
    }
}

fn count() -> Result<(), Box<dyn Error>> {
    let lines = Channel::<String>::bounded(16).bind("example-lines")?;
    let counted = Channel::<Counted>::bounded(16).bind("example-counted")?;
    if !counted.wait_for_peers(1, PATIENCE) || !lines.wait_for_peers(1, PATIENCE) {
        return Err("nobody has connected".into());
    }
    let (sender, lines) = lines.into_ends();
    // Without a sender here, the loop ends when the other program has none any more: it has dropped it, or was killed.
    drop(sender);
    for line in &lines {
        let words = line.split_whitespace().count();
        counted.sender().send(Counted { line, words })?;
    }
    // The other program reads what is left before this one ends.
    let _ = counted.wait_for_departure(PATIENCE);
    Ok(())
}

fn ask(lines: &[String]) -> Result<(), Box<dyn Error>> {
    let counted = Connect::<Counted>::to("example-counted").within(PATIENCE).receiver()?;
    let sender = Connect::<String>::to("example-lines").within(PATIENCE).sender()?;
    let sent = sender.send_batch(lines.iter().cloned())?;
    for Counted { line, words } in counted.iter().take(sent) {
        println!("{words} words: {line}");
    }
    // Kept until now: without it the other program has nobody to wait for.
    drop(sender);
    Ok(())
}

fn start_both() -> Result<(), Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let mut asks = Command::new(&this).args(["ask", "to be or not to be", "that is the question"]).spawn()?;
    let mut counts = Command::new(&this).arg("count").spawn()?;
    let (asked, counted) = (asks.wait()?, counts.wait()?);
    if asked.success() && counted.success() { Ok(()) } else { Err("one of the programs has failed".into()) }
}
