//! Balance: to which seat the next task goes. The rules here are pure; `home` knows the seats and asks them.

use crate::error::BuildError;
use crate::topology::NameError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Entries of a schedule by weight for each seat, so that shares are right to less than one in a hundred.
const ENTRIES_PER_SEAT: usize = 64;

/// How tasks are spread over the seats. Idle workers take tasks from others all the same, unless `work_stealing` is off.
#[derive(Clone, Default)]
pub enum LoadBalancing {
    /// The seat that will probably come to it first: tasks in line times their usual time, plus what a wake-up costs.
    #[default]
    LeastBusy,
    /// One after the other.
    RoundRobin,
    /// Each seat as often as its weight says; one weight for each seat, not all of them zero.
    Weighted(Vec<u32>),
    /// Whatever this one says.
    Custom(Arc<dyn Policy>),
}

/// A rule of your own for [`LoadBalancing::Custom`].
///
/// ```
/// use gorun_runtime::{LoadBalancing, Policy, Runtime, SeatLoad, Task, TaskFacts};
/// use std::sync::Arc;
///
/// /// Large inputs go to the first seat, all others to the rest.
/// struct BySize;
///
/// impl Policy for BySize {
///     fn choose(&self, task: &TaskFacts, seats: &[SeatLoad]) -> usize {
///         let rest = seats.iter().skip(1).filter(|seat| seat.has_worker).min_by_key(|seat| seat.queued);
///         match rest {
///             Some(seat) if task.input_bytes < 1 << 20 => seat.seat,
///             _ => 0,
///         }
///     }
/// }
///
/// let balancing = LoadBalancing::Custom(Arc::new(BySize));
/// let runtime = Runtime::builder().workers(2).load_balancing(balancing).build()?;
/// assert_eq!(Task::new(|| 7_u8).go_on(&runtime).join(), Ok(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Policy: Send + Sync {
    /// The seat for this task. Called by whoever starts a task, often at the same time by several threads, so it should take
    /// some nanoseconds and wait for nobody.
    ///
    /// A seat that is not there or has no worker, or a panic, is not taken: the least busy one gets the task.
    fn choose(&self, task: &TaskFacts, seats: &[SeatLoad]) -> usize;
}

/// What a policy sees of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskFacts {
    /// Names its function, in this run of the program.
    pub function: u64,
    /// Bytes of its encoded input.
    pub input_bytes: u32,
}

impl TaskFacts {
    pub(crate) fn new(function: u64, input_bytes: u32) -> Self {
        Self { function, input_bytes }
    }
}

/// What a policy sees of a seat. Numbers may be a moment old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeatLoad {
    /// Its number.
    pub seat: usize,
    /// Tasks started and not taken back yet, the running one included.
    pub queued: u64,
    /// How long its last tasks took, smoothed; zero if it had none.
    pub usual_time: Duration,
    /// True if a worker sits there.
    pub has_worker: bool,
    /// True if the worker sleeps and would have to be woken.
    pub is_asleep: bool,
    /// Its processor, if it is pinned to one.
    pub cpu: Option<u32>,
}

impl SeatLoad {
    pub(crate) fn new(seat: usize) -> Self {
        Self { seat, queued: 0, usual_time: Duration::ZERO, has_worker: false, is_asleep: false, cpu: None }
    }
}

impl LoadBalancing {
    pub(crate) const NAMES: &'static str = "least-busy, round-robin, or weights such as 3,1,1";

    pub(crate) fn check(&self, seats: u16) -> Result<(), BuildError> {
        let Self::Weighted(weights) = self else { return Ok(()) };
        if weights.len() == usize::from(seats) && weights.iter().any(|weight| *weight > 0) {
            return Ok(());
        }
        let allowed = format!("{seats} weights, one for each worker, at least one of them not zero");
        Err(BuildError::OutOfRange { key: "load_balancing", value: self.to_string(), allowed })
    }
}

