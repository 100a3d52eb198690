//! What does a large payload cost on its way through a channel from one process to another?
//!
//! Measured, per message, with the receiver looking at its first and its last word: a `SharedSlice` of 1 MiB to 1 GiB that is
//! there already, by handle, which should cost the same at every size; and one that is written in place each time. Peers in
//! the same run: iceoryx2 with the payload copied in, and with the payload written in its loaned sample. For a gibibyte
//! iceoryx2 would reserve several, so that size is held against our own mebibyte.

use gorun::prelude::*;
use gorun_benches::measure::{Effort, Sample, interleave, time_ns};
use gorun_benches::pair::{Cores, Peer};
use gorun_benches::report::{Better, Row};
use gorun_benches::rivals::iceoryx_bulk::{self, Bulk};
use std::cell::RefCell;

const MIB: usize = 1 << 20;
/// Messages on their way at once.
const CAPACITY: usize = 2;

fn main() {
    if let Some(peer) = Peer::from_args() {
        let unknown = iceoryx_bulk::serve(peer);
        assert!(unknown.is_none(), "no such role: {unknown:?}");
        return;
    }
    let effort = Effort::from_args();
    let runtime = Runtime::builder().workers(1).build().expect("the runtime starts");
    assert_eq!(runtime.go(|| 1_u64).join(), Ok(1));
    let cores = runtime.stats().seats[0].cpu.map_or_else(Cores::first_and_last, Cores::apart_from);
    cores.pin_host();
    for bytes in effort.pick(&[MIB, 64 * MIB][..], &[MIB]) {
        against_iceoryx(effort, &runtime, cores, *bytes);
    }
    constant(effort, &runtime);
}

fn against_iceoryx(effort: Effort, runtime: &Runtime, cores: Cores, bytes: usize) {
    let (words, rounds) = (bytes / 8, ((256 * MIB / bytes) as u64).max(4));
    let bulk = RefCell::new(Bulk::start(cores, words));
    let source = vec![1; words];
    let slice = filled(runtime, words);
    written_ns(runtime, words, 8);
    let [by_handle, written, copied, loaned] = interleave(
        effort.runs(),
        [
            &mut || by_handle_ns(runtime, &slice, 2_000) / 1e3,
            &mut || written_ns(runtime, words, rounds) / 1e3,
            &mut || bulk.borrow_mut().copied_ns(&source, rounds) / 1e3,
            &mut || bulk.borrow_mut().written_ns(rounds) / 1e3,
        ],
    );
    let size = format!("{} MiB", bytes / MIB);
    row(&format!("{size} by handle through a channel"), by_handle, "iceoryx2, copied in", copied, 0.1);
    row(
        &format!("{size} written in place, through a channel"),
        written,
        "iceoryx2, written in its loan",
        loaned,
        1.0,
    );
}

/// A gibibyte by handle costs what a mebibyte does.
fn constant(effort: Effort, runtime: &Runtime) {
    let (small, large) = (sparse(runtime, MIB / 8), sparse(runtime, 1024 * MIB / 8));
    let [small, large] = interleave(
        effort.runs(),
        [&mut || by_handle_ns(runtime, &small, 2_000) / 1e3, &mut || {
            by_handle_ns(runtime, &large, 2_000) / 1e3
        }],
    );
    row("1024 MiB by handle through a channel", large, "1 MiB by handle", small, 1.5);
}

fn by_handle_ns(runtime: &Runtime, slice: &SharedSlice<u64>, messages: u64) -> f64 {
    sent_ns(runtime, slice.len(), messages, || slice.clone())
}

fn written_ns(runtime: &Runtime, words: usize, messages: u64) -> f64 {
    sent_ns(runtime, words, messages, || filled(runtime, words))
}

fn sent_ns(
    runtime: &Runtime,
    words: usize,
    messages: u64,
    mut make: impl FnMut() -> SharedSlice<u64>,
) -> f64 {
    let (sender, receiver) =
        Channel::bounded(CAPACITY).open_on(runtime).expect("there is memory for a channel");
    let looking = runtime.task(receiver, look);
    let ns = time_ns(|| {
        (0..messages).for_each(|_| sender.send(make()).expect("somebody receives"));
        drop(sender);
        assert_eq!(looking.join(), Ok(messages * words as u64), "every message arrives whole");
    });
    ns / messages as f64
}

fn look(receiver: Receiver<SharedSlice<u64>>) -> u64 {
    let mut words = 0;
    for slice in &receiver {
        std::hint::black_box((slice.first(), slice.last()));
        words += slice.len() as u64;
    }
    words
}

fn filled(runtime: &Runtime, words: usize) -> SharedSlice<u64> {
    let mut loan = SharedSlice::<u64>::loan_on(runtime, words).expect("the memory is there");
    for (word, place) in loan.iter_mut().enumerate() {
        *place = word as u64;
    }
    loan.publish().expect("the block is whole")
}

fn sparse(runtime: &Runtime, words: usize) -> SharedSlice<u64> {
    let mut loan = SharedSlice::<u64>::loan_on(runtime, words).expect("the memory is there");
    (loan[0], loan[words - 1]) = (1, 2);
    loan.publish().expect("the block is whole")
}

fn row(metric: &str, ours: Sample, peer: &str, reference: Sample, reach: f64) {
    Row { metric, unit: "us", ours, peer, reference, better: Better::Lower, reach: Some(reach) }.print();
}
