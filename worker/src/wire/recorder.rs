//! Flight recorder: the last tasks of a worker, each with its function and times, read by the host after its death.
//!
//! One writer, the worker's thread; a handful of stores a task, into lines that nobody else touches. The host reads only
//! when that thread is dead. A worker gone wild may write anything here: the numbers are for people.

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
struct Place {
    /// Code id of the task's function, 0 while the place is empty.
    function: AtomicU64,
    /// When it began, in ticks.
    began: AtomicU64,
    /// When it ended, in ticks; 0 while it runs.
    ended: AtomicU64,
    /// Which task it was, as an intent's word.
    task: AtomicU64,
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
    /// Which task it was, as an intent's word.
    pub task: u64,
}

impl Recorder {
    /// Empties it for the record's next worker.
    pub fn clear(&self) {
        for place in &self.flights {
            place.function.store(0, Ordering::Relaxed); // Relaxed: the fork that follows orders it.
        }
    }

    /// The worker's flight number `flight`, counted from 0, begins.
    #[inline]
    pub fn begin(&self, flight: u64, function: u64, task: u64, ticks: u64) {
        let place = self.place(flight);
        // Relaxed, all of these: read after this thread is dead, which orders everything.
        place.function.store(function, Ordering::Relaxed);
        place.began.store(ticks, Ordering::Relaxed); // Relaxed: as above.
        place.ended.store(0, Ordering::Relaxed); // Relaxed: as above.
        place.task.store(task, Ordering::Relaxed); // Relaxed: as above.
    }

    /// The flight ended; `latest` is the number of the last one that began, which may have taken its place.
    #[inline]
    pub fn end(&self, flight: u64, latest: u64, ticks: u64) {
        if latest.wrapping_sub(flight) < FLIGHTS as u64 {
            self.place(flight).ended.store(ticks, Ordering::Relaxed); // Relaxed: as in `begin`.
        }
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

    #[inline]
    fn place(&self, flight: u64) -> &Place {
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of places")]
        &self.flights[(flight % FLIGHTS as u64) as usize]
    }
}

impl Place {
    fn read(&self) -> Flight {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed); // Relaxed: the writer is dead.
        let ended = word(&self.ended);
        Flight {
            function: CodeId::known(word(&self.function)),
            began: word(&self.began),
            ended: (ended != 0).then_some(ended),
            task: word(&self.task),
        }
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
            recorder.begin(flight, 7, 70, 100 + flight);
            recorder.end(flight, flight, 200 + flight);
        }
        assert_eq!(began(&recorder), (124..140).rev().collect::<Vec<u64>>());
        let last = Flight { function: Some(CodeId(7)), began: 139, ended: Some(239), task: 70 };
        assert_eq!(recorder.read()[0], last);
        recorder.clear();
        assert_eq!(recorder.read(), []);
    }

    #[test]
    fn a_flight_that_ends_after_many_others_does_not_end_one_of_them() {
        let recorder = Recorder::default();
        recorder.begin(0, 7, 0, 1);
        for flight in 1..=16 {
            recorder.begin(flight, 8, 0, 1 + flight);
        }
        recorder.end(0, 16, 99);
        assert!(recorder.read().iter().all(|flight| flight.ended.is_none()));
    }
}
