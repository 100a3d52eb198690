//! Programs that keep to no rule, on either side of a named channel: they get errors, and do no harm to others.

use gorun_runtime::channel::Connect;
use gorun_runtime::{Channel, NamedError};
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{Segment, SegmentError};
use gorun_test_programs::{Watchdog, eventually, program};
use gorun_worker::os::{poll, socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const MAGIC: [u8; 8] = *b"gorunnm1";
const HELLO_BYTES: usize = 32;
const WELCOME_BYTES: usize = 80;

fn name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

fn own_user() -> u32 {
    std::fs::metadata("/proc/self").expect("read the own user").uid()
}

fn address(name: &str) -> String {
    format!("gorun/{}/{name}", own_user())
}

fn hello(version: u64, schema: u64, roles: u64) -> Vec<u8> {
    [u64::from_le_bytes(MAGIC), version, schema, roles].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Sends a first packet and gives back the connection and the answer, if there is one.
fn say(name: &str, bytes: &[u8], files: &[BorrowedFd<'_>]) -> (OwnedFd, Option<socket::Packet>) {
    let connection = socket::connect_abstract(&address(name)).expect("connect to the binder");
    socket::send(&connection, bytes, files).expect("send the first packet");
    let answer = socket::receive(&connection, true).ok().flatten();
    (connection, answer)
}

fn word(packet: &socket::Packet, at: usize) -> u64 {
    u64::from_ne_bytes(packet.bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The schema of the channel, which every refusal tells.
fn schema_of(name: &str) -> u64 {
    let (_, answer) = say(name, &hello(1, 0, 1), &[]);
    word(&answer.expect("a refusal"), 16)
}

#[test]
fn nonsense_instead_of_a_hello_is_refused_and_holds_up_nobody() {
    let _watchdog = Watchdog::start("nonsense_instead_of_a_hello_is_refused_and_holds_up_nobody");
    let name = name("nonsense_instead_of_a_hello");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let schema = schema_of(&name);
    let null = std::fs::File::open("/dev/null").unwrap();
    let files = [null.as_fd(); 4];
    let good = hello(1, schema, 1);
    let mut nonsense = vec![
        vec![0],
        vec![0xFF; 32_000],
        good[..HELLO_BYTES - 1].to_vec(),
        [good.clone(), vec![0]].concat(),
        [b"GORUNNM1".to_vec(), good[8..].to_vec()].concat(),
        hello(0, schema, 1),
        hello(u64::MAX, schema, 1),
        hello(1, !schema, 1),
    ];
    nonsense.extend([0, 5, 6, 7, 8, 1 << 32, u64::MAX].map(|roles| hello(1, schema, roles)));
    for bytes in &nonsense {
        for files in [&files[..], &[]] {
            let (connection, answer) = say(&name, bytes, files);
            let answer = answer.expect("a refusal");
            assert_eq!((answer.bytes.len(), answer.descriptors.len()), (WELCOME_BYTES, 0), "{bytes:?}");
            assert!(socket::receive(&connection, true).unwrap().is_none(), "and the connection is closed");
        }
    }
    assert_eq!(bound.peers(), []);
    Connect::<u64>::to(&name).sender().unwrap().send(1).unwrap();
    assert_eq!(bound.receiver().recv(), Ok(1));
}

#[test]
fn connections_that_say_nothing_hold_up_nobody() {
    let _watchdog = Watchdog::start("connections_that_say_nothing_hold_up_nobody");
    let name = name("connections_that_say_nothing");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let mut silent = Vec::new();
    for count in 0..200 {
        silent.push(socket::connect_abstract(&address(&name)).unwrap());
        if count % 20 == 0 {
            Connect::<u64>::to(&name).sender().unwrap().send(count).unwrap();
            assert_eq!(bound.receiver().recv(), Ok(count));
        }
    }
    assert!(bound.wait_for_departure(LONG));
}

#[test]
fn who_was_let_in_and_goes_on_talking_is_thrown_out() {
    let _watchdog = Watchdog::start("who_was_let_in_and_goes_on_talking_is_thrown_out");
    let name = name("who_goes_on_talking");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let schema = schema_of(&name);
    let joined = b"gorunin1".to_vec();
    for more in [hello(1, schema, 1), vec![7], vec![1; 32_000], joined.clone()] {
        let (connection, answer) = say(&name, &hello(1, schema, 3), &[]);
        assert_eq!(answer.map(|answer| answer.descriptors.len()), Some(1));
        assert!(!bound.peers()[0].joined);
        socket::send(&connection, &joined, &[]).unwrap();
        assert!(bound.wait_for_peers(1, LONG));
        socket::send(&connection, &more, &[]).unwrap();
        assert!(bound.wait_for_departure(LONG));
        assert!(socket::receive(&connection, true).ok().flatten().is_none());
    }
}

#[test]
fn who_only_looks_cannot_write() {
    let _watchdog = Watchdog::start("who_only_looks_cannot_write");
    let name = name("who_only_looks");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    let (_connection, answer) = say(&name, &hello(1, schema_of(&name), 4), &[]);
    let mut answer = answer.expect("a welcome");
    assert!(bound.peers()[0].observes);
    let bytes = usize::try_from(word(&answer, 32)).unwrap();
    let file = answer.descriptors.pop().expect("the memory");
    let again = file.try_clone().unwrap();
    let writable = Segment::attach(file, bytes);
    assert!(matches!(writable, Err(SegmentError::Refused { .. })), "{writable:?}");
    assert!(Segment::observe(again, bytes).is_ok());
}

/// A small generator of numbers that anybody can repeat.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % limit
    }
}

#[test]
fn a_peer_that_writes_over_everything_does_its_binder_no_harm() {
    let _watchdog = Watchdog::start("a_peer_that_writes_over_everything_does_its_binder_no_harm");
    for seed in 1..=12_u64 {
        let name = format!("{}-{seed}", name("a_peer_that_writes_over_everything"));
        let bound = Channel::<Vec<u64>>::bounded(4).named(&name).value_bytes_max(1 << 16).bind().unwrap();
        let (connection, answer) = say(&name, &hello(1, schema_of(&name), 3), &[]);
        let mut answer = answer.expect("a welcome");
        let (bytes, channel) = (word(&answer, 32), word(&answer, 40));
        let file = answer.descriptors.pop().expect("the memory");
        let segment = Segment::attach(file, usize::try_from(bytes).unwrap()).unwrap();
        let all = segment.view_slice::<AtomicU64>(0, usize::try_from(bytes / 8).unwrap()).unwrap();
        let (channel, words) = (usize::try_from(channel / 8).unwrap(), all.len());
        let mut numbers = Numbers(seed);
        let (sender, receiver) = (bound.sender(), bound.receiver());
        let soon = Duration::from_micros(200);
        for step in 0..3000_u64 {
            // The channel's head and slots, or the tables of blocks, or anything.
            let place = match numbers.next() % 4 {
                0 | 1 => channel + numbers.below(80),
                2 => 512 + numbers.below(20_000),
                _ => numbers.below(words),
            };
            let value = match numbers.next() % 4 {
                0 => numbers.next(),
                1 => numbers.next() % 16,
                // Bits here and there.
                2 => all[place].load(Ordering::Relaxed) ^ 1 << (numbers.next() % 64), // Relaxed: scribbling.
                _ => all[numbers.below(words)].load(Ordering::Relaxed),               // Relaxed: as above.
            };
            all[place].store(value, Ordering::Relaxed); // Relaxed: as above.
            let long = step % 3 == 0;
            let _ = sender.send_timeout(vec![step; if long { 600 } else { 1 }], soon);
            let _ = receiver.recv_timeout(soon);
            if step % 50 == 0 {
                let _ = (receiver.take_timeout(soon), bound.stats(), receiver.len());
                let _ =
                    Connect::<Vec<u64>>::to(&name).observer().map(|observer| observer.iter().take(9).count());
            }
        }
        drop(connection);
        assert!(bound.wait_for_departure(LONG));
    }
    // What was written over was that channel and no other.
    let name = name("a_peer_that_writes_over_everything");
    let bound = Channel::<u64>::bounded(4).bind(&name).unwrap();
    Connect::<u64>::to(&name).sender().unwrap().send(1).unwrap();
    assert_eq!(bound.receiver().recv(), Ok(1));
}

#[test]
fn a_binder_that_talks_nonsense_is_no_channel() {
    let _watchdog = Watchdog::start("a_binder_that_talks_nonsense_is_no_channel");
    let name = name("a_binder_that_talks_nonsense");
    // A true welcome, to be broken.
    let true_name = format!("{name}-true");
    let _bound = Channel::<u64>::bounded(4).bind(&true_name).unwrap();
    let (_line, truth) = say(&true_name, &hello(1, schema_of(&true_name), 3), &[]);
    let truth = truth.unwrap();
    let memory = truth.descriptors[0].as_fd();
    let null = std::fs::File::open("/proc/self/exe").unwrap();
    let zeroes = Segment::create("nonsense", usize::try_from(word(&truth, 32)).unwrap()).unwrap();
    let changed = |at: usize, value: u64| {
        let mut bytes = truth.bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        bytes
    };
    let cases: Vec<(Vec<u8>, Vec<BorrowedFd<'_>>)> = vec![
        (vec![0], vec![]),
        (vec![1; 80], vec![memory]),
        (truth.bytes.clone(), vec![]),
        (truth.bytes.clone(), vec![null.as_fd()]),
        (truth.bytes.clone(), vec![zeroes.file().unwrap()]),
        (changed(8, 99), vec![memory]),
        (changed(16, 1), vec![memory]),
        (changed(32, 1 << 60), vec![memory]),
        (changed(32, 64), vec![memory]),
        (changed(40, 8), vec![memory]),
        (changed(56, u64::MAX), vec![memory]),
        (changed(72, u64::MAX), vec![memory]),
        (truth.bytes.iter().map(|byte| !byte).collect(), vec![memory]),
    ];
    let listener = socket::listen_abstract(&address(&name)).unwrap();
    for (bytes, files) in &cases {
        let asking = {
            let name = name.clone();
            std::thread::spawn(move || {
                let observed = Connect::<u64>::to(&name).observer().err();
                (Connect::<u64>::to(&name).both().err(), observed)
            })
        };
        for _ in 0..2 {
            let _ = poll::wait_one(listener.as_fd(), 60_000);
            let connection = socket::accept(&listener).unwrap().expect("it connects twice");
            drop(socket::receive(&connection, true));
            socket::send(&connection, bytes, files).unwrap();
        }
        let (both, observed) = asking.join().unwrap();
        assert!(both.is_some() && observed.is_some(), "{bytes:?}");
    }
    let asking = std::thread::spawn(move || Channel::<u64>::connect(&name).err());
    let _ = poll::wait_one(listener.as_fd(), 60_000);
    drop(socket::accept(&listener).unwrap());
    let refusal = asking.join().unwrap();
    assert!(matches!(refusal, Some(NamedError::Gone { .. })), "{refusal:?}");
}

#[test]
fn a_name_that_another_user_has_bound_is_not_believed() {
    const TEST: &str = "a_name_that_another_user_has_bound_is_not_believed";
    const NOBODY: u32 = 65534;
    let _watchdog = Watchdog::start(TEST);
    if program::role().is_some() {
        let name = std::env::var("GORUN_TEST_NAME").unwrap();
        let _listener = socket::listen_abstract(&format!("gorun/0/{name}")).unwrap();
        loop {
            std::thread::park();
        }
    }
    if own_user() != 0 {
        println!("skipped: only root can start a program as another user");
        return;
    }
    let name = name("a_name_that_another_user");
    let mut command = program::again(TEST, "impostor");
    command.env("GORUN_TEST_NAME", &name).current_dir("/").uid(NOBODY).gid(NOBODY).stdout(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return println!("skipped: another user cannot run this test: {error}"),
    };
    let mut refusal = None;
    eventually(|| {
        refusal = Channel::<u64>::connect(&name).err();
        !matches!(refusal, Some(NamedError::NotFound { .. }))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(refusal, Some(NamedError::Impostor { found: NOBODY, expected: 0, .. })), "{refusal:?}");
}
