//! Memory under a POSIX name: with a program in C, and with whatever else may be behind a name.

#![cfg(feature = "shared_memory")]
#![expect(clippy::unwrap_used, reason = "a test that cannot do its work fails")]

use gorun::foreign::{ForeignError, RingError, RingReader, RingShape, RingWriter, Segment, unlink};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LONG: Option<Duration> = Some(Duration::from_secs(100));
const FIRST: u64 = 4096;

fn name(test: &str) -> String {
    format!("gorun-{test}-{}", std::process::id())
}

fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

/// The program in C, compiled anew.
fn program_in_c(test: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shouts-{test}-{}", std::process::id()));
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(package.join("include"))
        .arg(package.join("tests/foreign/shouts.c"))
        .arg("-o")
        .arg(&program)
        .arg("-lrt")
        .status();
    assert!(
        compiled.unwrap().success(),
        "cc, which every Rust machine has as its linker, compiles the program"
    );
    program
}

#[test]
fn a_program_in_c_answers_through_rings() {
    let name = name("a_program_in_c_answers");
    let shape = RingShape::new(4, 100);
    let second = FIRST + shape.bytes().next_multiple_of(64);
    let bytes = usize::try_from(second + shape.bytes()).unwrap();
    let segment = Segment::create(&name, bytes).unwrap();
    shape.format(&segment, FIRST).unwrap();
    shape.format(&segment, second).unwrap();
    segment.write(0, &41_u64).unwrap();
    let mut to = RingWriter::open(&segment, FIRST).unwrap();
    let mut from = RingReader::open(&segment, second).unwrap();
    let program = program_in_c("answers");
    let mut child = Command::new(&program)
        .args([segment.name(), &FIRST.to_string(), &second.to_string()])
        .spawn()
        .unwrap();
    // More than both rings hold, so that both sides sleep and wake.
    let writing = std::thread::spawn(move || {
        for number in 0..20_000_u32 {
            to.write(format!("message {number}").as_bytes(), LONG).unwrap();
        }
        assert!(matches!(to.try_write(&[0; 105]), Err(RingError::TooLong { bytes: 105, slot_bytes: 104 })));
        to.close();
    });
    for number in 0..20_000_u32 {
        assert_eq!(from.read(LONG).unwrap(), format!("MESSAGE {number}").into_bytes());
    }
    assert_eq!(from.read(LONG), Err(RingError::Closed));
    writing.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(segment.read::<u64>(8).unwrap(), 42);
    std::fs::remove_file(program).unwrap();
    drop(segment);
    assert!(!exists(&name));
}

#[test]
fn what_is_wrong_with_a_name_is_told() {
    let name = name("what_is_wrong_with_a_name");
    assert!(matches!(Segment::open(&name, 1), Err(ForeignError::Missing { .. })));
    assert!(matches!(unlink(&name), Err(ForeignError::Missing { .. })));
    for bad in ["", "/", "a/b", "..", "/.", "a\0b", &"x".repeat(255)] {
        assert!(matches!(Segment::create(bad, 1), Err(ForeignError::BadName { .. })), "{bad:?}");
    }
    let segment = Segment::create(&name, 4096).unwrap();
    assert!(matches!(Segment::create(&name, 4096), Err(ForeignError::Exists { .. })));
    let found = Segment::open(&format!("/{name}"), 4097);
    assert!(matches!(found, Err(ForeignError::TooSmall { found: 4096, asked: 4097, .. })), "{found:?}");
    assert_eq!(Segment::open(&name, 4096).unwrap().bytes(), 4096);
    assert!(exists(&name), "who only opened it leaves the name alone");
    drop(segment);
    // An object whose maker has not come so far.
    std::fs::write(Path::new("/dev/shm").join(&name), []).unwrap();
    let found = Segment::open(&name, 1);
    assert!(matches!(found, Err(ForeignError::TooSmall { found: 0, asked: 1, .. })), "{found:?}");
    unlink(&name).unwrap();
    assert!(!exists(&name));
}

