//! What a thread has: its number among the threads of its process, and the locks it has taken.

use gorun_shm::sync::{AtomicU32, Ordering};
use std::cell::{Cell, RefCell};

thread_local! {
    /// 0 before the first lock.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
    /// Guards of mutexes and of reader-writer locks.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
    /// The locks that this thread reads, once for each guard: the first few, without what a vector costs.
    static READING: Reading = const { Reading { count: Cell::new(0), locks: [const { Cell::new(0) }; FEW] } };
    /// Those beyond.
    static READING_MORE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Read guards of a thread that need no vector.
const FEW: usize = 8;

struct Reading {
    count: Cell<usize>,
    locks: [Cell<usize>; FEW],
}

impl Reading {
    fn add(&self, lock: usize) -> bool {
        let count = self.count.get();
        let Some(place) = self.locks.get(count) else { return false };
        place.set(lock);
        self.count.set(count + 1);
        true
    }

    /// Takes away the one that was added last.
    fn remove(&self, lock: usize) -> bool {
        let count = self.count.get();
        let Some(index) = self.locks[..count].iter().rposition(|read| read.get() == lock) else {
            return false;
        };
        self.locks[index].set(self.locks[count - 1].get());
        self.count.set(count - 1);
        true
    }

    fn contains(&self, lock: usize) -> bool {
        self.locks[..self.count.get()].iter().any(|read| read.get() == lock)
    }
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
    GUARDS.set(GUARDS.get().saturating_sub(1));
}

/// True if this thread has no lock.
pub(super) fn nothing() -> bool {
    GUARDS.get() == 0
}

/// This thread reads `lock` once more.
#[inline]
pub(super) fn reads(lock: usize) {
    if !READING.with(|reading| reading.add(lock)) {
        READING_MORE.with_borrow_mut(|more| more.push(lock));
    }
    taken();
}

/// This thread reads `lock` once less.
#[inline]
pub(super) fn reads_no_more(lock: usize) {
    if !READING.with(|reading| reading.remove(lock)) {
        forget_one_more(lock);
    }
    given_back();
}

#[cold]
fn forget_one_more(lock: usize) {
    // A guard may be dropped while the thread's locals are: then nobody asks any more.
    let _ = READING_MORE.try_with(|more| {
        let mut more = more.borrow_mut();
        if let Some(index) = more.iter().position(|read| *read == lock) {
            more.swap_remove(index);
        }
    });
}

/// True if this thread reads `lock`.
pub(super) fn is_reading(lock: usize) -> bool {
    READING.with(|reading| reading.contains(lock)) || READING_MORE.with_borrow(|more| more.contains(&lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reads_are_told_apart_in_any_order() {
        (1..=20).for_each(reads);
        reads(3);
        assert!((1..=20).all(is_reading) && !is_reading(21) && !nothing());
        reads_no_more(3);
        assert!(is_reading(3), "once for each guard");
        for lock in (1..=20).step_by(2).chain((2..=20).step_by(2)) {
            reads_no_more(lock);
            assert!(!is_reading(lock));
        }
        assert!(nothing());
    }
}
