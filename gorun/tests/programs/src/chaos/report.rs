//! Report: the numbers of one run, as text and as JSON.

use super::hunter::Hunt;
use super::tally::Tally;
use super::verdict::Verdict;
use super::vitals::Vitals;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What an allocator may keep and a reckoning needs; what is lost with each of thousands of deaths is more.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// See the module's head.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Report {
    /// Repeats the run.
    pub seed: u64,
    /// How long tasks were submitted.
    pub seconds: f64,
    /// Tasks handed over, items of maps included, tasks of tasks not.
    pub submitted: u64,
    /// Those with the right value.
    pub right: u64,
    /// Those that failed as planned.
    pub planned: u64,
    /// Those whose worker was killed from outside.
    pub killed_from_outside: u64,
    /// Those that waited for tasks of their own in a worker that came upon a doomed one while it helped.
    pub killed_while_helping: u64,
    /// Must be 0: lost, and nobody knows why; or more lost with a worker than it ran.
    pub lost_without_cause: u64,
    /// Must be 0: wrong values, and failures of another kind than planned.
    pub wrong: u64,
    /// Must be 0: no progress for longer than anything may take, or a seat that was not filled again.
    pub hung: u64,
    /// Must be 0.
    pub run_twice: u64,
    /// Must be 0: processes, descriptors, mappings, files that are still there.
    pub leftovers: u64,
    /// Must be 0: the host's own memory, or the used part of the segment, has grown by more than slack.
    pub grown: u64,
    /// Must be 0: 1 if tasks ran on threads in the end.
    pub degraded: u64,
    /// `(right + planned) / submitted`.
    pub availability: f64,
    /// Tasks a second.
    pub throughput: f64,
    /// Deadly signals from outside.
    pub outside_kills: u64,
    /// Workers stopped from outside.
    pub outside_stops: u64,
    /// Zygotes killed.
    pub zygote_kills: u64,
    /// Workers that took a seat after its first.
    pub restarts: u64,
    /// From the kill of a seated worker to the next in its seat: half were sooner.
    pub recovery_p50_us: u64,
    /// 99 in 100 were sooner.
    pub recovery_p99_us: u64,
    /// The host's own memory before the first task and after the last process.
    pub anonymous_bytes: [u64; 2],
    /// The used part of the segment when half of the time was over and when all was.
    pub segment_bytes: [u64; 2],
    /// The host's descriptors before and after.
    pub descriptors: [usize; 2],
    /// What was wrong, in words.
    pub complaints: Vec<String>,
}

impl Report {
    /// The numbers of a run of which nobody hung.
    #[must_use]
    pub fn of(seed: u64, took: Duration, tally: Tally, hunt: &Hunt, verdict: &Verdict) -> Self {
        let mut recoveries = hunt.recoveries_us.clone();
        recoveries.sort_unstable();
        let (right, planned) = (tally.right, tally.planned + verdict.planned);
        let submitted = tally.submitted;
        Self {
            seed,
            seconds: took.as_secs_f64(),
            submitted,
            right,
            planned,
            killed_from_outside: verdict.killed_from_outside,
            killed_while_helping: verdict.killed_while_helping,
            lost_without_cause: verdict.without_cause,
            wrong: tally.wrong + verdict.not_where_they_ran + verdict.unaccounted(&tally),
            hung: hunt.never_filled,
            run_twice: verdict.run_twice,
            availability: (right + planned) as f64 / submitted.max(1) as f64,
            throughput: submitted as f64 / took.as_secs_f64().max(0.001),
            outside_kills: hunt.kills.values().map(|signals| signals.len() as u64).sum(),
            outside_stops: hunt.stops,
            zygote_kills: hunt.zygote_kills_ns.len() as u64,
            recovery_p50_us: quantile(&recoveries, 50),
            recovery_p99_us: quantile(&recoveries, 99),
            complaints: tally.complaints,
            ..Self::default()
        }
    }

    /// Compares the host before, in the middle of, at the end of and after the runtime's life.
    pub fn compare(&mut self, [before, middle, end, after]: [&Vitals; 4]) {
        self.anonymous_bytes = [before.anonymous_bytes, after.anonymous_bytes];
        self.segment_bytes = [middle.segment_bytes, end.segment_bytes];
        self.descriptors = [before.descriptors.len(), after.descriptors.len()];
        if after.descriptors != before.descriptors {
            self.left(1, format!("descriptors {:?} were {:?}", after.descriptors, before.descriptors));
        }
        if after.segments != before.segments {
            self.left(1, format!("{} mappings of a segment", after.segments));
        }
        for [first, last] in [self.anonymous_bytes, self.segment_bytes] {
            if last > first + GROWTH_BYTES_MAX {
                self.grown += 1;
                self.complaints.push(format!("grown from {first} to {last} bytes"));
            }
        }
    }

    /// Adds to what is still there.
    pub fn left(&mut self, count: usize, what: String) {
        self.leftovers += count as u64;
        if count > 0 {
            self.complaints.push(format!("left: {what}"));
        }
    }

    /// The numbers that must be 0, with their names.
    #[must_use]
    pub fn must_be_zero(&self) -> [(&'static str, u64); 7] {
        [
            ("lost without cause", self.lost_without_cause),
            ("wrong", self.wrong),
            ("hung", self.hung),
            ("run twice", self.run_twice),
            ("leftovers", self.leftovers),
            ("grown", self.grown),
            ("degraded", self.degraded),
        ]
    }

    /// True if all of them are.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.must_be_zero().iter().all(|(_, count)| *count == 0)
    }
}

fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} for {:.1} s, {:.0} tasks/s", self.seed, self.seconds, self.throughput)?;
        writeln!(f, "submitted {} right {} failed as planned {}", self.submitted, self.right, self.planned)?;
        writeln!(
            f,
            "killed from outside {} while helping {}, availability {:.5}",
            self.killed_from_outside, self.killed_while_helping, self.availability
        )?;
        writeln!(
            f,
            "kills from outside {} stops {} zygotes {} restarts {}, recovery p50 {} us p99 {} us",
            self.outside_kills,
            self.outside_stops,
            self.zygote_kills,
            self.restarts,
            self.recovery_p50_us,
            self.recovery_p99_us
        )?;
        writeln!(
            f,
            "own memory {:?} segment {:?} bytes, descriptors {:?}",
            self.anonymous_bytes, self.segment_bytes, self.descriptors
        )?;
        let zeros = self.must_be_zero().map(|(name, count)| format!("{name} {count}"));
        writeln!(f, "must be 0: {}", zeros.join(", "))?;
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "{complaint}"))
    }
}
