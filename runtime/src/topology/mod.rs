//! Topology: the machine's processors, and how near they are to each other.
//!
//! Read from sysfs (`sysfs`), or made from a description (`synthetic`) to look at a plan for another machine. What is
//! made of it: `plan`.

mod plan;
mod synthetic;
mod sysfs;
mod tree;

pub use plan::{NameError, Placement, PlacementError, Plan, SeatPlan, Smt};
pub use synthetic::SyntheticError;

use gorun_worker::cpu_set::CpuSet;
use gorun_worker::os::pin;
use serde::Serialize;
use std::path::Path;

/// A processor, the thing a thread is pinned to. On a machine with SMT, a core has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// The kernel's number.
    pub id: u32,
    /// Which of its core's processors it is, from 0.
    pub thread: u32,
    /// Its core, numbered from 0 through the machine, as the three below.
    pub core: u32,
    /// The group of cores that share a last-level cache with it.
    pub l3: u32,
    /// Its NUMA node; an index of [`Topology::nodes`].
    pub node: u32,
    /// Its socket.
    pub package: u32,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The kernel's number.
    pub id: u32,
    /// Its memory in bytes, if known.
    pub memory_bytes: Option<u64>,
    /// How far each node is, as the firmware says it: 10 is here, 20 twice as far. Empty if unknown.
    pub distances: Vec<u32>,
}

/// Where a topology was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The kernel.
    Sysfs,
    /// A description.
    Synthetic,
    /// The kernel tells nothing, as in some sandboxes: every processor counts as a core, and all as equally near.
    Unknown,
}

/// How near two processors are, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// They are the same.
    Same,
    /// Of one core.
    Core,
    /// Under one last-level cache.
    L3,
    /// Of one NUMA node.
    Node,
    /// Of different nodes.
    Remote,
}

/// The processors of a machine, ordered by package, node, last-level cache, core and thread.
///
/// ```
/// use gorun_runtime::topology::{Nearness, Topology};
///
/// let machine = Topology::synthetic("node:2 l3:2 core:8 pu:2")?;
/// assert_eq!((machine.cpus().len(), machine.cores(), machine.nodes().len()), (64, 32, 2));
/// assert_eq!(machine.nearness(0, 1), Some(Nearness::Core));
/// assert_eq!(machine.nearness(0, 63), Some(Nearness::Remote));
/// # Ok::<(), gorun_runtime::topology::SyntheticError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    source: Source,
    nodes: Vec<Node>,
    /// Bytes of each last-level cache, where known.
    l3_bytes: Vec<Option<u64>>,
    cpus: Vec<Cpu>,
}

impl Topology {
    /// This machine's, as far as this process may use it.
    #[must_use]
    pub fn usable() -> Self {
        Self::of_machine().restricted(&pin::allowed())
    }

    /// This machine's.
    ///
    /// Where the kernel tells nothing, the processors this process may use, as [`Source::Unknown`].
    #[must_use]
    pub fn of_machine() -> Self {
        sysfs::read(Path::new("/sys/devices/system")).unwrap_or_else(|| Self::flat(&pin::allowed()))
    }

    /// A described one: counts from the outermost to the innermost, such as `package:1 node:2 l3:4 core:8 pu:2`; a level
    /// that is not named has one. Processors are numbered through.
    ///
    /// # Errors
    /// [`SyntheticError`] says what part of the text is wrong.
    pub fn synthetic(text: &str) -> Result<Self, SyntheticError> {
        synthetic::parse(text)
    }

    /// Processors without any relation.
    fn flat(cpus: &CpuSet) -> Self {
        let cpus =
            (0..).zip(cpus.iter()).map(|(core, id)| Cpu { id, thread: 0, core, l3: 0, node: 0, package: 0 });
        Self {
            source: Source::Unknown,
            nodes: vec![Node { id: 0, memory_bytes: None, distances: Vec::new() }],
            l3_bytes: vec![None],
            cpus: cpus.collect(),
        }
    }

    /// The part that consists of these processors. Nodes stay; cores, caches and packages keep their numbers.
    #[must_use]
    pub fn restricted(mut self, cpus: &CpuSet) -> Self {
        self.cpus.retain(|cpu| cpus.contains(cpu.id));
        self
    }

    /// Where it was taken from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// All processors.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// All processors, as a set.
    #[must_use]
    pub fn cpu_set(&self) -> CpuSet {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// The NUMA nodes; one if the machine has none.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.count(|cpu| cpu.core)
    }

    /// How many last-level caches there are.
    #[must_use]
    pub fn l3s(&self) -> usize {
        self.count(|cpu| cpu.l3)
    }

    /// How many packages there are.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.count(|cpu| cpu.package)
    }

    fn count(&self, of: impl Fn(&Cpu) -> u32) -> usize {
        let mut seen: Vec<u32> = self.cpus.iter().map(of).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    }

    /// The processor that the kernel calls `id`.
    #[must_use]
    pub fn cpu(&self, id: u32) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// The kernel's number of the NUMA node that a processor belongs to.
    #[must_use]
    pub fn node_of(&self, id: u32) -> Option<u32> {
        self.nodes.get(self.cpu(id)?.node as usize).map(|node| node.id)
    }

    /// How near two processors are; none if one of them is not here.
    #[must_use]
    pub fn nearness(&self, one: u32, other: u32) -> Option<Nearness> {
        let (one, other) = (self.cpu(one)?, self.cpu(other)?);
        Some(match () {
            () if one.id == other.id => Nearness::Same,
            () if one.core == other.core => Nearness::Core,
            () if one.l3 == other.l3 => Nearness::L3,
            () if one.node == other.node => Nearness::Node,
            () => Nearness::Remote,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_what_this_process_may_use() {
        let usable = Topology::usable();
        assert_eq!(usable.cpu_set(), pin::allowed());
        assert!(usable.cores() >= 1 && usable.cores() <= usable.cpus().len());
        assert!(usable.cpus().iter().all(|cpu| (cpu.node as usize) < usable.nodes().len()));
    }

    #[test]
    fn nearness_is_the_innermost_thing_shared() {
        let machine = Topology::synthetic("package:2 node:2 l3:2 core:2 pu:2").unwrap();
        let nearness: Vec<_> = [0, 1, 2, 4, 8, 16].map(|cpu| machine.nearness(0, cpu).unwrap()).into();
        assert_eq!(
            nearness,
            [
                Nearness::Same,
                Nearness::Core,
                Nearness::L3,
                Nearness::Node,
                Nearness::Remote,
                Nearness::Remote
            ]
        );
        assert_eq!(machine.nearness(0, 32), None);
        assert_eq!(machine.node_of(31), Some(3));
        assert_eq!(machine.node_of(32), None);
    }

    #[test]
    fn a_part_keeps_its_names() {
        let part = Topology::synthetic("node:2 core:2").unwrap().restricted(&"1,3".parse().unwrap());
        assert_eq!(
            part.cpus().iter().map(|cpu| (cpu.id, cpu.core, cpu.node)).collect::<Vec<_>>(),
            [(1, 1, 0), (3, 3, 1)]
        );
        assert_eq!((part.cores(), part.packages(), part.nodes().len()), (2, 1, 2));
    }

    #[test]
    fn processors_of_which_nothing_is_known_are_cores() {
        let flat = Topology::flat(&"2-3,7".parse().unwrap());
        assert_eq!((flat.cores(), flat.l3s(), flat.nodes().len()), (3, 1, 1));
        assert_eq!(flat.nearness(2, 7), Some(Nearness::L3));
    }
}
