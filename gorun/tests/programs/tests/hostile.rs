//! Somebody writes nonsense over the segment of a living runtime: the host answers with errors, and never panics.

use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{Segment, ViewSlice};
use gorun_test_programs::{Watchdog, eventually};
use gorun_worker::os::socket;
use gorun_worker::wire::map::{AttachError, Map};
use rustix::fd::AsFd;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

struct Attacked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    segment: Arc<Segment>,
    map: Map,
}

/// Starts the program under a name to which it hands its segment, as to a launcher.
fn start(test: &str) -> Attacked {
    let name = format!("gorun-test-hostile-{}-{test}", std::process::id());
    let listener = socket::listen_abstract(&name).expect("listen under an abstract name");
    let mut child = Command::new(env!("CARGO_BIN_EXE_attacked"))
        .env("GORUN_REPORT", &name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    let mut connection = None;
    eventually(|| {
        connection = socket::accept(listener.as_fd()).expect("accept the program");
        connection.is_some()
    });
    let packet =
        socket::receive(connection.expect("a connection"), true).expect("receive").expect("a packet");
    let bytes: [u8; 8] = packet.bytes[..].try_into().expect("a size");
    let file = packet.descriptors.into_iter().next().expect("a descriptor");
    let bytes = usize::try_from(u64::from_ne_bytes(bytes)).expect("a size");
    let segment = Segment::attach(file, bytes).expect("map the segment");
    let map = Map::read(&segment, None).expect("read the map");
    let stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("read what it says");
    assert_eq!(line, "started\n");
    Attacked { child, stdin, stdout, segment, map }
}

impl Attacked {
    fn words(&self, from: u64, to: u64) -> ViewSlice<AtomicU64> {
        let count = usize::try_from((to - from) / 8).expect("a count");
        self.segment.view_slice(from, count).expect("words of the segment")
    }

    /// Where the tables of the blocks begin: behind the notice rings, on the next page.
    fn blocks_start(&self) -> u64 {
        let shape = self.map.shape;
        let words = u64::from(shape.records) * u64::from(shape.notice_slots) * 8;
        (self.map.notice_words + words).next_multiple_of(4096)
    }

    /// Ends the program and asserts that it ended as an honest one does.
    fn end(mut self) {
        drop(self.stdin);
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("read what it says");
        let status = self.child.wait().expect("wait for the program");
        let mut complaints = String::new();
        self.child
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut complaints)
            .expect("read its complaints");
        assert!(status.success() && said.ends_with("dropped\n"), "{status}: {said}\n{complaints}");
        assert!(!complaints.contains("panicked"), "{complaints}");
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small, large, or anything.
    fn word(&mut self) -> u64 {
        match self.next() % 6 {
            0 => 0,
            1 => u64::MAX,
            2 => self.next() % 64,
            3 => 1 << (self.next() % 64),
            4 => (self.next() % 4) | (self.next() << 32),
            _ => self.next(),
        }
    }
}

fn scribble(attacked: &Attacked, from: u64, to: u64, times: usize) {
    let words = attacked.words(from, to);
    let mut numbers = Numbers(0x5EED_0000_0000_0001 ^ from.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for _ in 0..times {
        let place = usize::try_from(numbers.next()).unwrap_or(0) % words.len();
        words[place].store(numbers.word(), Ordering::Relaxed); // Relaxed: nonsense needs no order.
        std::hint::spin_loop();
    }
}

#[test]
fn nonsense_in_lane_headers_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_lane_headers_gives_errors");
    let attacked = start("lanes");
    let (from, to) = (attacked.map.lanes, attacked.map.slots);
    for _ in 0..50 {
        scribble(&attacked, from, to, 50);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn nonsense_in_notice_rings_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_notice_rings_gives_errors");
    let attacked = start("notices");
    let (from, to) = (attacked.map.notice_headers, attacked.blocks_start());
    for _ in 0..50 {
        scribble(&attacked, from, to, 500);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn nonsense_in_block_tables_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_block_tables_gives_errors");
    let attacked = start("blocks");
    let from = attacked.blocks_start();
    for _ in 0..50 {
        scribble(&attacked, from, from + (1 << 20), 2000);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn nonsense_in_the_books_gives_numbers_not_panics() {
    let _watchdog = Watchdog::start("nonsense_in_the_books_gives_numbers_not_panics");
    let attacked = start("books");
    // Not the host's own page: its bell and its spin are the host's and nobody could say what they should be.
    let (from, to) = (attacked.map.seats, attacked.map.workers);
    for _ in 0..50 {
        scribble(&attacked, from, to, 2000);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn nonsense_in_worker_records_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_worker_records_gives_errors");
    let attacked = start("workers");
    let (from, to) = (attacked.map.workers, attacked.map.lanes);
    for _ in 0..50 {
        scribble(&attacked, from, to, 100);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn a_header_that_was_changed_is_refused_by_name() {
    let _watchdog = Watchdog::start("a_header_that_was_changed_is_refused_by_name");
    let attacked = start("header");
    let header = attacked.words(0, 80);
    // In the order of the header: magic, version, build, size, seats.
    let wrong = |place: usize, value: u64| {
        let before = header[place].swap(value, Ordering::SeqCst); // SeqCst: simplest, and not hot.
        let refusal =
            Map::read(&attacked.segment, Some(header[2].load(Ordering::SeqCst) ^ u64::from(place == 2)));
        header[place].store(before, Ordering::SeqCst);
        refusal.expect_err("a changed header")
    };
    assert!(matches!(wrong(0, 1), AttachError::NotGorun { found: 1 }));
    assert!(matches!(wrong(1, 99), AttachError::LayoutVersion { found: 99, .. }));
    assert!(matches!(wrong(2, 7), AttachError::Build { found: 7, expected: 6 }));
    assert!(matches!(wrong(3, 1), AttachError::Short { .. }));
    assert!(matches!(wrong(4, 0), AttachError::Shape));
    assert!(matches!(wrong(4, u64::MAX), AttachError::Shape));
    assert!(matches!(wrong(6, 3), AttachError::Shape));
    assert!(matches!(wrong(9, 1 << 40), AttachError::Shape));
    attacked.end();
}

#[test]
fn nonsense_in_slots_gives_errors() {
    let _watchdog = Watchdog::start("nonsense_in_slots_gives_errors");
    let attacked = start("slots");
    let (from, to) = (attacked.map.slots, attacked.map.notice_headers);
    for _ in 0..50 {
        scribble(&attacked, from, to, 20_000);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}

#[test]
fn nonsense_everywhere_does_not_hang_the_host() {
    let _watchdog = Watchdog::start("nonsense_everywhere_does_not_hang_the_host");
    let attacked = start("everything");
    // Not the host's own page, as above.
    let (from, to) = (attacked.map.seats, attacked.blocks_start() + (1 << 20));
    for _ in 0..50 {
        scribble(&attacked, from, to, 20_000);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    attacked.end();
}
