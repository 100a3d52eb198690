//! Plan: which processors each seat's worker may use. Pure: a topology, a placement and a number of seats give a plan.

use super::{Cpu, Topology};
use gorun_worker::cpu_set::CpuSet;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Where workers run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Placement {
    /// Each seat is pinned to a processor of its own, round and round if there are more seats. Seats with near numbers
    /// are near each other.
    #[default]
    PerCore,
    /// Each seat may use the processors under one last-level cache; the seats are spread over the caches evenly.
    PerL3,
    /// Each seat may use the processors of one NUMA node; the seats are spread over the nodes evenly.
    PerNode,
    /// Seats are pinned to these processors, in this order, round and round.
    Cores(Vec<u32>),
    /// The kernel decides.
    None,
}

impl Placement {
    pub(crate) const NAMES: &'static str =
        "per-core, per-l3, per-node, none, or a list of processors such as 0-3,8";
}

/// A text names nothing of what a setting may be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not known; allowed: {allowed}")]
pub struct NameError {
    text: String,
    allowed: &'static str,
}

impl NameError {
    pub(crate) fn new(text: &str, allowed: &'static str) -> Self {
        Self { text: text.to_owned(), allowed }
    }
}

impl FromStr for Placement {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.trim() {
            "per-core" => Ok(Self::PerCore),
            "per-l3" => Ok(Self::PerL3),
            "per-node" => Ok(Self::PerNode),
            "none" => Ok(Self::None),
            list => {
                // One by one: their order is the seats'.
                let cpus: Result<Vec<CpuSet>, _> = list.split(',').map(str::parse).collect();
                match cpus {
                    Ok(cpus) if cpus.iter().all(|cpus| !cpus.is_empty()) => {
                        Ok(Self::Cores(cpus.iter().flat_map(CpuSet::iter).collect()))
                    }
                    _ => Err(NameError::new(text, Self::NAMES)),
                }
            }
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerCore => f.write_str("per-core"),
            Self::PerL3 => f.write_str("per-l3"),
            Self::PerNode => f.write_str("per-node"),
            Self::Cores(cpus) => {
                f.write_str(&cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Self::None => f.write_str("none"),
        }
    }
}

/// What is done with the further processors of a core, on a machine with SMT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Smt {
    /// Every core gets one seat before any gets a second.
    #[default]
    Spread,
    /// A core's processors are filled one after the other.
    Pack,
    /// Only the first processor of each core is used.
    Avoid,
}

impl Smt {
    pub(crate) const NAMES: &'static str = "spread, pack, avoid";
}

impl FromStr for Smt {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.trim() {
            "spread" => Ok(Self::Spread),
            "pack" => Ok(Self::Pack),
            "avoid" => Ok(Self::Avoid),
            _ => Err(NameError::new(text, Self::NAMES)),
        }
    }
}

impl fmt::Display for Smt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spread => "spread",
            Self::Pack => "pack",
            Self::Avoid => "avoid",
        })
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// A processor was named that this process may not use, or that does not exist.
    #[error("processor {cpu} does not exist or may not be used by this process; usable are {usable}")]
    NotUsable {
        /// Its number.
        cpu: u32,
        /// Those that are.
        usable: Box<CpuSet>,
    },
    /// [`Placement::Cores`] names none.
    #[error("no processor is named; usable are {usable}")]
    NoCpu {
        /// Those that are.
        usable: Box<CpuSet>,
    },
}

/// Where a seat's worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SeatPlan {
    /// The processors it may use; none if the kernel decides.
    pub cpus: CpuSet,
    /// The kernel's number of the NUMA node that all of them belong to, if one does.
    pub node: Option<u32>,
}

/// Where the workers of a runtime run, seat by seat.
///
/// ```
/// use gorun_runtime::topology::{Placement, Plan, Smt, Topology};
///
/// let machine = Topology::synthetic("node:2 core:2 pu:2")?;
/// let plan = Plan::new(&machine, &Placement::PerCore, Smt::Spread, 6)?;
/// let cpus: Vec<_> = plan.seats().iter().map(|seat| seat.cpus.to_string()).collect();
/// assert_eq!(cpus, ["0", "2", "4", "6", "1", "3"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    seats: Vec<SeatPlan>,
}

