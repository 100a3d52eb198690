//! Sends values, texts, slices and ends through channels to a worker and back, while somebody else scribbles over the memory
//! they lie in; every wait must end, with a value or with an error.
//!
//! Started with a launcher's socket in its environment; ends when standard input does.

use gorun::prelude::*;
use gorun_test_programs::Watchdog;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::Duration;

/// Nobody's word can be trusted here, so nothing is waited for without end.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages of a round.
const MESSAGES: u64 = 12;
/// Tasks whose slot is never collected, because they never end, fill the queue: no more are started than fit.
const SLOTS: usize = 65_536;

#[derive(Serialize, Deserialize)]
enum Cargo {
    Number(u64),
    Bytes(Vec<u8>),
    Slice(SharedSlice<u32>),
    Text(SharedStr),
    End(Sender<u64>),
}

fn main() {
    let _watchdog = Watchdog::start("attacked_channels");
    let runtime = Runtime::builder().workers(2).queue_slots(SLOTS).build().expect("build a runtime");
    assert_eq!(runtime.go(|| 1_u8).join(), Ok(1));
    // Stays, so that there is always a channel to scribble over.
    let standing = Channel::<u64>::bounded(64).open_on(&runtime).expect("open a channel");
    println!("started");
    let ended = std::thread::spawn(|| std::io::stdin().read(&mut [0_u8; 1]));
    let (mut good, mut rounds) = (0_u64, 0_usize);
    while !ended.is_finished() {
        if rounds < SLOTS / 2 {
            good += round(&runtime).unwrap_or(0);
        }
        rounds += 1;
        let _ = (standing.0.try_send(1), standing.1.try_recv(), standing.1.len());
        // Nonsense in the tables may refuse to be given back.
        let _ = runtime.trim();
        std::hint::black_box(format!("{:?}", runtime.stats()));
    }
    println!("rounds {rounds} good {good}");
    drop(standing);
    drop(runtime);
    println!("dropped");
}

/// Sends everything to a worker, which sends it back; gives how much came back as it was.
fn round(runtime: &Runtime) -> Option<u64> {
    let (there, arrives) = Channel::<Cargo>::bounded(4).open_on(runtime).ok()?;
    let (answer, answers) = Channel::<Cargo>::bounded(4).open_on(runtime).ok()?;
    let echo = Task::with((arrives, answer), |(arrives, answer)| echo(&arrives, &answer)).go_on(runtime);
    let mut good = 0;
    for n in 0..MESSAGES {
        let Some(cargo) = cargo(runtime, n) else { continue };
        if there.send_timeout(cargo, PATIENCE).is_ok()
            && let Ok(back) = answers.recv_timeout(PATIENCE)
        {
            good += u64::from(is_good(&back));
        }
    }
    drop(there);
    // Either way the round is over: a task that does not end is killed with the runtime.
    if let Err(late) = echo.join_timeout(PATIENCE) {
        let _ = late.kill();
    }
    Some(good)
}

fn echo(arrives: &Receiver<Cargo>, answer: &Sender<Cargo>) {
    for _ in 0..MESSAGES {
        if let Ok(cargo) = arrives.recv_timeout(PATIENCE)
            && answer.send_timeout(cargo, PATIENCE).is_err()
        {
            return;
        }
    }
}

fn cargo(runtime: &Runtime, n: u64) -> Option<Cargo> {
    Some(match n % 5 {
        0 => Cargo::Number(n),
        1 => Cargo::Bytes(vec![9; 3000]),
        2 => Cargo::Slice(SharedSlice::copy_on(runtime, &[7; 500]).ok()?.get_slice(100..200)?),
        3 => {
            let mut loan = SharedStr::loan_on(runtime, 100).ok()?;
            loan.push_str("words of every size").ok()?;
            Cargo::Text(loan.publish().ok()?)
        }
        _ => Cargo::End(Channel::bounded(2).open_on(runtime).ok()?.0),
    })
}

/// Looks at everything: bytes that were scribbled over are no harm, but reading outside would be.
fn is_good(cargo: &Cargo) -> bool {
    match cargo {
        Cargo::Number(n) => n % 5 == 0,
        Cargo::Bytes(bytes) => bytes.len() == 3000 && bytes.iter().all(|byte| *byte == 9),
        Cargo::Slice(slice) => slice.len() == 100 && slice.iter().all(|number| *number == 7),
        Cargo::Text(text) => text.chars().count() == 19 && text.split_whitespace().count() == 4,
        Cargo::End(sender) => sender.try_send(1).is_ok(),
    }
}
