//! Synthetic: a topology from a description, `node:2 l3:4 core:8 pu:2`.

use super::{Cpu, Node, Source, Topology};
use gorun_worker::cpu_set::CpuSet;
use thiserror::Error;

/// The levels, outermost first, each with its other names.
const LEVELS: [&[&str]; 5] =
    [&["package", "socket"], &["node", "numanode", "numa"], &["l3", "l3cache"], &["core"], &["pu", "thread"]];

/// Why a text describes no topology.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntheticError {
    /// A part is not `level:count`.
    #[error("`{part}` is not a level and a count; write for example `node:2 l3:4 core:8 pu:2`")]
    NotALevel {
        /// The part.
        part: String,
    },
    /// There is no such level.
    #[error("there is no level `{level}`; the levels are package, node, l3, core and pu")]
    UnknownLevel {
        /// What was written.
        level: String,
    },
    /// The levels are not in order, or one comes twice.
    #[error("`{level}` stands in the wrong place; the order is package, node, l3, core, pu, each once")]
    Order {
        /// The level that does not fit.
        level: String,
    },
    /// Too many processors, or none.
    #[error("that would be {cpus} processors; 1 to {} can be described", CpuSet::CPUS_MAX)]
    Size {
        /// How many.
        cpus: u64,
    },
}

pub(super) fn parse(text: &str) -> Result<Topology, SyntheticError> {
    let mut counts: [Option<u32>; LEVELS.len()] = [None; LEVELS.len()];
    for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
        let not_a_level = || SyntheticError::NotALevel { part: part.to_owned() };
        let (name, count) = part.split_once([':', '=']).ok_or_else(not_a_level)?;
        let count = count.parse().map_err(|_| not_a_level())?;
        let name = name.to_ascii_lowercase();
        let level = LEVELS.iter().position(|names| names.contains(&name.as_str()));
        let level = level.ok_or_else(|| SyntheticError::UnknownLevel { level: name.clone() })?;
        if counts[level..].iter().any(Option::is_some) {
            return Err(SyntheticError::Order { level: name });
        }
        counts[level] = Some(count);
    }
    let counts = counts.map(|count| count.unwrap_or(1));
    let cpus = counts.iter().try_fold(1_u64, |cpus, count| cpus.checked_mul(u64::from(*count)));
    let cpus = cpus.unwrap_or(u64::MAX);
    match u32::try_from(cpus) {
        Ok(cpus) if (1..=CpuSet::CPUS_MAX).contains(&cpus) => Ok(build(counts, cpus)),
        _ => Err(SyntheticError::Size { cpus }),
    }
}

fn build([packages, nodes, l3s, cores, threads]: [u32; LEVELS.len()], cpus: u32) -> Topology {
    let cpu = |id| {
        let core = id / threads;
        let l3 = core / cores;
        let node = l3 / l3s;
        Cpu { id, thread: id % threads, core, l3, node, package: node / nodes }
    };
    let count = packages * nodes;
    // As firmware usually has it: 21 for every other node.
    let distances = |node| (0..count).map(|other| if other == node { 10 } else { 21 }).collect();
    let node = |id| Node { id, memory_bytes: None, distances: distances(id) };
    Topology {
        source: Source::Synthetic,
        nodes: (0..count).map(node).collect(),
        l3_bytes: vec![None; (count * l3s) as usize],
        cpus: (0..cpus).map(cpu).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_are_not_named_have_one() {
        let machine = parse("core:4").unwrap();
        assert_eq!(
            (machine.cpus.len(), machine.cores(), machine.nodes.len(), machine.packages()),
            (4, 4, 1, 1)
        );
        assert_eq!(parse("").unwrap().cpus.len(), 1);
        assert_eq!(parse("Package:2 L3Cache:2 Core:3 PU:2").unwrap().cpus.len(), 24);
        assert_eq!(parse("node=2,core=4").unwrap().cpus.len(), 8);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text| parse(text).unwrap_err().to_string();
        assert!(error("core").contains("`core` is not a level and a count"));
        assert!(error("core:x").contains("`core:x`"));
        assert!(error("disk:2").contains("no level `disk`"));
        assert!(error("core:2 node:2").contains("`node` stands in the wrong place"));
        assert!(error("core:2 core:2").contains("wrong place"));
        assert!(error("core:0").contains("0 processors"));
        assert!(error("core:1025").contains("1025 processors"));
        assert!(error("node:4000000000 l3:4000000000 core:4000000000").contains("processors"));
    }
}
