//! Vitals: what a look at a worker from outside says of its health. Pure: samples and the time in, findings out.
//!
//! A worker writes nothing for this. It is seen to get on by what its record holds anyway: which task it is inside of,
//! how far a range has come, how many tasks its seat has finished. Whatever has not changed between looks has stood
//! still for the time between them. A look that comes late, because the host itself was stopped, counts as one in time.

use std::time::Duration;

/// What one look found in a worker's record and in the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    /// Which life of the record.
    pub(crate) birth: u32,
    /// The outermost task it is inside of, and how far a range has come there.
    pub(crate) task: Option<(u64, u64)>,
    /// Tasks its seat has finished.
    pub(crate) tasks: u64,
    /// It sleeps until its bell rings.
    pub(crate) is_parked: bool,
    /// A task stands in its seat's lane that nobody has started.
    pub(crate) has_waiting: bool,
    /// The kernel has stopped it.
    pub(crate) is_stopped: bool,
}

/// From which time on something is worth a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) stuck_ns: u64,
    pub(crate) stopped_ns: u64,
    /// A worker that neither sleeps nor runs a task while one stands in its lane.
    pub(crate) searching_ns: u64,
    /// Pause between two looks.
    pub(crate) look_ns: u64,
}

/// What is wrong with a worker, and for how long. Each is found once, until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is inside of one task.
    Stuck(Duration),
    /// A signal has stopped it.
    Stopped(Duration),
    /// It does not take what stands in its lane.
    Searching(Duration),
}

/// What is known of one worker from earlier looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vitals {
    last: Option<(Sample, u64)>,
    in_task_ns: u64,
    stopped_ns: u64,
    searching_ns: u64,
    told: [bool; 3],
}

impl Vitals {
    /// Takes one look down.
    pub(crate) fn look(&mut self, sample: Sample, patience: Patience, now_ns: u64) -> Vec<Finding> {
        let (last, seen_ns) =
            self.last.unwrap_or((Sample { birth: sample.birth, ..Sample::default() }, now_ns));
        if last.birth != sample.birth {
            *self = Self::default();
            return self.look(sample, patience, now_ns);
        }
        let passed_ns = now_ns.saturating_sub(seen_ns).min(patience.look_ns.saturating_mul(2));
        let mut count = |counter: &mut u64, place: usize, goes_on: bool| {
            *counter = if goes_on { *counter + passed_ns } else { 0 };
            self.told[place] &= goes_on;
        };
        // A stopped task is no stuck one, but it is the same task when it goes on.
        let same_task = sample.task.is_some() && sample.task == last.task && sample.tasks == last.tasks;
        count(&mut self.in_task_ns, 0, same_task);
        count(&mut self.stopped_ns, 1, sample.is_stopped && last.is_stopped);
        let searches = |sample: &Sample| sample.task.is_none() && sample.has_waiting && !sample.is_stopped;
        count(&mut self.searching_ns, 2, searches(&sample) && searches(&last) && sample.tasks == last.tasks);
        self.last = Some((sample, now_ns));
        self.find(sample, patience)
    }

    fn find(&mut self, sample: Sample, patience: Patience) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut tell = |place: usize, holds: bool, finding: Finding| {
            if holds && !std::mem::replace(&mut self.told[place], true) {
                findings.push(finding);
            }
        };
        let time = Duration::from_nanos;
        let stuck = self.in_task_ns >= patience.stuck_ns && !sample.is_stopped;
        tell(0, stuck, Finding::Stuck(time(self.in_task_ns)));
        let stopped = sample.is_stopped && self.stopped_ns >= patience.stopped_ns;
        tell(1, stopped, Finding::Stopped(time(self.stopped_ns)));
        let searching = self.searching_ns >= patience.searching_ns;
        tell(2, searching, Finding::Searching(time(self.searching_ns)));
        findings
    }

    /// True if it was found stuck and still is.
    pub(crate) fn is_stuck(&self) -> bool {
        self.told[0]
    }

    /// How long it has been inside of its task, as far as looks tell.
    pub(crate) fn in_task(&self) -> Option<Duration> {
        let (sample, _) = self.last?;
        sample.task.map(|_| Duration::from_nanos(self.in_task_ns))
    }

    /// The last look.
    pub(crate) fn sample(&self) -> Option<Sample> {
        self.last.map(|(sample, _)| sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { stuck_ns: 100, stopped_ns: 50, searching_ns: 40, look_ns: 20 };
    const IN_TASK: Sample = Sample {
        birth: 1,
        task: Some((7, 0)),
        tasks: 3,
        is_parked: false,
        has_waiting: false,
        is_stopped: false,
    };

    /// Looks every 20 ns with what `sample` says for each look; gives when what was found.
    fn looks(count: u64, sample: impl Fn(u64) -> Sample) -> Vec<(u64, Finding)> {
        let mut vitals = Vitals::default();
        let look = |n| vitals.look(sample(n), PATIENCE, n * 20).into_iter().map(move |finding| (n, finding));
        (0..count).flat_map(look).collect()
    }

    #[test]
    fn a_task_that_goes_on_is_told_once() {
        let found = looks(50, |_| IN_TASK);
        assert_eq!(found, [(5, Finding::Stuck(Duration::from_nanos(100)))]);
    }

    #[test]
    fn progress_of_any_kind_is_no_standstill() {
        assert_eq!(looks(50, |n| Sample { task: Some((n / 5, 0)), ..IN_TASK }), [], "another task");
        assert_eq!(looks(50, |n| Sample { task: Some((7, n / 5)), ..IN_TASK }), [], "an item of a range");
        assert_eq!(looks(50, |n| Sample { tasks: n / 5, ..IN_TASK }), [], "the lane's position came round");
        assert_eq!(
            looks(50, |n| Sample { birth: u32::try_from(n / 5).unwrap(), ..IN_TASK }),
            [],
            "another worker"
        );
    }

    #[test]
    fn a_second_standstill_is_told_again() {
        let found = looks(20, |n| Sample { task: Some((n / 10, 0)), ..IN_TASK });
        assert_eq!(found.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [5, 15]);
    }

    #[test]
    fn a_stopped_worker_is_told_as_stopped_and_not_as_stuck() {
        let found = looks(30, |_| Sample { is_stopped: true, ..IN_TASK });
        assert_eq!(found, [(3, Finding::Stopped(Duration::from_nanos(60)))]);
        assert_eq!(
            looks(30, |n| Sample { is_stopped: n % 3 != 0, ..IN_TASK }).len(),
            1,
            "stuck between stops"
        );
    }

    #[test]
    fn a_worker_that_takes_nothing_from_its_full_lane_is_told() {
        let searching = Sample { task: None, has_waiting: true, ..IN_TASK };
        assert_eq!(looks(30, |_| searching), [(2, Finding::Searching(Duration::from_nanos(40)))]);
        assert_eq!(looks(30, |n| Sample { tasks: n, ..searching }), []);
        assert_eq!(looks(30, |n| Sample { has_waiting: n % 2 == 0, ..searching }), []);
    }

    #[test]
    fn a_host_that_slept_does_not_blame_its_workers() {
        let mut vitals = Vitals::default();
        assert_eq!(vitals.look(IN_TASK, PATIENCE, 0), []);
        assert_eq!(vitals.look(IN_TASK, PATIENCE, 1_000_000), []);
        assert_eq!(vitals.in_task(), Some(Duration::from_nanos(40)));
    }
}
