//! Profile: what the tasks of each function cost, counted by the workers all the time.

use crate::runtime::Runtime;
use crate::stats;
use crate::symbols;
use gorun_shm::histogram::{Histogram, HistogramSnapshot};
use gorun_shm::os::ticks::Rate;
use gorun_worker::function::CodeId;
use gorun_worker::wire::commons::Commons;
use gorun_worker::wire::profile::FunctionRecord;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What the tasks of each function cost, the busiest first. See [`Runtime::profile`].
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// One for each function; those that found no place of their own, after 63 in a worker, are the last together.
    pub functions: Vec<FunctionProfile>,
}

/// What the tasks of one function cost.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FunctionProfile {
    /// Its name, or where it lies if the program was stripped of names.
    pub name: String,
    /// Tasks that ran to their end, items of maps included.
    pub tasks: u64,
    /// Of those, how many panicked.
    pub panics: u64,
    /// Of those, how many another worker took than the one they were given to.
    pub stolen: u64,
    /// Bytes of their encoded inputs.
    pub input_bytes: u64,
    /// Time spent in them, up to an eighth wrong for the items of maps.
    pub busy: Duration,
    /// Run times; of a map's items the mean of each range that was run at once.
    pub run: Times,
    /// How long tasks stood in line before they were started: of one in sixteen, and of no task that a task started.
    pub queue: Times,
    /// Tasks by seat.
    pub seats: Vec<u64>,
}

/// How long something took. Quantiles are off by an eighth at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Times {
    /// How many were measured; without any, all below are zero.
    pub count: u64,
    /// Half took no longer.
    pub p50: Duration,
    /// Nine in ten took no longer.
    pub p90: Duration,
    /// Ninety-nine in a hundred took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Times {
    fn of(times: &HistogramSnapshot, rate: Rate) -> Self {
        let quantile = |q| rate.duration(times.quantile(q).unwrap_or(0));
        Self {
            count: times.count(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: rate.duration(times.max()),
        }
    }
}

impl Runtime {
    /// What the tasks of each function cost: counts, times in line and running, where they ran. Counted always; reading
    /// looks names up, which takes milliseconds.
    ///
    /// ```
    /// use gorun_runtime::{Runtime, Task};
    ///
    /// let runtime = Runtime::builder().workers(1).build()?;
    /// for n in 0..100_u64 {
    ///     Task::with(n, |n| n * n).go_on(&runtime).join()?;
    /// }
    /// let profile = runtime.profile();
    /// assert_eq!(profile.functions[0].tasks, 100);
    /// println!("{profile}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile::read(&self.dispatcher().commons, Some(&self.libraries()))
    }
}

/// The sum over all seats, for one function.
struct Sum<'a> {
    records: Vec<(usize, &'a FunctionRecord)>,
}

impl Profile {
    /// Reads the tables of a segment. Names come from this program's own symbols if it is the program that runs there, which
    /// has `libraries`; otherwise from what the host left.
    pub(crate) fn read(commons: &Commons, libraries: Option<&[String]>) -> Self {
        let rate = stats::rate_of(commons);
        let mut sums: BTreeMap<Option<u64>, Sum<'_>> = BTreeMap::new();
        for (number, seat) in (0..).zip(0..commons.map.shape.seats) {
            for record in commons.profile(seat).iter().filter(|record| record.is_used()) {
                let sum = sums.entry(record.function()).or_insert(Sum { records: Vec::new() });
                sum.records.push((number, record));
            }
        }
        let seats = commons.seats.len();
        let mut functions: Vec<_> = sums
            .into_iter()
            .map(|(function, sum)| {
                sum.finish(function.map(|id| name_of(id, &sum.records, libraries)), seats, rate)
            })
            .collect();
        functions.sort_by_key(|function| std::cmp::Reverse(function.busy));
        Self { functions }
    }

    /// Leaves the functions' names in the segment, for readers that are another program.
    pub(crate) fn leave_names(commons: &Commons, libraries: &[String]) {
        let mut names = BTreeMap::new();
        for seat in 0..commons.map.shape.seats {
            for record in commons.profile(seat) {
                let Some(function) = record.function() else { continue };
                let name = names.entry(function).or_insert_with(|| symbol(function, libraries));
                record.set_name(name);
            }
        }
    }
}

impl Sum<'_> {
    fn finish(&self, name: Option<String>, seats: usize, rate: Rate) -> FunctionProfile {
        // Wrapping: the segment may be another program's, and corrupt.
        let sum = |number: fn(&FunctionRecord) -> u64| {
            self.records.iter().map(|(_, record)| number(record)).fold(0, u64::wrapping_add)
        };
        let merged = |histogram: fn(&FunctionRecord) -> &Histogram| {
            self.records.iter().fold(HistogramSnapshot::default(), |mut all, (_, record)| {
                all.merge(&histogram(record).snapshot());
                all
            })
        };
        let run = merged(|record| &record.run_ticks);
        let tasks = sum(|record| record.tasks.get());
        let mut by_seat = vec![0; seats];
        for (seat, record) in &self.records {
            by_seat[*seat] = record.tasks.get();
        }
        FunctionProfile {
            name: name.unwrap_or_else(|| "all others".to_owned()),
            tasks,
            panics: sum(|record| record.panics.get()),
            stolen: sum(|record| record.stolen.get()),
            input_bytes: sum(|record| record.input_bytes.get()),
            busy: rate.duration(run.mean()).saturating_mul(u32::try_from(tasks).unwrap_or(u32::MAX)),
            run: Times::of(&run, rate),
            queue: Times::of(&merged(|record| &record.queue_ticks), rate),
            seats: by_seat,
        }
    }
}

fn name_of(function: u64, records: &[(usize, &FunctionRecord)], libraries: Option<&[String]>) -> String {
    match libraries {
        Some(libraries) => symbol(function, libraries),
        None => {
            let left = records.iter().find_map(|(_, record)| record.name());
            left.unwrap_or_else(|| format!("function at {function:#x}"))
        }
    }
}

fn symbol(function: u64, libraries: &[String]) -> String {
    match CodeId::known(function) {
        Some(id) => symbols::function(id, libraries).name,
        None => format!("function at {function:#x}"),
    }
}

impl fmt::Display for Profile {
    /// A table, a line for each function.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>10} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}  function",
            "tasks", "panics", "busy", "run p50", "run p99", "queue p50", "queue p99"
        )?;
        for function in &self.functions {
            let FunctionProfile { tasks, panics, busy, run, queue, name, .. } = function;
            let times = [*busy, run.p50, run.p99, queue.p50, queue.p99].map(|time| format!("{time:.1?}"));
            let [busy, run_p50, run_p99, queue_p50, queue_p99] = times;
            writeln!(
                f,
                "{tasks:>10} {panics:>8} {busy:>10} {run_p50:>10} {run_p99:>10} {queue_p50:>10} {queue_p99:>10}  {name}"
            )?;
        }
        Ok(())
    }
}
