//! What travels by handle is not copied: the same place in the segment, in every process, and no byte counted as copied.

use gorun_runtime::{
    Channel, Receiver, RecvError, Runtime, Sender, SharedMemoryConfig, SharedSlice, SharedStr, Task, go_map,
};
use gorun_test_programs::Watchdog;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Write;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Where a slice lies, and a word of each end of it.
type Seen = (Option<u64>, u64, u64);

fn seen(slice: &SharedSlice<u64>) -> Seen {
    (slice.segment_offset(), slice[0], slice[slice.len() - 1])
}

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().expect("build a runtime")
}

fn copied(runtime: &Runtime) -> u64 {
    runtime.stats().memory.bytes_copied
}

/// Of `bytes` bytes, of which only the first and the last page are touched.
fn sparse(runtime: &Runtime, bytes: usize) -> SharedSlice<u64> {
    let mut loan = SharedSlice::<u64>::loan_on(runtime, bytes / 8).expect("borrow a block");
    let last = bytes / 8 - 1;
    loan[0] = bytes as u64;
    loan[last] = 77;
    loan.publish().expect("publish the block")
}

/// Sends a slice of this size as input, as result and through a channel, there and back.
fn travels_without_a_copy(runtime: &Runtime, bytes: usize) {
    let slice = sparse(runtime, bytes);
    let expected = seen(&slice);
    assert!(expected.0.is_some());
    let before = copied(runtime);

    let in_task =
        runtime.task(slice.clone(), |slice: SharedSlice<u64>| seen(&slice)).join().expect("it travels");
    assert_eq!(in_task, expected, "{bytes} bytes as input");
    let back = runtime.task(slice.clone(), |slice: SharedSlice<u64>| slice).join().expect("it travels");
    assert_eq!((seen(&back), back.as_ptr()), (expected, slice.as_ptr()), "{bytes} bytes as result");

    let (there, arrives) = Channel::<SharedSlice<u64>>::bounded(2).open_on(runtime).expect("it travels");
    let (answer, answers) = Channel::<SharedSlice<u64>>::bounded(2).open_on(runtime).expect("it travels");
    let echo = |(arrives, answer): (Receiver<SharedSlice<u64>>, Sender<SharedSlice<u64>>)| {
        let slice = arrives.recv().expect("the host sends one");
        let found = seen(&slice);
        answer.send(slice).expect("the host waits for it");
        found
    };
    let echoing = Task::with((arrives, answer), echo).go_on(runtime);
    there.send(slice.clone()).expect("it travels");
    let back = answers.recv().expect("it travels");
    assert_eq!((seen(&back), back.as_ptr()), (expected, slice.as_ptr()), "{bytes} bytes through a channel");
    assert_eq!(echoing.join(), Ok(expected), "{bytes} bytes through a channel");

    // `seen` itself is a value of a few words, which comes back in a block: that is all.
    let own = 2 * 2 * 25;
    assert!(copied(runtime) - before <= own, "{bytes} bytes: {} were copied", copied(runtime) - before);
}

#[test]
fn a_kibibyte_to_256_mebibytes_travel_without_a_copy() {
    let _watchdog = Watchdog::start("a_kibibyte_to_256_mebibytes_travel_without_a_copy");
    let runtime = runtime();
    for bytes in [KIB, 4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB] {
        travels_without_a_copy(&runtime, bytes);
    }
}

#[test]
fn a_gibibyte_written_in_full_travels_without_a_copy() {
    let _watchdog = Watchdog::start("a_gibibyte_written_in_full_travels_without_a_copy");
    let runtime = runtime();
    travels_without_a_copy(&runtime, 1024 * MIB);
    let free_kib = available_kib();
    if free_kib < 3 << 20 {
        println!("not written in full: {free_kib} KiB of memory are available, and 3 GiB are wanted");
        return;
    }
    let mut loan = SharedSlice::<u64>::loan_on(&runtime, 128 * MIB).unwrap();
    loan.fill(3);
    let slice = loan.publish().unwrap();
    let before = copied(&runtime);
    let in_task = |slice: SharedSlice<u64>| (seen(&slice), slice.iter().step_by(512).sum::<u64>());
    let (found, sum) = runtime.task(slice.clone(), in_task).join().unwrap();
    assert_eq!((found, sum), (seen(&slice), 3 * (128 * MIB as u64 / 512)));
    assert!(copied(&runtime) - before <= 2 * 33);
}

fn available_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn two_gibibytes_travel_where_messages_may_be_so_large() {
    let _watchdog = Watchdog::start("two_gibibytes_travel_where_messages_may_be_so_large");
    let runtime = Runtime::builder().workers(1).message_bytes_max(1 << 31).build().unwrap();
    travels_without_a_copy(&runtime, 2048 * MIB);
}