/// Asks a policy; none if it panics.
pub(crate) fn ask(policy: &dyn Policy, task: &TaskFacts, seats: &[SeatLoad]) -> Option<usize> {
    catch_unwind(AssertUnwindSafe(|| policy.choose(task, seats))).ok()
}

/// A round in which each seat comes as often as its weight says, as evenly as it can: always the seat that is furthest
/// behind its share comes next.
pub(crate) fn schedule(weights: &[u32]) -> Box<[u16]> {
    let entries = weights.len() * ENTRIES_PER_SEAT;
    let mut served = vec![0_u64; weights.len()];
    let next = |served: &mut Vec<u64>| {
        let seats = (0..).zip(weights).filter(|(_, weight)| **weight > 0);
        // Least (served + 1) / weight, compared without dividing.
        let due = seats.min_by(|(one, one_weight), (other, other_weight)| {
            let cost = |seat: usize, weight: u32| u128::from(served[seat] + 1) * u128::from(weight);
            cost(*one, **other_weight).cmp(&cost(*other, **one_weight))
        });
        let seat = due.map_or(0, |(seat, _)| seat);
        served[seat] += 1;
        u16::try_from(seat).unwrap_or(0)
    };
    (0..entries).map(|_| next(&mut served)).collect()
}

impl FromStr for LoadBalancing {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.trim() {
            "least-busy" => Ok(Self::LeastBusy),
            "round-robin" => Ok(Self::RoundRobin),
            weights => {
                let weights: Result<_, _> = weights.split(',').map(|weight| weight.trim().parse()).collect();
                weights.map(Self::Weighted).map_err(|_| NameError::new(text, Self::NAMES))
            }
        }
    }
}

impl fmt::Display for LoadBalancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastBusy => f.write_str("least-busy"),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::Weighted(weights) => {
                f.write_str(&weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

impl fmt::Debug for LoadBalancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadBalancing({self})")
    }
}

impl PartialEq for LoadBalancing {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::LeastBusy, Self::LeastBusy) | (Self::RoundRobin, Self::RoundRobin) => true,
            (Self::Weighted(one), Self::Weighted(other)) => one == other,
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for LoadBalancing {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seats_come_as_often_as_their_weights_say_and_evenly() {
        let round = schedule(&[3, 1, 0, 2]);
        assert_eq!(round[..6], [0, 3, 0, 0, 1, 3]);
        assert!(!round.contains(&2));
    }

    #[test]
    fn weights_are_checked() {
        let check = |weights: &[u32], seats| LoadBalancing::Weighted(weights.to_vec()).check(seats);
        assert!(check(&[1, 2], 2).is_ok());
        for (weights, seats) in [(&[1, 2][..], 3), (&[0, 0], 2), (&[], 0)] {
            let error = check(weights, seats).unwrap_err().to_string();
            assert!(error.contains("one for each worker"), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["least-busy", "round-robin", "3,1,1"] {
            assert_eq!(text.parse::<LoadBalancing>().map(|rule| rule.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "best", "1,x", "-1", "NaN"] {
            assert!(text.parse::<LoadBalancing>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_that_panics_has_no_say() {
        struct Panics;
        impl Policy for Panics {
            fn choose(&self, _: &TaskFacts, _: &[SeatLoad]) -> usize {
                panic!("no idea")
            }
        }
        assert_eq!(ask(&Panics, &TaskFacts::new(1, 2), &[]), None);
    }

    proptest! {
        #[test]
        fn shares_are_right_to_one_task(weights in prop::collection::vec(0_u32..20, 1..12)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let round = schedule(&weights);
            let total: u32 = weights.iter().sum();
            for (seat, weight) in (0_u16..).zip(&weights) {
                let served = round.iter().filter(|other| **other == seat).count() as f64;
                let share = round.len() as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((served - share).abs() <= weights.len() as f64, "{seat}: {served} of {share}");
            }
        }
    }
}
