//! Verdict: finds a cause for every loss, and looks for tasks that ran twice.

use super::hunter::Hunt;
use super::plan::Kind;
use super::tally::{Loss, Tally};
use std::collections::{HashMap, HashSet};

/// What became of the losses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Doomed tasks that took their worker along, as planned.
    pub planned: u64,
    /// Tasks whose worker was killed from outside.
    pub killed_from_outside: u64,
    /// Tasks that waited for tasks of their own and whose worker, which helped meanwhile, came upon a doomed one.
    pub killed_while_helping: u64,
    /// All tasks that were lost; one that has told of lost tasks of its own is among them, once.
    pub lost: u64,
    /// Losses without a cause.
    pub without_cause: u64,
    /// Tasks that ran more than once.
    pub run_twice: u64,
    /// Tasks that have a value and no run, or were lost with a worker that never ran them.
    pub not_where_they_ran: u64,
}

impl Verdict {
    /// Tasks of which this reckoning has lost sight: none, or it proves nothing.
    #[must_use]
    pub fn unaccounted(&self, tally: &Tally) -> u64 {
        (tally.right + tally.planned + tally.wrong + self.lost).abs_diff(tally.submitted)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Planned,
    Outside,
    Helping,
    None,
}

/// Judges the losses of `tally` and adds its complaints to it.
#[must_use]
pub fn judge(tally: &mut Tally, hunt: &Hunt, runs: &HashMap<u64, Vec<i32>>) -> Verdict {
    let losses = std::mem::take(&mut tally.losses);
    let mut verdict = Verdict::default();
    let is_deadly = |loss: &&Loss| is_planned(loss, hunt);
    let deadly: HashSet<i32> = losses.iter().filter(is_deadly).map(|loss| loss.pid).collect();
    let mut parents_with_losses = HashSet::new();
    for loss in &losses {
        let cause = cause(loss, hunt, &deadly);
        if cause == Cause::None {
            tally.complain(format!("lost without cause: {loss:?}"));
        }
        // Two inner losses of one parent are one of the tasks that were handed over.
        let is_first = loss.kind != Kind::Inner || parents_with_losses.insert(loss.id & PARENT);
        verdict.lost += u64::from(is_first);
        match cause {
            Cause::Planned => verdict.planned += 1,
            Cause::Outside => verdict.killed_from_outside += u64::from(is_first),
            Cause::Helping => verdict.killed_while_helping += 1,
            Cause::None => verdict.without_cause += 1,
        }
    }
    verdict.without_cause += beyond_one_a_death(&losses, tally);
    look_at_runs(&mut verdict, tally, &losses, runs);
    verdict
}

const SIGALRM: i32 = 14;
/// Signals whose handler writes the stack down before the worker dies.
const FAULTS: [i32; 5] = [4, 6, 7, 8, 11];

/// What is left of an inner task's id: its parent's.
const PARENT: u64 = (1 << 61) - 1;

fn cause(loss: &Loss, hunt: &Hunt, deadly: &HashSet<i32>) -> Cause {
    let signals = hunt.kills.get(&loss.pid);
    // A fault sent while the task unwound: its stack could not be walked then, and the alarm ended the walk.
    let is_cut_short = |signal: &i32| loss.signal == Some(SIGALRM) && FAULTS.contains(signal);
    let fits =
        |signal: &i32| loss.signal == Some(*signal) || is_cut_short(signal) || may_be_unknown(loss, hunt);
    if is_planned(loss, hunt) {
        Cause::Planned
    } else if signals.is_some_and(|signals| signals.iter().any(fits)) {
        Cause::Outside
    } else if loss.kind.waits_inside() && deadly.contains(&loss.pid) {
        Cause::Helping
    } else {
        Cause::None
    }
}

fn is_planned(loss: &Loss, hunt: &Hunt) -> bool {
    let Kind::Doomed(doom) = loss.kind else { return false };
    let kills_its_worker = !doom.needs_a_deadline() && doom != super::plan::Doom::Panic;
    let was_hit = hunt.kills.contains_key(&loss.pid);
    loss.as_planned || kills_its_worker && !was_hit && may_be_unknown(loss, hunt)
}

/// Only a zygote's death may hide how a worker ended.
fn may_be_unknown(loss: &Loss, hunt: &Hunt) -> bool {
    let in_its_time = |kill: &u64| (loss.since_ns..=loss.until_ns).contains(kill);
    let hidden = hunt.orphans.contains(&loss.pid) || hunt.zygote_kills_ns.iter().any(in_its_time);
    loss.end_is_unknown() && hidden
}

/// A death costs one task, and those that waited inside of the same worker.
fn beyond_one_a_death(losses: &[Loss], tally: &mut Tally) -> u64 {
    let mut by_process: HashMap<i32, Vec<u64>> = HashMap::new();
    for loss in losses.iter().filter(|loss| !loss.kind.waits_inside()) {
        by_process.entry(loss.pid).or_default().push(loss.id);
    }
    let mut beyond = 0;
    for (pid, ids) in by_process.into_iter().filter(|(_, ids)| ids.len() > 1) {
        beyond += ids.len() as u64 - 1;
        tally.complain(format!("the death of {pid} cost more than one task: {ids:x?}"));
    }
    beyond
}

fn look_at_runs(verdict: &mut Verdict, tally: &mut Tally, losses: &[Loss], runs: &HashMap<u64, Vec<i32>>) {
    for (id, pids) in runs.iter().filter(|(_, pids)| pids.len() > 1) {
        verdict.run_twice += 1;
        tally.complain(format!("task {id:#x} ran in {pids:?}"));
    }
    for id in std::mem::take(&mut tally.noted) {
        if !runs.contains_key(&id) {
            verdict.not_where_they_ran += 1;
            tally.complain(format!("task {id:#x} has a value and never ran"));
        }
    }
    for loss in losses {
        if runs.get(&loss.id).is_some_and(|pids| !pids.contains(&loss.pid)) {
            verdict.not_where_they_ran += 1;
            tally.complain(format!("{loss:?} ran in {:?}", runs.get(&loss.id)));
        }
    }
}