impl Plan {
    /// For `seats` seats on the processors of `usable`.
    ///
    /// # Errors
    /// [`PlacementError`] if a processor is named that is not there.
    pub fn new(
        usable: &Topology,
        placement: &Placement,
        smt: Smt,
        seats: usize,
    ) -> Result<Self, PlacementError> {
        let groups = match placement {
            Placement::None => Vec::new(),
            Placement::PerCore => {
                ordered(usable, smt).iter().map(|cpu| CpuSet::from_iter([cpu.id])).collect()
            }
            Placement::PerL3 => grouped(usable, smt, |cpu| cpu.l3),
            Placement::PerNode => grouped(usable, smt, |cpu| cpu.node),
            Placement::Cores(cpus) => named(usable, cpus)?,
        };
        let spread = matches!(placement, Placement::PerL3 | Placement::PerNode);
        let seat = |seat: usize| {
            let count = groups.len();
            let group = match count {
                0 => return SeatPlan { cpus: CpuSet::default(), node: None },
                // Evenly, and seats with near numbers together.
                _ if spread => seat * count / seats,
                _ => seat % count,
            };
            SeatPlan { cpus: groups[group], node: node_of(usable, &groups[group]) }
        };
        Ok(Self { seats: (0..seats).map(seat).collect() })
    }

    /// Where each seat runs.
    #[must_use]
    pub fn seats(&self) -> &[SeatPlan] {
        &self.seats
    }

    /// The processors of a seat; empty if the kernel decides.
    #[must_use]
    pub fn cpus_of(&self, seat: usize) -> CpuSet {
        self.seats.get(seat).map(|seat| seat.cpus).unwrap_or_default()
    }
}

/// Processors in the order in which seats take them.
fn ordered(usable: &Topology, smt: Smt) -> Vec<Cpu> {
    let mut cpus = usable.cpus().to_vec();
    match smt {
        Smt::Pack => {}
        // The sort is stable: first threads in order of nearness, then second ones.
        Smt::Spread => cpus.sort_by_key(|cpu| rank(usable, cpu)),
        Smt::Avoid => cpus.retain(|cpu| rank(usable, cpu) == 0),
    }
    cpus
}

/// Which of the usable processors of its core it is: the first may be missing.
fn rank(usable: &Topology, cpu: &Cpu) -> usize {
    usable.cpus().iter().filter(|other| other.core == cpu.core && other.thread < cpu.thread).count()
}

fn grouped(usable: &Topology, smt: Smt, key: impl Fn(&Cpu) -> u32) -> Vec<CpuSet> {
    let cpus = if smt == Smt::Avoid { ordered(usable, smt) } else { usable.cpus().to_vec() };
    let groups = cpus.chunk_by(|one, other| key(one) == key(other));
    groups.map(|group| group.iter().map(|cpu| cpu.id).collect()).collect()
}

fn named(usable: &Topology, cpus: &[u32]) -> Result<Vec<CpuSet>, PlacementError> {
    if cpus.is_empty() {
        return Err(PlacementError::NoCpu { usable: Box::new(usable.cpu_set()) });
    }
    let one = |cpu: &u32| match usable.cpu(*cpu) {
        Some(_) => Ok(CpuSet::from_iter([*cpu])),
        None => Err(PlacementError::NotUsable { cpu: *cpu, usable: Box::new(usable.cpu_set()) }),
    };
    cpus.iter().map(one).collect()
}

