//! Segments refuse what could hurt their user later.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "clippy excuses unwrap in test functions, not in their helpers")]

use gorun_shm::os::memfd;
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_shm::{OutOfSegment, Segment, SegmentError};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::OwnedFd;
use std::sync::Arc;

const BYTES: usize = 8192;

fn unsealed(bytes: u64) -> OwnedFd {
    let file = memfd_create("gorun-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, bytes).unwrap();
    file
}

fn twin(segment: &Arc<Segment>) -> OwnedFd {
    segment.file().unwrap().try_clone_to_owned().unwrap()
}

#[test]
fn attaching_a_short_file_is_refused() {
    let file = memfd::create("gorun-test", BYTES as u64 - 1).unwrap();
    let refused = Segment::attach(file, BYTES).map(|_| ());
    assert!(matches!(refused, Err(SegmentError::NotASegment { found: 8191, expected: 8192, sealed: true })));
}

#[test]
fn attaching_an_unsealed_file_is_refused() {
    let refused = Segment::attach(unsealed(BYTES as u64), BYTES).map(|_| ());
    assert!(matches!(refused, Err(SegmentError::NotASegment { sealed: false, .. })));
}

#[test]
fn attaching_something_that_is_no_memfd_is_refused() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Segment::attach(file.into(), BYTES), Err(SegmentError::NotASegment { .. })));
}

#[test]
fn a_segment_file_neither_shrinks_nor_grows() {
    let segment = Segment::create("gorun-test", BYTES).unwrap();
    let file = segment.file().unwrap();
    assert!(ftruncate(file, 4096).is_err());
    assert!(ftruncate(file, 2 * BYTES as u64).is_err());
    assert_eq!(memfd::bytes(file).unwrap(), BYTES as u64);
}

#[test]
fn a_view_past_the_end_is_refused() {
    let segment = Segment::private(BYTES).unwrap();
    assert!(segment.view::<AtomicU64>(BYTES as u64 - 8).is_ok());
    for offset in [BYTES as u64, BYTES as u64 - 7, u64::MAX, u64::MAX - 7] {
        let refused = OutOfSegment { offset, count: 1, each: 8, bytes: BYTES };
        assert_eq!(segment.view::<AtomicU64>(offset).map(|_| ()), Err(refused));
    }
}

#[test]
fn a_view_of_too_many_elements_is_refused() {
    let segment = Segment::private(BYTES).unwrap();
    assert_eq!(segment.view_slice::<AtomicU64>(0, BYTES / 8).unwrap().len(), BYTES / 8);
    assert_eq!(segment.view_slice::<AtomicU64>(BYTES as u64, 0).unwrap().len(), 0);
    for count in [BYTES / 8 + 1, usize::MAX / 8 + 1, usize::MAX] {
        assert!(segment.view_slice::<AtomicU64>(0, count).is_err());
    }
}

#[test]
fn a_misaligned_view_is_refused() {
    let segment = Segment::private(BYTES).unwrap();
    for offset in [1, 4, 7, 9] {
        assert!(segment.view::<AtomicU64>(offset).is_err());
    }
}

#[test]
fn two_mappings_show_the_same_bytes() {
    let first = Segment::create("gorun-test", BYTES).unwrap();
    let second = Segment::attach(twin(&first), BYTES).unwrap();
    let (near, far) = (first.view::<AtomicU64>(64).unwrap(), second.view::<AtomicU64>(64).unwrap());
    assert!(!std::ptr::eq(&raw const *near, &raw const *far));
    near.store(7, Ordering::Relaxed); // Relaxed: one thread.
    assert_eq!(far.load(Ordering::Relaxed), 7); // Relaxed: one thread.
}

#[test]
fn a_view_keeps_its_segment_mapped() {
    let view = Segment::private(BYTES).unwrap().view::<AtomicU64>(0).unwrap();
    view.store(7, Ordering::Relaxed); // Relaxed: one thread.
    assert_eq!(view.clone().load(Ordering::Relaxed), 7); // Relaxed: one thread.
}

#[test]
fn an_observer_sees_what_is_written() {
    let segment = Segment::create("gorun-test", BYTES).unwrap();
    let observer = Segment::observe(twin(&segment), BYTES).unwrap();
    segment.view::<AtomicU64>(0).unwrap().store(7, Ordering::Relaxed); // Relaxed: one thread.
    assert_eq!(observer.view::<AtomicU64>(0).unwrap().load(Ordering::Relaxed), 7); // Relaxed: one thread.
}

#[test]
fn populating_past_the_end_is_refused() {
    let segment = Segment::private(BYTES).unwrap();
    assert!(segment.populate(0, BYTES).is_ok());
    assert!(segment.populate(4096, BYTES).is_err());
    assert!(segment.populate(u64::MAX, 1).is_err());
}
