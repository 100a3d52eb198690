//! What does a payload add to a task?
//!
//! Measured: a `SharedSlice` of 1 KiB to 1 GiB by handle into a task and back, which should cost the same at every size,
//! against a null task of the same run; and a `Vec<u8>` of 1 MiB and 64 MiB by value in and out, against two copies
//! between touched memory.

use gorun::prelude::*;
use gorun_benches::floor::copy_ns;
use gorun_benches::measure::{Effort, Sample, call_ns, interleave, time_ns};
use gorun_benches::report::{Better, Row};

const MIB: usize = 1 << 20;

fn main() {
    let effort = Effort::from_args();
    go_parallel(|| 1_u64).join().expect("the task ends");
    for bytes in effort.pick(&[1 << 10, 64 << 10, MIB, 64 * MIB, 1024 * MIB][..], &[1 << 10, MIB]) {
        by_handle(effort, *bytes);
    }
    for bytes in effort.pick(&[MIB, 64 * MIB][..], &[MIB]) {
        by_value(effort, *bytes);
    }
}

fn by_handle(effort: Effort, bytes: usize) {
    let calls = effort.pick(20_000, 2_000);
    let mut loan = SharedSlice::<u64>::loan(bytes / 8).expect("the memory is there");
    loan.as_mut_slice()[0] = 42;
    let mut travelling = Some(loan.publish().expect("the block is whole"));
    let mut there_and_back = || {
        let slice = travelling.take().expect("it came back");
        travelling = Some(Task::with(slice, touch).go().join().expect("the task ends"));
    };
    let [ours, null] = interleave(
        effort.runs(),
        [&mut || call_ns(calls, &mut there_and_back), &mut || {
            call_ns(calls, || assert_eq!(go_parallel(|| 1_u64).join().expect("the task ends"), 1))
        }],
    );
    let metric = &format!("{} by handle, there and back", size(bytes));
    row(metric, "ns", ours, "null task", null, 2.0);
}

fn by_value(effort: Effort, bytes: usize) {
    let (source, mut target) = (vec![1_u8; bytes], vec![2_u8; bytes]);
    let mut travelling = Some(vec![3_u8; bytes]);
    let mut in_and_out = || {
        let bytes = travelling.take().expect("it came back");
        let ns = time_ns(|| travelling = Some(Task::with(bytes, same).go().join().expect("the task ends")));
        assert!(travelling.iter().flatten().all(|byte| *byte == 3), "the bytes are unchanged");
        ns / 1e3
    };
    in_and_out();
    let mut copies = || (copy_ns(&source, &mut target) + copy_ns(&source, &mut target)) / 1e3;
    let [ours, copies] = interleave(effort.runs() * 3, [&mut in_and_out, &mut copies]);
    row(&format!("{} Vec<u8> by value, in and out", size(bytes)), "us", ours, "two memcpys", copies, 2.2);
}

/// Reads one word, so that the slice is known to be there, and hands it back.
fn touch(slice: SharedSlice<u64>) -> SharedSlice<u64> {
    assert_eq!(slice[0], 42, "the slice arrives as it was written");
    slice
}

fn same(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn size(bytes: usize) -> String {
    if bytes < MIB { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn row(metric: &str, unit: &str, ours: Sample, peer: &str, reference: Sample, reach: f64) {
    Row { metric, unit, ours, peer, reference, better: Better::Lower, reach: Some(reach) }.print();
}
