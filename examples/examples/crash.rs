//! A crash costs one task: of three tasks the second writes through a wild pointer and ends its worker with a
//! segmentation fault. The other two deliver, and this process does not notice but for the error.

use std::hint::black_box;
use std::process::ExitCode;
use std::ptr;

use gorun::prelude::*;

fn main() -> ExitCode {
    let tasks: [fn() -> String; 3] = [|| "first".to_owned(), segfault, || "third".to_owned()];
    let handles = tasks.map(go_parallel);
    let outcomes = handles.map(|handle| handle.join());
    for (number, outcome) in (1..).zip(&outcomes) {
        match outcome {
            Ok(value) => println!("task {number} delivered {value:?}"),
            Err(error) => println!("task {number} was lost: {error}"),
        }
    }
    let lost_count = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    if lost_count == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(unsafe_code, reason = "a real segmentation fault is what this example shows")]
fn segfault() -> String {
    // In the first page, which Linux never maps.
    let target = black_box(ptr::without_provenance_mut::<u8>(8));
    // SAFETY: not sound, on purpose: `write_volatile` wants a pointer valid for writes, and this one is valid for
    // nothing, so the kernel ends the worker at this store. No memory changes, and nothing runs after it.
    unsafe { target.write_volatile(1) };
    "never reached".to_owned()
}
