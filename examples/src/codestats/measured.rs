//! One run of the job with its times, and the run on a plain thread.

use std::time::Duration;

use super::count::{FileTask, count_file, warm_up};
use super::progress::Progress;
use super::stopwatch::Stopwatch;
use super::tally::{Tally, Verdict};

/// What one worker seat did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatShare {
    /// Number of the seat.
    pub(crate) seat: usize,
    /// The core it is pinned to, if any.
    pub(crate) cpu: Option<usize>,
    /// Tasks it ran.
    pub(crate) tasks: u64,
    /// Time it spent in tasks.
    pub(crate) busy: Duration,
    /// Times it was filled again.
    pub(crate) restarts: u64,
}

/// One run of the job.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// As the report calls it.
    pub(crate) name: String,
    /// From nothing to a runtime that takes tasks.
    pub(crate) start: Duration,
    /// From the first task to the last result.
    pub(crate) count: Duration,
    /// Summing up the results in the host.
    pub(crate) merge: Duration,
    /// The sum.
    pub(crate) tally: Tally,
    /// Shares of the seats; empty for a plain thread.
    pub(crate) seats: Vec<SeatShare>,
}

impl Measured {
    /// Counts all files on the calling thread.
    pub(crate) fn on_this_thread(tasks: &[FileTask]) -> Measured {
        let progress = Progress::new("plain thread", tasks.len());
        let watch = Stopwatch::start();
        let count_one = |task: &FileTask| {
            let outcome = count_file(task.clone());
            progress.advance();
            Verdict::Done(outcome)
        };
        let verdicts: Vec<Verdict> = tasks.iter().map(count_one).collect();
        let count = watch.elapsed();
        let (tally, merge) = merged(tasks, verdicts);
        Measured {
            name: "plain thread".to_owned(),
            start: Duration::ZERO,
            count,
            merge,
            tally,
            seats: Vec::new(),
        }
    }

    /// Part of the time of all seats that was spent in tasks, 0 to 1; `None` without seats.
    pub(crate) fn utilisation(&self) -> Option<f64> {
        let available = self.count.as_secs_f64() * self.seats.len() as f64;
        (available > 0.0).then(|| self.busy().as_secs_f64() / available)
    }

    /// Time all seats together spent in tasks.
    pub(crate) fn busy(&self) -> Duration {
        self.seats.iter().map(|seat| seat.busy).sum()
    }
}

/// Sums up, with the time it took.
pub(crate) fn merged(tasks: &[FileTask], verdicts: Vec<Verdict>) -> (Tally, Duration) {
    let watch = Stopwatch::start();
    let tally = Tally::of(tasks, verdicts);
    (tally, watch.elapsed())
}

/// Reads every file once, so that the first run does not pay for the disk. What cannot be read is told by the runs.
pub(crate) fn warm_up_all(tasks: &[FileTask]) {
    let progress = Progress::new("warm-up", tasks.len());
    for task in tasks {
        let _ = warm_up(task.path());
        progress.advance();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilisation_is_the_busy_part_of_all_seats() {
        let busy = |seat, seconds| SeatShare {
            seat,
            cpu: None,
            tasks: 1,
            busy: Duration::from_secs(seconds),
            restarts: 0,
        };
        let mut measured = Measured::on_this_thread(&[]);
        assert_eq!(measured.utilisation(), None);
        measured.count = Duration::from_secs(4);
        measured.seats = vec![busy(0, 3), busy(1, 1)];
        assert_eq!(measured.utilisation(), Some(0.5));
    }
}