#[test]
fn what_is_copied_is_counted() {
    let _watchdog = Watchdog::start("what_is_copied_is_counted");
    let runtime = runtime();
    let before = copied(&runtime);
    let vector = runtime.task(vec![1_u8; 1000], |bytes: Vec<u8>| bytes).join().unwrap();
    assert_eq!((vector.len(), copied(&runtime) - before), (1000, 4000), "in, out, and both once more");

    let before = copied(&runtime);
    let slice = SharedSlice::copy_on(&runtime, &vector).unwrap();
    assert_eq!(copied(&runtime) - before, 1000);
    drop(slice);

    let before = copied(&runtime);
    let items: Vec<u64> = runtime.map(vec![5_u64; 100], |n| n).collect().unwrap();
    assert!(copied(&runtime) - before >= 4 * 800, "{} items", items.len());

    let before = copied(&runtime);
    let (sender, receiver) = Channel::<Vec<u8>>::bounded(1).open_on(&runtime).unwrap();
    sender.send(vec![1; 500]).unwrap();
    assert_eq!((receiver.recv().unwrap().len(), copied(&runtime) - before), (500, 1000));
}

#[test]
fn items_of_a_map_travel_by_handle() {
    let _watchdog = Watchdog::start("items_of_a_map_travel_by_handle");
    let whole = SharedSlice::<u64>::from_values((0..1000_u32).map(u64::from)).unwrap();
    let parts: Vec<_> = (0..10).map(|tenth| whole.slice(tenth * 100..(tenth + 1) * 100)).collect();
    let sums: Vec<u64> = go_map(parts, |part: SharedSlice<u64>| part.iter().sum::<u64>()).collect().unwrap();
    assert_eq!(sums.iter().sum::<u64>(), 499_500);
    assert_eq!(sums[1], (100..200).sum::<u64>());
}

#[test]
fn a_nested_task_leaves_the_blocks_of_the_range_around_it_alone() {
    let _watchdog = Watchdog::start("a_nested_task_leaves_the_blocks_of_the_range_around_it_alone");
    let slices: Vec<_> = (0..4_u64).map(|n| SharedSlice::copy_from(&[n; 100]).unwrap()).collect();
    let nested = |slice: SharedSlice<u64>| {
        let double = |slice: SharedSlice<u64>| SharedSlice::from_values(slice.iter().map(|n| n * 2)).unwrap();
        Task::with(slice, double).go().join().expect("the nested task ends")[0]
    };
    let sums: Vec<u64> = go_map(slices, nested).collect().unwrap();
    assert_eq!(sums, [0, 2, 4, 6]);
}

#[test]
fn a_part_lies_where_it_lay_and_keeps_the_whole_alive() {
    let _watchdog = Watchdog::start("a_part_lies_where_it_lay_and_keeps_the_whole_alive");
    let runtime = runtime();
    let whole = SharedSlice::copy_on(&runtime, &[1_u32, 2, 3, 4, 5, 6]).unwrap();
    let part = whole.slice(2..=4).slice(1..);
    assert_eq!(*part, [4, 5]);
    assert_eq!(part.segment_offset(), whole.segment_offset().map(|offset| offset + 12));
    let expected = part.segment_offset();
    drop(whole);
    let in_use = runtime.stats().memory.bytes_in_use;
    let (offset, back) =
        runtime.task(part, |part: SharedSlice<u32>| (part.segment_offset(), part)).join().unwrap();
    assert_eq!((offset, back.segment_offset()), (expected, expected));
    assert_eq!(*back, [4, 5]);
    assert!(in_use >= 64);
    assert!(back.get_slice(3..).is_none() && back.get_slice(..usize::MAX).is_none());
    assert_eq!(back.get_slice(2..).map(|part| part.len()), Some(0));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| back.slice(1..9))).is_err());
}

#[test]
fn text_is_built_in_place_and_read_in_place() {
    let _watchdog = Watchdog::start("text_is_built_in_place_and_read_in_place");
    let runtime = runtime();
    let mut loan = SharedStr::loan_on(&runtime, 1000).unwrap();
    for n in 0..50 {
        writeln!(loan, "zeile {n} äöü").unwrap();
    }
    assert!(loan.push_str(&"x".repeat(1000)).is_err_and(|room| room.left < 1000));
    let text = loan.publish().unwrap();
    let before = copied(&runtime);
    let count =
        |text: SharedStr| (text.segment_offset(), text.lines().filter(|line| line.ends_with('ü')).count());
    let (offset, lines) = runtime.task(text.clone(), count).join().unwrap();
    assert_eq!((offset, lines), (text.segment_offset(), 50));
    assert!(copied(&runtime) - before <= 2 * 17, "no byte of the text");
    assert_eq!(text.get_slice(..7).unwrap().as_str(), "zeile 0");
    assert!(text.get_slice(..9).is_none(), "through a character");
    assert_eq!(SharedStr::from_utf8(text.into_bytes()).unwrap().lines().count(), 50);
}

/// Bytes at its sender, text at its receiver: what a hostile sender would make of a message.
struct Claim(SharedSlice<u8>, Option<SharedStr>);

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SharedStr::deserialize(deserializer).map(|text| Self(text.clone().into_bytes(), Some(text)))
    }
}

