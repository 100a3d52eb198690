//! Swaps the global allocator for one that counts.
// UNSAFETY: a global allocator is an unsafe trait.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use gorun::prelude::*;
use gorun_shm::sync::{AtomicU64, Ordering};
use gorun_test_programs::{Death, Watchdog};
use std::alloc::{GlobalAlloc, Layout, System};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed); // Relaxed: a counter.
        // SAFETY: the caller's layout is passed on as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's place came from `alloc` above with this layout.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed) // Relaxed: a counter.
}

fn main() -> Result<(), TaskError> {
    let _watchdog = Watchdog::start("counts_memory");
    let in_worker = go_parallel(|| {
        let before = counted();
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        (counted() - before, texts)
    });
    let (allocations, texts) = in_worker.join()?;
    println!("texts {} counted {}", texts.len(), allocations >= 100 && counted() > 0);
    let lost = go_parallel(|| -> u8 { Death::Abort.die() }).join().is_err();
    println!("lost {lost} then {}", go_parallel(|| vec![1_u8; 100_000]).join()?.len());
    Ok(())
}
