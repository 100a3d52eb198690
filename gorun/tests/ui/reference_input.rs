use gorun::prelude::*;

fn main() {
    let numbers = vec![1_u8, 2, 3];
    let _ = Task::with(&numbers, |numbers: &Vec<u8>| numbers.len()).go();
}