#[test]
fn bytes_that_are_no_text_do_not_arrive_as_text() {
    let _watchdog = Watchdog::start("bytes_that_are_no_text_do_not_arrive_as_text");
    let runtime = runtime();
    let (sender, receiver) = Channel::<Claim>::bounded(1).open_on(&runtime).unwrap();
    let on = |bytes: &[u8]| Claim(SharedSlice::copy_on(&runtime, bytes).unwrap(), None);
    sender.send(on("gut".as_bytes())).unwrap();
    assert_eq!(receiver.recv().unwrap().1.unwrap().as_str(), "gut");
    sender.send(on(b"bad \xFF")).unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Unreadable { .. })));
    assert!(SharedStr::from_utf8(on(b"bad \xFF").0).is_err());
}

/// Numbers of two bytes at its sender, of eight at its receiver.
struct Odd(SharedSlice<u16>);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = SharedSlice::<u64>::deserialize(deserializer)?;
        Ok(Self(
            SharedSlice::from_values(numbers.iter().map(|n| (*n & 0xFFFF).try_into().unwrap_or(0)))
                .map_err(D::Error::custom)?,
        ))
    }
}

#[test]
fn bytes_that_are_no_values_of_the_type_do_not_arrive_as_such() {
    let _watchdog = Watchdog::start("bytes_that_are_no_values_of_the_type_do_not_arrive_as_such");
    let runtime = runtime();
    let (sender, receiver) = Channel::<Odd>::bounded(1).open_on(&runtime).unwrap();
    let shorts = SharedSlice::copy_on(&runtime, &[7_u16; 100]).unwrap();
    // Four make one; three do not, nor do four of which the first begins in the middle of one.
    for (range, arrives) in [(0..4, true), (0..3, false), (1..5, false), (4..12, true)] {
        sender.send(Odd(shorts.slice(range.clone()))).unwrap();
        assert_eq!(receiver.recv().is_ok(), arrives, "{range:?}");
    }
}

#[test]
fn without_zero_copy_everything_is_copied_and_lies_elsewhere() {
    let _watchdog = Watchdog::start("without_zero_copy_everything_is_copied_and_lies_elsewhere");
    let shared = SharedMemoryConfig::new().zero_copy(false);
    let runtime = Runtime::builder().workers(1).shared_memory(shared).build().unwrap();
    let slice = SharedSlice::copy_on(&runtime, &[9_u64; 4096]).unwrap();
    assert_eq!(slice.segment_offset(), None);
    let before = copied(&runtime);
    let read =
        |slice: SharedSlice<u64>| (slice.segment_offset(), slice.iter().sum::<u64>(), slice.slice(4000..));
    let (offset, sum, part) = runtime.task(slice.clone(), read).join().unwrap();
    assert_eq!((offset, sum, part.len()), (None, 9 * 4096, 96));
    assert!(copied(&runtime) - before >= 2 * 4096 * 8, "into the block, and out of it");
    assert_eq!(part.segment_offset(), None);
    let jailed =
        Task::with(slice, |slice: SharedSlice<u64>| slice.slice(..10)).mode(gorun_runtime::Mode::Jailed);
    assert_eq!(*jailed.go_on(&runtime).join().unwrap(), [9; 10]);
}

#[test]
fn large_messages_are_compressed_where_that_is_asked_for() {
    let _watchdog = Watchdog::start("large_messages_are_compressed_where_that_is_asked_for");
    let shared = SharedMemoryConfig::new().zero_copy(false).compression(4096);
    let runtime = Runtime::builder().workers(1).shared_memory(shared).build().unwrap();
    let spared = |runtime: &Runtime| runtime.stats().memory.bytes_spared;
    let small = runtime.task(vec![1_u8; 4000], |bytes: Vec<u8>| bytes).join().unwrap();
    assert_eq!((small.len(), spared(&runtime)), (4000, 0));
    let large = runtime.task(vec![1_u8; 1 << 20], |bytes: Vec<u8>| bytes).join().unwrap();
    assert_eq!(large, vec![1; 1 << 20]);
    assert!(spared(&runtime) > 2 * 1_000_000, "in, and out again");

    let (sender, receiver) = Channel::<(String, Vec<u64>)>::bounded(1).open_on(&runtime).unwrap();
    let before = spared(&runtime);
    sender.send(("numbers".to_owned(), vec![3; 10_000])).unwrap();
    assert_eq!(receiver.recv(), Ok(("numbers".to_owned(), vec![3; 10_000])));
    assert!(spared(&runtime) > before);

    let items: Vec<String> = runtime.map(vec!["x".repeat(5000); 3], |text| text).collect().unwrap();
    assert_eq!(items, vec!["x".repeat(5000); 3]);
    let slice = SharedSlice::copy_on(&runtime, &[8_u32; 10_000]).unwrap();
    assert_eq!(runtime.task(slice.clone(), |slice: SharedSlice<u32>| slice).join().unwrap(), slice);
    let jailed = Task::with(vec![2_u8; 10_000], |bytes: Vec<u8>| bytes).mode(gorun_runtime::Mode::Jailed);
    assert_eq!(jailed.go_on(&runtime).join().unwrap(), [2; 10_000]);
}
