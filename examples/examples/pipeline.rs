//! A pipeline of two stages in other processes, with channels between them: a stage that is slower than the one before makes
//! that one wait, so no more than a few pictures are in memory at once.

use gorun::prelude::*;
use std::error::Error;

/// Pictures on their way between two stages.
const AT_ONCE: usize = 4;
/// Bytes of a picture. Through the channel go 16.
const PICTURE: usize = 1 << 16;

fn main() -> Result<(), Box<dyn Error>> {
    // A stage that waits occupies its worker: as many workers as stages.
    let runtime = Runtime::builder().workers(2).build()?;
    let (numbers, wanted) = Channel::<u32>::bounded(AT_ONCE).open_on(&runtime)?;
    let (pictures, drawn) = Channel::<SharedSlice<u8>>::bounded(AT_ONCE).open_on(&runtime)?;
    let (sums, summed) = Channel::<u64>::bounded(AT_ONCE).open_on(&runtime)?;
    let draws = Task::with((wanted, pictures), |(wanted, pictures)| draw(&wanted, &pictures)).go_on(&runtime);
    let adds = Task::with((drawn, sums), |(drawn, sums)| add_up(&drawn, &sums)).go_on(&runtime);
    let (sent, total) = std::thread::scope(|scope| {
        // Dropping the sender ends the first stage when it has drawn the last picture, that the second, that the loop here.
        let feeds = scope.spawn(move || numbers.send_batch(1..=100));
        let total: u64 = summed.iter().sum();
        (feeds.join(), total)
    });
    let sent = sent.map_err(|_| "the feeding thread panicked")??;
    draws.join()?;
    adds.join()?;
    println!("{sent} pictures, sum {total}");
    Ok(())
}

fn draw(wanted: &Receiver<u32>, pictures: &Sender<SharedSlice<u8>>) {
    for number in wanted {
        let mut loan = SharedSlice::loan(PICTURE).expect("there is memory for a few pictures");
        loan.as_mut_slice().fill((number % 10) as u8);
        let picture = loan.publish().expect("nobody writes over our memory");
        if pictures.send(picture).is_err() {
            return;
        }
    }
}

fn add_up(drawn: &Receiver<SharedSlice<u8>>, sums: &Sender<u64>) {
    for picture in drawn {
        if sums.send(picture.iter().map(|byte| u64::from(*byte)).sum()).is_err() {
            return;
        }
    }
}
