//! Attack: writing nonsense over the segment of another program's living runtime.

use crate::eventually;
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{Segment, ViewSlice};
use gorun_worker::os::socket;
use gorun_worker::wire::map::Map;
use rustix::fd::AsFd;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// A program under attack.
#[derive(Debug)]
pub struct Attacked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The segment of its runtime.
    pub segment: Arc<Segment>,
    /// Where everything lies in it.
    pub map: Map,
}

/// Starts the program under a name to which it hands its segment, as to a launcher.
///
/// # Panics
/// If that fails.
#[must_use]
pub fn start(program: &str, test: &str) -> Attacked {
    let name = format!("gorun-test-hostile-{}-{test}", std::process::id());
    let listener = socket::listen_abstract(&name).expect("listen under an abstract name");
    let mut child = Command::new(program)
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
    /// Words of the segment.
    ///
    /// # Panics
    /// If they lie outside of it.
    #[must_use]
    pub fn words(&self, from: u64, to: u64) -> ViewSlice<AtomicU64> {
        let count = usize::try_from((to - from) / 8).expect("a count");
        self.segment.view_slice(from, count).expect("words of the segment")
    }

    /// Where the tables of the blocks begin: behind the notice rings, on the next page.
    #[must_use]
    pub fn blocks_start(&self) -> u64 {
        let shape = self.map.shape;
        let words = u64::from(shape.records) * u64::from(shape.notice_slots) * 8;
        (self.map.notice_words + words).next_multiple_of(4096)
    }

    /// Ends the program and asserts that it ended as an honest one does; gives what it said.
    ///
    /// # Panics
    /// If it did not.
    pub fn end(mut self) -> String {
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
        said
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(0x5EED_0000_0000_0001 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small, large, or anything.
    pub fn word(&mut self) -> u64 {
        match self.draw() % 6 {
            0 => 0,
            1 => u64::MAX,
            2 => self.draw() % 64,
            3 => 1 << (self.draw() % 64),
            4 => (self.draw() % 4) | (self.draw() << 32),
            _ => self.draw(),
        }
    }
}

/// Writes nonsense to `times` places between two offsets.
pub fn scribble(attacked: &Attacked, from: u64, to: u64, times: usize) {
    let words = attacked.words(from, to);
    let mut numbers = Numbers::from_seed(from);
    for _ in 0..times {
        let place = usize::try_from(numbers.draw()).unwrap_or(0) % words.len();
        words[place].store(numbers.word(), Ordering::Relaxed); // Relaxed: nonsense needs no order.
        std::hint::spin_loop();
    }
}
