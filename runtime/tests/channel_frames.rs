//! Channels that compress, or sum up, what they carry.

use gorun_runtime::channel::{Channel, Receiver, RecvError, SendError};
use gorun_runtime::{Runtime, SharedSlice};
use gorun_test_programs::Watchdog;

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().expect("build a runtime")
}

/// Bytes that no compressor makes shorter.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Sends each of `values` to a worker and back, through two such channels.
fn round_trips(runtime: &Runtime, channel: impl Fn() -> Channel<Vec<u8>>, values: &[Vec<u8>]) {
    let (sender, received) = channel().open_on(runtime).expect("open a channel");
    let (back, receiver) = channel().open_on(runtime).expect("open a channel");
    let echo = runtime.task((received, back), |(received, back)| {
        received.iter().for_each(|value| back.send(value).expect("the host receives"));
    });
    for value in values {
        sender.send(value.clone()).expect("the worker receives");
        assert!(receiver.recv().as_ref() == Ok(value), "{} bytes", value.len());
    }
    drop(sender);
    echo.join().expect("the echo ends");
}

#[test]
fn values_from_a_byte_to_64_mib_travel_in_every_kind_of_channel() {
    let _watchdog = Watchdog::start("values_from_a_byte_to_64_mib_travel_in_every_kind_of_channel");
    let runtime = runtime();
    let lengths = [0, 1, 16, 112, 113, 120, 121, 1000, 65_536, 1 << 20, 64 << 20];
    let plain: Vec<_> = lengths.iter().map(|bytes| vec![7; *bytes]).collect();
    let noisy: Vec<_> = lengths[..10].iter().map(|bytes| noise(*bytes)).collect();
    for values in [plain, noisy] {
        round_trips(&runtime, || Channel::bounded(2), &values);
        round_trips(&runtime, || Channel::bounded(2).checksum(), &values);
        round_trips(&runtime, || Channel::bounded(2).compress(100), &values);
        round_trips(&runtime, || Channel::bounded(2).compress(1).checksum(), &values);
    }
}

#[test]
fn long_values_are_compressed_and_counted() {
    let _watchdog = Watchdog::start("long_values_are_compressed_and_counted");
    let runtime = runtime();
    let (sender, receiver) = Channel::bounded(4).compress(1000).open_on(&runtime).unwrap();
    sender.send("short".to_owned()).unwrap();
    assert_eq!(sender.stats().compressed_from_bytes, 0);
    sender.send("long ".repeat(2000)).unwrap();
    let stats = sender.stats();
    assert_eq!(stats.compressed_from_bytes, 10_000);
    assert!((1..1000).contains(&stats.compressed_to_bytes), "{stats:?}");
    assert_eq!(receiver.recv().as_deref(), Ok("short"));
    assert_eq!(receiver.recv().map(|text| text.len()), Ok(10_000));
}

#[test]
fn what_is_not_copied_is_not_compressed() {
    let _watchdog = Watchdog::start("what_is_not_copied_is_not_compressed");
    let runtime = runtime();
    let (sender, receiver) = Channel::<SharedSlice<u8>>::bounded(4).compress(1).open_on(&runtime).unwrap();
    let slice = SharedSlice::loan_on(&runtime, 5000).unwrap().publish().unwrap();
    let refused = sender.send(slice).unwrap_err();
    assert!(
        matches!(&refused, SendError::Unsendable { reason, .. } if reason.contains("compresses")),
        "{refused:?}"
    );
    assert_eq!(refused.into_value().len(), 5000);
    assert_eq!(receiver.try_recv().unwrap_err(), RecvError::Empty);
    // Summed up, it travels: the sum is over what is copied.
    let (sender, receiver) = Channel::<SharedSlice<u8>>::bounded(4).checksum().open_on(&runtime).unwrap();
    sender.send(SharedSlice::loan_on(&runtime, 5000).unwrap().publish().unwrap()).unwrap();
    assert_eq!(receiver.recv().map(|slice| slice.len()), Ok(5000));
}

#[test]
fn deliveries_and_meetings_are_framed_too() {
    let _watchdog = Watchdog::start("deliveries_and_meetings_are_framed_too");
    let runtime = runtime();
    let text = "framed ".repeat(1000);
    let (sender, receiver) = Channel::bounded(4).compress(10).checksum().open_on(&runtime).unwrap();
    sender.send(text.clone()).unwrap();
    drop(receiver.take().unwrap());
    assert_eq!(receiver.take().unwrap().ack(), Ok(text.clone()));
    let (sender, receiver) = Channel::rendezvous().compress(10).checksum().open_on(&runtime).unwrap();
    let met =
        runtime.task(receiver, |receiver: Receiver<String>| receiver.recv().map_or(0, |text| text.len()));
    sender.send(text.clone()).unwrap();
    assert_eq!(met.join(), Ok(text.len()));
}

#[test]
fn ten_thousand_channels_at_once_and_their_memory_comes_back() {
    let _watchdog = Watchdog::start("ten_thousand_channels_at_once_and_their_memory_comes_back");
    let runtime = runtime();
    for round in 0..3_u64 {
        let mut channels = Vec::new();
        for number in 0..10_000 {
            match Channel::<u64>::bounded(4).open_on(&runtime) {
                Ok(ends) => channels.push(ends),
                Err(reason) => panic!("round {round}, channel {number}: {reason}"),
            }
        }
        for (number, (sender, _)) in (0..).zip(&channels) {
            sender.send(number + round).unwrap();
        }
        for (number, (_, receiver)) in (0..).zip(&channels) {
            assert_eq!(receiver.recv(), Ok(number + round));
        }
    }
}
