//! What a thread has: its number among the threads of its process, and the locks it has taken.

use gorun_shm::sync::{AtomicU32, Ordering};
use std::cell::{Cell, RefCell};

thread_local! {
    /// 0 before the first lock.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
    /// Guards of mutexes and of reader-writer locks.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
    /// The locks that this thread reads, once for each guard.
    static READING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Next thread's number. The locks of a fork are not those of its parent, so it may go on counting.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// This thread's number in its process.
#[inline]
pub(super) fn thread() -> u32 {
    let number = NUMBER.get();
    if number != 0 { number } else { first() }
}

#[cold]
fn first() -> u32 {
    let number = NEXT.fetch_add(1, Ordering::Relaxed); // Relaxed: only the number matters.
    NUMBER.set(number);
    number
}

/// This thread has a lock more.
#[inline]
pub(super) fn taken() {
    GUARDS.set(GUARDS.get() + 1);
}

/// This thread has a lock less.
#[inline]
pub(super) fn given_back() {
    // A guard may be dropped while the thread's locals are: then nobody asks any more.
    let _ = GUARDS.try_with(|guards| guards.set(guards.get().saturating_sub(1)));
}

/// True if this thread has no lock.
pub(super) fn nothing() -> bool {
    GUARDS.get() == 0
}

/// This thread reads `lock` once more.
#[inline]
pub(super) fn reads(lock: usize) {
    READING.with_borrow_mut(|reading| reading.push(lock));
    taken();
}

/// This thread reads `lock` once less.
#[inline]
pub(super) fn reads_no_more(lock: usize) {
    let _ = READING.try_with(|reading| {
        let mut reading = reading.borrow_mut();
        if let Some(index) = reading.iter().rposition(|read| *read == lock) {
            reading.swap_remove(index);
        }
    });
    given_back();
}

/// True if this thread reads `lock`.
pub(super) fn is_reading(lock: usize) -> bool {
    READING.with_borrow(|reading| reading.contains(&lock))
}