#[test]
fn another_user_has_no_permission() {
    const NAME: &str = "GORUN_TEST_NAME";
    if let Ok(name) = std::env::var(NAME) {
        let refusal = Segment::open(&name, 1);
        assert!(matches!(refusal, Err(ForeignError::Permission { .. })), "{refusal:?}");
        return;
    }
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root can start a program as another user");
        return;
    }
    let segment = Segment::create(&name("another_user"), 4096).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_user_has_no_permission"]).env(NAME, segment.name()).current_dir("/");
    match command.uid(65534).gid(65534).output() {
        Err(error) => println!("skipped: another user cannot run this test: {error}"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn a_name_that_was_given_up_leaves_the_memory() {
    let name = name("a_name_that_was_given_up");
    let mut segment = Segment::create(&name, 4096).unwrap();
    let mut other = Segment::open(&name, 4096).unwrap();
    assert!(!other.give_name_up());
    assert!(segment.give_name_up() && !segment.give_name_up());
    assert!(!exists(&name));
    // Somebody else's, by the same name: it stays.
    let newer = Segment::create(&name, 64).unwrap();
    drop(segment);
    assert!(exists(&name));
    drop(newer);
    other.write(100, &[1_u16, 2, 3]).unwrap();
    assert_eq!(other.read::<[u16; 3]>(100).unwrap(), [1, 2, 3]);
    assert!(other.read::<[u8; 4096]>(1).is_err() && other.write(4096, &0_u8).is_err());
    assert!(other.view::<gorun_shm::sync::AtomicU64>(4).is_err(), "misaligned");
}

#[test]
fn a_ring_does_what_a_queue_does() {
    let name = name("a_ring_does_what_a_queue_does");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit).unwrap()
    };
    for round in 0..40 {
        let shape = RingShape::new(1 << (round % 4), 1 + 13 * (round / 4));
        let offset = 64 * u64::from(round % 3);
        let bytes = usize::try_from(offset + shape.bytes()).unwrap();
        let segment = Segment::create(&format!("{name}-{round}"), bytes).unwrap();
        shape.format(&segment, offset).unwrap();
        let (mut writer, mut reader) =
            (RingWriter::open(&segment, offset).unwrap(), RingReader::open(&segment, offset).unwrap());
        let (slots, slot_bytes) =
            (1 << (round % 4), usize::try_from(1 + 13 * (round / 4)).unwrap().next_multiple_of(8));
        let mut queue = std::collections::VecDeque::new();
        for step in 0..2000_u32 {
            match below(9) {
                0..4 => {
                    let message: Vec<u8> = (0..below(u64::try_from(slot_bytes).unwrap() + 2))
                        .map(|at| (at % 251).try_into().unwrap())
                        .collect();
                    let expected = match () {
                        () if message.len() > slot_bytes => {
                            Err(RingError::TooLong { bytes: message.len(), slot_bytes })
                        }
                        () if queue.len() == slots => Err(RingError::Full),
                        () => Ok(()),
                    };
                    assert_eq!(writer.try_write(&message), expected, "step {step}");
                    if expected.is_ok() {
                        queue.push_back(message);
                    }
                }
                4..8 => {
                    assert_eq!(reader.try_read(), queue.pop_front().ok_or(RingError::Empty), "step {step}")
                }
                // A writer and a reader that begin anew go on where the last ones stopped.
                _ => {
                    writer = RingWriter::open(&segment, offset).unwrap();
                    reader = RingReader::open(&segment, offset).unwrap();
                }
            }
        }
        writer.close();
        assert_eq!(writer.try_write(&[]), Err(RingError::Closed));
        for message in queue {
            assert_eq!(reader.try_read(), Ok(message));
        }
        assert_eq!(reader.try_read(), Err(RingError::Closed));
    }
}

#[test]
fn a_ring_full_of_nonsense_is_no_ring() {
    let name = name("a_ring_full_of_nonsense");
    let segment = Segment::create(&name, 1 << 16).unwrap();
    assert!(matches!(RingReader::open(&segment, 0), Err(RingError::NoRing)));
    let shape = RingShape::new(3, 10);
    assert!(matches!(shape.format(&segment, 1 << 16), Err(RingError::Outside(_))));
    shape.format(&segment, 64).unwrap();
    assert!(matches!(RingReader::open(&segment, 65), Err(RingError::Outside(_))));
    let (mut writer, mut reader) =
        (RingWriter::open(&segment, 64).unwrap(), RingReader::open(&segment, 64).unwrap());
    assert_eq!(reader.try_read(), Err(RingError::Empty));
    assert_eq!(reader.read(Some(Duration::from_millis(1))), Err(RingError::Empty));
    for number in 0..4_u64 {
        writer.write_plain(&number, None).unwrap();
    }
    assert_eq!(writer.try_write(&[1]), Err(RingError::Full));
    assert_eq!(reader.read_plain::<u64>(None), Ok(0));
    assert_eq!(reader.read_plain::<u32>(None), Err(RingError::OtherLength { bytes: 8, expected: 4 }));
    // A length, then positions, then a shape that cannot be.
    segment.write(64 + 256 + 2 * 24, &u64::MAX).unwrap();
    assert_eq!(reader.try_read(), Err(RingError::NoRing));
    segment.write(64 + 64, &u64::MAX).unwrap();
    assert_eq!(reader.try_read(), Err(RingError::NoRing));
    segment.write(64 + 128, &77_u64).unwrap();
    assert_eq!(writer.try_write(&[1]), Err(RingError::NoRing));
    for word in [0_u64, 3 | 16 << 32, 4 | 12 << 32, 1 << 25 | 16 << 32, 4 | 1 << 53, 1 << 20 | 1 << 52] {
        segment.write(64 + 8, &word).unwrap();
        assert!(RingReader::open(&segment, 64).is_err(), "{word:x}");
    }
}
