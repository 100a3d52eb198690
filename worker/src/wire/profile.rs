//! Profile: what each function's tasks cost, seat by seat.
//!
//! A seat has a table of functions, found by the function's id; its worker is the only writer, so counting takes no locked
//! instruction. Functions that find no place share the last one. One task in sixteen carries the time it was published, in
//! a stamp beside its lane, from which its worker knows how long it stood in line.

use gorun_macros::Shared;
use gorun_shm::counters::Counter;
use gorun_shm::histogram::Histogram;
use gorun_shm::sync::{AtomicU64, Ordering};

/// Functions a seat counts apart, the place of all others included.
pub const FUNCTIONS: usize = 64;
/// Words of a function's name.
pub const NAME_WORDS: usize = 16;
/// Positions of a lane from one stamp to the next, a power of two.
pub const STAMP_EVERY: u64 = 16;
/// Key of the place that functions share who have none of their own.
const OTHERS: u64 = u64::MAX;

/// What is known of a function's tasks in one seat. All zeroes while it is nobody's.
#[repr(C, align(64))]
#[derive(Debug, Shared)]
pub struct FunctionRecord {
    /// The function's id plus one, 0 for none. Written by the seat's worker, once.
    key: AtomicU64,
    /// Its tasks that ran to their end, items of ranges included. Written by the seat's worker, as all below.
    pub tasks: Counter,
    /// Of those, how many panicked.
    pub panics: Counter,
    /// Of those, how many were taken from another seat's lane.
    pub stolen: Counter,
    /// Bytes of their encoded inputs.
    pub input_bytes: Counter,
    /// Their run times in ticks, of a range the mean of its items.
    pub run_ticks: Histogram,
    /// Ticks that one in sixteen stood in line.
    pub queue_ticks: Histogram,
    /// Its name for readers who cannot look it up. Written by the host when it stops.
    name: [AtomicU64; NAME_WORDS],
}

impl FunctionRecord {
    /// The function's id; none of the place that several share.
    #[must_use]
    pub fn function(&self) -> Option<u64> {
        // Acquire: pairs with the Release in `find`.
        match self.key.load(Ordering::Acquire) {
            0 | OTHERS => None,
            key => Some(key - 1),
        }
    }

    /// True once it is somebody's.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.key.load(Ordering::Acquire) != 0 // Acquire: as above.
    }

    /// Leaves the name for readers; what is too long is cut.
    pub fn set_name(&self, name: &str) {
        let mut bytes = [0; NAME_WORDS * 8];
        let length = (0..=name.len().min(bytes.len())).rev().find(|length| name.is_char_boundary(*length));
        let cut = &name.as_bytes()[..length.unwrap_or(0)];
        bytes[..cut.len()].copy_from_slice(cut);
        for (place, word) in self.name.iter().zip(bytes.chunks_exact(8)) {
            let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            place.store(word, Ordering::Relaxed); // Relaxed: text for a person.
        }
    }

    /// The name that the host left, if it did.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        // Relaxed: text for a person.
        let bytes = self.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The place of a function in its seat's table. Only the seat's worker.
#[inline]
pub fn find(table: &[FunctionRecord], function: u64) -> Option<&FunctionRecord> {
    let (others, places) = table.split_last()?;
    let key = function.wrapping_add(1);
    // Multiplied by 2^64 / golden ratio: neighbours in the code land far apart. Knuth, The Art of Computer Programming 3, 6.4.
    let hash = function.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    // A product instead of a remainder: this runs for every task.
    let first = usize::try_from(hash.wrapping_mul(places.len() as u64) >> 32).unwrap_or(0);
    let (before, behind) = places.split_at_checked(first)?;
    for place in behind.iter().chain(before) {
        // Relaxed: written by this worker or one before it.
        match place.key.load(Ordering::Relaxed) {
            0 => {
                place.key.store(key, Ordering::Release); // Release: pairs with the Acquire of readers.
                return Some(place);
            }
            found if found == key => return Some(place),
            _ => {}
        }
    }
    others.key.store(OTHERS, Ordering::Release); // Release: as above.
    Some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(places: usize) -> Vec<FunctionRecord> {
        let record = || FunctionRecord {
            key: AtomicU64::new(0),
            tasks: Counter::default(),
            panics: Counter::default(),
            stolen: Counter::default(),
            input_bytes: Counter::default(),
            run_ticks: Histogram::default(),
            queue_ticks: Histogram::default(),
            name: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        (0..places).map(|_| record()).collect()
    }

    #[test]
    fn each_function_has_a_place_and_finds_it_again() {
        let table = table(8);
        for function in [0, 1, 16, u64::MAX - 2, 0] {
            find(&table, function).unwrap().tasks.add(1);
        }
        let counts = |function| {
            let mut of = table.iter().filter(|record| record.function() == Some(function));
            (of.next().map(|record| record.tasks.get()), of.count())
        };
        assert_eq!(
            [counts(0), counts(1), counts(16), counts(u64::MAX - 2)].map(|(tasks, _)| tasks),
            [Some(2), Some(1), Some(1), Some(1)]
        );
        assert_eq!(counts(0).1, 0);
    }

    #[test]
    fn functions_without_a_place_share_the_last() {
        let table = table(4);
        for function in 0..10 {
            find(&table, function).unwrap().tasks.add(1);
        }
        assert_eq!(table.iter().map(|record| record.tasks.get()).collect::<Vec<_>>().iter().sum::<u64>(), 10);
        assert_eq!((table[3].function(), table[3].is_used(), table[3].tasks.get()), (None, true, 7));
        assert!(find(&[], 1).is_none());
    }

    #[test]
    fn a_name_is_cut_where_a_letter_ends() {
        let table = table(1);
        assert_eq!(table[0].name(), None);
        table[0].set_name("crate::f");
        assert_eq!(table[0].name().as_deref(), Some("crate::f"));
        table[0].set_name(&"ä".repeat(100));
        assert_eq!(table[0].name(), Some("ä".repeat(64)));
    }
}
