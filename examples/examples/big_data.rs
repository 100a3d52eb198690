//! Large data by handle: the numbers are written once, into shared memory, and the worker reads them where they lie.
//! Only the handle travels.

use gorun::prelude::*;

const LENGTH: usize = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut loan = SharedSlice::<u64>::loan(LENGTH)?;
    for (value, cell) in (0..).zip(loan.as_mut_slice()) {
        *cell = value;
    }
    let numbers: SharedSlice<u64> = loan.publish()?;

    let sum = Task::with(numbers, |numbers: SharedSlice<u64>| numbers.iter().sum::<u64>()).go().join()?;
    println!("the sum of {LENGTH} numbers is {sum}");
    Ok(())
}