fn node_of(usable: &Topology, cpus: &CpuSet) -> Option<u32> {
    let node = usable.node_of(cpus.first()?)?;
    cpus.iter().all(|cpu| usable.node_of(cpu) == Some(node)).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(machine: &str, placement: &Placement, smt: Smt, seats: usize) -> Vec<String> {
        let machine = Topology::synthetic(machine).unwrap();
        let plan = Plan::new(&machine, placement, smt, seats).unwrap();
        plan.seats.iter().map(|seat| seat.cpus.to_string()).collect()
    }

    #[test]
    fn every_core_gets_a_seat_before_any_gets_two() {
        assert_eq!(plan("core:2 pu:2", &Placement::PerCore, Smt::Spread, 5), ["0", "2", "1", "3", "0"]);
        assert_eq!(plan("core:2 pu:2", &Placement::PerCore, Smt::Pack, 4), ["0", "1", "2", "3"]);
        assert_eq!(plan("core:2 pu:2", &Placement::PerCore, Smt::Avoid, 3), ["0", "2", "0"]);
    }

    #[test]
    fn groups_are_spread_over_evenly() {
        let machine = "node:2 l3:2 core:2 pu:2";
        assert_eq!(plan(machine, &Placement::PerL3, Smt::Spread, 4), ["0-3", "4-7", "8-11", "12-15"]);
        assert_eq!(plan(machine, &Placement::PerL3, Smt::Spread, 2), ["0-3", "8-11"]);
        assert_eq!(plan(machine, &Placement::PerNode, Smt::Avoid, 3), ["0,2,4,6", "0,2,4,6", "8,10,12,14"]);
    }

    #[test]
    fn named_processors_are_taken_in_the_order_named() {
        assert_eq!(plan("core:4", &Placement::Cores(vec![3, 1]), Smt::Spread, 3), ["3", "1", "3"]);
        assert_eq!(plan("core:4", &Placement::None, Smt::Spread, 2), ["", ""]);
        let machine = Topology::synthetic("core:4").unwrap();
        let error = Plan::new(&machine, &Placement::Cores(vec![4]), Smt::Spread, 1).unwrap_err();
        assert!(error.to_string().contains("processor 4") && error.to_string().contains("0-3"), "{error}");
        assert!(Plan::new(&machine, &Placement::Cores(Vec::new()), Smt::Spread, 1).is_err());
    }

    #[test]
    fn two_nodes_of_64_cores() {
        let machine = Topology::synthetic("package:2 l3:8 core:8 pu:2").unwrap();
        let plan = Plan::new(&machine, &Placement::PerCore, Smt::Spread, 128).unwrap();
        let cpus: CpuSet = plan.seats.iter().filter_map(|seat| seat.cpus.single()).collect();
        assert_eq!(cpus.len(), 128, "a core each, and no two on one");
        assert!(cpus.iter().all(|cpu| cpu % 2 == 0), "first threads only");
        let nodes: Vec<_> = plan.seats.chunk_by(|one, other| one.node == other.node).collect();
        assert_eq!(
            nodes.iter().map(|seats| (seats[0].node, seats.len())).collect::<Vec<_>>(),
            [(Some(0), 64), (Some(1), 64)]
        );
        let per_l3 = Plan::new(&machine, &Placement::PerL3, Smt::Spread, 16).unwrap();
        assert!(per_l3.seats.iter().all(|seat| seat.cpus.len() == 16 && seat.node.is_some()));
    }

    #[test]
    fn what_may_not_be_used_is_left_out() {
        let machine = Topology::synthetic("core:4 pu:2").unwrap().restricted(&"1,4-5,7".parse().unwrap());
        let plan = Plan::new(&machine, &Placement::PerCore, Smt::Spread, 4).unwrap();
        let cpus: Vec<_> = plan.seats.iter().map(|seat| seat.cpus.single().unwrap()).collect();
        assert_eq!(cpus, [1, 4, 7, 5]);
    }

    #[test]
    fn placements_are_written_as_they_are_read() {
        for text in ["per-core", "per-l3", "per-node", "none", "8,0,3"] {
            assert_eq!(text.parse::<Placement>().map(|placement| placement.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("8,0-2".parse(), Ok(Placement::Cores(vec![8, 0, 1, 2])));
        for text in ["spread", "pack", "avoid"] {
            assert_eq!(text.parse::<Smt>().map(|smt| smt.to_string()).as_deref(), Ok(text));
        }
        assert!("on".parse::<Smt>().unwrap_err().to_string().contains("spread, pack, avoid"));
        assert!("".parse::<Placement>().is_err());
        assert!("per-rack".parse::<Placement>().is_err());
    }

    proptest! {
        #[test]
        fn a_plan_uses_what_there_is_evenly(
            nodes in 1_u32..4, l3s in 1_u32..4, cores in 1_u32..5, threads in 1_u32..3, seats in 1_usize..80,
        ) {
            let text = format!("node:{nodes} l3:{l3s} core:{cores} pu:{threads}");
            let machine = Topology::synthetic(&text).unwrap();
            for (placement, groups) in [
                (Placement::PerCore, machine.cpus().len()),
                (Placement::PerL3, machine.l3s()),
                (Placement::PerNode, machine.nodes().len()),
            ] {
                let plan = Plan::new(&machine, &placement, Smt::Spread, seats).unwrap();
                let mut loads = std::collections::BTreeMap::new();
                for seat in plan.seats() {
                    *loads.entry(seat.cpus.words().to_owned()).or_insert(0) += 1;
                }
                prop_assert_eq!(loads.len(), groups.min(seats));
                let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
                prop_assert!(most - least <= 1);
            }
        }
    }
}
