//! The smallest use of gorun: a closure runs in another process, its result comes home.

use gorun::prelude::*;

fn main() -> Result<(), TaskError> {
    let answer: u64 = go_parallel(|| 6 * 7).join()?;
    println!("{answer}");
    Ok(())
}
