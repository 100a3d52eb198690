//! Flight recorder: the last tasks of a worker, each with its function and times, read by the host after its death.
//!
//! One writer, the worker's thread; three stores a task, into lines that nobody else touches. The host reads only when
//! that thread is dead. A worker gone wild may write anything here: the numbers are for people.

use crate::function::CodeId;
use gorun_macros::Shared;
use gorun_shm::sync::{AtomicU64, Ordering};

/// Tasks that are kept.
pub const FLIGHTS: usize = 16;

/// See the module's head.
#[repr(C, align(128))]
#[derive(Debug, Default, Shared)]
pub struct Recorder {
    flights: [Place; FLIGHTS],
}

/// Two to a cache line.
#[repr(C, align(32))]
#[derive(Debug, Default, Shared)]
pub struct Place {
    /// Code id of the task's function, 0 while the place is empty.
    function: AtomicU64,
    /// When it began, in ticks.
    began: AtomicU64,
    /// When it ended, in ticks; less than `began`, from an earlier flight, while it runs.
    ended: AtomicU64,
}

/// One task of a worker that is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// Its function.
    pub function: Option<CodeId>,
    /// When it began, in ticks.
    pub began: u64,
    /// When it ended, in ticks; none if it never did.
    pub ended: Option<u64>,
}

impl Recorder {
    /// Empties it for the record's next worker.
    pub fn clear(&self) {
        for place in &self.flights {
            // Relaxed, both: the fork that follows orders these.
            place.function.store(0, Ordering::Relaxed);
            place.ended.store(0, Ordering::Relaxed); // Relaxed: as above.
        }
    }

    /// The worker's flight number `flight`, counted from 0, begins; its place, for the end.
    #[inline]
    pub fn begin(&self, flight: u64, function: u64, ticks: u64) -> &Place {
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of places")]
        let place = &self.flights[(flight % FLIGHTS as u64) as usize];
        // Relaxed, both: read after this thread is dead, which orders everything.
        place.function.store(function, Ordering::Relaxed);
        place.began.store(ticks, Ordering::Relaxed); // Relaxed: as above.
        place
    }

    /// The flights that are kept, the last one first. Only after the writer's death.
    #[must_use]
    pub fn read(&self) -> Vec<Flight> {
        // Relaxed, all of these: the writer is dead.
        let flights = self.flights.iter().filter(|place| place.function.load(Ordering::Relaxed) != 0);
        let mut flights: Vec<Flight> = flights.map(Place::read).collect();
        flights.sort_by_key(|flight| std::cmp::Reverse(flight.began));
        flights
    }
}

impl Place {
    /// The flight that began at `began` ended, unless later ones have taken its place meanwhile.
    #[inline]
    pub fn end(&self, began: u64, ticks: u64) {
        // Relaxed, both: only this thread writes them.
        if self.began.load(Ordering::Relaxed) == began {
            self.ended.store(ticks, Ordering::Relaxed); // Relaxed: as above.
        }
    }

    fn read(&self) -> Flight {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed); // Relaxed: the writer is dead.
        let (began, ended) = (word(&self.began), word(&self.ended));
        let function = CodeId::known(word(&self.function));
        Flight { function, began, ended: (ended >= began).then_some(ended) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(recorder: &Recorder) -> Vec<u64> {
        recorder.read().iter().map(|flight| flight.began).collect()
    }

    #[test]
    fn the_last_flights_are_kept_the_last_one_first() {
        let recorder = Recorder::default();
        assert_eq!(recorder.read(), []);
        for flight in 0..40 {
            recorder.begin(flight, 7, 100 + flight).end(100 + flight, 200 + flight);
        }
        assert_eq!(began(&recorder), (124..140).rev().collect::<Vec<u64>>());
        let last = Flight { function: Some(CodeId(7)), began: 139, ended: Some(239) };
        assert_eq!(recorder.read()[0], last);
        recorder.clear();
        assert_eq!(recorder.read(), []);
    }

    #[test]
    fn a_flight_that_ends_after_many_others_does_not_end_one_of_them() {
        let recorder = Recorder::default();
        let first = recorder.begin(0, 7, 1);
        for flight in 1..=16 {
            recorder.begin(flight, 8, 1 + flight);
        }
        first.end(1, 99);
        assert!(recorder.read().iter().all(|flight| flight.ended.is_none()));
    }
}
