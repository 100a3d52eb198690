//! Somebody writes nonsense over the segment of a living runtime: the host answers with errors, and never panics.

use gorun_shm::sync::Ordering;
use gorun_test_programs::Watchdog;
use gorun_test_programs::attack::{self, Attacked, scribble};
use gorun_worker::wire::map::{AttachError, Map};

fn start(test: &str) -> Attacked {
    attack::start(env!("CARGO_BIN_EXE_attacked"), test)
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
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
    let _ = attacked.end();
}
